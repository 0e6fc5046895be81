"""The networks against the tables that print them layer by layer, and against other counts."""

import pytest
import torch
from torch import nn

from cnnkit.models import build_model
from cnnkit.models.zoo.alexnet import alexnet_2012
from cnnkit.models.zoo.convnet import convnet3
from cnnkit.models.zoo.googlenet import Inception, googlenet_plain
from cnnkit.models.zoo.initialization import initialize_kaiming
from cnnkit.models.zoo.lenet import lenet5, lenet5_relu
from cnnkit.models.zoo.resnet import (
    ParameterFreeShortcut,
    ResidualBlock,
    resnet18_table,
    resnet50_plain,
)
from cnnkit.models.zoo.resnet_cifar import plain56, resnet56
from cnnkit.models.zoo.vgg import vgg16_cifar
from tests.models.building import count_parameters, output_shapes, without_weights

# layer, (width, height, channels) of its output, parameters: as printed, for an input of 227.
ALEXNET_TABLE = [
    ("conv1", (55, 55, 96), 34_944),
    ("pool1", (27, 27, 96), 0),
    ("conv2", (27, 27, 256), 614_656),
    ("pool2", (13, 13, 256), 0),
    ("conv3", (13, 13, 384), 885_120),
    ("conv4", (13, 13, 384), 1_327_488),
    ("conv5", (13, 13, 256), 884_992),
    ("pool5", (6, 6, 256), 0),
    ("fc6", (4096,), 37_752_832),
    ("fc7", (4096,), 16_781_312),
    ("fc8", (1000,), 4_097_000),
]
RESNET18_TABLE = [
    ("conv1", (112, 112, 64), 9_472),
    ("maxpool", (56, 56, 64), 0),
    ("block2_1.branch.conv2_1", (56, 56, 64), 36_928),
    ("block2_1.branch.conv2_2", (56, 56, 64), 36_928),
    ("block2_2.branch.conv2_3", (56, 56, 64), 36_928),
    ("block2_2.branch.conv2_4", (56, 56, 64), 36_928),
    ("block3_1.branch.conv3_1", (28, 28, 128), 73_856),
    ("block3_1.branch.conv3_2", (28, 28, 128), 147_584),
    ("block3_2.branch.conv3_3", (28, 28, 128), 147_584),
    ("block3_2.branch.conv3_4", (28, 28, 128), 147_584),
    ("block4_1.branch.conv4_1", (14, 14, 256), 295_168),
    ("block4_1.branch.conv4_2", (14, 14, 256), 590_080),
    ("block4_2.branch.conv4_3", (14, 14, 256), 590_080),
    ("block4_2.branch.conv4_4", (14, 14, 256), 590_080),
    ("block5_1.branch.conv5_1", (7, 7, 512), 1_180_160),
    ("block5_1.branch.conv5_2", (7, 7, 512), 2_359_808),
    ("block5_2.branch.conv5_3", (7, 7, 512), 2_359_808),
    ("block5_2.branch.conv5_4", (7, 7, 512), 2_359_808),
    ("avgpool", (1, 1, 512), 0),
    ("fc", (1000,), 513_000),
]


@pytest.mark.parametrize(
    ("build", "table", "total"),
    [(alexnet_2012, ALEXNET_TABLE, 62_378_344), (resnet18_table, RESNET18_TABLE, 11_511_784)],
)
def test_the_printed_tables(build, table, total) -> None:  # type: ignore[no-untyped-def]
    with without_weights():
        network = build().to("meta")
    names = [name for name, _, _ in table]
    shapes = output_shapes(network, names, 3, 227, 227)
    # The print says width, height, channels; a tensor has channels, height, width.
    assert {name: shape[::-1] for name, shape in shapes.items()} == {
        name: shape for name, shape, _ in table
    }
    assert {name: count_parameters(network.get_submodule(name)) for name in names} == {
        name: num_params for name, _, num_params in table
    }
    assert sum(num_params for _, _, num_params in table) == total == count_parameters(network)
    with_weights = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(with_weights) == sum(1 for _, _, num_params in table if num_params)


def test_alexnet_in_two_groups_as_in_the_paper() -> None:
    with without_weights():
        network = build_model("alexnet_2012", arguments={"groups": "2"})
    assert count_parameters(network) == 60_965_224


def test_response_normalisation_is_the_papers() -> None:
    x = torch.rand(1, 7, 2, 2)
    squares = torch.nn.functional.pad(x**2, (0, 0, 0, 0, 2, 2))
    around = torch.stack([squares[:, i : i + 5].sum(dim=1) for i in range(7)], dim=1)
    expected = x / (2 + 1e-4 * around) ** 0.75
    torch.testing.assert_close(alexnet_2012()[2](x), expected)


def test_lenet5_is_counted_by_hand() -> None:
    convolutions = (25 * 1 + 1) * 6 + (25 * 6 + 1) * 16 + (25 * 16 + 1) * 120
    by_hand = convolutions + (120 + 1) * 84 + (84 + 1) * 10
    assert count_parameters(lenet5()) == by_hand == 61_706
    assert count_parameters(lenet5_relu()) == by_hand
    kinds = [type(layer).__name__ for layer in lenet5()]
    assert kinds.count("Tanh") == 4
    assert kinds.count("AvgPool2d") == 2


def test_convnet3_flattens_576() -> None:
    shapes = output_shapes(convnet3(), [str(i) for i in (5, 7, 8)], 1, 28, 28)
    assert list(shapes.values()) == [(64, 6, 6), (64, 3, 3), (576,)]


