"""The classification networks of torchvision, with the figures of its published weights.

A test holds all of this against the torchvision that is installed. The native input is the smallest
crop that any of a network's weights was measured at; `min_size` is the smallest square that passes
forward and backward in training, with a batch of two.
"""

from dataclasses import dataclass

from cnnkit.models.entry import ModelEntry, PublishedAccuracy, PublishedCost


@dataclass(frozen=True)
class _Family:
    name: str
    year: int
    salient: str
    reference: str


_ALEXNET = _Family(
    "AlexNet",
    2014,
    "fewer maps than in 2012, no response norm",
    (
        "Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks (2014), "
        "arXiv:1404.5997"
    ),
)
_VGG = _Family(
    "VGG",
    2014,
    "nothing but 3x3 kernels",
    (
        "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition (2014), arXiv:1409.1556"
    ),
)
_VGG_BN = _Family(
    "VGG",
    2014,
    "3x3 kernels, with batch norm",
    (
        "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition (2014), arXiv:1409.1556"
    ),
)
_GOOGLENET = _Family(
    "GoogLeNet",
    2014,
    "wider: parallel kernels, with batch norm",
    "Szegedy et al., Going Deeper with Convolutions (2014), arXiv:1409.4842",
)
_INCEPTION = _Family(
    "Inception",
    2015,
    "large kernels factorised into small ones",
    (
        "Szegedy et al., Rethinking the Inception Architecture for Computer Vision (2015), "
        "arXiv:1512.00567"
    ),
)
_RESNET = _Family(
    "ResNet",
    2015,
    "shortcut connections",
    "He et al., Deep Residual Learning for Image Recognition (2015), arXiv:1512.03385",
)
_SQUEEZENET = _Family(
    "SqueezeNet",
    2016,
    "few parameters: 1x1 squeezes before 3x3",
    "Iandola et al., SqueezeNet (2016), arXiv:1602.07360",
)
_WIDE_RESNET = _Family(
    "Wide ResNet",
    2016,
    "wider instead of deeper",
    "Zagoruyko and Komodakis, Wide Residual Networks (2016), arXiv:1605.07146",
)
_DENSENET = _Family(
    "DenseNet",
    2016,
    "each layer sees all earlier ones",
    "Huang et al., Densely Connected Convolutional Networks (2016), arXiv:1608.06993",
)
_RESNEXT = _Family(
    "ResNeXt",
    2016,
    "many parallel paths: grouped convolutions",
    (
        "Xie et al., Aggregated Residual Transformations for Deep Neural Networks (2016), "
        "arXiv:1611.05431"
    ),
)
_MOBILENET_V2 = _Family(
    "MobileNet",
    2018,
    "inverted residuals, depthwise convolutions",
    (
        "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (2018), "
        "arXiv:1801.04381"
    ),
)
_SHUFFLENET_V2 = _Family(
    "ShuffleNet",
    2018,
    "channels split and shuffled",
    (
        "Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design "
        "(2018), arXiv:1807.11164"
    ),
)
_MNASNET = _Family(
    "MNASNet",
    2018,
    "searched for speed on a phone",
    (
        "Tan et al., MnasNet: Platform-Aware Neural Architecture Search for Mobile (2018), "
        "arXiv:1807.11626"
    ),
)
_MOBILENET_V3 = _Family(
    "MobileNet",
    2019,
    "searched, with channel attention",
    "Howard et al., Searching for MobileNetV3 (2019), arXiv:1905.02244",
)
_EFFICIENTNET = _Family(
    "EfficientNet",
    2019,
    "depth, width and resolution scaled together",
    (
        "Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks "
        "(2019), arXiv:1905.11946"
    ),
)
_REGNET = _Family(
    "RegNet",
    2020,
    "widths that follow a linear rule",
    "Radosavovic et al., Designing Network Design Spaces (2020), arXiv:2003.13678",
)
_VIT = _Family(
    "ViT",
    2020,
    "patches as words: attention alone",
    "Dosovitskiy et al., An Image is Worth 16x16 Words (2020), arXiv:2010.11929",
)
_SWIN = _Family(
    "Swin",
    2021,
    "attention in shifted windows",
    (
        "Liu et al., Swin Transformer: Hierarchical Vision Transformer Using Shifted Windows "
        "(2021), arXiv:2103.14030"
    ),
)
_EFFICIENTNET_V2 = _Family(
    "EfficientNet",
    2021,
    "fused first blocks, for faster training",
    "Tan and Le, EfficientNetV2: Smaller Models and Faster Training (2021), arXiv:2104.00298",
)
_SWIN_V2 = _Family(
    "Swin",
    2021,
    "cosine attention, window positions that scale",
    (
        "Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution (2021), "
        "arXiv:2111.09883"
    ),
)
_CONVNEXT = _Family(
    "ConvNeXt",
    2022,
    "a ResNet with the habits of a transformer",
    "Liu et al., A ConvNet for the 2020s (2022), arXiv:2201.03545",
)
_MAXVIT = _Family(
    "MaxViT",
    2022,
    "attention in blocks and in grids",
    "Tu et al., MaxViT: Multi-Axis Vision Transformer (2022), arXiv:2204.01697",
)


