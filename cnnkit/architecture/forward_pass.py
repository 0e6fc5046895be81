"""Running a network once, tracking which of its modules is running."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit.system.compat import fused_attention_on_meta, without_onednn


@dataclass(frozen=True)
class RunningModule:
    """A module that is running.

    Attributes:
        name: dotted; empty for the network itself.
        module: the module.
        input_shapes: of its input tensors.
    """

    name: str
    module: nn.Module
    input_shapes: tuple[tuple[int, ...], ...]


class ForwardError(Exception):
    """Raised if a network cannot be run.

    Attributes:
        at: the innermost module that was running.
        error: the exception.
    """

    def __init__(self, at: RunningModule, error: Exception) -> None:
        super().__init__(str(error))
        self.at = at
        self.error = error


class ModuleWatcher:
    """Called when a module begins and ends."""

    def entered(self, module: RunningModule) -> None:
        """Called before a module runs."""

    def left(self, module: RunningModule, output: object) -> None:
        """Called after a module has returned."""


def run_network(
    network: nn.Module,
    places: Sequence[Tensor],
    names: Mapping[str, Tensor],
    watcher: ModuleWatcher | None = None,
    mode: AbstractContextManager[object] | None = None,
) -> object:
    """Run a network and return its output.

    Its products can be counted: no operator hides those of an attention.

    Args:
        network: what to run; hooks are registered meanwhile.
        places: positional inputs.
        names: inputs by name.
        watcher: called for its modules.
        mode: sees its operators.

    Raises:
        ForwardError: the network failed.
    """
    running: list[RunningModule] = []
    with ExitStack() as contexts:
        contexts.enter_context(_hooked(network, running, watcher or ModuleWatcher()))
        contexts.enter_context(_without_fused_encoder())
        contexts.enter_context(without_onednn())  # it runs a recurrent layer as one operator
        contexts.enter_context(fused_attention_on_meta())
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
    """Maintain the stack of running modules, the innermost last."""
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
    """Disable the fast path of torch's encoder layers and attention, which hides their products."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
