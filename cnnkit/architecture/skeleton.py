"""Networks on the meta device: parameters with shapes, but without memory."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from cnnkit.errors import UsageError

META = torch.device("meta")


def build_skeleton(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network of a builder on meta, or on the CPU if it cannot be built there.

    A builder that computes with real tensors as it goes (the RegNets of torchvision do) is tried
    once more with only the parameters on meta.

    Raises:
        Exception: whatever the builder raises on the CPU.
    """
    try:
        with META:
            return _on_meta(build())
    except Exception:  # of whatever kind: the same builder is given what it asked for
        try:
            with _parameters_on_meta():
                return _on_meta(build())
        except Exception:
            return build()


def skeleton_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network on meta that shares nothing with it.

    Raises:
        UsageError: it cannot be copied.
    """
    return _copied(network, lambda tensor: torch.empty_like(tensor, device=META), META)


def copy_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network with its weights.

    Raises:
        UsageError: it cannot be copied.
    """
    return _copied(network, torch.clone)


def _copied(
    network: nn.Module, replace: Callable[[Tensor], Tensor], device: torch.device | None = None
) -> nn.Module:
    """Return a deep copy of a network, each tensor in it replaced once.

    Args:
        network: what is copied.
        replace: makes the tensor that takes the place of another.
        device: of the tensors that are yet to get a shape; None for where they are.
    """
    # deepcopy asks this dictionary first, so that no tensor of the network is ever copied by it
    memo: dict[int, object] = {}
    for tensor in _tensors_of(network):
        if id(tensor) in memo:
            continue
        if is_lazy(tensor):  # of a lazy module: it has no shape yet
            is_parameter = isinstance(tensor, nn.Parameter)
            lazy: Any = UninitializedParameter if is_parameter else UninitializedBuffer
            memo[id(tensor)] = lazy(dtype=tensor.dtype, device=device or tensor.device)
            continue
        fresh = replace(tensor.detach())
        if isinstance(tensor, nn.Parameter):
            fresh = nn.Parameter(fresh, tensor.requires_grad)
        memo[id(tensor)] = fresh
    try:
        return copy.deepcopy(network, memo)
    except Exception as error:
        words = " ".join(str(error).split())
        raise UsageError(
            f"{type(network).__name__} cannot be copied: {words}",
            "give a function that makes it, as FILE.py:FUNCTION",
        ) from error


def _tensors_of(network: nn.Module) -> Iterator[Tensor]:
    """Yield parameters, buffers, and tensors that are plain attributes."""
    for module in network.modules():
        for values in (module._parameters, module._buffers, vars(module)):
            for value in values.values():
                if isinstance(value, Tensor):
                    yield value


def _on_meta(network: nn.Module) -> nn.Module:
    """Move to meta what a builder put elsewhere."""
    return network.to(META)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Put parameters on meta as they are registered; other tensors are real."""

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if is_lazy(parameter):
            return None
        return nn.Parameter(parameter.detach().to(META), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(on_meta)  # type: ignore[arg-type]  # it may return one
    try:
        yield
    finally:
        hook.remove()
