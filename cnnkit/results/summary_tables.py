"""How a summary is shown: which layers, in which columns, and the totals."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError, setting
from cnnkit.registry import did_you_mean
from cnnkit.results.base import to_plain
from cnnkit.results.layer_tree import LayerRow, folded, limited, total_of
from cnnkit.results.table import Column, Table, Value, format_value

if TYPE_CHECKING:  # which imports this
    from cnnkit.results.summary import SummaryResult

DEFAULT_DEPTH = 3  # of the tree

SORT_KEYS = {"params": "params", "macs": "macs", "activation": "activation_bytes"}

_WORDS = {"params": "parameters", "macs": "MACs", "activation_bytes": "activations"}

# How a terminal shows a layer: by its name. Columns of a high rank go
# first where there is no room.
_COLUMNS = {
    "type": Column("type", "type", "name"),
    "count": Column("count", "runs", "integer", rank=6),
    "input": Column("input_shape", "input", "name", rank=7),
    "output": Column("output_shape", "output", "name"),
    "kernel": Column("window", "kernel", "name", rank=4),
    "params": Column("params", "params", "count"),
    "trainable": Column("trainable_params", "trained", "count", rank=9),
    "macs": Column("macs", "MACs", "count"),
    "share": Column("share", "share", "bar", rank=2),
    "flops": Column("flops", "FLOPs", "count", rank=11),
    "other": Column("other_flops", "other FLOPs", "count", rank=10),
    "activation": Column("activation_bytes", "activation", "bytes", rank=3),
    "field": Column(
        "receptive_field",
        "field",
        "integer",
        rank=1,
        note="field: pixels along a side that a value sees, its receptive field",
    ),
    "jump": Column("jump", "jump", "integer", rank=5),
}
_DEFAULT_COLUMNS = tuple(name for name in _COLUMNS if name not in ("trainable", "flops", "other"))


@dataclass(frozen=True)
class SummaryView:
    """How people are shown a summary; the JSON holds all of it.

    Attributes:
        kind: `tree` or `structure`, the flat table of the lectures.
        depth: how deep the tree goes; None for 3.
        fold: whether the tree folds repeated equal blocks; None for yes.
        sort: `params`, `macs` or `activation`: a flat list, the largest first; None for the tree.
        top: how many layers; None for all.
        columns: which columns; None for those that there is room for.

    Raises:
        UsageError: there is no such column, a number is below 1, or a choice would change nothing.
    """

    kind: str = "tree"
    depth: int | None = None
    fold: bool | None = None
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in self.columns or ():
            if name not in _COLUMNS:
                known = ", ".join(_COLUMNS)
                raise UsageError(
                    f"{setting('columns')}: there is no column {name!r}",
                    did_you_mean(name, _COLUMNS) or f"the columns are {known}",
                )
        for what, number in ((setting("depth"), self.depth), (setting("top"), self.top)):
            if number is not None and number < 1:
                raise UsageError(f"{what} is {number}", "it is 1 or more")
        self._check_for_idle_options()

    def _check_for_idle_options(self) -> None:
        """Refuse what would change nothing in what is shown."""
        of_trees = {
            setting("depth"): self.depth is not None,
            setting("fold"): self.fold is True,
            setting("no_fold"): self.fold is False,
        }
        of_lists = {setting("sort"): self.sort is not None, setting("top"): self.top is not None}
        if self.kind == "structure":
            other = f"{setting('view')} structure"
            idle = of_trees | of_lists | {setting("columns"): self.columns is not None}
        else:
            other = next((option for option, is_given in of_lists.items() if is_given), "")
            idle = of_trees if other else {}
        for option, is_given in idle.items():
            if is_given:
                raise UsageError(
                    f"{option} and {other} contradict each other", "leave one of them out"
                )


def layer_table(summary: "SummaryResult") -> Table:
    """Return the layers for people, as a tree or sorted, with their sum."""
    view, rows = summary.view, _shown_rows(summary)
    share_key = SORT_KEYS[view.sort or "macs"]
    whole = getattr(summary.totals, share_key)
    names = view.columns or _default_columns(summary, rows)
    # What was asked for by name is shown whether it fits or not.
    columns = [
        replace(_COLUMNS[name], rank=0) if view.columns else _COLUMNS[name] for name in names
    ]
    columns = [
        replace(column, title=f"share of {_WORDS[share_key]}") if column.key == "share" else column
        for column in columns
    ]
    last = "sum of these" if view.sort or view.top else "total"
    lines = [(row.name or "(forward)", row) for row in rows] + [(last, total_of(rows))]
    cells = [
        (name, *(_cell(row, column.key, share_key, whole) for column in columns))
        for name, row in lines
    ]
    return Table(
        "layers",
        summary.title(),
        (Column("name", "layer", "path"), *columns),
        tuple(cells),
        _layer_notes(summary, rows, share_key),
        has_total=True,
    )


def exact_layer_table(summary: "SummaryResult") -> Table:
    """Return the layers that are shown with every figure, exact."""
    names = [name for name in LayerRow.__dataclass_fields__ if name != "shared"]
    rows = tuple(
        tuple(_joined(to_plain(getattr(row, name))) for name in names)
        for row in _shown_rows(summary)
    )
    return Table("layers", summary.title(), tuple(Column(name, name) for name in names), rows)


def _layer_notes(
    summary: "SummaryResult", rows: tuple[LayerRow, ...], share_key: str
) -> tuple[str, ...]:
    view = summary.view
    if view.sort or view.top:
        left_out = sum(bool(getattr(row, share_key)) for row in summary.layers) - len(rows)
        return (f"{left_out} more layers have {_WORDS[share_key]}",) if left_out > 0 else ()
    depth = max(row.depth for row in summary.layers)
    if (view.depth or DEFAULT_DEPTH) < depth:
        return (
            f"what lies deeper is added up in these; {setting('depth')} {depth} shows all of it",
        )
    return ()


def _shown_rows(summary: "SummaryResult") -> tuple[LayerRow, ...]:
    view = summary.view
    if view.sort is not None or view.top is not None:
        key = SORT_KEYS[view.sort or "macs"]
        ordered = sorted(
            (row for row in summary.layers if getattr(row, key)),
            key=lambda row: getattr(row, key),
            reverse=True,
        )
        return tuple(ordered[: view.top])
    rows = limited(summary.layers, view.depth or DEFAULT_DEPTH)
    rows = rows if view.fold is False else folded(rows)
    # The network itself has a row where its forward does more than call its modules.
    return rows if rows[0].other_flops or not rows[0].is_silent else rows[1:]


def _default_columns(summary: "SummaryResult", rows: tuple[LayerRow, ...]) -> tuple[str, ...]:
    frozen = summary.totals.trainable_params < summary.totals.params
    counted = any(row.count != 1 for row in rows)
    names = [*_DEFAULT_COLUMNS, "trainable"] if frozen else list(_DEFAULT_COLUMNS)
    if not counted:
        names.remove("count")
    return tuple(names)


def _cell(row: LayerRow, key: str, share_key: str, total: int) -> Value:
    if key == "share":
        figure = getattr(row, share_key)
        return figure / total if figure else None
    if key in ("input_shape", "output_shape"):
        return _shape_text(getattr(row, key))
    if key == "window":
        return row.window()
    if key == "type":
        return row.type_text()
    value: Value = getattr(row, key)
    is_figure = key in ("params", "trainable_params", "macs", "flops", "other_flops")
    if value == 0 and (is_figure or key == "activation_bytes"):
        return None
    return value


def total_table(summary: "SummaryResult") -> Table:
    """Return the totals, and what each covers."""
    totals = summary.totals
    bound = "at least " if summary.is_lower_bound else ""

    def count(value: int) -> str:
        return f"{value:,}"

    def memory(value: int | None) -> str:
        return "unknown" if value is None else format_value("bytes", value)

    frozen = totals.params - totals.trainable_params
    by_dtype = ", ".join(
        f"{format_value('bytes', size)} {dtype}"
        for dtype, size in summary.weight_bytes_by_dtype.items()
    )
    parts = [
        f"weights {memory(totals.weight_bytes)}",
        f"gradients {memory(summary.gradient_bytes)}",
        f"{summary.optimizer} {memory(summary.optimizer_bytes)}",
        f"saved for backward {memory(totals.saved_bytes)}",
    ]
    rows = [
        (
            "parameters",
            count(totals.params),
            f"{count(totals.trainable_params)} trained, {count(frozen)} frozen"
            if frozen
            else "all trained",
        ),
        ("weights", memory(totals.weight_bytes), by_dtype),
        ("MACs", f"{bound}{count(totals.macs)}", "convolution, linear, attention"),
        ("FLOPs", f"{bound}{count(totals.flops)}", "two a MAC"),
        (
            "other FLOPs",
            count(totals.other_flops),
            "biases, norms, activations, pooling, sums",
        ),
        ("activations", memory(totals.activation_bytes), "all that layers write, once"),
        (
            "inference",
            memory(totals.inference_bytes),
            "weights and the most that lives at once",
        ),
        ("training step", memory(totals.training_bytes), ", ".join(parts)),
        ("depth", str(summary.num_weighted_layers), "layers with weights, on the longest way"),
    ]
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
    return Table(
        "totals",
        "",
        (Column("figure", "total", "name"), Column("value", "", "right"), Column("of", "of")),
        tuple(rows),
        tuple(notes),
    )


def opinion_table(summary: "SummaryResult") -> Table:
    """Return the figures of other tools beside ours."""
    return Table(
        "second_opinions",
        "second opinions",
        (
            Column("source", "source", "name"),
            Column("figure", "figure", "name"),
            Column("theirs", "theirs", "integer"),
            Column("ours", "ours", "integer"),
            Column("explanation", "why"),
        ),
        tuple(
            (one.source, one.figure, one.theirs, one.ours, one.explanation)
            for one in summary.second_opinions or ()
        ),
    )


def _shape_text(shape: tuple[int, ...] | None) -> str | None:
    """Return a shape without its batch: `64x112x112`."""
    return None if shape is None else "x".join(map(str, shape[1:] or shape))


def _joined(value: Any) -> Value:
    return "x".join(map(str, value)) if isinstance(value, list) else value
