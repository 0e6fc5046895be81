"""Convolution and pooling arithmetic: output size, parameters, cost, and computed values."""

from collections.abc import Sequence
from typing import Any

from cnnkit.architecture.conv.matrices import ExactMatrix, MatrixLike, read_matrix
from cnnkit.architecture.conv.settings import (
    Pair,
    agreed_size,
    check_channels,
    check_number,
    check_together,
    to_pair,
)
from cnnkit.architecture.conv.sizes import (
    pooling_axis,
    same_padding,
    transposed_axis,
    transposed_formulas,
    window_axis,
    window_formulas,
)
from cnnkit.architecture.conv.sliding import slide_kernel, slide_pooling
from cnnkit.architecture.conv.stacking import read_stack, stack_layers
from cnnkit.results.conv import ConvAxis, ConvResult, Size, Slide

BYTES_A_PARAMETER = 4  # float32


def conv(
    size: Size | None = None,
    *,
    kernel: Size | None = None,
    stride: Size | None = None,
    padding: Size | None = None,
    dilation: Size | None = None,
    same: bool = False,
    pool: str | None = None,
    ceil: bool = False,
    transposed: bool = False,
    output_padding: Size | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    groups: int | None = None,
    bias: bool = True,
    stack: str | Sequence[int] | None = None,
    image: MatrixLike | None = None,
    weight: MatrixLike | None = None,
    show: bool = False,
) -> ConvResult:
    """Return the output size and the cost of a convolution or pooling, as in PyTorch.

    Sizes are one number, or (height, width).

    Args:
        size: of the input; not needed with an image, or for a stack.
        kernel: its size; not needed with a weight.
        stride: pixels from one window to the next; None for 1, of a pooling for the kernel.
        padding: pixels put on each side; None for 0.
        dilation: pixels from one weight to the next; None for 1.
        same: choose the padding that keeps the size.
        pool: a pooling, `max` or `avg`, instead of a convolution.
        ceil: round the size up, as `ceil_mode` of PyTorch's poolings; it makes it a pooling.
        transposed: a transposed convolution.
        output_padding: pixels put behind its output; None for 0.
        in_channels: channels of the input.
        out_channels: channels of the output; None for those of the input in a pooling or stack.
        groups: number of groups of channels; None for 1.
        bias: whether there is one per output channel.
        stack: kernels of convolutions one after another, or text such as `7s2,3,3d2`.
        image: a small matrix to slide over, as rows or as text such as `0 1 0; 1 1 1`.
        weight: the kernel to slide over it, likewise.
        show: write out how each output is computed.

    Raises:
        UsageError: a value is invalid, contradicts another, or the kernel does not fit.
    """
    is_pooling = pool is not None or ceil
    check_together(
        kernel=kernel, stride=stride, padding=padding, dilation=dilation, same=same, pool=pool,
        ceil=ceil, transposed=transposed, output_padding=output_padding, in_channels=in_channels,
        out_channels=out_channels, groups=groups, no_bias=not bias, stack=stack, image=image,
        weight=weight, show=show,
    )  # fmt: skip
    if out_channels is None and (is_pooling or stack is not None):
        out_channels = in_channels
    channels = check_channels(in_channels, out_channels, groups, is_pooling)
    if stack is not None:
        return _conv_stack(stack, size, None if same else padding or 0, channels, bias)
    pixels = None if image is None else read_matrix("image", image)
    factors = None if weight is None else read_matrix("weight", weight)
    kernel = agreed_size("kernel", kernel, "weight", factors)
    sizes: dict[str, Size | None] = {
        "size": agreed_size("size", size, "image", pixels),
        "kernel": kernel,
        "stride": (kernel if is_pooling else 1) if stride is None else stride,
        "padding": 0 if padding is None else padding,
        "dilation": 1 if dilation is None else dilation,
        "output_padding": 0 if output_padding is None else output_padding,
    }
    pairs = {name: to_pair(name, value) for name, value in sizes.items()}
    mode = "transposed" if transposed else "pooling" if is_pooling else "same" if same else ""
    height, width = (
        _axis(axis, mode, ceil, {name: pair[index] for name, pair in pairs.items()})
        for index, axis in enumerate(("height", "width"))
    )
    axes = (height, width)
    is_number = not any(isinstance(value, tuple | list) for value in sizes.values())

    def plain(pair: Pair) -> Size:
        return pair[0] if is_number else pair

    names = {"max": "max pooling", "avg": "average pooling", None: "pooling"}
    operation = f"{mode} convolution".strip() if mode != "pooling" else names[pool]
    return ConvResult(
        operation=operation.removeprefix("same "),
        input=plain((height.input, width.input)),
        output=plain((height.output, width.output)),
        receptive_field=plain((height.receptive_field, width.receptive_field)),
        in_channels=in_channels,
        out_channels=out_channels,
        groups=None if channels is None else groups or 1,
        ceil=ceil,
        same=same,
        formulas=transposed_formulas(axes)
        if transposed
        else window_formulas(axes, ceil, pool != "avg"),
        axes=axes,
        slide=_slide(pixels, factors, axes, pool, transposed, show),
        **_cost(axes, mode, channels, groups or 1, bias),
    )


