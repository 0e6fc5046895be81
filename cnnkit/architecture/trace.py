"""Trace of one forward pass: inputs, outputs, costs and memory of every layer."""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit.architecture.forward_pass import ModuleWatcher, RunningModule, run_network, tensors_in
from cnnkit.architecture.operator_fields import field_after
from cnnkit.architecture.operators import cost_of
from cnnkit.architecture.receptive_field import Field, UnknownFieldError
from cnnkit.system.compat import dispatch_mode, is_in_place, operator_name, storage_key

_DispatchMode: Any = dispatch_mode()


@dataclass
class LayerTrace:
    """The trace of one module; the values are its own, without those of its children.

    Attributes:
        input_shape: of the first tensor of its first call; None if there was none.
        output_shape: of the first tensor returned by its first call; likewise.
        num_calls: how often it ran.
        macs: multiply-accumulates.
        other_flops: other arithmetic.
        activation_bytes: bytes of the tensors that it wrote to new memory.
        receptive_field: pixels along a side that a value it returned sees; None where unknown.
        jump: pixels between two neighbors of its output; likewise.
    """

    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    num_calls: int = 0
    macs: int = 0
    other_flops: int = 0
    activation_bytes: int = 0
    receptive_field: int | None = None
    jump: int | float | None = None


@dataclass
class Trace:
    """The trace of a network.

    Attributes:
        layers: by name of the module, in the order in which they first ran.
        uncounted: how often an operator ran that has no rule for its cost.
        heavy: those of them that may well multiply and accumulate.
        peak_bytes: most bytes of tensors that lived at the same time, the inputs among them.
        num_weighted_layers: layers with weights on the longest way from input to output.
        uses_attention: whether a fused attention ran.
    """

    layers: dict[str, LayerTrace] = field(default_factory=dict)
    uncounted: Counter[str] = field(default_factory=Counter)
    heavy: set[str] = field(default_factory=set)
    peak_bytes: int = 0
    num_weighted_layers: int = 0
    uses_attention: bool = False


def trace_forward(
    network: nn.Module, places: Sequence[Tensor], names: Mapping[str, Tensor]
) -> Trace:
    """Run a network once in evaluation mode, and return its trace.

    The network is left in evaluation mode: pass a copy.

    Args:
        network: on the device of its inputs; meta is enough.
        places: positional inputs; the first of three dimensions or more is the image whose pixels
            are followed.
        names: inputs by name.

    Raises:
        ForwardError: the network failed.
    """
    tracer = _Tracer(network, [*places, *names.values()])
    with torch.no_grad():
        output = run_network(network.eval(), places, names, tracer, mode=tracer)
    depths = [seen.depth for seen in map(tracer.seen, tensors_in(output)) if seen is not None]
    tracer.trace.num_weighted_layers = max(depths, default=0)
    return tracer.trace


@dataclass(frozen=True)
class _Seen:
    """The depth and receptive field of a tensor that depends on the inputs.

    Attributes:
        depth: layers with weights on the longest way to it.
        field: which pixels its values see; None where unknown, or where there is no image.
    """

    depth: int
    field: Field | None


