"""What a network looks like: its layers, what they cost, and the totals."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from cnnkit.errors import UsageError
from cnnkit.registry import did_you_mean
from cnnkit.results.base import Result, to_plain
from cnnkit.results.layer_tree import LayerRow, folded, limited, total_of
from cnnkit.results.structure import structure_table
from cnnkit.results.table import Column, Table, Value, format_value

SORT_KEYS = {"params": "params", "macs": "macs", "activation": "activation_bytes"}
VIEWS = ("tree", "structure")

# How a terminal shows a layer: by the name that `--columns` knows. Columns of a high rank go
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
    "field": Column("receptive_field", "field", "integer", rank=1),
    "jump": Column("jump", "jump", "integer", rank=5),
}
_DEFAULT_COLUMNS = tuple(name for name in _COLUMNS if name not in ("trainable", "flops", "other"))
COLUMN_NAMES = tuple(_COLUMNS)


@dataclass(frozen=True)
class Totals:
    """Counts of the whole network for the input that was given.

    Attributes:
        params: parameters, each once however often it is used.
        trainable_params: those that a training changes.
        weight_bytes: bytes of parameters and buffers.
        macs: multiply-accumulates of convolutions, linear layers and attention.
        flops: two a MAC.
        other_flops: all other arithmetic: biases, norms, activations, pooling, sums.
        activation_bytes: bytes of every tensor that an operator writes to new memory.
        inference_bytes: weights, and the most bytes of tensors alive at one time.
        training_bytes: weights, gradients, the optimizer's state and what autograd saves; None
            where the network cannot be run in training.
        saved_bytes: what autograd saves for the backward pass; likewise.
    """

    params: int
    trainable_params: int
    weight_bytes: int
    macs: int
    flops: int
    other_flops: int
    activation_bytes: int
    inference_bytes: int
    training_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True)
class Uncounted:
    """An operator whose cost is not known.

    Attributes:
        operator: its name.
        count: how often it ran.
        heavy: it may well multiply and accumulate, so that the total is a lower bound.
    """

    operator: str
    count: int
    heavy: bool


@dataclass(frozen=True)
class SecondOpinion:
    """A figure of another tool beside ours.

    Attributes:
        source: the tool, or who published it.
        figure: `parameters` or `MACs`, as we call it.
        ours: our figure.
        theirs: theirs; None where it has none.
        explanation: why they differ, in words.
    """

    source: str
    figure: str
    ours: int
    theirs: int | None
    explanation: str


@dataclass(frozen=True)
class SummaryView:
    """How people are shown a summary; the JSON holds all of it.

    Attributes:
        kind: `tree` or `structure`, the flat table of the lectures.
        depth: how deep the tree goes; None for all of it.
        fold: fold repeated equal blocks.
        sort: `params`, `macs` or `activation`: a flat list, the largest first; None for the tree.
        top: how many layers; None for all.
        columns: which columns; None for those that there is room for.
    """

    kind: str = "tree"
    depth: int | None = 3
    fold: bool = True
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in self.columns or ():
            if name not in _COLUMNS:
                known = ", ".join(_COLUMNS)
                raise UsageError(
                    f"--columns: there is no column {name!r}",
                    did_you_mean(name, _COLUMNS) or f"the columns are {known}",
                )
        for what, number in (("--depth", self.depth), ("--top", self.top)):
            if number is not None and number < 1:
                raise UsageError(f"{what} is {number}", "it is 1 or more")


@dataclass(frozen=True)
class SummaryResult(Result):
    """The answer of `summary`.

    Attributes:
        model: name of the network.
        input: shapes of the inputs without the batch, as `--input` takes them.
        batch_size: images a batch; shapes, counts and memory are for all of it.
        dtype: of weights and activations.
        optimizer: whose state the training memory holds.
        device: `meta`, or `cpu` where the network needs real tensors.
        totals: of the whole network.
        complete: nothing was left uncounted.
        uncounted: the operators that were.
        layers: every module, with the figures that are its own.
        weight_bytes_by_dtype: bytes of parameters and buffers by dtype.
        gradient_bytes: of the parameters that are trained.
        optimizer_bytes: of the optimizer's state.
        num_weighted_layers: layers with weights on the longest way through the network.
        second_opinions: figures of other tools; None where they were not asked.
        remarks: what else has to be known.
        print_remarks: how the structure compares with a printed table of this network.
        view: how people are shown it; not part of the dictionary.
    """

    schema: ClassVar[str] = "cnnkit.summary/1"

    model: str
    input: str
    batch_size: int
    dtype: str
    optimizer: str
    device: str
    totals: Totals
    complete: bool
    uncounted: tuple[Uncounted, ...]
    layers: tuple[LayerRow, ...]
    weight_bytes_by_dtype: dict[str, int]
    gradient_bytes: int
    optimizer_bytes: int
    num_weighted_layers: int
    second_opinions: tuple[SecondOpinion, ...] | None = None
    remarks: tuple[str, ...] = ()
    print_remarks: tuple[str, ...] = ()
    view: SummaryView = field(default_factory=SummaryView)

    @property
    def is_lower_bound(self) -> bool:
        """Whether a heavy operator was left uncounted."""
        return any(one.heavy for one in self.uncounted)

    def viewed(self, view: SummaryView) -> "SummaryResult":
        """Return the same summary shown otherwise."""
        return replace(self, view=view)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result; the view is none of it."""
        plain = super().to_dict()
        del plain["view"]
        return plain

    def tables(self) -> tuple[Table, ...]:
        """Return the layers as the view asks for, the totals, and the second opinions."""
        if self.view.kind == "structure":
            layers = structure_table(self.title(), self.layers)
            return (replace(layers, notes=(*self.remarks, *self.print_remarks)),)
        tables = (self._layer_table(), self._total_table())
        return (*tables, self._opinion_table()) if self.second_opinions is not None else tables

    def exact_table(self) -> Table:
        """Return every layer with exact figures; the structure view has a form of its own."""
        if self.view.kind == "structure":
            return structure_table(self.title(), self.layers, split=True)
        names = [name for name in LayerRow.__dataclass_fields__ if name != "shared"]
        columns = tuple(Column(name, name, "text") for name in names)
        rows = tuple(
            tuple(_joined(to_plain(getattr(row, name))) for name in names)
            for row in self._shown_rows()
        )
        return Table("layers", self.title(), columns, rows)

    def title(self) -> str:
        """Return what was summarised, in one line."""
        batch = "" if self.batch_size == 1 else f", batch of {self.batch_size}"
        dtype = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"{self.model}, input {self.input}{batch}{dtype}"

    def _shown_rows(self) -> tuple[LayerRow, ...]:
        view = self.view
        if view.sort is not None or view.top is not None:
            key = SORT_KEYS[view.sort or "macs"]
            ordered = sorted(
                (row for row in self.layers if getattr(row, key)),
                key=lambda row: getattr(row, key),
                reverse=True,
            )
            return tuple(ordered[: view.top])
        rows = limited(self.layers, view.depth)
        rows = folded(rows) if view.fold else rows
        # The network itself has a row where its forward does more than call its modules.
        return rows if rows[0].other_flops or not rows[0].is_silent else rows[1:]

    def _layer_table(self) -> Table:
        view, rows = self.view, self._shown_rows()
        share_key = SORT_KEYS[view.sort or "macs"]
        total = getattr(self.totals, share_key)
        names = view.columns or self._default_columns(rows)
        # What was asked for by name is shown whether it fits or not.
        columns = [
            replace(_COLUMNS[name], rank=0) if view.columns else _COLUMNS[name] for name in names
        ]
        values = [
            tuple(self._cell(row, column.key, share_key, total) for column in columns)
            for row in rows
        ]
        whole = total_of(rows)
        values.append(tuple(self._cell(whole, c.key, share_key, total) for c in columns))
        left_out = len([r for r in self.layers if getattr(r, share_key)]) - len(rows)
        notes = []
        if (view.sort or view.top) and left_out > 0:
            notes.append(f"{left_out} more layers with {share_key.replace('_', ' ')}")
        return Table(
            "layers",
            self.title(),
            (Column("name", "layer", "path"), *columns),
            tuple(
                (name, *cells)
                for name, cells in zip(
                    [*(row.name or "(forward)" for row in rows), "total"], values, strict=True
                )
            ),
            (*notes, "field: pixels along a side that a value sees, its receptive field"),
            has_total=True,
        )

    def _default_columns(self, rows: tuple[LayerRow, ...]) -> tuple[str, ...]:
        frozen = self.totals.trainable_params < self.totals.params
        counted = any(row.count != 1 for row in rows)
        names = [*_DEFAULT_COLUMNS, "trainable"] if frozen else list(_DEFAULT_COLUMNS)
        if not counted:
            names.remove("count")
        return tuple(names)

    def _cell(self, row: LayerRow, key: str, share_key: str, total: int) -> Value:
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

    def _total_table(self) -> Table:
        totals = self.totals
        bound = "at least " if self.is_lower_bound else ""

        def count(value: int) -> str:
            return f"{value:,}"

        def memory(value: int | None) -> str:
            return "unknown" if value is None else format_value("bytes", value)

        frozen = totals.params - totals.trainable_params
        by_dtype = ", ".join(
            f"{format_value('bytes', size)} {dtype}"
            for dtype, size in self.weight_bytes_by_dtype.items()
        )
        parts = [
            f"weights {memory(totals.weight_bytes)}",
            f"gradients {memory(self.gradient_bytes)}",
            f"{self.optimizer} {memory(self.optimizer_bytes)}",
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
            ("depth", str(self.num_weighted_layers), "layers with weights, on the longest way"),
        ]
        notes = list(self.remarks)
        for one in self.uncounted:
            what = "not counted: " if one.heavy else "not counted, light: "
            times = "once" if one.count == 1 else f"{one.count} times"
            notes.append(f"{what}{one.operator}, {times}")
        shared = [row.name for row in self.layers if row.shared]
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

    def _opinion_table(self) -> Table:
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
                for one in self.second_opinions or ()
            ),
        )


def _shape_text(shape: tuple[int, ...] | None) -> str | None:
    """Return a shape without its batch: `64x112x112`."""
    return None if shape is None else "x".join(map(str, shape[1:] or shape))


def _joined(value: Any) -> Value:
    return "x".join(map(str, value)) if isinstance(value, list) else value
