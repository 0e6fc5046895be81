"""The flat table of a network's layers, as lectures print it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cnnkit.results.base import Records, Value
from cnnkit.results.layer_tree import LayerRow

_WORDS = {
    "conv": "conv",
    "transposed conv": "conv",
    "linear": "fc",
    "max pool": "maxpool",
    "avg pool": "avg pool",
}
_WEIGHTED = ("conv", "transposed conv", "linear")

_RECORD_KEYS = (
    *("index", "in_w", "in_h", "in_c", "out_w", "out_h", "out_c", "layer", "stride", "pad"),
    *("kernel_w", "kernel_h", "in_channels", "out_channels", "params"),
)


@dataclass(frozen=True)
class StructureLine:
    """A row; sizes are (width, height, channels), the rest by axis, height first."""

    layer: str
    params: int
    index: int | None = None
    input: tuple[int, int, int] | None = None
    output: tuple[int, int, int] | None = None
    stride: Sequence[float] | None = None
    pad: Sequence[float] | None = None
    kernel: Sequence[int] | None = None
    in_channels: int | None = None
    out_channels: int | None = None


def structure_lines(layers: Sequence[LayerRow]) -> tuple[StructureLine, ...]:
    """Return the rows of the flat table, with the total as the last.

    Layers with weights are numbered. Padding is that of one side; a layer that only pads is
    joined with the layer behind it, and half a pixel is one at the right and the bottom. A pooling
    that changes nothing is left out, and so is what has no parameters otherwise.

    Args:
        layers: every module of the network.
    """
    lines = list(_lines(layers))
    return (*lines, StructureLine("total", sum(line.params for line in lines)))


def structure_records(layers: Sequence[LayerRow]) -> Records:
    """Return the flat table with a column a number, as in the published tables."""
    rows = tuple(_cells(line) for line in structure_lines(layers))
    return Records(_RECORD_KEYS, rows)


def number_by_axis(values: Sequence[float] | None) -> str | None:
    """Return numbers by axis, height first, as `WxH`; as one where they are all the same."""
    if values is None:
        return None
    texts = [f"{value:g}" for value in reversed(values)]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _lines(layers: Sequence[LayerRow]) -> Iterator[StructureLine]:
    names = _table_names(layers)
    number = 0
    pad: LayerRow | None = None
    for row in layers:
        if row.kind == "pad":
            pad = row
            continue
        if row.kind not in _WORDS:
            if row.params:
                given, returned = _size(row.input_shape), _size(row.output_shape)
                yield StructureLine(row.name or row.type, row.params, input=given, output=returned)
            continue
        line = _window_line(row, names[row.name])
        if row.kind == "linear":
            line = _linear_line(row, names[row.name])
        elif pad is not None and pad.output_shape == row.input_shape:
            line = _with_pad(line, pad)
        pad = None
        if row.kind in _WEIGHTED:
            number += 1
            yield replace(line, index=number)
        elif line.kernel is None or set(line.kernel) != {1}:
            yield line


def _linear_line(row: LayerRow, name: str) -> StructureLine:
    """Return a linear layer, of an image as a convolution of 1x1 on one pixel."""
    given, returned = row.input_shape or (), row.output_shape or ()
    return StructureLine(
        name,
        row.params,
        input=(1, 1, given[1]) if len(given) == 2 else None,
        output=(1, 1, returned[1]) if len(returned) == 2 else None,
        kernel=(1, 1),
        in_channels=given[-1] if given else None,
        out_channels=returned[-1] if returned else None,
    )


def _window_line(row: LayerRow, name: str) -> StructureLine:
    """Return a convolution or pooling."""
    given, returned = row.input_shape or (), row.output_shape or ()
    kernel, stride, pad = row.kernel_size, row.stride, row.padding
    if kernel is None and given and returned:  # adaptive: its windows, where all are equal
        sides = list(zip(given[2:], returned[2:], strict=True))
        if all(side % windows == 0 for side, windows in sides):
            kernel = stride = tuple(side // windows for side, windows in sides)
            pad = (0,) * len(sides)
    return StructureLine(
        name,
        row.params,
        input=_size(row.input_shape),
        output=_size(row.output_shape),
        stride=stride,
        pad=pad,
        kernel=kernel,
        in_channels=given[1] if len(given) > 2 else None,
        out_channels=returned[1] if len(returned) > 2 else None,
    )


def _with_pad(line: StructureLine, pad: LayerRow) -> StructureLine:
    """Return a layer together with the one before it, which only pads."""
    own, more = line.pad or (), pad.padding or ()
    if len(own) != len(more):
        return line
    both = tuple(a + b for a, b in zip(own, more, strict=True))
    return replace(line, input=_size(pad.input_shape), pad=both)


def _table_names(layers: Sequence[LayerRow]) -> dict[str, str]:
    """Return what the table calls each layer.

    A layer with a name keeps the number in it (`pool1` is `maxpool1`, `conv2_1` is `conv2-1`).
    Where names of layers are numbers, kernel and channels replace them (`conv3-64`), as in the
    VGG paper; where a name would occur twice, the full name is used.
    """
    rows = [row for row in layers if row.kind in _WORDS]
    if all(row.name.rpartition(".")[2].isdecimal() for row in rows if row.kernel_size):
        return {row.name: _kernel_name(row) for row in rows}
    short = {row.name: _numbered_name(row) for row in rows}
    names = list(short.values())
    return {full: name if names.count(name) == 1 else full for full, name in short.items()}


def _kernel_name(row: LayerRow) -> str:
    word = _WORDS[row.kind or ""]
    if row.kind != "conv" or row.kernel_size is None or row.output_shape is None:
        return word
    sides = dict.fromkeys(map(str, row.kernel_size))
    return f"{word}{'x'.join(sides)}-{row.output_shape[1]}"


def _numbered_name(row: LayerRow) -> str:
    numbers = re.search(r"\d+(_\d+)*$", row.name.rpartition(".")[2])
    return _WORDS[row.kind or ""] + (numbers[0].replace("_", "-") if numbers else "")


def _size(shape: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return width, height and channels of a shape (N, C, H, W)."""
    return None if shape is None or len(shape) != 4 else (shape[3], shape[2], shape[1])


def _cells(line: StructureLine) -> tuple[Value, ...]:
    nothing = (None, None, None)
    kernel = line.kernel if line.kernel is not None and len(line.kernel) == 2 else (None, None)
    return (
        line.index,
        *(line.input or nothing),
        *(line.output or nothing),
        line.layer,
        number_by_axis(line.stride),
        number_by_axis(line.pad),
        kernel[1],
        kernel[0],
        line.in_channels,
        line.out_channels,
        line.params,
    )
