"""Memory of a network: weights, activations saved by autograd, and optimizer state."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from cnnkit.architecture.forward_pass import run_network
from cnnkit.models.layer_kinds import hidden_weights
from cnnkit.system.compat import storage_key

# Tensors that an optimizer keeps for every parameter, of its shape and dtype: Adam two averages of
# the gradient, sgd its momentum, plain sgd nothing; muon one, and two
# for the parameters that AdamW trains.
NUM_STATES = {"adam": 2, "adamw": 2, "sgd": 1, "plain-sgd": 0, "muon": 2}


def bytes_by_dtype(network: nn.Module) -> dict[str, int]:
    """Return the bytes of parameters and buffers by dtype, each memory once."""
    found: dict[str, int] = {}
    storages = set()
    for tensor in [*network.parameters(), *network.buffers()]:
        if storage_key(tensor) not in storages:
            storages.add(storage_key(tensor))
            dtype = str(tensor.dtype).removeprefix("torch.")
            found[dtype] = found.get(dtype, 0) + tensor.untyped_storage().nbytes()
    return found


def optimizer_bytes(network: nn.Module, optimizer: str) -> int:
    """Return the bytes of an optimizer's state after its first step.

    Raises:
        UsageError: the network has no layer for the optimizer.
    """
    trained = [one for one in network.parameters() if one.requires_grad]
    hidden = hidden_weights(network) if optimizer == "muon" else []
    return NUM_STATES[optimizer] * _num_bytes(trained) - _num_bytes(hidden)


def saved_bytes(network: nn.Module, places: Sequence[Tensor], names: Mapping[str, Tensor]) -> int:
    """Return the bytes that autograd keeps for the backward pass of one forward pass in training.

    Every memory counts once, with all of its bytes; parameters and buffers, which are there
    anyway, do not. The network is left in training mode: pass a copy.

    Args:
        network: on the device of its inputs; meta is enough.
        places: positional inputs.
        names: inputs by name.

    Raises:
        ForwardError: the network failed.
    """
    own = {storage_key(one) for one in [*network.parameters(), *network.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # referenced, so that no address is reused

    def keep(tensor: Tensor) -> Tensor:
        key = storage_key(tensor)
        if key not in own:
            kept[key] = tensor.untyped_storage()
        return tensor

    network.train()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        run_network(network, places, names)
    return sum(storage.nbytes() for storage in kept.values())


def _num_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)
