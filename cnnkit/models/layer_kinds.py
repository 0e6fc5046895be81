"""Groups of torch's layer classes, for any number of axes."""

from torch import Tensor, nn

from cnnkit.errors import UsageError, setting

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED_LAYERS = (nn.Linear, *CONVOLUTIONS)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a network normalizes over the images of a batch."""
    return any(isinstance(one, BATCH_NORMS) for one in model.modules())


def hidden_weights(model: nn.Module) -> list[Tensor]:
    """Return the trained weights of convolutions and linear layers but the first and the last.

    First and last are so in the order in which the network defines its layers, and whether or not
    they are trained.

    Raises:
        UsageError: there is none.
    """
    weights: dict[int, Tensor] = {
        id(layer.weight): layer.weight
        for layer in model.modules()
        if isinstance(layer, WEIGHTED_LAYERS)
    }
    hidden = [one for one in list(weights.values())[1:-1] if one.requires_grad]
    if not hidden:
        raise UsageError(
            "muon trains the layers between the first and the last, and none is trained here",
            f"use {setting('optimizer')} adamw or sgd",
        )
    return hidden
