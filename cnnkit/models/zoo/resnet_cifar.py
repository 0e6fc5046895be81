"""The residual networks for CIFAR, and the plain ones that they were compared with.

Source: He et al., Deep Residual Learning for Image Recognition (2015), section 4.2 and table 6.
Their parameters are counted there in millions: 0.27, 0.46, 0.66, 0.85, 1.7.
"""

from collections import OrderedDict

from torch import nn

from cnnkit.models.zoo.initialization import initialize_kaiming
from cnnkit.models.zoo.resnet import ParameterFreeShortcut, ResidualBlock


def resnet20(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return the residual network of 20 layers; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(20, num_classes, in_channels)


def resnet32(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return the residual network of 32 layers; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(32, num_classes, in_channels)


def resnet44(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return the residual network of 44 layers; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(44, num_classes, in_channels)


def resnet56(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return the residual network of 56 layers; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(56, num_classes, in_channels)


def resnet110(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return the residual network of 110 layers; (N, C, H, W), native 32x32, to (N, num_classes).

    The paper starts it with a learning rate of 0.01 until the training error is below 80 %.
    """
    return _network(110, num_classes, in_channels)


def plain20(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return `resnet20` without its shortcuts; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(20, num_classes, in_channels, residual=False)


def plain56(num_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Return `resnet56` without its shortcuts; (N, C, H, W), native 32x32, to (N, num_classes)."""
    return _network(56, num_classes, in_channels, residual=False)


def _network(
    num_layers: int, num_classes: int, in_channels: int, residual: bool = True
) -> nn.Sequential:
    """Three stages of 2n convolutions: 16, 32, 64 channels on 32x32, 16x16, 8x8; 6n + 2 layers."""
    blocks_a_stage = (num_layers - 2) // 6
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(in_channels, 16, kernel_size=3, padding=1, bias=False),
        norm1=nn.BatchNorm2d(16),
        relu1=nn.ReLU(),
    )
    channels = 16
    for stage, out_channels in enumerate((16, 32, 64), start=1):
        for number in range(1, blocks_a_stage + 1):
            layers[f"stage{stage}_{number}"] = _block(channels, out_channels, residual)
            channels = out_channels
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    network = nn.Sequential(layers)
    initialize_kaiming(network)
    return network


def _block(channels: int, out_channels: int, residual: bool) -> nn.Module:
    """Two convolutions; the first strides by 2 where the channels grow."""
    grows = out_channels > channels
    branch = nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, stride=2 if grows else 1, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    if not residual:
        return nn.Sequential(*branch, nn.ReLU())
    return ResidualBlock(
        branch, ParameterFreeShortcut(out_channels - channels) if grows else nn.Identity()
    )
