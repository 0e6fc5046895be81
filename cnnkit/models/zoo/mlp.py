"""Networks without a convolution: what the others are measured against.

Both keep PyTorch's own starting weights.
"""

from typing import Literal

from torch import nn

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def linear(
    num_classes: int = 10, in_channels: int = 1, image_size: tuple[int, int] = (28, 28)
) -> nn.Sequential:
    """Return one linear layer on all pixels; (N, C, H, W) to (N, num_classes)."""
    height, width = image_size
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * height * width, num_classes))


def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: tuple[int, int] = (28, 28),
    hidden: tuple[int, ...] = (100,),
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return hidden linear layers on all pixels; (N, C, H, W) to (N, num_classes).

    Args:
        num_classes: number of logits.
        in_channels: channels of an image.
        image_size: height and width of an image.
        hidden: width of each hidden layer.
        activation: what follows each hidden layer.
        dropout: probability that a hidden unit is dropped in training; 0 leaves the layer out.

    Raises:
        ValueError: a hidden layer without units.
    """
    if any(width < 1 for width in hidden):
        raise ValueError("a hidden layer needs at least one unit")
    height, width = image_size
    layers: list[nn.Module] = [nn.Flatten()]
    num_inputs = in_channels * height * width
    for num_units in hidden:
        layers += [nn.Linear(num_inputs, num_units), _ACTIVATIONS[activation]()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        num_inputs = num_units
    return nn.Sequential(*layers, nn.Linear(num_inputs, num_classes))
