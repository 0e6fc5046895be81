"""The arithmetic of a convolution as tables: size, cost, a stack, and a kernel that slides."""

from math import gcd

from cnnkit.render.format import counted, format_count, format_percent
from cnnkit.render.tabular import Column, Table, attribute_rows, build_tables
from cnnkit.results.conv import ConvAxis, ConvResult, Number, Slide, Stack

MAX_SHOWN_SUMS = 16
TERMINAL_WIDTH = 80

# Words for the sides of an image, where both axes are alike and where they are not.
_END = {"both": "bottom and right", "height": "bottom", "width": "right"}
_PIXELS = {"both": "row and column", "height": "row", "width": "column"}
_MANY_PIXELS = {"both": "rows and columns", "height": "rows", "width": "columns"}

_SIZE_COLUMNS = {
    "axis": Column("axis", "", "name"),
    "input": Column("input", "in", "integer"),
    "kernel": Column("kernel", "kernel", "integer"),
    "stride": Column("stride", "stride", "integer"),
    "padding": Column("padding", "padding", "integer"),
    "dilation": Column("dilation", "dilation", "integer"),
    "output_padding": Column("output_padding", "out padding", "integer", rank=1),
    "output": Column("output", "out", "integer"),
    "unused": Column("unused", "left over", "integer"),
    "receptive_field": Column("receptive_field", "receptive field", "integer"),
}

_STACK_COLUMNS = {
    "index": Column("index", "layer", "integer"),
    "kernel": Column("kernel", "kernel", "integer"),
    "stride": Column("stride", "stride", "integer"),
    "dilation": Column("dilation", "dilation", "integer", rank=1),
    "padding": Column("padding", "padding", "integer"),
    "output": Column("output", "out", "name"),
    "receptive_field": Column("receptive_field", "receptive field", "integer"),
    "jump": Column("jump", "jump", "integer"),
    "weights": Column("weights", "weights", "integer"),
}


@build_tables.register
def conv_tables(result: ConvResult) -> tuple[Table, ...]:
    """Return size, formula and cost; a stack as its layers; a small matrix before all."""
    tables: tuple[Table, ...] = ()
    if result.stack is not None:
        tables = (_stack_table(result, result.stack),)
    if result.axes is not None:
        tables = (_size_table(result, *result.axes),)
        if result.in_channels is not None:
            tables = (*tables, _cost_table(result, *result.axes))
    if result.slide is not None:
        tables = (*_matrices(result.slide), *tables, *_sums(result.slide))
    return tables


def _size_table(result: ConvResult, height: ConvAxis, width: ConvAxis) -> Table:
    names = list(_SIZE_COLUMNS)
    names.remove("unused" if result.is_transposed else "output_padding")
    axes: tuple[ConvAxis, ...] = (height, width)
    if height.is_like(width):
        names.remove("axis")
        axes = axes[:1]
    columns = tuple(_SIZE_COLUMNS[name] for name in names)
    before, after = f"{height.input}x{width.input}", f"{height.output}x{width.output}"
    if result.in_channels is not None:
        before, after = f"{result.in_channels}x{before}", f"{result.out_channels}x{after}"
    title = f"{result.operation}, {before} to {after}"
    notes = (*_formula_lines(result), *_size_remarks(result, height, width))
    return Table("sizes", title, columns, attribute_rows(axes, columns), notes)


def _formula_lines(result: ConvResult) -> tuple[str, ...]:
    lines: list[str] = []
    for rule in dict.fromkeys(formula.rule for formula in result.formulas):
        lines += ["with any dilation:"] if lines else []
        lines.append(f"out = {rule}")
        for formula in result.formulas:
            if formula.rule == rule:
                name = "" if formula.axis == "both" else f"{formula.axis} "
                lines.append(f"    {name}= {formula.numbers}")
    return tuple(lines)


def _size_remarks(result: ConvResult, height: ConvAxis, width: ConvAxis) -> tuple[str, ...]:
    lines = _axes_remarks((height, width), same=result.same, transposed=result.is_transposed)
    covers = all(
        (axis.kernel, axis.output, axis.padding_start, axis.padding_end, axis.dilation)
        == (axis.input, 1, 0, 0, 1)
        for axis in (height, width)
    )
    if covers and result.operation == "convolution" and result.in_channels and result.groups == 1:
        num_inputs = height.input * width.input * result.in_channels
        lines.append(
            f"the kernel covers the whole input: a fully connected layer of {num_inputs:,} "
            f"inputs and {result.out_channels:,} outputs"
        )
    return tuple(lines)


