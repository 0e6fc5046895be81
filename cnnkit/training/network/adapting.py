"""What a recipe changes in a network before it is trained."""

from torch import nn

from cnnkit.architecture.layer_kinds import BATCH_NORMS, DROPOUTS
from cnnkit.errors import UsageError, setting
from cnnkit.runs.recipe import Recipe
from cnnkit.training.network.weights_file import last_layer


def adapt_network(network: nn.Module, recipe: Recipe, model: str) -> None:
    """Set what the recipe says of dropout and of frozen weights.

    Args:
        network: with its first weights.
        recipe: every setting.
        model: what the user calls the network.

    Raises:
        UsageError: it has no dropout layer.
    """
    if recipe.dropout is not None:
        layers = [layer for layer in network.modules() if isinstance(layer, DROPOUTS)]
        if not layers:
            raise UsageError(
                f"{model} has no dropout layer that {setting('dropout')} could set",
                "leave it out, or choose another network",
            )
        for layer in layers:
            layer.p = recipe.dropout
    if recipe.freeze:
        network.requires_grad_(False)
        network.get_submodule(last_layer(network)).requires_grad_(True)


def set_training_mode(network: nn.Module, recipe: Recipe) -> None:
    """Put a network into its training mode; frozen batch norm keeps the statistics that it has."""
    network.train()
    if recipe.freeze:
        for layer in network.modules():
            if isinstance(layer, BATCH_NORMS):
                layer.eval()
