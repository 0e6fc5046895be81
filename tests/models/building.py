"""What the tests of networks share: building without filling weights, and running once."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from cnnkit.models import MODELS

OWN = [one for one in MODELS.values() if one.builder.startswith("cnnkit.models.zoo.")]
TORCHVISION = [one for one in MODELS.values() if one.builder.startswith("torchvision.models:")]


@contextmanager
def without_weights() -> Iterator[None]:
    """Build networks whose parameters have shapes and no memory, which takes no time.

    `torch.device("meta")` alone does not serve: some builders compute with small tensors.
    """
    register = nn.Module.register_parameter

    def register_shape(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    with patch.object(nn.Module, "register_parameter", register_shape):
        yield


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def run_once(network: nn.Module, channels: int, height: int, width: int | None = None) -> Tensor:
    """Run a batch of two forward and backward in training, where the network is; return logits."""
    parameter = next(network.parameters())
    shape = (2, channels, height, width or height)
    # zeros on meta: there is no random generator for it
    make = torch.zeros if parameter.is_meta else torch.randn
    logits: Tensor = network.train()(make(shape, device=parameter.device))
    logits.sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    return logits


def output_shapes(network: nn.Module, names: list[str], *shape: int) -> dict[str, tuple[int, ...]]:
    """Return the shape (C, H, W) of the output of each named layer for an image of that shape."""
    shapes: dict[str, tuple[int, ...]] = {}

    def remember(name: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            shapes[name] = tuple(output.shape[1:])

        network.get_submodule(name).register_forward_hook(hook)

    for name in names:
        remember(name)
    network.eval()(torch.zeros(1, *shape, device=next(network.parameters()).device))
    return shapes
