"""Cost of the operators of torch: multiply-accumulates, other work, or unknown.

Every formula is here, so that no count depends on the installed version of torch; the tests compare
them with `torch.utils.flop_counter`, which counts two FLOPs for a multiply-accumulate (MAC) and
knows other operators in every version. Arithmetic beside products is counted separately, by the
rules of `_other_flops`; what has no rule is reported as uncounted, never as 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from cnnkit.system.compat import operator_name, overload_name

_aten = torch.ops.aten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _convolution_macs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: object,
    padding: object,
    dilation: object,
    transposed: bool,
    *_: object,
    out: Tensor,
    **__: object,
) -> int:
    """Return the MACs of a convolution of weights (C_out, C_in / groups, *kernel).

    A convolution multiplies every tap at each output; a transposed one, of weights (C_in,
    C_out / groups, *kernel), at each input.
    """
    return (x if transposed else out).numel() * prod(weight.shape[1:])


def _plain_convolution_macs(
    x: Tensor, weight: Tensor, *_: object, out: Tensor, **__: object
) -> int:
    return out.numel() * prod(weight.shape[1:])


def _attention_macs(
    query: Tensor, key: Tensor, value: Tensor, *_: object, out: object, **__: object
) -> int:
    """Return the MACs of softmax(Q K^T) V, of (N, heads, length, width) each.

    Both products are counted in full, under a mask as well; the softmax is part of the operator
    and is not counted.
    """
    return prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _product_macs(a: Tensor, b: Tensor, *_: object, out: object, **__: object) -> int:
    return a.numel() * b.shape[-1]


def _added_product_macs(
    bias: Tensor, a: Tensor, b: Tensor, *_: object, out: object, **__: object
) -> int:
    return a.numel() * b.shape[-1]


def _first_macs(a: Tensor, *_: object, out: object, **__: object) -> int:
    return a.numel()


def _linear_macs(x: Tensor, weight: Tensor, *_: object, out: object, **__: object) -> int:
    return x.numel() * weight.shape[0]


# Multiply-accumulates from the arguments and the output of a product, by the operator's name.
_PRODUCTS: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("mm", "bmm", "_scaled_mm", "_int_mm"), _product_macs),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "_addmm_activation"), _added_product_macs),
    **dict.fromkeys(("mv", "dot", "vdot"), _first_macs),
    "addmv": lambda bias, matrix, vector, *_, **__: matrix.numel(),
    "addr": lambda bias, a, b, *_, **__: a.numel() * b.numel(),
    "linear": _linear_macs,
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution_macs),
    **dict.fromkeys(
        ("cudnn_convolution", "mkldnn_convolution", "_slow_conv2d_forward"),
        _plain_convolution_macs,
    ),
    **dict.fromkeys(
        (
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "_scaled_dot_product_attention_math_for_mps",
        ),
        _attention_macs,
    ),
}

# Operators that move or make values and compute none.
_MOVING = _names(
    """
        _local_scalar_dense alias arange argmax argmin as_strided_ bernoulli bernoulli_ bitwise_and
        bitwise_not bitwise_or cat channel_shuffle clone constant_pad_nd copy copy_
        detach detach_ diagonal_scatter embedding empty empty_like empty_permuted
        empty_strided eq expand_copy eye fill fill_ flip full full_like gather ge gt
        index index_add index_copy index_put index_put_ index_select is_same_size isinf
        isnan le lift_fresh lift_fresh_copy linspace logical_and logical_not logical_or
        lt masked_fill masked_fill_ native_dropout ne new_empty new_empty_strided
        new_full new_ones new_zeros normal_ ones ones_like permute_copy pixel_shuffle
        pixel_unshuffle rand rand_like randint randn randn_like reflection_pad1d
        reflection_pad2d reflection_pad3d repeat replication_pad1d replication_pad2d
        replication_pad3d resize_ roll scalar_tensor scatter select_scatter set_
        slice_scatter split_with_sizes_copy squeeze_ stack t_ transpose_ tril triu uniform_
        unfold_copy unsafe_split unsafe_split_with_sizes unsqueeze_ upsample_nearest1d
        upsample_nearest2d upsample_nearest3d _to_copy _unsafe_index _unsafe_view view_copy
        where zero_ zeros zeros_like im2col
        """
)

# Operators that move, sort or pick values: no multiplication that a total would miss.
_LIGHT = _names(
    """
        sort topk nonzero nonzero_static unique_dim unique_consecutive _unique2 bincount
        histc searchsorted grid_sampler_2d grid_sampler_3d scatter_add scatter_add_
        scatter_reduce index_add_ index_reduce nms roi_align roi_pool kthvalue median
        mode cummax cummin col2im multinomial
        """
)

# FLOPs for every value that is read.
_REDUCTIONS = {
    **dict.fromkeys(
        _names(
            """
        sum mean amax amin max min all any prod cumsum cumprod logsumexp norm aminmax
        linalg_vector_norm
        """
        ),
        1,
    ),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "_weight_norm_interface"), 3),
}

# FLOPs for every value that is written: multiplications and additions of the taps.
_INTERPOLATIONS = {
    "upsample_linear1d": 3,
    "upsample_bilinear2d": 7,
    "_upsample_bilinear2d_aa": 7,
    "upsample_trilinear3d": 15,
    "upsample_bicubic2d": 31,
    "_upsample_bicubic2d_aa": 31,
}

# Element-wise operators that lack torch's tag for it.
_POINTWISE = _names(
    """
        hardswish _prelu_kernel prelu log_sigmoid_forward glu rrelu_with_noise rsub
        threshold complex polar
        """
)

_BATCH_NORMS = _names(
    """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
        _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm_elemt
        _batch_norm_no_update
        """
)
_GROUP_NORMS = frozenset(("native_layer_norm", "native_group_norm", "_fused_rms_norm"))
_SOFTMAXES = frozenset(("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax"))


@dataclass(frozen=True)
class Cost:
    """The cost of one call of an operator.

    Attributes:
        macs: multiply-accumulates of convolutions, matrix products and attention.
        other_flops: every other arithmetic operation.
        is_counted: whether there is a rule for the operator.
        is_heavy: it has no rule, and may well multiply and accumulate.
    """

    macs: int = 0
    other_flops: int = 0
    is_counted: bool = True
    is_heavy: bool = False


_FREE = Cost()


def cost_of(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:
    """Return the cost of a call of an operator.

    Args:
        operator: the overload that ran, or an operator of higher order.
        args: its arguments.
        kwargs: likewise.
        out: its output.
    """
    name = operator_name(operator)
    if name in _PRODUCTS:
        macs = _PRODUCTS[name](*args, **{**kwargs, "out": out})
        return Cost(macs, _bias_flops(name, args, kwargs, out))
    if getattr(operator, "is_view", False):
        return _FREE
    if name.rpartition("::")[2].removesuffix("_") in _LIGHT:
        return Cost(is_counted=False)
    flops_or_none = _other_flops(operator, name, args, kwargs, out)
    if flops_or_none is None:
        return Cost(is_counted=False, is_heavy=True)
    return Cost(0, flops_or_none)


def _bias_flops(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Return one addition for every output that a bias is added to."""
    bias: object = None
    if "conv" in name or name == "linear":
        bias = args[2] if len(args) > 2 else kwargs.get("bias")
    elif name in ("addmm", "baddbmm", "addmv", "addbmm"):
        bias = args[0]
    return out.numel() if isinstance(bias, Tensor) and isinstance(out, Tensor) else 0


