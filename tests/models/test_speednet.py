import pytest
import torch
from torch import nn
from torch.nn import functional

from cnnkit.errors import UsageError
from cnnkit.models import build_model
from cnnkit.models.zoo.speednet import SpeedNet, speednet, whitening_filters
from tests.models.building import output_shapes


def correlated_images(num_images: int = 200, channels: int = 3) -> torch.Tensor:
    """Return smooth noise, whose neighbours and channels resemble each other as in photographs."""
    torch.manual_seed(0)
    noise = torch.randn(num_images, channels, 14, 14)
    smooth = functional.avg_pool2d(noise, 3, stride=1)
    return 3 * (smooth + 0.5 * smooth.mean(dim=1, keepdim=True)) + 0.7


@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_filters_find_is_uncorrelated_with_variance_1(channels: int) -> None:
    images = correlated_images(channels=channels)
    filters = whitening_filters(images, 2)
    assert filters.shape == (4 * channels, channels, 2, 2)
    found = functional.conv2d(images, filters).transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.cov(found), torch.eye(4 * channels), atol=0.03, rtol=0)


def test_the_filters_are_those_of_an_independent_computation() -> None:
    images = correlated_images(50, 1).double()
    patches = torch.stack(
        [
            image[0, y : y + 2, x : x + 2].flatten()
            for image in images
            for y in range(11)
            for x in range(11)
        ]
    )
    centred = patches - patches.mean(dim=0)
    _, deviations, vectors = torch.linalg.svd(centred, full_matrices=False)
    variances = deviations**2 / len(patches)
    expected = vectors / (variances + 5e-4).sqrt()[:, None]
    expected *= torch.where(expected.sum(dim=1, keepdim=True) < 0, -1, 1)
    torch.testing.assert_close(whitening_filters(images, 2).flatten(1), expected)


def test_what_never_varies_is_not_blown_up() -> None:
    filters = whitening_filters(torch.full((4, 3, 8, 8), 0.5), 2)
    assert filters.isfinite().all()
    assert filters.flatten(1).norm(dim=1).max() < 5e-4**-0.5 * 1.001


def test_the_first_layer_has_both_signs_and_is_not_trained() -> None:
    network = speednet().to(memory_format=torch.channels_last)
    images = correlated_images()
    network.initialize_from(images)
    whiten = network.get_submodule("whiten")
    assert isinstance(whiten, nn.Conv2d)
    filters = whitening_filters(images, 2)
    torch.testing.assert_close(whiten.weight.detach(), torch.cat([filters, -filters]))
    assert whiten.weight.is_contiguous(memory_format=torch.channels_last)
    frozen = [name for name, one in network.named_parameters() if not one.requires_grad]
    assert frozen == ["whiten.weight"]
    network(images).sum().backward()
    assert whiten.weight.grad is None
    assert whiten.bias is not None
    assert whiten.bias.grad is not None


def test_its_parameters_are_counted_by_hand() -> None:
    whiten = 12 * 24 + 24
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 256 * 256 + 256 * 256 + 256 * 256)
    shifts = 2 * (64 + 256 + 256)
    assert sum(one.numel() for one in speednet().parameters()) == (
        whiten + convolutions + shifts + 256 * 10
    )
    assert "group1.norm1.weight" not in speednet().state_dict()


def test_pooling_comes_before_the_norm() -> None:
    names = ["whiten", "group1.conv1", "group1.pool", "group1.norm2", "group2", "group3", "pool"]
    shapes = output_shapes(speednet(), names, 3, 32, 32)
    assert list(shapes.values()) == [
        (24, 31, 31),
        (64, 31, 31),
        (64, 15, 15),
        (64, 15, 15),
        (256, 7, 7),
        (256, 3, 3),
        (256, 1, 1),
    ]
    for number in (1, 2, 3):
        group = speednet().get_submodule(f"group{number}")
        kinds = [type(layer).__name__ for layer in group.children()]
        assert kinds.index("MaxPool2d") < kinds.index("BatchNorm2d")


def test_convolutions_begin_as_the_identity() -> None:
    group = speednet().get_submodule("group1")
    x = torch.randn(2, 24, 8, 8)
    out = group.get_submodule("conv1")(x)
    torch.testing.assert_close(out[:, :24], x)
    assert out[:, 24:].abs().mean() > 0.01
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(group.get_submodule("conv2")(x), x)


def test_widths() -> None:
    network = build_model("speednet", num_classes=7, arguments={"widths": "8,16,24"})
    assert isinstance(network, SpeedNet)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(UsageError, match="speednet cannot be built with widths=8,0,8") as caught:
        build_model("speednet", arguments={"widths": "8,0,8"})
    assert caught.value.hint == "a group needs at least one channel"
    with pytest.raises(UsageError, match="give 3 values"):
        build_model("speednet", arguments={"widths": "8,16"})
