"""Running a network once, knowing which of its modules is at work."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class RunningModule:
    """A module at work.

    Attributes:
        name: dotted; empty for the network itself.
        module: the module.
        input_shapes: of the tensors that it was given.
    """

    name: str
    module: nn.Module
    input_shapes: tuple[tuple[int, ...], ...]


class ForwardError(Exception):
    """A network could not be run.

    Attributes:
        at: the innermost module that was at work.
        error: what went wrong.
    """

    def __init__(self, at: RunningModule, error: Exception) -> None:
        super().__init__(str(error))
        self.at = at
        self.error = error


class ModuleWatcher:
    """Is told when a module begins and ends."""

    def entered(self, module: RunningModule) -> None:
        """A module begins."""

    def left(self, module: RunningModule, output: object) -> None:
        """A module has returned."""


def run_network(
    network: nn.Module,
    places: Sequence[Tensor],
    names: Mapping[str, Tensor],
    watcher: ModuleWatcher | None = None,
    mode: TorchDispatchMode | None = None,
) -> object:
    """Run a network and return its output.

    Its products can be counted: no operator hides those of an attention.

    Args:
        network: what to run; it is given hooks for the time.
        places: inputs by place.
        names: inputs by name.
        watcher: told about its modules.
        mode: sees its operators.

    Raises:
        ForwardError: the network failed.
    """
    running: list[RunningModule] = []
    with ExitStack() as contexts:
        contexts.enter_context(_hooked(network, running, watcher or ModuleWatcher()))
        contexts.enter_context(_without_fused_encoder())
        contexts.enter_context(_fused_attention_on_meta())
        contexts.enter_context(mode or nullcontext())
        try:
            return network(*places, **names)
        except Exception as error:
            at = running[-1] if running else RunningModule("", network, ())
            raise ForwardError(at, error) from error


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in lists, tuples, dictionaries and dataclasses, however deep."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for one in dataclasses.fields(value):
            yield from tensors_in(getattr(value, one.name))


@contextmanager
def _hooked(
    network: nn.Module, running: list[RunningModule], watcher: ModuleWatcher
) -> Iterator[None]:
    """Keep the list of modules at work, the innermost last."""
    names = {id(module): name for name, module in network.named_modules()}

    def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
        shapes = tuple(tuple(tensor.shape) for tensor in tensors_in((args, kwargs)))
        running.append(RunningModule(names[id(module)], module, shapes))
        watcher.entered(running[-1])

    def end(module: nn.Module, args: Any, kwargs: Any, output: object) -> None:
        watcher.left(running.pop(), output)

    handles = []
    try:
        for module in network.modules():
            handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            handles.append(module.register_forward_hook(end, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _without_fused_encoder() -> Iterator[None]:
    """Keep torch from a path of its encoder layers and attention that hides their products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _fused_attention_on_meta() -> Iterator[None]:
    """Compute attention on meta by the operator that the CPU uses, much as GPUs do.

    Left alone, torch writes the matrices of attention out on meta, which no device does. A function
    mode of torch would not see the calls from within `multi_head_attention_forward`.
    """
    attend = functional.scaled_dot_product_attention

    def attend_fused(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if (
            query.is_meta
            and query.dim() == 4
            and query.shape[-1] == value.shape[-1]
            and query.shape[:2] == key.shape[:2] == value.shape[:2]
            and attn_mask is None
            and not dropout_p
        ):
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            out: Tensor = fused(query, key, value, 0.0, is_causal, scale=scale)[0]
            return out
        return attend(
            query,
            key,
            value,
            attn_mask=attn_mask,
            dropout_p=dropout_p,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
        )

    with patch.object(functional, "scaled_dot_product_attention", attend_fused):
        yield
