"""Every module of a network as a row: its kind, shapes and costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from cnnkit.architecture.trace import LayerTrace, Trace
from cnnkit.models.layer_kinds import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS
from cnnkit.results.layer_tree import LayerRow

_KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": CONVOLUTIONS,
    "transposed conv": TRANSPOSED_CONVOLUTIONS,
    "max pool": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "avg pool": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
}
_ADAPTIVE: dict[str, tuple[type[nn.Module], ...]] = {
    "max pool": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    "avg pool": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
}
_PADS: tuple[type[nn.Module], ...] = tuple(
    getattr(nn, f"{kind}Pad{axes}d")
    for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
    for axes in (1, 2, 3)
)


def layer_rows(network: nn.Module, trace: Trace) -> tuple[LayerRow, ...]:
    """Return one row per module, parents before children, children in execution order.

    A parameter shared by several modules counts once, in the earliest of them.
    """
    order = {name: place for place, name in enumerate(trace.layers)}
    names = {id(module): name for name, module in network.named_modules()}
    counted: set[int] = set()
    rows = []
    for name, module in _in_order("", network, order, names):
        own = list({id(one): one for one in module.parameters(recurse=False)}.values())
        fresh = [one for one in own if id(one) not in counted]
        counted |= {id(one) for one in own}
        rows.append(_row(name, module, trace.layers.get(name, LayerTrace()), own, fresh))
    return tuple(rows)


def _in_order(
    name: str, module: nn.Module, order: Mapping[str, int], names: Mapping[int, str]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules in preorder, those that never ran behind those that did.

    A module that has several names gets only the earliest of them.
    """
    yield name, module
    prefix = f"{name}." if name else ""
    children = [
        (prefix + child, value)
        for child, value in module.named_children()
        if names[id(value)] == prefix + child
    ]

    def first_run(child: tuple[str, nn.Module]) -> int:
        inside = (names[id(one)] for one in child[1].modules())
        return min((order[one] for one in inside if one in order), default=len(order))

    for child_name, child in sorted(children, key=first_run):
        yield from _in_order(child_name, child, order, names)


def _row(
    name: str,
    module: nn.Module,
    trace: LayerTrace,
    own: Sequence[nn.Parameter],
    fresh: Sequence[nn.Parameter],
) -> LayerRow:
    kind = _kind(module)
    window = _window(module)
    return LayerRow(
        name=name,
        type=type(module).__name__,
        kind=kind,
        depth=name.count(".") + 1 if name else 0,
        count=trace.num_calls,
        input_shape=trace.input_shape,
        output_shape=trace.output_shape,
        kernel_size=window.get("kernel_size"),
        stride=window.get("stride"),
        padding=window.get("padding"),
        dilation=window.get("dilation"),
        groups=getattr(module, "groups", None) if kind in ("conv", "transposed conv") else None,
        params=sum(one.numel() for one in fresh),
        macs=trace.macs,
        flops=2 * trace.macs,
        activation_bytes=trace.activation_bytes,
        receptive_field=trace.receptive_field,
        jump=trace.jump,
        trainable=all(one.requires_grad for one in own) if own else None,
        trainable_params=sum(one.numel() for one in fresh if one.requires_grad),
        other_flops=trace.other_flops,
        shared=len(fresh) < len(own),
    )


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, _PADS):
        return "pad"
    for kind, classes in (*_KINDS.items(), *_ADAPTIVE.items()):
        if isinstance(module, classes):
            return kind
    return None


def _window(module: Any) -> dict[str, Any]:
    """Return kernel, stride, padding and dilation, each by axis; nothing where it has none."""
    if isinstance(module, _PADS):  # given from the last axis to the first, before and after
        ends: Any = module.padding
        pairs = list(zip(ends[::2], ends[1::2], strict=True))
        return {"padding": tuple((front + end) / 2 for front, end in reversed(pairs))}
    for kind, classes in _KINDS.items():
        for num_axes, one in enumerate(classes, start=1):
            if isinstance(module, one):
                return _sliding_window(module, kind, num_axes)
    return {}


def _sliding_window(module: Any, kind: str, num_axes: int) -> dict[str, Any]:
    def by_axis(value: Any) -> tuple[int, ...]:
        return (value,) * num_axes if isinstance(value, int) else tuple(value)

    kernel = by_axis(module.kernel_size)
    dilation = None if kind == "avg pool" else by_axis(module.dilation)
    padding: tuple[float, ...]
    if module.padding == "same":
        assert dilation is not None
        padding = tuple(d * (k - 1) / 2 for k, d in zip(kernel, dilation, strict=True))
    else:
        padding = (0,) * num_axes if module.padding == "valid" else by_axis(module.padding)
    return {
        "kernel_size": kernel,
        "stride": by_axis(module.stride),
        "padding": padding,
        "dilation": dilation,
    }
