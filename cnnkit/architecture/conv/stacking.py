"""Convolutions one after another: what they see, and what they save against a large one."""

import re
from collections.abc import Sequence

from cnnkit.architecture.conv.settings import MAX_NUMBER
from cnnkit.architecture.conv.sizes import window_axis
from cnnkit.errors import UsageError, setting
from cnnkit.results.conv import Stack, StackLayer

MAX_LAYERS = 1_000

_LAYER = re.compile(r"(\d{1,9})(?:s(\d{1,9}))?(?:d(\d{1,9}))?", re.ASCII)

Layer = tuple[int, int, int]  # kernel, stride, dilation


def read_stack(given: str | Sequence[int]) -> tuple[Layer, ...]:
    """Return kernel, stride and dilation of each layer.

    Args:
        given: kernels, or text such as `7s2,3,3d2`: kernel 7 at stride 2, 3, and 3 at dilation 2.

    Raises:
        UsageError: it is no such text, or a number is below 1.
    """
    words = given.split(",") if isinstance(given, str) else [str(kernel) for kernel in given]
    if len(words) > MAX_LAYERS:
        raise UsageError(f"a stack has at most {MAX_LAYERS:,} layers, not {len(words):,}")
    layers = []
    for word in words:
        match = _LAYER.fullmatch(word.strip())
        if match is None:
            raise UsageError(
                f"{word.strip()!r} is no layer of a stack",
                "write kernels such as 3,3,3; a stride as 3s2, a dilation as 3d2",
            )
        layer = tuple(int(part or 1) for part in match.groups())
        if min(layer) < 1:
            raise UsageError(
                f"kernel, stride and dilation of a layer must be at least 1, not {word.strip()}"
            )
        layers.append((layer[0], layer[1], layer[2]))
    return tuple(layers)


def stack_layers(
    layers: Sequence[Layer],
    size: tuple[int, int] | None,
    channels: tuple[int, int],
    padding: int | None,
) -> Stack:
    """Return what each layer comes to, and how the whole compares with one convolution.

    Args:
        layers: kernel, stride and dilation of each.
        size: height and width of the input; None to leave sizes out.
        channels: of the input, and of every output.
        padding: of every layer; None for what keeps the size.

    Raises:
        UsageError: a kernel is larger than what it gets, a stride cannot keep the size, or the
            numbers grow out of all bounds.
    """
    in_channels, out_channels = channels
    seen, jump = 1, 1
    rows = []
    for index, (kernel, stride, dilation) in enumerate(layers, 1):
        reach = dilation * (kernel - 1) + 1
        if padding is None:
            if stride > 1:
                raise UsageError(
                    f"layer {index} cannot keep the size at stride {stride}",
                    f"leave {setting('same')} or its stride out",
                )
            pads = ((reach - 1) // 2, reach - 1 - (reach - 1) // 2)
        else:
            pads = (padding, padding)
        if size is not None:
            size = _output_size(index, size, kernel, stride, pads, dilation)
        seen += (reach - 1) * jump
        jump *= stride
        if max(seen, jump) > MAX_NUMBER:
            raise UsageError(f"layer {index} sees more than {MAX_NUMBER:,} pixels", "use fewer")
        weights = kernel**2 * (in_channels if index == 1 else out_channels) * out_channels
        rows.append(
            StackLayer(
                index=index,
                kernel=kernel,
                stride=stride,
                dilation=dilation,
                padding_start=pads[0],
                padding_end=pads[1],
                output=size,
                receptive_field=seen,
                jump=jump,
                weights=weights,
            )
        )
    weights = sum(row.weights for row in rows)
    single = seen**2 * in_channels * out_channels
    return Stack(tuple(rows), weights, seen, single, (single - weights) / single)


def _output_size(
    index: int,
    size: tuple[int, int],
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
) -> tuple[int, int]:
    try:
        height = window_axis("height", size[0], kernel, stride, padding, dilation)
        width = window_axis("width", size[1], kernel, stride, padding, dilation)
    except UsageError as error:
        raise UsageError(f"layer {index}: {error.message}", error.hint) from None
    return height.output, width.output