def _other_flops(
    operator: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> int | None:
    """Return the work that is no product of matrices; None where there is no rule.

    One FLOP for a value that an element-wise operator writes, whatever function it computes; one
    for a value that a reduction reads, three for a variance; one for a value in every window of a
    pooling; batch norm 2 a value as in inference (1 without affine), layer and group norm 5 (4),
    softmax 5; interpolation by its taps. The values of the norms are those of fvcore.
    """
    if name in _MOVING:
        return 0
    if name == "_embedding_bag":  # sums the rows that the indices choose
        return int(args[1].numel() * args[0].shape[-1])
    values = args[0].numel() if args and isinstance(args[0], Tensor) else 0
    if name in _REDUCTIONS:
        return _REDUCTIONS[name] * values
    if name in _BATCH_NORMS:
        return (2 if _is_affine(args[1:3]) else 1) * values
    if name in _GROUP_NORMS:
        return (5 if _is_affine(args[1:4]) else 4) * values
    if name in _SOFTMAXES:
        return 5 * values
    first = first_tensor(out)
    if first is None:
        return 0 if not isinstance(out, Tensor) and name.startswith("_assert") else None
    if name in _INTERPOLATIONS:
        return _INTERPOLATIONS[name] * int(first.numel())
    if "pool" in name:
        return _pooling_flops(name, args, kwargs, first)
    return int(first.numel()) if is_pointwise(operator) else None


def is_pointwise(operator: Any) -> bool:
    """Return whether every output of an operator depends only on the inputs at its position."""
    packet = getattr(operator, "overloadpacket", None)
    if packet is None:
        return False
    if torch.Tag.pointwise in operator.tags:
        return True
    # Some that write in place lack the tag that the same operator has otherwise.
    name = str(packet.__name__)
    if not name.endswith("_"):
        return name in _POINTWISE
    same = getattr(getattr(_aten, name[:-1], None), overload_name(operator), None)
    return same is not None and is_pointwise(same)


def _is_affine(parameters: Sequence[Any]) -> bool:
    return any(isinstance(parameter, Tensor) for parameter in parameters)


def _pooling_flops(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> int | None:
    """Return the number of values in all windows of a pooling; None for an unknown kind."""
    num_axes = {"1": 1, "2": 2, "3": 3}.get(name.partition("pool")[2][:1])
    if num_axes is None:
        return None
    if "adaptive" in name:
        sizes = zip(args[0].shape[-num_axes:], out.shape[-num_axes:], strict=True)
        windows = [
            sum(-(-(i + 1) * size // num) - i * size // num for i in range(num))
            for size, num in sizes
        ]
        return int(prod(args[0].shape[:-num_axes]) * prod(windows))
    kernel = args[1] if len(args) > 1 else kwargs["kernel_size"]
    sides = [kernel] * num_axes if isinstance(kernel, int) else list(kernel)
    area = prod(sides if len(sides) == num_axes else sides * num_axes)
    return int(out.numel()) * area


def first_tensor(out: Any) -> Tensor | None:
    """Return the output of an operator or layer, or its first tensor."""
    if isinstance(out, Tensor):
        return out
    if isinstance(out, tuple | list):
        return next((one for one in out if isinstance(one, Tensor)), None)
    return None