def _axis(axis: str, mode: str, ceil: bool, one: dict[str, int]) -> ConvAxis:
    """Return the result along an axis, from its settings by name."""
    size, kernel, stride, padding = (one[name] for name in ("size", "kernel", "stride", "padding"))
    dilation = one["dilation"]
    if mode == "transposed":
        return transposed_axis(axis, size, kernel, stride, padding, dilation, one["output_padding"])
    if mode == "pooling":
        return pooling_axis(axis, size, kernel, stride, padding, dilation, ceil)
    pads = same_padding(size, kernel, stride, dilation) if mode == "same" else (padding, padding)
    return window_axis(axis, size, kernel, stride, pads, dilation)


def _cost(
    axes: tuple[ConvAxis, ConvAxis], mode: str, channels: Pair | None, groups: int, bias: bool
) -> dict[str, Any]:
    """Return the counts of the result by name."""
    counts = ("params", "weights", "biases", "weight_bytes", "macs", "flops")
    if mode == "pooling":
        return dict.fromkeys(counts, 0)
    if channels is None:
        return dict.fromkeys(counts)
    height, width = axes
    weights = height.kernel * width.kernel * channels[0] * channels[1] // groups
    biases = channels[1] if bias else 0
    # A weight is used once for every place of the kernel: these are outputs, or the inputs of a
    # transposed convolution.
    places = height.output * width.output
    if mode == "transposed":
        places = height.input * width.input
    return {
        "params": weights + biases,
        "weights": weights,
        "biases": biases,
        "weight_bytes": BYTES_A_PARAMETER * (weights + biases),
        "macs": weights * places,
        "flops": 2 * weights * places,
    }


def _slide(
    pixels: ExactMatrix | None,
    factors: ExactMatrix | None,
    axes: tuple[ConvAxis, ConvAxis],
    pool: str | None,
    transposed: bool,
    show: bool,
) -> Slide | None:
    if pixels is None:
        return None
    if pool is not None:
        return slide_pooling(pixels, pool, axes, show=show)
    assert factors is not None  # checked with the options
    return slide_kernel(pixels, factors, axes, transposed=transposed, show=show)


def _conv_stack(
    given: str | Sequence[int],
    size: Size | None,
    padding: Size | None,
    channels: Pair | None,
    bias: bool,
) -> ConvResult:
    pair = None if size is None else to_pair("size", size)
    layers = read_stack(given)
    if padding is not None:
        padding = check_number("padding", padding, 0)
    stack = stack_layers(layers, pair, channels or (1, 1), padding)
    last = stack.layers[-1]
    output: Size | None = last.output
    if not isinstance(size, tuple | list) and last.output is not None:
        output = last.output[0]
    biases = weights = macs = None
    if channels is not None:
        weights = stack.weights
        biases = channels[1] * len(layers) if bias else 0
        if pair is not None:
            macs = sum(
                layer.weights * layer.output[0] * layer.output[1]
                for layer in stack.layers
                if layer.output is not None
            )
    params = None if weights is None or biases is None else weights + biases
    return ConvResult(
        operation="stack",
        input=size if pair is None or isinstance(size, int) else pair,
        output=output,
        receptive_field=last.receptive_field,
        in_channels=None if channels is None else channels[0],
        out_channels=None if channels is None else channels[1],
        groups=None if channels is None else 1,
        params=params,
        weights=weights,
        biases=biases,
        weight_bytes=None if params is None else BYTES_A_PARAMETER * params,
        macs=macs,
        flops=None if macs is None else 2 * macs,
        same=padding is None,
        stack=stack,
    )
