"""The networks of cnnkit itself, in the order in which one learns them."""

from cnnkit.models.entry import ModelEntry, PublishedAccuracy, PublishedCost

_LENET_PAPER = "LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998)"
_ALEXNET_PAPER = (
    "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012)"
)
_VGG_PAPER = (
    "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition "
    "(2014), arXiv:1409.1556"
)
_GOOGLENET_PAPER = "Szegedy et al., Going Deeper with Convolutions (2014), arXiv:1409.4842"
_RESNET_PAPER = "He et al., Deep Residual Learning for Image Recognition (2015), arXiv:1512.03385"


_BATCH_NORM_PAPER = (
    "Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing "
    "Internal Covariate Shift (2015), arXiv:1502.03167"
)


def _entry(
    name: str,
    title: str,
    family: str,
    year: int,
    module: str,
    native: tuple[int, int, int],
    num_params: int,
    salient: str,
    reference: str,
    *,
    num_classes: int = 10,
    min_size: int | None = None,
    takes_size: bool = False,
    accuracy: tuple[PublishedAccuracy, ...] = (),
    cost: tuple[PublishedCost, ...] = (),
    note: str = "",
) -> ModelEntry:
    """Return an entry; without a `min_size` it takes images of its native size alone."""
    return ModelEntry(
        name=name,
        title=title,
        family=family,
        year=year,
        builder=f"cnnkit.models.{module}:{name}",
        input=native,
        min_size=native[1] if min_size is None else min_size,
        fixed_size=min_size is None,
        takes_channels=True,
        takes_size=takes_size,
        num_classes=num_classes,
        num_params=num_params,
        salient=salient,
        reference=reference,
        accuracy=accuracy,
        cost=cost,
        note=note,
    )


def _residual_cifar(
    num_layers: int, num_params: int, error_percent: float | None = None
) -> ModelEntry:
    """Return the residual network of He et al., table 6, or the plain one where there is none."""
    residual = error_percent is not None
    accuracy: tuple[PublishedAccuracy, ...] = ()
    if error_percent is not None:
        top1 = round(1 - error_percent / 100, 4)
        source = "He et al. (2015), table 6, with flips and crops"
        accuracy = (PublishedAccuracy("CIFAR-10", top1, None, "", 32, source),)
    return _entry(
        name=f"{'resnet' if residual else 'plain'}{num_layers}",
        title=f"{'ResNet' if residual else 'Plain'}-{num_layers} for CIFAR",
        family="ResNet for CIFAR",
        year=2015,
        module="resnet_cifar",
        native=(3, 32, 32),
        num_params=num_params,
        salient="shortcuts without parameters" if residual else "the same without shortcuts",
        reference=_RESNET_PAPER,
        min_size=1,
        accuracy=accuracy,
    )


