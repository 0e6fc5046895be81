"""LeNet-5, as it was published and as it is taught today.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), section II.B.
As everywhere today, pooling has no weights of its own, the second convolution sees all six maps,
and the output is linear. Both keep PyTorch's own starting weights.
"""

from torch import nn


def lenet5(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return the classic: tanh and average pooling; (N, C, 32, 32) to (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, kernel_size=5),  # (N, 6, 28, 28)
        nn.Tanh(),
        nn.AvgPool2d(2),  # (N, 6, 14, 14)
        nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
        nn.Tanh(),
        nn.AvgPool2d(2),  # (N, 16, 5, 5)
        nn.Conv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, num_classes),
    )


def lenet5_relu(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return the modern one: ReLU and max pooling; (N, C, 32, 32) to (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, kernel_size=5),  # (N, 6, 28, 28)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 6, 14, 14)
        nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (N, 16, 5, 5)
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )
