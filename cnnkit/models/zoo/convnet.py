"""Small convolutional networks: the two that lectures start with, and one made to learn quickly.

All keep PyTorch's own starting weights.
"""

from torch import nn

FAST_MOMENTUM = 0.2  # a short training leaves the statistics of batch norm few steps to follow in


def convnet2(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return two convolutions and a linear layer; (N, C, 28, 28) to (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 10, kernel_size=5),  # (N, 10, 24, 24)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 10, 12, 12)
        nn.Conv2d(10, 20, kernel_size=5),  # (N, 20, 8, 8)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 20, 4, 4)
        nn.Flatten(),
        nn.Linear(320, num_classes),
    )


def convnet3(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return three convolutions and two linear layers; (N, C, 28, 28) to (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, kernel_size=5),  # (N, 16, 24, 24)
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=5),  # (N, 32, 20, 20)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 32, 10, 10)
        nn.Conv2d(32, 64, kernel_size=5),  # (N, 64, 6, 6)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 64, 3, 3)
        nn.Flatten(),
        nn.Linear(576, 100),
        nn.ReLU(),
        nn.Linear(100, num_classes),
    )


def convnet_fast(
    num_classes: int = 10, in_channels: int = 1, image_size: tuple[int, int] = (28, 28)
) -> nn.Sequential:
    """Return three convolutions that learn MNIST in one epoch; (N, C, H, W) to (N, num_classes).

    What costs most on a processor is what is done on many pixels: so the first layer takes every
    second place, and pooling comes before the norm.
    """
    height, width = (((size - 3) // 2 - 2) // 2 - 2 for size in image_size)
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, kernel_size=5, stride=2, bias=False),  # (N, 16, 12, 12)
        nn.BatchNorm2d(16, momentum=FAST_MOMENTUM),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, bias=False),  # (N, 32, 10, 10)
        nn.MaxPool2d(2),  # (N, 32, 5, 5)
        nn.BatchNorm2d(32, momentum=FAST_MOMENTUM),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, bias=False),  # (N, 64, 3, 3)
        nn.BatchNorm2d(64, momentum=FAST_MOMENTUM),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * height * width, num_classes),
    )