class _Tracer(_DispatchMode, ModuleWatcher):  # type: ignore[misc]  # of torch
    """Counts every operator for the module that runs it."""

    supports_higher_order_operators = True

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.trace = Trace()
        self._running: list[LayerTrace] = []
        # By storage: what is known of the tensors in it, by their place and shape. A view made by
        # torch is often another Python object, so that the tensors themselves are no keys.
        self._seen: dict[int, dict[Any, _Seen]] = {}
        self._spoiled: dict[int, int] = {}  # storages written to in part: the depth
        weights = [*network.parameters(), *network.buffers()]
        self._weights = {storage_key(one) for one in weights}
        self._live: dict[int, int] = {}
        self._live_bytes = 0
        image = next((one for one in inputs if one.dim() >= 3 and one.is_floating_point()), None)
        for one in inputs:
            self._watch_storage(one)
            self._remember(one, _Seen(0, Field.of_image(one.shape) if one is image else None))

    def entered(self, module: RunningModule) -> None:
        layer = self.trace.layers.setdefault(module.name, LayerTrace())
        if layer.num_calls == 0:
            layer.input_shape = next(iter(module.input_shapes), None)
        layer.num_calls += 1
        self._running.append(layer)

    def left(self, module: RunningModule, output: object) -> None:
        layer = self._running.pop()
        first = next(tensors_in(output), None)
        if first is None or layer.output_shape is not None:
            return
        layer.output_shape = tuple(first.shape)
        seen = self.seen(first)
        if seen is not None and seen.field is not None:
            layer.receptive_field = seen.field.receptive_field
            layer.jump = seen.field.jump

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and operator not in _WHOLE:
            with self:  # in inference mode operators come before they are taken apart
                parts = operator.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        given = list(tensors_in((args, kwargs)))  # what is known of them, before they are changed
        seen = {place: one for place, t in enumerate(given) if (one := self.seen(t)) is not None}
        out = operator(*args, **kwargs)
        name = operator_name(operator)
        cost = cost_of(operator, args, kwargs, out)
        if not cost.is_counted:
            self.trace.uncounted[name] += 1
            if cost.is_heavy:
                self.trace.heavy.add(name)
        layer = self._running[-1]
        layer.macs += cost.macs
        layer.other_flops += cost.other_flops
        outputs = list(tensors_in(out))
        for place, tensor in enumerate(outputs):
            is_new = self._watch_storage(tensor)
            if is_new and seen and place == 0:
                layer.activation_bytes += tensor.untyped_storage().nbytes()
        if not seen:
            return out
        has_weights = cost.macs > 0 and len(seen) < len(given)
        depth = max(one.depth for one in seen.values()) + has_weights
        for tensor in outputs:
            field = None
            if tensor.dim() == outputs[0].dim():  # others hold statistics and the like
                field = self._field_after(name, operator, args, kwargs, tensor, seen)
            self._remember(tensor, _Seen(depth, field))
            self._spoil(operator, tensor, depth)
        return out

    def _field_after(
        self,
        name: str,
        operator: Any,
        args: Any,
        kwargs: Any,
        out: Tensor,
        seen: Mapping[int, _Seen],
    ) -> Field | None:
        fields = {place: one.field for place, one in seen.items() if one.field is not None}
        if len(fields) < len(seen):
            return None
        try:
            return field_after(name, operator, args, kwargs, out, fields)
        except UnknownFieldError:
            return None

    def seen(self, tensor: Tensor) -> _Seen | None:
        """Return what is known of a tensor; None where it does not depend on the inputs."""
        key = storage_key(tensor)
        if key in self._spoiled:
            return _Seen(self._spoiled[key], None)
        return self._seen.get(key, {}).get(_place_in_storage(tensor))

    def _remember(self, tensor: Tensor, seen: _Seen) -> None:
        self._seen.setdefault(storage_key(tensor), {})[_place_in_storage(tensor)] = seen

    def _spoil(self, operator: Any, tensor: Tensor, depth: int) -> None:
        """Mark a tensor as partly overwritten: its receptive field is unknown."""
        key = storage_key(tensor)
        is_part = tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes()
        if key in self._spoiled or (is_in_place(operator) and is_part):
            self._spoiled[key] = max(depth, self._spoiled.get(key, 0))

    def _watch_storage(self, tensor: Tensor) -> bool:
        """Count a storage as long as it lives; return whether it is new."""
        key = storage_key(tensor)
        if key in self._live or key in self._weights:
            return False
        storage = tensor.untyped_storage()
        self._live[key] = storage.nbytes()
        self._live_bytes += storage.nbytes()
        self.trace.peak_bytes = max(self.trace.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._forget_storage, key).atexit = False
        return True

    def _forget_storage(self, key: int) -> None:
        self._live_bytes -= self._live.pop(key)
        self._seen.pop(key, None)
        self._spoiled.pop(key, None)


_WHOLE = {torch.ops.prim.device.default}


def _place_in_storage(tensor: Tensor) -> tuple[object, ...]:
    return (tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