def _axes_remarks(
    axes: tuple[ConvAxis, ConvAxis], *, same: bool = False, transposed: bool = False
) -> list[str]:
    """Return what should be known about height and width beside their numbers.

    Args:
        axes: height and width.
        same: whether the padding was chosen to keep the size.
        transposed: whether it is a transposed convolution.
    """
    if axes[0].is_like(axes[1]):
        return _remarks(axes[0], "both", same, transposed)
    names: dict[str, list[str]] = {}
    for axis in axes:
        for remark in _remarks(axis, axis.axis, same, transposed):
            names.setdefault(remark, []).append(axis.axis)
    return [
        remark if len(found) == 2 else f"{found[0]}: {remark}" for remark, found in names.items()
    ]


def _remarks(axis: ConvAxis, name: str, same: bool, transposed: bool) -> list[str]:
    """Return what should be known about an axis.

    Args:
        axis: what happens along it.
        name: `height`, `width`, or `both` where they are alike.
        same: whether the padding was chosen to keep the size.
        transposed: whether it is a transposed convolution.
    """
    remarks = _transposed_remarks(axis) if transposed else _window_remarks(axis, name)
    return [_same_remark(axis), *remarks] if same else remarks


def _same_remark(axis: ConvAxis) -> str:
    if axis.padding_start == axis.padding_end:
        return f"padding {axis.padding_start} on each side keeps the size at stride 1"
    return (
        f"padding {axis.padding_start} before and {axis.padding_end} behind the input keeps the "
        'size at stride 1, as padding="same" of PyTorch does: an even kernel has no middle'
    )


def _window_remarks(axis: ConvAxis, name: str) -> list[str]:
    remarks = []
    if axis.unused:
        pixels = (_PIXELS if axis.unused == 1 else _MANY_PIXELS)[name]
        real = axis.unused - axis.padding_end
        kind = ""
        if axis.padding_end:
            kind = f", {real} of them input" if real > 0 else ", only padding"
        remarks.append(
            f"left over at the {_END[name]}: {axis.unused} {pixels} of the padded input that no "
            f"window touches{kind}"
        )
    if axis.is_dropped:
        begin = axis.output * axis.stride - axis.padding_start
        remarks.append(
            "one window less than rounding up gives, as in PyTorch: it would start at pixel "
            f"{begin}, counted from 0, in the padding behind the input of {axis.input}"
        )
    if axis.beyond:
        remarks.append(
            f"the last window reaches {axis.beyond} beyond the padded input at the {_END[name]}"
        )
    remarks.append(
        "receptive field = dilation*(kernel - 1) + 1 = "
        f"{axis.dilation}*({axis.kernel} - 1) + 1 = {axis.reach}"
    )
    if axis.stride > axis.reach and axis.output > 1:
        pixels = (_PIXELS if axis.stride - axis.reach == 1 else _MANY_PIXELS)[name]
        remarks.append(
            f"windows skip {axis.stride - axis.reach} {pixels} between them: the stride is larger "
            "than the window"
        )
    return remarks


