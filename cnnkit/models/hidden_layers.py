"""The layers of a network between the first and the last, whose weights muon trains."""

from torch import Tensor, nn

from cnnkit.errors import UsageError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def hidden_weights(model: nn.Module) -> list[Tensor]:
    """Return the trained weights of convolutions and linear layers but the first and the last.

    First and last are so in the order in which the network defines its layers, and whether or not
    they are trained.

    Raises:
        UsageError: there is none.
    """
    weights: dict[int, Tensor] = {
        id(layer.weight): layer.weight for layer in model.modules() if isinstance(layer, LAYERS)
    }
    hidden = [one for one in list(weights.values())[1:-1] if one.requires_grad]
    if not hidden:
        raise UsageError(
            "muon trains the layers between the first and the last, and none is trained here",
            "use --optimizer adamw or sgd",
        )
    return hidden
