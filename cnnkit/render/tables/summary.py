"""A summary as tables: the layers as they are viewed, the totals, and the second opinions."""

from collections.abc import Sequence
from dataclasses import replace

from cnnkit.errors import setting
from cnnkit.render.format import format_bytes
from cnnkit.render.result_views import DEFAULT_DEPTH, LAYER_COLUMNS, ShownSummary, SummaryView
from cnnkit.render.tabular import Column, Table, attribute_rows, build_tables
from cnnkit.results.base import Value
from cnnkit.results.layer_tree import LayerRow, total_of
from cnnkit.results.structure import StructureLine, number_by_axis, structure_lines
from cnnkit.results.summary import SummaryResult

_WORDS = {"params": "parameters", "macs": "MACs", "activation_bytes": "activations"}

_STRUCTURE_COLUMNS = (
    Column("index", "#", "integer"),
    Column("in", "input", "name"),
    Column("out", "output", "name"),
    Column("layer", "layer", "name"),
    Column("stride", "stride", "right", rank=1),
    Column("pad", "pad", "right", rank=3),
    Column("kernel", "kernel", "right", rank=2),
    Column("in_channels", "in", "integer", rank=4),
    Column("out_channels", "out", "integer", rank=4),
    Column("params", "parameters", "integer"),
)


@build_tables.register
def summary_tables(summary: SummaryResult) -> tuple[Table, ...]:
    """Return the layers as a tree, the totals, and the second opinions."""
    return build_tables(SummaryView().of(summary))


@build_tables.register
def shown_summary_tables(shown: ShownSummary) -> tuple[Table, ...]:
    """Return the layers as they are viewed, the totals, and the second opinions."""
    summary = shown.summary
    if shown.view.view == "structure":
        tables: tuple[Table, ...] = (_structure_table(summary),)
    else:
        tables = (_layer_table(summary, shown.view), _total_table(summary))
    return tables if summary.second_opinions is None else (*tables, _opinion_table(summary))


def summary_title(summary: SummaryResult) -> str:
    """Return what was summarised, as a heading."""
    batch = "" if summary.batch_size == 1 else f", batch of {summary.batch_size}"
    dtype = "" if summary.dtype == "float32" else f", {summary.dtype}"
    return f"{summary.model}, input {summary.input}{batch}{dtype}"


def _layer_table(summary: SummaryResult, view: SummaryView) -> Table:
    """Return the layers as a tree or sorted, with their sum."""
    rows, share_key = view.layers(summary), view.sort_key
    whole = getattr(summary.totals, share_key)
    columns = [LAYER_COLUMNS[name] for name in view.columns or _default_columns(summary, rows)]
    if view.columns:  # what was asked for by name is shown whether it fits or not
        columns = [replace(column, rank=0) for column in columns]
    columns = [
        replace(column, title=f"share of {_WORDS[share_key]}") if column.key == "share" else column
        for column in columns
    ]
    last = "sum of these" if view.is_list else "total"
    lines = [(row.name or "(forward)", row) for row in rows] + [(last, total_of(rows))]
    return Table(
        "layers",
        summary_title(summary),
        (Column("name", "layer", "path"), *columns),
        tuple(
            (name, *(_cell(row, column.key, share_key, whole) for column in columns))
            for name, row in lines
        ),
        _layer_notes(summary, view, rows),
        has_total=True,
    )


def _layer_notes(
    summary: SummaryResult, view: SummaryView, rows: tuple[LayerRow, ...]
) -> tuple[str, ...]:
    if view.is_list:
        left_out = sum(bool(getattr(row, view.sort_key)) for row in summary.layers) - len(rows)
        return (f"{left_out} more layers have {_WORDS[view.sort_key]}",) if left_out > 0 else ()
    depth = max(row.depth for row in summary.layers)
    if (view.depth or DEFAULT_DEPTH) < depth:
        return (f"deeper layers are added up in these; {setting('depth')} {depth} shows all of it",)
    return ()


def _default_columns(summary: SummaryResult, rows: tuple[LayerRow, ...]) -> list[str]:
    left_out = {"flops", "other"}
    if summary.totals.trainable_params == summary.totals.params:
        left_out.add("trainable")
    if all(row.count == 1 for row in rows):
        left_out.add("count")
    names = [name for name in LAYER_COLUMNS if name not in left_out]
    return sorted(names, key=lambda name: name == "trainable")  # the last


def _cell(row: LayerRow, key: str, share_key: str, total: int) -> Value:
    match key:
        case "share":
            return getattr(row, share_key) / total if getattr(row, share_key) else None
        case "input_shape" | "output_shape":
            shape = getattr(row, key)  # without the batch
            return None if shape is None else "x".join(map(str, shape[1:] or shape))
        case "window":
            return window_text(row)
        case "type":
            return type_text(row)
    value: Value = getattr(row, key)
    return None if value == 0 and key not in ("count", "receptive_field", "jump") else value


