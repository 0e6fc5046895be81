"""GoogLeNet as its paper draws it, which is not the `googlenet` of torchvision.

Source: Szegedy et al., Going Deeper with Convolutions (2014), table 1 and figure 2(b). The third
branch has true 5x5 convolutions (torchvision's has 3x3) and nothing is batch-normalized. Left out
are the two auxiliary heads, and the response normalization that figure 3 has and table 1 has not.
"""

import torch
from torch import Tensor, nn

from cnnkit.models.zoo.initialization import initialize_kaiming


class Inception(nn.Module):
    """Four branches side by side on the same input, their channels put one after the other.

    (N, in_channels, H, W) to (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W).

    Args:
        in_channels: channels of the input.
        ch1x1: channels of the 1x1 branch.
        ch3x3red: of the 1x1 that makes the 3x3 cheaper.
        ch3x3: of the 3x3 branch.
        ch5x5red: of the 1x1 that makes the 5x5 cheaper.
        ch5x5: of the 5x5 branch.
        pool_proj: of the 1x1 behind the max pooling.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
    ) -> None:
        super().__init__()
        self.branch1 = _convolution(in_channels, ch1x1, 1)
        self.branch3 = nn.Sequential(
            _convolution(in_channels, ch3x3red, 1), _convolution(ch3x3red, ch3x3, 3)
        )
        self.branch5 = nn.Sequential(
            _convolution(in_channels, ch5x5red, 1), _convolution(ch5x5red, ch5x5, 5)
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            _convolution(in_channels, pool_proj, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of all branches."""
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(x) for branch in branches], dim=1)


def googlenet_plain(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.4
) -> nn.Sequential:
    """Return GoogLeNet; (N, C, H, W) to (N, num_classes), native H = W = 224.

    Starting weights are Kaiming's.

    Args:
        num_classes: number of logits.
        in_channels: channels of an image.
        dropout: probability that an input of the linear layer is dropped.
    """
    network = nn.Sequential(
        _convolution(in_channels, 64, 7, stride=2),  # (N, 64, 112, 112)
        _halving_pool(),  # (N, 64, 56, 56)
        _convolution(64, 64, 1),
        _convolution(64, 192, 3),
        _halving_pool(),  # (N, 192, 28, 28)
        Inception(192, 64, 96, 128, 16, 32, 32),  # 3a
        Inception(256, 128, 128, 192, 32, 96, 64),  # 3b
        _halving_pool(),  # (N, 480, 14, 14)
        Inception(480, 192, 96, 208, 16, 48, 64),  # 4a
        Inception(512, 160, 112, 224, 24, 64, 64),  # 4b
        Inception(512, 128, 128, 256, 24, 64, 64),  # 4c
        Inception(512, 112, 144, 288, 32, 64, 64),  # 4d
        Inception(528, 256, 160, 320, 32, 128, 128),  # 4e
        _halving_pool(),  # (N, 832, 7, 7)
        Inception(832, 256, 160, 320, 32, 128, 128),  # 5a
        Inception(832, 384, 192, 384, 48, 128, 128),  # 5b, (N, 1024, 7, 7)
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(1024, num_classes),
    )
    initialize_kaiming(network)
    return network


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2),
        nn.ReLU(),
    )


def _halving_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
