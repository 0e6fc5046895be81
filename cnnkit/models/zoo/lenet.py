"""LeNet-5, as it was published and as it is taught today.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), section II.B.
As everywhere today, pooling has no weights of its own, the second convolution sees all six
channels, and the output is linear. Both keep PyTorch's own starting weights.
"""

from torch import Tensor, nn
from torch.nn import functional


class WholeConv2d(nn.Conv2d):
    """A convolution whose kernel is as large as its input: one matrix product.

    The same layer, weights and result as `nn.Conv2d`, for unpadded (N, C, h, w) with (h, w) the
    size of the kernel; libraries run it several times faster as the product that it is.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that nn.Conv2d gives it)
        """Return (N, out_channels, 1, 1)."""
        if input.shape[2:] != self.kernel_size:
            return super().forward(input)
        product = functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None]


def lenet5(num_classes: int = 10, in_channels: int = 1) -> nn.Sequential:
    """Return the classic: tanh and average pooling; (N, C, 32, 32) to (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, kernel_size=5),  # (N, 6, 28, 28)
        nn.Tanh(),
        nn.AvgPool2d(2),  # (N, 6, 14, 14)
        nn.Conv2d(6, 16, kernel_size=5),  # (N, 16, 10, 10)
        nn.Tanh(),
        nn.AvgPool2d(2),  # (N, 16, 5, 5)
        WholeConv2d(16, 120, kernel_size=5),  # (N, 120, 1, 1)
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