def _entry(
    name: str,
    title: str,
    family: _Family,
    num_params: int,
    min_size: int | None,
    giga_macs: dict[int, float],
    *weights: tuple[str, int, float, float],
    keywords: tuple[tuple[str, object], ...] = (),
    note: str = "",
) -> ModelEntry:
    """Return an entry.

    Args:
        name: of the function in torchvision.
        title: what people call it.
        family: what it shares with its like.
        num_params: parameters.
        min_size: smallest height and width; None where only the native one is taken.
        giga_macs: 10^9 multiply-accumulates an image by crop, the native crop first.
        weights: name, crop, and percent of top-1 and top-5, the best at the native crop first.
        keywords: fixed arguments of the builder.
        note: what else has to be known.
    """
    native = weights[0][1]
    return ModelEntry(
        name=name,
        title=title,
        family=family.name,
        year=family.year,
        builder=f"torchvision.models:{name}",
        input=(3, native, native),
        min_size=native if min_size is None else min_size,
        fixed_size=min_size is None,
        takes_channels=False,
        takes_size=False,
        num_classes=1000,
        num_params=num_params,
        salient=family.salient,
        reference=family.reference,
        accuracy=tuple(
            PublishedAccuracy(
                dataset="ImageNet-1K",
                top1=round(top1 / 100, 5),
                top5=round(top5 / 100, 5),
                weights=weights_name,
                crop=crop,
                source="torchvision, metadata of the weights",
            )
            for weights_name, crop, top1, top5 in weights
        ),
        cost=tuple(
            PublishedCost(
                value=round(value * 1e9),
                unit="MACs",
                source="torchvision, metadata of the weights, in units of 10^9 to three decimals",
                crop=crop,
            )
            for crop, value in giga_macs.items()
        ),
        # Weights that were trained elsewhere are never loaded by an argument in passing.
        keywords=(("weights", None), *keywords),
        note=note,
    )


# An auxiliary head would make the network return more than logits while it is trained.
_WITHOUT_AUXILIARY_HEADS: tuple[tuple[str, object], ...] = (
    ("init_weights", False),
    ("aux_logits", False),
)