OWN_ENTRIES: tuple[ModelEntry, ...] = (
    _entry(
        "linear",
        "Linear classifier",
        "Linear",
        1936,
        "mlp",
        (1, 28, 28),
        7_850,
        "one layer on the pixels: a template a class",
        "Fisher, The Use of Multiple Measurements in Taxonomic Problems (1936)",
        min_size=1,
        takes_size=True,
    ),
    _entry(
        "mlp",
        "Multilayer perceptron",
        "MLP",
        1986,
        "mlp",
        (1, 28, 28),
        79_510,
        "hidden layers, learned by backpropagation",
        "Rumelhart et al., Learning Representations by Back-Propagating Errors (1986)",
        min_size=1,
        takes_size=True,
    ),
    _entry(
        "convnet2",
        "Two convolutions",
        "ConvNet",
        1998,
        "convnet",
        (1, 28, 28),
        8_490,
        "the smallest that convolves, pools and classifies",
        _LENET_PAPER,
    ),
    _entry(
        "convnet3",
        "Three convolutions",
        "ConvNet",
        1998,
        "convnet",
        (1, 28, 28),
        123_222,
        "maps double while they get smaller",
        _LENET_PAPER,
    ),
    _entry(
        "convnet_fast",
        "Fast convolutions",
        "ConvNet",
        2015,
        "convnet",
        (1, 28, 28),
        29_434,
        "batch norm and a stride: MNIST in one epoch",
        _BATCH_NORM_PAPER,
        min_size=19,
        takes_size=True,
    ),
    _entry(
        "lenet5",
        "LeNet-5",
        "LeNet",
        1998,
        "lenet",
        (1, 32, 32),
        61_706,
        "shared weights, pooling, trained end to end",
        _LENET_PAPER,
        accuracy=(
            PublishedAccuracy(
                "MNIST", 0.9905, None, "", 32, "LeCun et al. (1998), section III.B, no distortions"
            ),
        ),
    ),
    _entry(
        "lenet5_relu",
        "LeNet-5 with ReLU",
        "LeNet",
        1998,
        "lenet",
        (1, 32, 32),
        61_706,
        "LeNet-5 as it is taught today: ReLU, max pooling",
        _LENET_PAPER,
    ),
    _entry(
        "alexnet_2012",
        "AlexNet (2012)",
        "AlexNet",
        2012,
        "alexnet",
        (3, 227, 227),
        62_378_344,
        "deeper; ReLU, dropout, trained on GPUs",
        _ALEXNET_PAPER,
        num_classes=1000,
        accuracy=(
            PublishedAccuracy(
                "ImageNet-1K", 0.593, 0.818, "", None, "Krizhevsky et al. (2012), table 2, 1 CNN"
            ),
        ),
        note="accuracy, and the 1.5 billion FLOPs that tables print, are those of groups=2",
    ),
    _entry(
        "vgg16_cifar",
        "VGG-16 for CIFAR",
        "VGG",
        2014,
        "vgg",
        (3, 32, 32),
        33_638_218,
        "nothing but 3x3 kernels, for small images",
        _VGG_PAPER,
    ),
    _entry(
        "googlenet_plain",
        "GoogLeNet (2014)",
        "GoogLeNet",
        2014,
        "googlenet",
        (3, 224, 224),
        6_998_552,
        "wider: parallel kernels, true 5x5, no batch norm",
        _GOOGLENET_PAPER,
        num_classes=1000,
        min_size=31,
        accuracy=(
            PublishedAccuracy(
                "ImageNet-1K", None, 0.8993, "", 224, "Szegedy et al. (2014), table 3, 1 crop"
            ),
        ),
        cost=(
            PublishedCost(1_500_000_000, "MACs", "Szegedy et al. (2014), section 1, rounded", 224),
        ),
    ),
    _entry(
        "resnet18_table",
        "ResNet-18 of the printed table",
        "ResNet",
        2015,
        "resnet",
        (3, 227, 227),
        11_511_784,
        "shortcuts without parameters, no batch norm",
        _RESNET_PAPER,
        num_classes=1000,
        min_size=35,
    ),
    _entry(
        "resnet50_plain",
        "ResNet-50 without batch norm",
        "ResNet",
        2015,
        "resnet",
        (3, 224, 224),
        31_104_872,
        "bottlenecks, with biases for batch norm",
        _RESNET_PAPER,
        num_classes=1000,
        min_size=1,
    ),
    _residual_cifar(20, 269_722),
    _residual_cifar(56, 853_018),
    _residual_cifar(20, 269_722, error_percent=8.75),
    _residual_cifar(32, 464_154, error_percent=7.51),
    _residual_cifar(44, 658_586, error_percent=7.17),
    _residual_cifar(56, 853_018, error_percent=6.97),
    _residual_cifar(110, 1_727_962, error_percent=6.43),
    _entry(
        "speednet",
        "Speed-run network for CIFAR",
        "SpeedNet",
        2024,
        "speednet",
        (3, 32, 32),
        1_971_640,
        "whitened patches, identity starts: few epochs",
        "Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024), arXiv:2404.00498",
        min_size=9,
    ),
)
