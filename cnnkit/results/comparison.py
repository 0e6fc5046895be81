"""Several networks side by side: what they cost, and what was published of them."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Result, to_plain
from cnnkit.results.printed_figure import PrintedFigure
from cnnkit.results.summary import Totals
from cnnkit.results.table import Column, Table, Value

# What networks can be sorted by, and the field of the JSON that it is.
COMPARE_SORT_KEYS = {
    "name": "name",
    "year": "year",
    "params": "params",
    "weights": "weight_bytes",
    "macs": "macs",
    "flops": "flops",
    "activations": "activation_bytes",
    "inference": "inference_bytes",
    "training": "training_bytes",
    "depth": "num_weighted_layers",
    "field": "receptive_field",
    "top1": "top1",
    "top5": "top5",
    "per-gmac": "top1_per_gmac",
    "pareto": "pareto",
}

_PARETO_NOTE = (
    "Pareto: no other on the same dataset has a higher top-1 for as few MACs, or fewer MACs for as "
    "high a top-1"
)
_PER_GMAC_NOTE = "top-1/GMAC: percent of top-1 for each 10^9 MACs an image"


@dataclass(frozen=True)
class ComparedModel:
    """A network of a comparison.

    Attributes:
        name: what it is called.
        year: of publication; None for one that is not of the zoo.
        salient: what is new about it; likewise.
        input: shapes of the inputs without the batch.
        totals: its costs, for the whole batch.
        num_weighted_layers: layers with weights on the longest way through the network.
        receptive_field: pixels along a side that a value sees, of the last map before the network
            looks at the whole image; None where it is unknown.
        top1: published share of images whose class comes first; None where there is none at this
            input.
        top5: published share of images whose class is among the first five; likewise.
        dataset: the set that they were measured on; None without them.
        weights: the weights that they belong to; None where these are not public.
        crop: height and width of the images that they were measured at; None where not stated.
        source: who published them.
        top1_per_gmac: top-1 for each 10^9 multiply-accumulates an image.
        pareto: no other of the same dataset is better in top-1 or MACs and as good in the other;
            None without a top-1.
        complete: nothing was left uncounted.
        is_lower_bound: an operator was left uncounted that may well multiply and accumulate.
        remarks: what else has to be known.
    """

    name: str
    year: int | None
    salient: str | None
    input: str
    totals: Totals
    num_weighted_layers: int
    receptive_field: int | None
    top1: float | None
    top5: float | None
    dataset: str | None
    weights: str | None
    crop: int | None
    source: str | None
    top1_per_gmac: float | None
    pareto: bool | None
    complete: bool
    is_lower_bound: bool
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, with those of the totals among them."""
        plain: dict[str, Any] = {}
        for one in fields(self):
            value = to_plain(getattr(self, one.name))
            plain |= value if one.name == "totals" else {one.name: value}
        return plain


@dataclass(frozen=True)
class Difference:
    """A network held against the first one.

    Costs are ratios, 2.0 for twice as much; None where either is unknown or the first is 0.

    Attributes:
        name: what it is called.
        params: ratio of the parameters.
        weight_bytes: of the bytes of parameters and buffers.
        macs: of the multiply-accumulates, and so of the FLOPs.
        activation_bytes: of what its layers write.
        inference_bytes: of the memory of inference.
        training_bytes: of the memory of a training step.
        num_weighted_layers: of the depths.
        receptive_field: of the receptive fields.
        top1: difference of the top-1 accuracies, a fraction; None where they are not of one set.
        top5: difference of the top-5 accuracies, likewise.
    """

    name: str
    params: float | None
    weight_bytes: float | None
    macs: float | None
    activation_bytes: float | None
    inference_bytes: float | None
    training_bytes: float | None
    num_weighted_layers: float | None
    receptive_field: float | None
    top1: float | None
    top5: float | None