def type_text(row: LayerRow) -> str:
    """Return the class, and how many equal blocks are in the row: `Bottleneck x 5`."""
    return f"{row.type} x {row.num_folded}" if row.num_folded > 1 else row.type


def window_text(row: LayerRow) -> str | None:
    """Return kernel, stride, padding, dilation and groups in short: `3x3 /2 p1 d2 g32`."""
    if row.kernel_size is None:
        return None if row.padding is None else f"p{_by_axis(row.padding)}"
    parts = ["x".join(map(str, row.kernel_size))]
    for sign, values, usual in (
        ("/", row.stride, 1), ("p", row.padding, 0), ("d", row.dilation, 1)
    ):  # fmt: skip
        if values is not None and set(values) != {usual}:
            parts.append(f"{sign}{_by_axis(values)}")
    if row.groups is not None and row.groups > 1:
        parts.append(f"g{row.groups}")
    return " ".join(parts)


def _by_axis(values: Sequence[float]) -> str:
    return number_by_axis(tuple(reversed(values))) or ""


def _total_table(summary: SummaryResult) -> Table:
    """Return the totals, and what each covers."""
    totals = summary.totals
    bound = "at least " if summary.is_lower_bound else ""

    def memory(value: int | None) -> str:
        return "unknown" if value is None else format_bytes(value)

    frozen = totals.params - totals.trainable_params
    by_dtype = ", ".join(
        f"{format_bytes(size)} {dtype}" for dtype, size in summary.weight_bytes_by_dtype.items()
    )
    parts = (
        f"weights {memory(totals.weight_bytes)}, gradients {memory(summary.gradient_bytes)}, "
        f"{summary.optimizer} {memory(summary.optimizer_bytes)}, saved for backward "
        f"{memory(totals.saved_bytes)}"
    )
    trained = f"{totals.trainable_params:,} trained, {frozen:,} frozen" if frozen else "all trained"
    rows = (
        ("parameters", f"{totals.params:,}", trained),
        ("weights", memory(totals.weight_bytes), by_dtype),
        ("MACs", f"{bound}{totals.macs:,}", "convolution, linear, attention"),
        ("FLOPs", f"{bound}{totals.flops:,}", "two a MAC"),
        ("other FLOPs", f"{totals.other_flops:,}", "biases, norms, activations, pooling, sums"),
        ("activations", memory(totals.activation_bytes), "all that layers write, once"),
        ("inference", memory(totals.inference_bytes), "weights and the most that lives at once"),
        ("training step", memory(totals.training_bytes), parts),
        ("depth", str(summary.num_weighted_layers), "layers with weights, on the longest way"),
    )
    columns = (
        Column("figure", "total", "name"),
        Column("value", "", "right"),
        Column("of", "of"),
    )
    return Table("totals", "", columns, rows, _total_notes(summary))


def _total_notes(summary: SummaryResult) -> tuple[str, ...]:
    notes = list(summary.remarks)
    for one in summary.uncounted:
        what = "not counted: " if one.heavy else "not counted, light: "
        times = "once" if one.count == 1 else f"{one.count} times"
        notes.append(f"{what}{one.operator}, {times}")
    again = [row for row in summary.layers if row.params and row.count > 1]
    for row in again[:3]:
        notes.append(
            f"{row.name or summary.model} runs {row.count} times, its parameters count once"
        )
    shared = [row.name for row in summary.layers if row.shared]
    if shared:
        names = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        notes.append(f"parameters shared with an earlier layer count once, there: {names}")
    return tuple(notes)


def _opinion_table(summary: SummaryResult) -> Table:
    """Return the counts of other tools beside ours."""
    columns = (
        Column("source", "source", "name"),
        Column("figure", "count", "name"),
        Column("theirs", "theirs", "integer"),
        Column("ours", "ours", "integer"),
        Column("explanation", "why"),
    )
    rows = attribute_rows(summary.second_opinions or (), columns)
    return Table("second_opinions", "second opinions", columns, rows)


def _structure_table(summary: SummaryResult) -> Table:
    """Return the flat table: size, layer, stride, padding, kernel, channels, parameters, total."""
    rows = tuple(_structure_row(line) for line in structure_lines(summary.layers))
    notes = (*summary.remarks, *summary.print_remarks)
    return Table(
        "structure", summary_title(summary), _STRUCTURE_COLUMNS, rows, notes, has_total=True
    )


def _structure_row(line: StructureLine) -> tuple[Value, ...]:
    def joined(values: Sequence[float] | None) -> Value:
        return None if values is None else "x".join(f"{value:g}" for value in values)

    return (
        line.index,
        joined(line.input),
        joined(line.output),
        line.layer,
        number_by_axis(line.stride),
        number_by_axis(line.pad),
        joined(None if line.kernel is None else tuple(reversed(line.kernel))),
        line.in_channels,
        line.out_channels,
        line.params,
    )
