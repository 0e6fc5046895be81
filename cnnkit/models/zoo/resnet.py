"""Residual networks without batch normalization, as drawn in lectures.

Source: He et al., Deep Residual Learning for Image Recognition (2015), table 1, figures 3 and 5.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from cnnkit.models.zoo.initialization import initialize_kaiming


class ParameterFreeShortcut(nn.Module):
    """Option A of section 3.3: every second pixel, and channels of zeros up to the number wanted.

    (N, in_channels, H, W) to (N, out_channels, H / 2, W / 2).

    Args:
        extra_channels: how many channels of zeros are added.
        first: row and column of the first pixel that is kept, so that it is the one in the middle
            of the first 3x3 window of the convolutions that the shortcut leads around.
    """

    def __init__(self, extra_channels: int, first: int = 0) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, smaller and with more channels."""
        x = x[:, :, self.first :: 2, self.first :: 2]
        return functional.pad(x, (0, 0, 0, 0, 0, self.extra_channels))


class ResidualBlock(nn.Module):
    """`relu(branch(x) + shortcut(x))`: the branch learns what to add to its input.

    Args:
        branch: the layers; the last is a convolution or a batch normalization.
        shortcut: what brings the input to the branch's shape; the identity if it has it.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        out: Tensor = self.relu(self.branch(x) + self.shortcut(x))
        return out


def resnet50_plain(num_classes: int = 1000, in_channels: int = 3) -> nn.Sequential:
    """Return ResNet-50 without batch norm; (N, C, H, W) to (N, num_classes), native H = W = 224.

    Bottlenecks of 3, 4, 6, 3 with a bias in every convolution. Unlike in the paper, a stage gets
    smaller in its last block, not its first: the first has a 1x1 projection to its channels;
    the last of stages one to three strides by 2 in its first 1x1 and in a projection of its own;
    the last of stage four has a projection too.
    """
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3),  # (N, 64, 112, 112)
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),  # (N, 64, 56, 56)
    )
    channels = 64
    for stage, num_blocks in enumerate((3, 4, 6, 3), start=1):
        inner = 32 * 2**stage
        for number in range(1, num_blocks + 1):
            is_last = number == num_blocks
            layers[f"stage{stage}_{number}"] = _bottleneck(
                channels,
                inner,
                stride=2 if is_last and stage < 4 else 1,
                projects=number == 1 or is_last,
            )
            channels = 4 * inner
    layers["pool"] = nn.AdaptiveAvgPool2d(1)  # of (N, 2048, 7, 7)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    network = nn.Sequential(layers)
    _initialize_residual(network)
    return network


def resnet18_table(num_classes: int = 1000, in_channels: int = 3) -> nn.Sequential:
    """Return the ResNet-18 of a widely printed table of layers, which has 11,511,784 parameters.

    (N, C, H, W) to (N, num_classes), native H = W = 227. A bias in every convolution, no batch
    norm, shortcuts without parameters. The table's padding of 0.5 where the stride is 2 is one row
    and column of zeros at the bottom and on the right only; the first layer is padded by 1.
    """
    layers = OrderedDict[str, nn.Module](
        conv1=nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=1),  # (N, 64, 112, 112)
        relu1=nn.ReLU(),
        pad1=_pad_end(),  # behind a ReLU, so that a zero never wins in the pooling
        maxpool=nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 64, 56, 56)
    )
    channels = 64
    for stage in (2, 3, 4, 5):
        out_channels = 16 * 2**stage
        layers[f"block{stage}_1"] = _basic_block(
            channels, out_channels, f"conv{stage}_1", f"conv{stage}_2"
        )
        layers[f"block{stage}_2"] = _basic_block(
            out_channels, out_channels, f"conv{stage}_3", f"conv{stage}_4"
        )
        channels = out_channels
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)  # of (N, 512, 7, 7)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    network = nn.Sequential(layers)
    _initialize_residual(network)
    return network


def _bottleneck(channels: int, inner: int, stride: int, projects: bool) -> ResidualBlock:
    """(N, channels, H, W) to (N, 4 * inner, H / stride, W / stride) by 1x1, 3x3 and 1x1."""
    branch = nn.Sequential(
        nn.Conv2d(channels, inner, kernel_size=1, stride=stride),
        nn.ReLU(),
        nn.Conv2d(inner, inner, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(inner, 4 * inner, kernel_size=1),
    )
    shortcut = nn.Conv2d(channels, 4 * inner, kernel_size=1, stride=stride)
    return ResidualBlock(branch, shortcut if projects else nn.Identity())


def _basic_block(channels: int, out_channels: int, first: str, second: str) -> ResidualBlock:
    """(N, channels, H, W) to (N, out_channels, H, W), or half the size where the channels grow."""
    grows = out_channels > channels
    branch = OrderedDict[str, nn.Module]()
    if grows:
        branch["pad"] = _pad_end()
        branch[first] = nn.Conv2d(channels, out_channels, kernel_size=3, stride=2)
    else:
        branch[first] = nn.Conv2d(channels, out_channels, kernel_size=3, padding=1)
    branch["relu"] = nn.ReLU()
    branch[second] = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
    shortcut = ParameterFreeShortcut(out_channels - channels, first=1) if grows else nn.Identity()
    return ResidualBlock(nn.Sequential(branch), shortcut)


def _pad_end() -> nn.ZeroPad2d:
    return nn.ZeroPad2d((0, 1, 0, 1))


def _initialize_residual(network: nn.Module) -> None:
    """Draw Kaiming's weights, but let the sum over all blocks keep its size.

    Every block adds its branch to what came before, so that without batch norm the signal would
    double its variance in each; hence the last convolution of a branch is divided by the root of
    the number of blocks. A projection takes the place of the identity, so its gain is 1.
    """
    initialize_kaiming(network)
    blocks = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    for block in blocks:
        assert isinstance(block.branch, nn.Sequential)
        last = block.branch[-1]
        assert isinstance(last, nn.Conv2d)
        last.weight.data /= len(blocks) ** 0.5
        if isinstance(block.shortcut, nn.Conv2d):
            nn.init.kaiming_normal_(block.shortcut.weight, nonlinearity="linear")
