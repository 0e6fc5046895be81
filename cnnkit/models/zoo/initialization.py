"""Starting weights for networks that have no batch normalization to rescue a bad start."""

from torch import nn


def initialize_kaiming(network: nn.Module) -> None:
    """Draw weights so that the signal keeps its size through every ReLU; biases start at 0.

    Convolutions and linear layers get normal weights of variance 2 / fan-in. The last linear layer
    gets a standard deviation of 0.01, so that the first logits are small and training does not
    begin by unlearning them.

    Source: He et al., Delving Deep into Rectifiers (2015), section 2.2, equation 10; the last layer
    as in Krizhevsky et al. (2012), section 5.
    """
    last = None
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Linear):
            last = layer
    if last is not None:
        nn.init.normal_(last.weight, std=0.01)