@dataclass(frozen=True)
class ComparisonResult(Result):
    """The answer of `compare`.

    Attributes:
        input: the input that was given for all; None where each has its own.
        batch_size: images a batch; costs are for all of it.
        dtype: of weights and activations.
        optimizer: whose state the memory of training holds.
        models: the networks.
        baseline: name of the network that the others are held against; None where not asked for.
        differences: a row a network, in the order of the models; None without a baseline.
        printed: what printed figures of these networks really are.
    """

    schema: ClassVar[str] = "cnnkit.compare/1"

    input: str | None
    batch_size: int
    dtype: str
    optimizer: str
    models: tuple[ComparedModel, ...]
    baseline: str | None = None
    differences: tuple[Difference, ...] | None = None
    printed: tuple[PrintedFigure, ...] = ()

    @property
    def has_accuracy(self) -> bool:
        """Whether a top-1 is known of any of the networks."""
        return any(one.top1 is not None for one in self.models)

    def tables(self) -> tuple[Table, ...]:
        """Return accuracy against cost, size and memory, what was published, differences."""
        tables = [self._accuracy_table(), self._memory_table()]
        if any(one.year is not None for one in self.models):
            tables.append(self._published_table())
        if self.differences is not None:
            tables.append(self._difference_table())
        return tuple(tables)

    def exact_table(self) -> Table:
        """Return every figure of every network, exact."""
        plain = [one.to_dict() for one in self.models]
        names = [name for name in plain[0] if name != "remarks"]
        columns = tuple(Column(name, name) for name in names)
        return Table(
            "models", self._title(), columns, tuple(tuple(one[n] for n in names) for one in plain)
        )

    def _title(self) -> str:
        batch = "" if self.batch_size == 1 else f", batch of {self.batch_size}"
        dtype = "" if self.dtype == "float32" else f", {self.dtype}"
        at = "each at its own input" if self.input is None else f"input {self.input}"
        return f"{_counted(len(self.models))}, {at}{batch}{dtype}"

    def _accuracy_table(self) -> Table:
        datasets = {one.dataset for one in self.models if one.dataset is not None}
        of_top1 = f"top-1, top-5: on {min(datasets)}, as published" if len(datasets) == 1 else ""
        columns: tuple[Column, ...] = (
            Column("name", "network", "name"),
            Column("params", "params", "count"),
            Column("macs", "MACs", "count"),
            Column("flops", "FLOPs", "count", rank=2),
            Column("top1", "top-1", "fraction", note=of_top1),
            Column("top5", "top-5", "fraction", rank=1),
            Column(
                "top1_per_gmac",
                "top-1/GMAC",
                "number",
                rank=3,
                note=_PER_GMAC_NOTE if self.has_accuracy else "",
            ),
            Column("pareto", "Pareto", "name", note=_PARETO_NOTE if self.has_accuracy else ""),
        )
        if len(datasets) > 1:  # accuracies of different sets must not be taken for one another
            columns = (*columns[:-1], Column("dataset", "on", "name"), columns[-1])
        notes = []
        bounds = [one.name for one in self.models if one.is_lower_bound]
        if bounds:
            notes.append(f"MACs are at least so many, for not all was counted: {_listed(bounds)}")
        notes += _told_once([(one.name, text) for one in self.models for text in one.remarks])
        return Table("models", self._title(), columns, self._cells(columns), tuple(notes))

    def _memory_table(self) -> Table:
        columns = (
            Column("name", "network", "name"),
            Column("input", "input", "name"),
            Column("num_weighted_layers", "depth", "integer"),
            Column("receptive_field", "field", "integer"),
            Column("weight_bytes", "weights", "bytes"),
            Column("activation_bytes", "activations", "bytes"),
            Column("inference_bytes", "inference", "bytes", rank=1),
            Column("training_bytes", "training", "bytes"),
        )
        notes = (
            "depth: layers with weights, on the longest way; field: pixels along a side that a "
            "value sees, before a layer looks at the whole image",
            f"training: weights, gradients, {self.optimizer} and what autograd saves for a batch "
            f"of {self.batch_size}",
        )
        return Table("memory", "", columns, self._cells(columns), notes)

    def _published_table(self) -> Table:
        columns = (
            Column("name", "network", "name"),
            Column("year", "year", "name"),
            Column("salient", "salient feature"),
            Column("dataset", "accuracy on", "name"),
            Column("weights", "of weights", "name", rank=1),
            Column("crop", "crop", "integer", rank=2),
        )
        notes = tuple(one.sentence() for one in self.printed)
        return Table("published", "", columns, self._cells(columns), notes)

    def _difference_table(self) -> Table:
        columns = (
            Column("name", "network", "name"),
            Column("params", "params", "right"),
            Column("weight_bytes", "weights", "right", rank=2),
            Column("macs", "MACs", "right"),
            Column("activation_bytes", "activations", "right"),
            Column("inference_bytes", "inference", "right", rank=1),
            Column("training_bytes", "training", "right"),
            Column("num_weighted_layers", "depth", "right"),
            Column("receptive_field", "field", "right", rank=3),
            Column("top1", "top-1", "right"),
            Column("top5", "top-5", "right"),
        )
        rows = tuple(
            (one.name, *(_difference(c.key, getattr(one, c.key)) for c in columns[1:]))
            for one in self.differences or ()
            if one.name != self.baseline
        )
        notes = ("costs as multiples, accuracies in points of percent",)
        return Table("differences", f"against {self.baseline}", columns, rows, notes)

    def _cells(self, columns: tuple[Column, ...]) -> tuple[tuple[Value, ...], ...]:
        return tuple(
            tuple(_cell(c.key, one.to_dict()[c.key]) for c in columns) for one in self.models
        )


def _cell(key: str, value: Any) -> Value:
    """Return a value as a table for people holds it."""
    if value is None:
        return None
    if key == "year":
        return str(value)
    if key == "pareto":
        return "yes" if value else "no"
    if key == "top1_per_gmac":
        return float(f"{100 * value:.4g}")
    return value  # type: ignore[no-any-return]  # a number or a text


def _difference(key: str, value: float | None) -> str | None:
    """Return a ratio as `x1.4`, and a difference of accuracies as `+1.40`."""
    if value is None:
        return None
    if key in ("top1", "top5"):
        return f"{100 * value:+.2f}"
    return f"x{value:,.0f}" if value >= 100 else f"x{value:#.3g}"


def _told_once(remarks: list[tuple[str, str]]) -> list[str]:
    """Return each remark once, with the networks that it is about in front."""
    by_remark: dict[str, list[str]] = {}
    for name, remark in remarks:
        by_remark.setdefault(remark, []).append(name)
    return [f"{_listed(names)}: {remark}" for remark, names in by_remark.items()]


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _counted(number: int) -> str:
    return f"{number} network{'' if number == 1 else 's'}"
