"""A network for CIFAR-10 that learns in few epochs.

It puts together what the public speed runs found: a first layer that whitens patches and is not
trained, convolutions that begin as the identity, pooling before the norm, and a norm without a
scale.

Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (2024), arXiv:2404.00498, section 3;
Page, How to Train Your ResNet (2019), part 8, for the whitening.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH_SIZE = 2  # height and width of the patches of the whitening layer
LEAST_VARIANCE = 5e-4  # added to every one: what hardly varies is noise, and not blown up
NORM_MOMENTUM = 0.4  # a short training leaves the statistics of batch norm few steps to follow in
HEAD_SCALE = 1 / 9  # small logits: early on they are wrong, and large ones would shake the rest


class SpeedNet(nn.Sequential):
    """A network whose first layer is computed from training images, and then frozen."""

    def initialize_from(self, images: Tensor) -> None:
        """Set the first layer so that it whitens the patches of these images.

        What the first half of its filters finds is uncorrelated, with a variance of about 1. The
        second half is the first with the sign turned, for the activation that follows keeps little
        of what is negative.

        Args:
            images: of the training set, normalized, of shape (N, C, H, W).
        """
        whiten = self.get_submodule("whiten")
        assert isinstance(whiten, nn.Conv2d)
        filters = whitening_filters(images, PATCH_SIZE)
        with torch.no_grad():
            whiten.weight.copy_(torch.cat([filters, -filters]))


class Scale(nn.Module):
    """Multiplies by a number that is not trained.

    Args:
        factor: the number.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` times the factor, in the shape of `x`."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Return what `print` shows of it."""
        return f"{self.factor:.4g}"


def whitening_filters(images: Tensor, size: int) -> Tensor:
    """Return filters that make the patches of images uncorrelated.

    They are the eigenvectors of the covariance of the patches, each divided by the standard
    deviation along it; the one of the largest variance comes first. Each sums to 0 or more, so that
    their signs do not depend on the library that found them.

    Args:
        images: of shape (N, C, H, W).
        size: height and width of a patch.

    Returns:
        C * size**2 filters, of shape (C * size**2, C, size, size).
    """
    channels = images.shape[1]
    num_values = channels * size**2
    patches = functional.unfold(images, size).transpose(1, 2).reshape(-1, num_values)
    variances, vectors = torch.linalg.eigh(torch.cov(patches.T, correction=0).double())
    filters: Tensor = (vectors * (variances + LEAST_VARIANCE).rsqrt()).T.flip(0)
    filters = filters * torch.where(filters.sum(dim=1, keepdim=True) < 0, -1, 1)
    return filters.reshape(num_values, channels, size, size).to(images.dtype)


def speednet(
    num_classes: int = 10, in_channels: int = 3, widths: tuple[int, int, int] = (64, 256, 256)
) -> SpeedNet:
    """Return three groups of two convolutions; (N, C, H, W), native 32x32, to (N, num_classes).

    Training computes the first layer from images, by `SpeedNet.initialize_from`. Until then it has
    PyTorch's own starting weights.

    Args:
        num_classes: number of logits.
        in_channels: channels of an image.
        widths: channels of each group.

    Raises:
        ValueError: a group without channels.
    """
    if min(widths) < 1:
        raise ValueError("a group needs at least one channel")
    channels = 2 * in_channels * PATCH_SIZE**2
    whiten = nn.Conv2d(in_channels, channels, PATCH_SIZE)
    whiten.weight.requires_grad_(False)
    layers = OrderedDict[str, nn.Module](whiten=whiten, gelu=nn.GELU())
    for number, out_channels in enumerate(widths, start=1):
        layers[f"group{number}"] = _group(channels, out_channels)
        channels = out_channels
    layers["pool"] = nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes, bias=False)
    layers["scale"] = Scale(HEAD_SCALE)
    return SpeedNet(layers)


def _group(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=_convolution(channels, out_channels),
            pool=nn.MaxPool2d(2),
            norm1=_norm(out_channels),
            gelu1=nn.GELU(),
            conv2=_convolution(out_channels, out_channels),
            norm2=_norm(out_channels),
            gelu2=nn.GELU(),
        )
    )


def _convolution(channels: int, out_channels: int) -> nn.Conv2d:
    """Return a convolution whose first channels begin as those that it is given."""
    convolution = nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:channels])
    return convolution


def _norm(channels: int) -> nn.BatchNorm2d:
    """Return batch norm that is trained to shift, and not to scale."""
    norm = nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM)
    norm.register_parameter("weight", None)
    return norm