TORCHVISION_ENTRIES: tuple[ModelEntry, ...] = (
    _entry(
        "alexnet",
        "AlexNet (2014)",
        _ALEXNET,
        61_100_840,
        63,
        {224: 0.714},
        ("IMAGENET1K_V1", 224, 56.522, 79.066),
    ),
    _entry(
        "vgg11",
        "VGG-11",
        _VGG,
        132_863_336,
        32,
        {224: 7.609},
        ("IMAGENET1K_V1", 224, 69.02, 88.628),
    ),
    _entry(
        "vgg13",
        "VGG-13",
        _VGG,
        133_047_848,
        32,
        {224: 11.308},
        ("IMAGENET1K_V1", 224, 69.928, 89.246),
    ),
    _entry(
        "vgg16",
        "VGG-16",
        _VGG,
        138_357_544,
        32,
        {224: 15.47},
        ("IMAGENET1K_V1", 224, 71.592, 90.382),
    ),
    _entry(
        "vgg19",
        "VGG-19",
        _VGG,
        143_667_240,
        32,
        {224: 19.632},
        ("IMAGENET1K_V1", 224, 72.376, 90.876),
    ),
    _entry(
        "vgg11_bn",
        "VGG-11 with batch norm",
        _VGG_BN,
        132_868_840,
        32,
        {224: 7.609},
        ("IMAGENET1K_V1", 224, 70.37, 89.81),
    ),
    _entry(
        "vgg13_bn",
        "VGG-13 with batch norm",
        _VGG_BN,
        133_053_736,
        32,
        {224: 11.308},
        ("IMAGENET1K_V1", 224, 71.586, 90.374),
    ),
    _entry(
        "vgg16_bn",
        "VGG-16 with batch norm",
        _VGG_BN,
        138_365_992,
        32,
        {224: 15.47},
        ("IMAGENET1K_V1", 224, 73.36, 91.516),
    ),
    _entry(
        "vgg19_bn",
        "VGG-19 with batch norm",
        _VGG_BN,
        143_678_248,
        32,
        {224: 19.632},
        ("IMAGENET1K_V1", 224, 74.218, 91.842),
    ),
    _entry(
        "googlenet",
        "GoogLeNet",
        _GOOGLENET,
        6_624_904,
        15,
        {224: 1.498},
        ("IMAGENET1K_V1", 224, 69.778, 89.53),
        keywords=_WITHOUT_AUXILIARY_HEADS,
        note="counted without the two auxiliary heads, as torchvision does",
    ),
    _entry(
        "inception_v3",
        "Inception v3",
        _INCEPTION,
        23_834_568,
        75,
        {299: 5.713},
        ("IMAGENET1K_V1", 299, 77.294, 93.45),
        keywords=_WITHOUT_AUXILIARY_HEADS,
        note="torchvision counts the auxiliary head too: 27,161,264",
    ),
    _entry(
        "resnet18",
        "ResNet-18",
        _RESNET,
        11_689_512,
        1,
        {224: 1.814},
        ("IMAGENET1K_V1", 224, 69.758, 89.078),
    ),
    _entry(
        "resnet34",
        "ResNet-34",
        _RESNET,
        21_797_672,
        1,
        {224: 3.664},
        ("IMAGENET1K_V1", 224, 73.314, 91.42),
    ),
    _entry(
        "resnet50",
        "ResNet-50",
        _RESNET,
        25_557_032,
        1,
        {224: 4.089},
        ("IMAGENET1K_V2", 224, 80.858, 95.434),
        ("IMAGENET1K_V1", 224, 76.13, 92.862),
    ),
    _entry(
        "resnet101",
        "ResNet-101",
        _RESNET,
        44_549_160,
        1,
        {224: 7.801},
        ("IMAGENET1K_V2", 224, 81.886, 95.78),
        ("IMAGENET1K_V1", 224, 77.374, 93.546),
    ),
    _entry(
        "resnet152",
        "ResNet-152",
        _RESNET,
        60_192_808,
        1,
        {224: 11.514},
        ("IMAGENET1K_V2", 224, 82.284, 96.002),
        ("IMAGENET1K_V1", 224, 78.312, 94.046),
    ),
    _entry(
        "squeezenet1_0",
        "SqueezeNet 1.0",
        _SQUEEZENET,
        1_248_424,
        21,
        {224: 0.819},
        ("IMAGENET1K_V1", 224, 58.092, 80.42),
    ),
    _entry(
        "squeezenet1_1",
        "SqueezeNet 1.1",
        _SQUEEZENET,
        1_235_496,
        17,
        {224: 0.349},
        ("IMAGENET1K_V1", 224, 58.178, 80.624),
    ),
    _entry(
        "wide_resnet50_2",
        "Wide ResNet-50-2",
        _WIDE_RESNET,
        68_883_240,
        1,
        {224: 11.398},
        ("IMAGENET1K_V2", 224, 81.602, 95.758),
        ("IMAGENET1K_V1", 224, 78.468, 94.086),
    ),
    _entry(
        "wide_resnet101_2",
        "Wide ResNet-101-2",
        _WIDE_RESNET,
        126_886_696,
        1,
        {224: 22.753},
        ("IMAGENET1K_V2", 224, 82.51, 96.02),
        ("IMAGENET1K_V1", 224, 78.848, 94.284),
    ),
    _entry(
        "densenet121",
        "DenseNet-121",
        _DENSENET,
        7_978_856,
        29,
        {224: 2.834},
        ("IMAGENET1K_V1", 224, 74.434, 91.972),
    ),
    _entry(
        "densenet161",
        "DenseNet-161",
        _DENSENET,
        28_681_000,
        29,
        {224: 7.728},
        ("IMAGENET1K_V1", 224, 77.138, 93.56),
    ),
    _entry(
        "densenet169",
        "DenseNet-169",
        _DENSENET,
        14_149_480,
        29,
        {224: 3.36},
        ("IMAGENET1K_V1", 224, 75.6, 92.806),
    ),
    _entry(
        "densenet201",
        "DenseNet-201",
        _DENSENET,
        20_013_928,
        29,
        {224: 4.291},
        ("IMAGENET1K_V1", 224, 76.896, 93.37),
    ),
    _entry(
        "resnext50_32x4d",
        "ResNeXt-50 32x4d",
        _RESNEXT,
        25_028_904,
        1,
        {224: 4.23},
        ("IMAGENET1K_V2", 224, 81.198, 95.34),
        ("IMAGENET1K_V1", 224, 77.618, 93.698),
    ),
    _entry(
        "resnext101_32x8d",
        "ResNeXt-101 32x8d",
        _RESNEXT,
        88_791_336,
        1,
        {224: 16.414},
        ("IMAGENET1K_V2", 224, 82.834, 96.228),
        ("IMAGENET1K_V1", 224, 79.312, 94.526),
    ),
    _entry(
        "resnext101_64x4d",
        "ResNeXt-101 64x4d",
        _RESNEXT,
        83_455_272,
        1,
        {224: 15.46},
        ("IMAGENET1K_V1", 224, 83.246, 96.454),
    ),
    _entry(
        "mobilenet_v2",
        "MobileNet v2",
        _MOBILENET_V2,
        3_504_872,
        1,
        {224: 0.301},
        ("IMAGENET1K_V2", 224, 72.154, 90.822),
        ("IMAGENET1K_V1", 224, 71.878, 90.286),
    ),
    _entry(
        "shufflenet_v2_x0_5",
        "ShuffleNet v2 0.5x",
        _SHUFFLENET_V2,
        1_366_792,
        1,
        {224: 0.04},
        ("IMAGENET1K_V1", 224, 60.552, 81.746),
    ),
    _entry(
        "shufflenet_v2_x1_0",
        "ShuffleNet v2 1.0x",
        _SHUFFLENET_V2,
        2_278_604,
        1,
        {224: 0.145},
        ("IMAGENET1K_V1", 224, 69.362, 88.316),
    ),
    _entry(
        "shufflenet_v2_x1_5",
        "ShuffleNet v2 1.5x",
        _SHUFFLENET_V2,
        3_503_624,
        1,
        {224: 0.296},
        ("IMAGENET1K_V1", 224, 72.996, 91.086),
    ),
    _entry(
        "shufflenet_v2_x2_0",
        "ShuffleNet v2 2.0x",
        _SHUFFLENET_V2,
        7_393_996,
        1,
        {224: 0.583},
        ("IMAGENET1K_V1", 224, 76.23, 93.006),
    ),
    _entry(
        "mnasnet0_5",
        "MNASNet 0.5",
        _MNASNET,
        2_218_512,
        1,
        {224: 0.104},
        ("IMAGENET1K_V1", 224, 67.734, 87.49),
    ),
    _entry(
        "mnasnet0_75",
        "MNASNet 0.75",
        _MNASNET,
        3_170_208,
        1,
        {224: 0.215},
        ("IMAGENET1K_V1", 224, 71.18, 90.496),
    ),
    _entry(
        "mnasnet1_0",
        "MNASNet 1.0",
        _MNASNET,
        4_383_312,
        1,
        {224: 0.314},
        ("IMAGENET1K_V1", 224, 73.456, 91.51),
    ),
    _entry(
        "mnasnet1_3",
        "MNASNet 1.3",
        _MNASNET,
        6_282_256,
        1,
        {224: 0.526},
        ("IMAGENET1K_V1", 224, 76.506, 93.522),
    ),
    _entry(
        "mobilenet_v3_small",
        "MobileNet v3 small",
        _MOBILENET_V3,
        2_542_856,
        1,
        {224: 0.057},
        ("IMAGENET1K_V1", 224, 67.668, 87.402),
    ),
    _entry(
        "mobilenet_v3_large",
        "MobileNet v3 large",
        _MOBILENET_V3,
        5_483_032,
        1,
        {224: 0.217},
        ("IMAGENET1K_V2", 224, 75.274, 92.566),
        ("IMAGENET1K_V1", 224, 74.042, 91.34),
    ),
    _entry(
        "efficientnet_b0",
        "EfficientNet-B0",
        _EFFICIENTNET,
        5_288_548,
        1,
        {224: 0.386},
        ("IMAGENET1K_V1", 224, 77.692, 93.532),
    ),
    _entry(
        "efficientnet_b1",
        "EfficientNet-B1",
        _EFFICIENTNET,
        7_794_184,
        1,
        {240: 0.687},
        ("IMAGENET1K_V2", 240, 79.838, 94.934),
        ("IMAGENET1K_V1", 240, 78.642, 94.186),
    ),
    _entry(
        "efficientnet_b2",
        "EfficientNet-B2",
        _EFFICIENTNET,
        9_109_994,
        1,
        {288: 1.088},
        ("IMAGENET1K_V1", 288, 80.608, 95.31),
    ),
    _entry(
        "efficientnet_b3",
        "EfficientNet-B3",
        _EFFICIENTNET,
        12_233_232,
        1,
        {300: 1.827},
        ("IMAGENET1K_V1", 300, 82.008, 96.054),
    ),
    _entry(
        "efficientnet_b4",
        "EfficientNet-B4",
        _EFFICIENTNET,
        19_341_616,
        1,
        {380: 4.394},
        ("IMAGENET1K_V1", 380, 83.384, 96.594),
    ),
    _entry(
        "efficientnet_b5",
        "EfficientNet-B5",
        _EFFICIENTNET,
        30_389_784,
        1,
        {456: 10.266},
        ("IMAGENET1K_V1", 456, 83.444, 96.628),
    ),
    _entry(
        "efficientnet_b6",
        "EfficientNet-B6",
        _EFFICIENTNET,
        43_040_704,
        1,
        {528: 19.068},
        ("IMAGENET1K_V1", 528, 84.008, 96.916),
    ),
    _entry(
        "efficientnet_b7",
        "EfficientNet-B7",
        _EFFICIENTNET,
        66_347_960,
        1,
        {600: 37.746},
        ("IMAGENET1K_V1", 600, 84.122, 96.908),
    ),
    _entry(
        "regnet_x_400mf",
        "RegNetX-400 MF",
        _REGNET,
        5_495_976,
        1,
        {224: 0.414},
        ("IMAGENET1K_V2", 224, 74.864, 92.322),
        ("IMAGENET1K_V1", 224, 72.834, 90.95),
    ),
    _entry(
        "regnet_x_800mf",
        "RegNetX-800 MF",
        _REGNET,
        7_259_656,
        1,
        {224: 0.8},
        ("IMAGENET1K_V2", 224, 77.522, 93.826),
        ("IMAGENET1K_V1", 224, 75.212, 92.348),
    ),
    _entry(
        "regnet_x_1_6gf",
        "RegNetX-1.6 GF",
        _REGNET,
        9_190_136,
        1,
        {224: 1.603},
        ("IMAGENET1K_V2", 224, 79.668, 94.922),
        ("IMAGENET1K_V1", 224, 77.04, 93.44),
    ),
    _entry(
        "regnet_x_3_2gf",
        "RegNetX-3.2 GF",
        _REGNET,
        15_296_552,
        1,
        {224: 3.177},
        ("IMAGENET1K_V2", 224, 81.196, 95.43),
        ("IMAGENET1K_V1", 224, 78.364, 93.992),
    ),
    _entry(
        "regnet_x_8gf",
        "RegNetX-8 GF",
        _REGNET,
        39_572_648,
        1,
        {224: 7.995},
        ("IMAGENET1K_V2", 224, 81.682, 95.678),
        ("IMAGENET1K_V1", 224, 79.344, 94.686),
    ),
    _entry(
        "regnet_x_16gf",
        "RegNetX-16 GF",
        _REGNET,
        54_278_536,
        1,
        {224: 15.941},
        ("IMAGENET1K_V2", 224, 82.716, 96.196),
        ("IMAGENET1K_V1", 224, 80.058, 94.944),
    ),
    _entry(
        "regnet_x_32gf",
        "RegNetX-32 GF",
        _REGNET,
        107_811_560,
        1,
        {224: 31.736},
        ("IMAGENET1K_V2", 224, 83.014, 96.288),
        ("IMAGENET1K_V1", 224, 80.622, 95.248),
    ),
    _entry(
        "regnet_y_400mf",
        "RegNetY-400 MF",
        _REGNET,
        4_344_144,
        1,
        {224: 0.402},
        ("IMAGENET1K_V2", 224, 75.804, 92.742),
        ("IMAGENET1K_V1", 224, 74.046, 91.716),
    ),
    _entry(
        "regnet_y_800mf",
        "RegNetY-800 MF",
        _REGNET,
        6_432_512,
        1,
        {224: 0.834},
        ("IMAGENET1K_V2", 224, 78.828, 94.502),
        ("IMAGENET1K_V1", 224, 76.42, 93.136),
    ),
    _entry(
        "regnet_y_1_6gf",
        "RegNetY-1.6 GF",
        _REGNET,
        11_202_430,
        1,
        {224: 1.612},
        ("IMAGENET1K_V2", 224, 80.876, 95.444),
        ("IMAGENET1K_V1", 224, 77.95, 93.966),
    ),
    _entry(
        "regnet_y_3_2gf",
        "RegNetY-3.2 GF",
        _REGNET,
        19_436_338,
        1,
        {224: 3.176},
        ("IMAGENET1K_V2", 224, 81.982, 95.972),
        ("IMAGENET1K_V1", 224, 78.948, 94.576),
    ),
    _entry(
        "regnet_y_8gf",
        "RegNetY-8 GF",
        _REGNET,
        39_381_472,
        1,
        {224: 8.473},
        ("IMAGENET1K_V2", 224, 82.828, 96.33),
        ("IMAGENET1K_V1", 224, 80.032, 95.048),
    ),
    _entry(
        "regnet_y_16gf",
        "RegNetY-16 GF",
        _REGNET,
        83_590_140,
        1,
        {224: 15.912, 384: 46.735},
        ("IMAGENET1K_V2", 224, 82.886, 96.328),
        ("IMAGENET1K_V1", 224, 80.424, 95.24),
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 83.976, 97.244),
        ("IMAGENET1K_SWAG_E2E_V1", 384, 86.012, 98.054),
    ),
    _entry(
        "regnet_y_32gf",
        "RegNetY-32 GF",
        _REGNET,
        145_046_770,
        1,
        {224: 32.28, 384: 94.826},
        ("IMAGENET1K_V2", 224, 83.368, 96.498),
        ("IMAGENET1K_V1", 224, 80.878, 95.34),
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 84.622, 97.48),
        ("IMAGENET1K_SWAG_E2E_V1", 384, 86.838, 98.362),
    ),
    _entry(
        "regnet_y_128gf",
        "RegNetY-128 GF",
        _REGNET,
        644_812_894,
        1,
        {224: 127.518, 384: 374.57},
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 86.068, 97.844),
        ("IMAGENET1K_SWAG_E2E_V1", 384, 88.228, 98.682),
    ),
    _entry(
        "vit_b_16",
        "ViT-B/16",
        _VIT,
        86_567_656,
        None,
        {224: 17.564, 384: 55.484},
        ("IMAGENET1K_V1", 224, 81.072, 95.318),
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 81.886, 96.18),
        ("IMAGENET1K_SWAG_E2E_V1", 384, 85.304, 97.65),
    ),
    _entry(
        "vit_b_32",
        "ViT-B/32",
        _VIT,
        88_224_232,
        None,
        {224: 4.409},
        ("IMAGENET1K_V1", 224, 75.912, 92.466),
    ),
    _entry(
        "vit_l_16",
        "ViT-L/16",
        _VIT,
        304_326_632,
        None,
        {224: 61.555, 512: 361.986},
        ("IMAGENET1K_V1", 224, 79.662, 94.638),
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 85.146, 97.422),
        ("IMAGENET1K_SWAG_E2E_V1", 512, 88.064, 98.512),
    ),
    _entry(
        "vit_l_32",
        "ViT-L/32",
        _VIT,
        306_535_400,
        None,
        {224: 15.378},
        ("IMAGENET1K_V1", 224, 76.972, 93.07),
    ),
    _entry(
        "vit_h_14",
        "ViT-H/14",
        _VIT,
        632_045_800,
        None,
        {224: 167.295, 518: 1016.717},
        ("IMAGENET1K_SWAG_LINEAR_V1", 224, 85.708, 97.73),
        ("IMAGENET1K_SWAG_E2E_V1", 518, 88.552, 98.694),
    ),
    _entry(
        "swin_t",
        "Swin-T",
        _SWIN,
        28_288_354,
        4,
        {224: 4.491},
        ("IMAGENET1K_V1", 224, 81.474, 95.776),
    ),
    _entry(
        "swin_s",
        "Swin-S",
        _SWIN,
        49_606_258,
        4,
        {224: 8.741},
        ("IMAGENET1K_V1", 224, 83.196, 96.36),
    ),
    _entry(
        "swin_b",
        "Swin-B",
        _SWIN,
        87_768_224,
        4,
        {224: 15.431},
        ("IMAGENET1K_V1", 224, 83.582, 96.64),
    ),
    _entry(
        "efficientnet_v2_s",
        "EfficientNet v2 S",
        _EFFICIENTNET_V2,
        21_458_488,
        1,
        {384: 8.366},
        ("IMAGENET1K_V1", 384, 84.228, 96.878),
    ),
    _entry(
        "efficientnet_v2_m",
        "EfficientNet v2 M",
        _EFFICIENTNET_V2,
        54_139_356,
        1,
        {480: 24.582},
        ("IMAGENET1K_V1", 480, 85.112, 97.156),
    ),
    _entry(
        "efficientnet_v2_l",
        "EfficientNet v2 L",
        _EFFICIENTNET_V2,
        118_515_272,
        1,
        {480: 56.08},
        ("IMAGENET1K_V1", 480, 85.808, 97.788),
    ),
    _entry(
        "swin_v2_t",
        "Swin v2 T",
        _SWIN_V2,
        28_351_570,
        4,
        {256: 5.94},
        ("IMAGENET1K_V1", 256, 82.072, 96.132),
    ),
    _entry(
        "swin_v2_s",
        "Swin v2 S",
        _SWIN_V2,
        49_737_442,
        4,
        {256: 11.546},
        ("IMAGENET1K_V1", 256, 83.712, 96.816),
    ),
    _entry(
        "swin_v2_b",
        "Swin v2 B",
        _SWIN_V2,
        87_930_848,
        4,
        {256: 20.325},
        ("IMAGENET1K_V1", 256, 84.112, 96.864),
    ),
    _entry(
        "convnext_tiny",
        "ConvNeXt-Tiny",
        _CONVNEXT,
        28_589_128,
        32,
        {224: 4.456},
        ("IMAGENET1K_V1", 224, 82.52, 96.146),
    ),
    _entry(
        "convnext_small",
        "ConvNeXt-Small",
        _CONVNEXT,
        50_223_688,
        32,
        {224: 8.684},
        ("IMAGENET1K_V1", 224, 83.616, 96.65),
    ),
    _entry(
        "convnext_base",
        "ConvNeXt-Base",
        _CONVNEXT,
        88_591_464,
        32,
        {224: 15.355},
        ("IMAGENET1K_V1", 224, 84.062, 96.87),
    ),
    _entry(
        "convnext_large",
        "ConvNeXt-Large",
        _CONVNEXT,
        197_767_336,
        32,
        {224: 34.361},
        ("IMAGENET1K_V1", 224, 84.414, 96.976),
    ),
    _entry(
        "maxvit_t",
        "MaxViT-T",
        _MAXVIT,
        30_919_624,
        None,
        {224: 5.558},
        ("IMAGENET1K_V1", 224, 83.7, 96.722),
    ),
)