def _transposed_remarks(axis: ConvAxis) -> list[str]:
    across = axis.receptive_field
    remarks = [
        f"receptive field: one output sees at most {across} across; one input reaches "
        f"{axis.reach} outputs across"
    ]
    # Weights reach every output only if their distances leave every remainder by the stride.
    if min(axis.kernel, axis.stride // gcd(axis.stride, axis.dilation)) < axis.stride:
        remarks.append("some outputs see no input, and are only the bias")
    return remarks


def _cost_table(result: ConvResult, height: ConvAxis, width: ConvAxis) -> Table:
    in_channels, out_channels = result.in_channels or 0, result.out_channels or 0
    groups = result.groups or 1
    area = f"{height.kernel:,}*{width.kernel:,}"
    outputs = f"{height.output:,}*{width.output:,}*{out_channels:,}"
    rows: list[tuple[str, int | None, str]] = [
        ("outputs", height.output * width.output * out_channels, outputs)
    ]
    notes: tuple[str, ...] = ()
    if not result.weights:
        rows.append(("parameters", 0, "a pooling has none, and multiplies nothing"))
    else:
        each, places, where = in_channels, "outputs", outputs
        if result.is_transposed:
            each, places = out_channels, "inputs"
            where = f"{height.input:,}*{width.input:,}*{in_channels:,}"
        divided = f"/{groups:,}" if groups > 1 else ""
        rows += [
            ("weights", result.weights, f"{area}*{in_channels:,}*{out_channels:,}{divided}"),
            ("biases", result.biases, "one an output channel" if result.biases else "left out"),
            ("parameters", result.params, f"{result.weights:,} + {result.biases:,}"),
            ("MACs", result.macs, f"{where} {places}, each {area}*{each // groups:,}"),
            ("FLOPs", result.flops, "2 x MACs"),
        ]
        num_bytes = result.weight_bytes or 0
        short = f", {format_count(num_bytes)}B" if num_bytes >= 1000 else ""
        notes = (f"the parameters take {num_bytes:,} bytes in float32, 4 each{short}",)
    columns = (
        Column("cost", "cost", "name"),
        Column("number", "number", "integer"),
        Column("calculation", "calculation"),
    )
    return Table("cost", "", columns, tuple(rows), notes)


def _stack_table(result: ConvResult, stack: Stack) -> Table:
    """Return one row per layer, and what is saved below."""
    records = result.records()
    columns = tuple(_STACK_COLUMNS[name] for name in records.columns)
    title = f"stack of {counted(len(stack.layers), 'convolution')}"
    return Table("stack", title, columns, records.rows, _stack_notes(result, stack))


def _stack_notes(result: ConvResult, stack: Stack) -> tuple[str, ...]:
    size = stack.single_kernel
    share = format_percent(abs(stack.saved), 1).replace(".0 %", " %")
    compared = "fewer" if stack.saved >= 0 else "more"
    notes = [
        f"one output sees {size}x{size} of the input; neighbouring outputs are "
        f"{stack.layers[-1].jump} apart there",
        f"{stack.weights:,} weights instead of {stack.single_weights:,} of one "
        f"{size}x{size} convolution that sees as much, {share} {compared}",
    ]
    if result.params is None:
        notes.append("these are for one channel; with C channels in and out, C*C times as many")
    else:
        notes.append(
            f"parameters: {result.params:,} = {stack.weights:,} weights + {result.biases:,} biases"
        )
    if result.macs is not None:
        notes.append(f"MACs: {result.macs:,}; FLOPs: {2 * result.macs:,} = 2 x MACs")
    return tuple(notes)


def _matrices(slide: Slide) -> tuple[Table, ...]:
    """Return output, image and kernel, the answer first."""
    infinite = any(value is None for row in slide.output for value in row)
    notes = ("- is a window of only padding: minus infinity in PyTorch",) if infinite else ()
    tables = [_matrix_table("output", slide.output, notes), _matrix_table("image", slide.image)]
    if slide.weight is not None:
        note = "the kernel is not flipped (cross-correlation), as in PyTorch"
        tables.append(_matrix_table("kernel", slide.weight, (note,)))
    return tuple(tables)


def _matrix_table(
    name: str, matrix: tuple[tuple[Number | None, ...], ...], notes: tuple[str, ...] = ()
) -> Table:
    """Return a matrix as a table, with the number of each row and column."""
    num_columns = len(matrix[0])
    # Where there is no room, columns are left out from the right.
    columns = (
        Column("row", "", "name"),
        *(Column(str(index), str(index), "number", rank=index) for index in range(num_columns)),
    )
    rows = tuple((str(index), *row) for index, row in enumerate(matrix))
    table = Table(name, f"{name}, {len(matrix)}x{num_columns}", columns, rows)
    cells = [[column.title for column in columns], *table.formatted()]
    width = sum(2 + max(map(len, column)) for column in zip(*cells, strict=True)) - 2
    if width > TERMINAL_WIDTH:
        notes = ("columns at the right are left out where there is no room for them", *notes)
    return Table(name, table.title, columns, rows, notes)


def _sums(slide: Slide) -> tuple[Table, ...]:
    """Return the first outputs written out, where that was asked for."""
    if slide.windows is None:
        return ()
    left = len(slide.windows) - MAX_SHOWN_SUMS
    notes = (f"{left:,} more are not written out here; the JSON has all",) if left > 0 else ()
    columns = (
        Column("row", "row", "integer"),
        Column("column", "column", "integer"),
        Column("sum", "sum"),
    )
    rows = attribute_rows(slide.windows[:MAX_SHOWN_SUMS], columns)
    return (Table("sums", "each output, counted from 0", columns, rows, notes),)
