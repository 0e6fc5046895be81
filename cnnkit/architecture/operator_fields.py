"""Propagation of the receptive field through each operator of torch."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from cnnkit.architecture.operators import is_pointwise
from cnnkit.architecture.receptive_field import Field, UnknownFieldError, merged, merged_axis

Fields = Mapping[int, Field]


def field_after(
    name: str,
    operator: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: Tensor,
    fields: Mapping[int, Field],
) -> Field:
    """Return the receptive field of an operator's output.

    Args:
        name: of the operator, see `operator_name`.
        operator: the overload.
        args: its arguments.
        kwargs: likewise.
        out: its output, or its first.
        fields: those of the tensors among the arguments, by position (a list's tensors in order);
            a tensor without one does not depend on the image.

    Raises:
        UnknownFieldError: no rule, or none that is simple.
    """
    follow = _RULES.get(name)
    if follow is not None:
        if 0 not in fields and name not in _ANY_PLACE:
            raise UnknownFieldError
        return follow(args, kwargs, out, fields)
    if is_pointwise(operator) or name in _SAME:
        field = merged(list(fields.values()))
        if len(field.dims) < out.dim():  # a constant of more dimensions
            missing = (frozenset[int](),) * (out.dim() - len(field.dims))
            field = field.with_dims((*missing, *field.dims))
        return _broadcast(field, out.shape)
    raise UnknownFieldError


def _broadcast(field: Field, shape: Sequence[int]) -> Field:
    """Return the field of a tensor that was repeated along the dimensions where it had size 1."""
    for dim, runs in enumerate(field.dims):
        for number in runs:
            axis = field.axes[number]
            if axis.kind == "sliding" and axis.size == 1 and shape[dim] > 1:
                field = field.with_axis(number, axis.hull())
    return field


def _sides(value: Any, num_axes: int, default: int | Sequence[int] = 0) -> list[int]:
    if value is None or (isinstance(value, list | tuple) and not value):
        value = default
    if isinstance(value, int):
        return [value] * num_axes
    return [int(one) for one in value] * (num_axes if len(value) == 1 else 1)


def _convolution(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    if 1 in fields:
        raise UnknownFieldError
    x, weight, _, stride, padding, dilation, transposed = args[:7]
    num_axes = weight.dim() - 2
    if x.dim() != num_axes + 2:
        raise UnknownFieldError
    field = fields[0].collapsed([1])
    sides = [_sides(value, num_axes) for value in (stride, padding, dilation)]
    for place in range(num_axes):
        dim = place + 2
        number = field.axis_along(dim)
        if number is None:
            continue
        s, p, d = (side[place] for side in sides)
        kernel, size = weight.shape[dim], out.shape[dim]
        axis = field.axes[number]
        after = (
            axis.enlarged(kernel, s, p, d, size)
            if transposed
            else axis.window(kernel, s, p, d, size)
        )
        field = field.with_axis(number, after)
    return field


def _pooling(
    args: Any, kwargs: Any, out: Tensor, fields: Fields, *, num_axes: int, dilates: bool
) -> Field:
    """Follow `max_poolNd_with_indices(x, kernel, stride, padding, dilation)` and `avg_poolNd`."""
    named = dict(zip(("kernel_size", "stride", "padding", "dilation"), args[1:], strict=False))
    named |= kwargs
    kernels = _sides(named["kernel_size"], num_axes)
    strides = _sides(named.get("stride"), num_axes, kernels)
    paddings = _sides(named.get("padding"), num_axes)
    dilations = _sides(named.get("dilation") if dilates else 1, num_axes, 1)
    field = fields[0]
    for place in range(1, num_axes + 1):
        number = field.axis_along(-place)
        if number is not None:
            window = (kernels[-place], strides[-place], paddings[-place], dilations[-place])
            axis = field.axes[number].window(*window, out.shape[-place])
            field = field.with_axis(number, axis)
    return field


def _adaptive_pooling(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    """Follow windows from floor(i * n / m) to ceil((i + 1) * n / m)."""
    field = fields[0]
    sizes = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    for place in range(1, len(sizes) + 1):
        number = field.axis_along(-place)
        if number is None:
            continue
        axis, old, new = field.axes[number], args[0].shape[-place], out.shape[-place]
        if new == 1:
            field = field.with_axis(number, axis.hull())
        elif old % new == 0:
            after = axis.window(old // new, old // new, 0, 1, new)
            field = field.with_axis(number, after)
        elif axis.kind != "fixed":
            raise UnknownFieldError
    return field


def _reduction(args: Any, kwargs: Any, out: Tensor, fields: Fields) -> Field:
    x = args[0]
    dims = None
    for value in (*args[1:], kwargs.get("dim")):
        if isinstance(value, int | list | tuple) and not isinstance(value, bool):
            dims = [value] if isinstance(value, int) else list(value)
    gone = {dim % x.dim() for dim in (dims or range(x.dim()))}
    field = fields[0].collapsed(sorted(gone))
    kept = [frozenset() if dim in gone else runs for dim, runs in enumerate(field.dims)]
    if out.dim() < x.dim():
        kept = [runs for dim, runs in enumerate(kept) if dim not in gone]
    return field.with_dims(kept)


def _norm_of_layer(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    field = fields[0]
    return field.collapsed([-place for place in range(1, len(args[1]) + 1)])


def _norm_of_groups(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    return fields[0].collapsed(range(1, args[0].dim()))


def _softmax(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    return fields[0].collapsed([args[1]])


def _permutation(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    return fields[0].with_dims([fields[0].dims[dim] for dim in args[1]])


def _transposition(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    dims = list(fields[0].dims)
    a, b = args[1:3] if len(args) > 2 else (0, -1)
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    return fields[0].with_dims(dims)


def _view(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    """Follow a change of shape: dimensions that stay keep their axis, others are reshaped."""
    field, old, new = fields[0], args[0].shape, out.shape
    dims = [frozenset[int]()] * len(new)
    i = j = 0
    while i < len(old) or j < len(new):
        first_old, first_new = i, j
        num_old = num_new = 1
        while True:  # the smallest block of old and new dimensions with as many values
            if num_old <= num_new and i < len(old):
                num_old, i = num_old * old[i], i + 1
            elif j < len(new):
                num_new, j = num_new * new[j], j + 1
            else:
                num_old, i = num_old * old[i], i + 1
            if num_old == num_new and (num_new > 1 or (i == len(old) and j == len(new))):
                break
        block = _laid_out_anew(field, old, range(first_old, i), new, range(first_new, j))
        field, laid_out = block
        dims[first_new:j] = laid_out
    return field.with_dims(dims)


def _laid_out_anew(
    field: Field, old: Sequence[int], olds: range, new: Sequence[int], news: range
) -> tuple[Field, list[frozenset[int]]]:
    """Return the field, and the axes of new dimensions that hold the values of old ones."""
    nothing = frozenset[int]()
    runs = nothing.union(*(field.dims[dim] for dim in olds))
    wide_old = [dim for dim in olds if old[dim] > 1]
    wide_new = [dim for dim in news if new[dim] > 1]
    if not wide_new:  # one position is left of each axis, or was all along
        for number in runs:
            field = field.with_axis(number, field.axes[number].hull())
        return field, [nothing for _ in news]
    if len(wide_old) == len(wide_new) == 1 and runs == field.dims[wide_old[0]]:
        return field, [runs if dim in wide_new else nothing for dim in news]
    for sizes, apart in field.layouts:
        is_one = len(wide_old) == 1 and runs == nothing.union(*apart)
        if is_one and sizes == tuple(new[dim] for dim in wide_new):
            for number in runs:
                field = field.with_axis(number, field.axes[number].in_order())
            places = iter(apart)
            return field, [next(places) if dim in wide_new else nothing for dim in news]
    if len(wide_new) == 1:
        layout = (tuple(old[dim] for dim in wide_old), tuple(field.dims[dim] for dim in wide_old))
        kinds = {field.axes[number].kind for number in runs}
        if kinds == {"sliding"} and sum(map(len, layout[1])) == len(runs):
            field = dataclasses.replace(field, layouts=(layout,))
    for number in runs:
        field = field.with_axis(number, field.axes[number].scattered())
    return field, [runs if dim in wide_new else nothing for dim in news]


def _restrided(_args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    if out.dim() != len(fields[0].dims):
        raise UnknownFieldError
    return fields[0]


def _expansion(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    missing = (frozenset[int](),) * (out.dim() - args[0].dim())
    return _broadcast(fields[0].with_dims((*missing, *fields[0].dims)), out.shape)


def _unsqueezed(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    dims = list(fields[0].dims)
    dims.insert(args[1] % out.dim(), frozenset())
    return fields[0].with_dims(dims)


def _squeezed(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    x, field = args[0], fields[0]
    if out.dim() == x.dim():
        return field
    given = args[1] if len(args) > 1 else range(x.dim())
    gone = {dim % x.dim() for dim in ([given] if isinstance(given, int) else given)}
    gone = {dim for dim in gone if x.shape[dim] == 1}
    for number in frozenset[int]().union(*(field.dims[dim] for dim in gone)):
        field = field.with_axis(number, field.axes[number].hull())
    return field.with_dims([runs for dim, runs in enumerate(field.dims) if dim not in gone])


def _slice(args: Any, kwargs: Any, out: Tensor, fields: Fields) -> Field:
    named: dict[str, Any] = {"dim": 0, "start": None, "end": None, "step": 1} | dict(kwargs)
    named |= dict(zip(("dim", "start", "end", "step"), args[1:], strict=False))
    dim = named["dim"] % out.dim()
    if out.shape[dim] == args[0].shape[dim]:
        return fields[0]
    start = named["start"] or 0
    start = start + args[0].shape[dim] if start < 0 else start
    return _taken(fields[0], dim, start, named["step"], out.shape[dim])


def _taken(field: Field, dim: int, first: int, step: int, size: int) -> Field:
    number = field.axis_along(dim)
    if number is None:
        return field
    return field.with_axis(number, field.axes[number].shifted(first, step, size))


def _selection(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    dim, index = args[1] % args[0].dim(), args[2]
    index = index + args[0].shape[dim] if index < 0 else index
    field = _taken(fields[0], dim, index, 1, 1).collapsed([dim])
    return field.with_dims([runs for d, runs in enumerate(field.dims) if d != dim])


def _split(args: Any, kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    if fields[0].dims[dim]:
        raise UnknownFieldError  # the parts would see different pixels
    return fields[0]


def _unbinding(args: Any, kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % args[0].dim()
    if fields[0].dims[dim]:
        raise UnknownFieldError
    return fields[0].with_dims([runs for d, runs in enumerate(fields[0].dims) if d != dim])


def _concatenation(args: Any, kwargs: Any, out: Tensor, fields: Fields) -> Field:
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.dim()
    field = merged(list(fields.values()))
    if any(field.axes[number].kind == "sliding" for number in field.dims[dim]):
        raise UnknownFieldError
    return field


def _padding(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    field = fields[0]
    for place, front in enumerate(args[1][::2], start=1):
        if args[0].shape[-place] != out.shape[-place] or front:
            field = _taken(field, out.dim() - place, -front, 1, out.shape[-place])
    return field


def _product(args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    """Follow `mm(a, b)` and `bmm(a, b)`: the last dimension of a, the last but one of b go."""
    a, b = fields.get(0), fields.get(1)
    nothing = frozenset[int]()
    if a is not None and b is not None:
        a, b = a.collapsed([-1]), b.collapsed([-2])
        axes = []
        for number, (one, other) in enumerate(zip(a.axes, b.axes, strict=True)):
            both = number in a.dims[-2] and number in b.dims[-1]
            if both:  # a value sees two places, all of which are mixed by what follows
                one, other = one.hull(), other.hull()
            axes.append(merged_axis(one, other))
        return Field((*a.dims[:-1], b.dims[-1]), tuple(axes))
    if a is not None:
        field = a.collapsed([-1])
        return field.with_dims((*field.dims[:-1], nothing))
    assert b is not None
    field = b.collapsed([-2])
    return field.with_dims((*field.dims[:-2], nothing, field.dims[-1]))


def _product_with_bias(args: Any, kwargs: Any, out: Tensor, fields: Fields) -> Field:
    if 0 in fields:
        raise UnknownFieldError
    return _product(args[1:], kwargs, out, {place - 1: one for place, one in fields.items()})


def _attention(_args: Any, _kwargs: Any, _out: Tensor, fields: Fields) -> Field:
    """Follow attention of (N, heads, tokens, width): each token sees what all of them see."""
    if not {0, 1, 2} <= fields.keys():
        raise UnknownFieldError
    query, key, value = fields[0], fields[1].collapsed([-2]), fields[2].collapsed([-2])
    axes = tuple(
        merged_axis(merged_axis(q.hull(), k), v)
        for q, k, v in zip(query.axes, key.axes, value.axes, strict=True)
    )
    return Field(query.dims, axes)


def _nearest(args: Any, _kwargs: Any, out: Tensor, fields: Fields) -> Field:
    field = fields[0]
    for place in range(1, out.dim() - 1):
        number = field.axis_along(-place)
        if number is None:
            continue
        old, new = args[0].shape[-place], out.shape[-place]
        if new % old:
            raise UnknownFieldError
        factor = new // old
        axis = field.axes[number].enlarged(factor, factor, 0, 1, new)
        field = field.with_axis(number, axis)
    return field


# Outputs at the same places as their inputs, which carry no tag that says so.
_SAME = frozenset(
    (
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_with_update",
        "cudnn_batch_norm",
        "native_dropout",
        "alias",
        "clone",
        "copy_",
        "detach",
        "lift_fresh",
        "_to_copy",
    )
)
# Operators whose first argument may well not depend on the image.
_ANY_PLACE = frozenset(("cat", "mm", "bmm", "addmm", "baddbmm"))

_RULES: dict[str, Callable[..., Field]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": partial(_pooling, num_axes=2, dilates=True),
    "max_pool3d_with_indices": partial(_pooling, num_axes=3, dilates=True),
    "avg_pool2d": partial(_pooling, num_axes=2, dilates=False),
    "avg_pool3d": partial(_pooling, num_axes=3, dilates=False),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d"), _adaptive_pooling
    ),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "linalg_vector_norm", "var"), _reduction),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _norm_of_layer),
    "native_group_norm": _norm_of_groups,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    "permute": _permutation,
    **dict.fromkeys(("t", "transpose"), _transposition),
    **dict.fromkeys(("view", "_unsafe_view", "_reshape_alias"), _view),
    "as_strided_": _restrided,
    "expand": _expansion,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "slice": _slice,
    "select": _selection,
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    "unbind": _unbinding,
    "cat": _concatenation,
    **dict.fromkeys(
        ("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"), _padding
    ),
    **dict.fromkeys(("mm", "bmm"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _product_with_bias),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
        ),
        _attention,
    ),
    "upsample_nearest2d": _nearest,
}