def test_vgg16_cifar_has_the_convolutions_of_vgg16() -> None:
    with without_weights():
        published = build_model("vgg16")
        network = vgg16_cifar()
    ours = [m.weight.shape for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert ours == [m.weight.shape for m in published.modules() if isinstance(m, nn.Conv2d)]
    head = [m.weight.shape for m in network.modules() if isinstance(m, nn.Linear)]
    assert head == [(4096, 512), (4096, 4096), (10, 4096)]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.65, 0.65]


def test_googlenet_is_table_1() -> None:
    """The paper's table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection; output size."""
    rows = [
        ((64, 96, 128, 16, 32, 32), (256, 28)),
        ((128, 128, 192, 32, 96, 64), (480, 28)),
        ((192, 96, 208, 16, 48, 64), (512, 14)),
        ((160, 112, 224, 24, 64, 64), (512, 14)),
        ((128, 128, 256, 24, 64, 64), (512, 14)),
        ((112, 144, 288, 32, 64, 64), (528, 14)),
        ((256, 160, 320, 32, 128, 128), (832, 14)),
        ((256, 160, 320, 32, 128, 128), (832, 7)),
        ((384, 192, 384, 48, 128, 128), (1024, 7)),
    ]
    network = googlenet_plain()
    modules = [name for name, layer in network.named_children() if isinstance(layer, Inception)]
    shapes = output_shapes(network, modules, 3, 224, 224)
    assert [shape[:2] for shape in shapes.values()] == [size for _, size in rows]
    inputs = 192
    by_hand = (49 * 3 + 1) * 64 + (64 + 1) * 64 + (9 * 64 + 1) * 192
    for (maps1, reduce3, maps3, reduce5, maps5, pool), (outputs, _) in rows:
        assert maps1 + maps3 + maps5 + pool == outputs
        by_hand += (inputs + 1) * (maps1 + reduce3 + reduce5 + pool)
        by_hand += (9 * reduce3 + 1) * maps3 + (25 * reduce5 + 1) * maps5
        inputs = outputs
    by_hand += (1024 + 1) * 1000
    assert count_parameters(network) == by_hand == 6_998_552
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_resnet50_plain_is_resnet50_but_for_norms_biases_and_projections() -> None:
    with without_weights():
        published = build_model("resnet50")
        network = resnet50_plain().to("meta")
    norms = [m for m in published.modules() if isinstance(m, nn.BatchNorm2d)]
    biases = sum(norm.num_features for norm in norms)  # one a map, as a norm has two
    more = sum((maps + 1) * maps for maps in (256, 512, 1024, 2048))
    expected = count_parameters(published) - 2 * biases + biases + more
    assert count_parameters(network) == expected == 31_104_872
    shapes = output_shapes(
        network, [f"stage{n}" for n in ("1_2", "1_3", "2_4", "3_6", "4_3")], 3, 224, 224
    )
    assert list(shapes.values()) == [
        (256, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (1024, 7, 7),
        (2048, 7, 7),
    ]


@pytest.mark.parametrize(
    ("num_layers", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_cifar_networks_have_the_papers_layers_and_parameters(
    num_layers: int, millions: float
) -> None:
    with without_weights():
        network = build_model(f"resnet{num_layers}")
    with_weights = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(with_weights) == num_layers
    n = (num_layers - 2) // 6
    convolutions = 9 * (3 * 16 + 2 * n * 16 * 16 + 16 * 32 + (2 * n - 1) * 32 * 32)
    convolutions += 9 * (32 * 64 + (2 * n - 1) * 64 * 64)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    by_hand = convolutions + norms + 65 * 10
    assert count_parameters(network) == by_hand
    assert round(by_hand / 10**6, 1 if num_layers == 110 else 2) == millions


def test_plain_networks_lack_the_shortcuts_alone() -> None:
    plain, residual = plain56(), resnet56()
    assert not any(isinstance(m, ResidualBlock) for m in plain.modules())
    shapes = [p.shape for p in plain.parameters()]
    assert shapes == [p.shape for p in residual.parameters()]


def test_shortcuts_without_parameters_keep_every_second_pixel() -> None:
    x = torch.arange(2 * 4 * 4.0).reshape(1, 2, 4, 4)
    out = ParameterFreeShortcut(extra_channels=3)(x)
    assert out.shape == (1, 5, 2, 2)
    assert out[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert not out[0, 2:].any()
    assert ParameterFreeShortcut(0, first=1)(x)[0, 0].tolist() == [[5.0, 7.0], [13.0, 15.0]]


def test_one_sided_padding_matches_the_pixels_of_its_shortcut() -> None:
    """A kernel that is 1 in its middle alone is the shortcut, for even and odd sizes."""
    block = resnet18_table().get_submodule("block3_1")
    pad, convolution = block.get_submodule("branch.pad"), block.get_submodule("branch.conv3_1")
    assert isinstance(convolution, nn.Conv2d)
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    for channel in range(64):
        convolution.weight.data[channel, channel, 1, 1] = 1
    for size in (56, 7):
        x = torch.randn(1, 64, size, size)
        torch.testing.assert_close(convolution(pad(x)), block.get_submodule("shortcut")(x))


def test_kaiming_keeps_the_size_of_the_signal() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(256, 10))
    initialize_kaiming(network)
    x = torch.randn(512, 256)
    size = network[:-1](x).square().mean().sqrt()
    assert 0.5 < size < 2  # without it: 0.4 ** 20
    assert network[-1].weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("name", ["googlenet_plain", "resnet18_table", "resnet50_plain"])
def test_deep_networks_without_norm_start_near_a_guess(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name, num_classes=10).eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(torch.randn(8, 3, 96, 96)), torch.arange(8))
    assert loss < 2 * torch.tensor(10.0).log()
