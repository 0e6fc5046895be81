"""How people want to see a result: `print(SummaryView(depth=1).of(result))`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnnkit.errors import UsageError, setting
from cnnkit.render.tabular import Column
from cnnkit.results.base import Records, Result
from cnnkit.results.layer_tree import LayerRow, folded, largest, layer_records, limited
from cnnkit.results.stats import DatasetStatistics
from cnnkit.results.structure import structure_records
from cnnkit.results.summary import SummaryResult

DEFAULT_DEPTH = 3  # of the tree

SORT_KEYS = {"params": "params", "macs": "macs", "activation": "activation_bytes"}

# How a terminal shows a layer: by the name that `--columns` knows. Columns of a high rank go
# first where there is no room.
LAYER_COLUMNS = {
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


@dataclass(frozen=True)
class SummaryView:
    """How the layers of a summary are shown; the JSON holds all of them.

    Attributes:
        view: `tree` or `structure`, the flat table of the lectures.
        depth: how deep the tree goes; None for 3.
        fold: whether the tree folds repeated equal blocks; None for yes.
        sort: `params`, `macs` or `activation`: a flat list, the largest first; None for the tree.
        top: how many layers; None for all.
        columns: which columns; None for those that there is room for.

    Raises:
        UsageError: a value is not among those that there are, or would change nothing.
    """

    view: str = "tree"
    depth: int | None = None
    fold: bool | None = None
    sort: str | None = None
    top: int | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        known: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
            "view": ((self.view,), ("tree", "structure")),
            "sort": (() if self.sort is None else (self.sort,), tuple(SORT_KEYS)),
            "columns": (self.columns or (), tuple(LAYER_COLUMNS)),
        }
        for name, (chosen, legal) in known.items():
            for value in set(chosen) - set(legal):
                raise UsageError(
                    f"{setting(name)}: there is no {value!r}", f"there are {', '.join(legal)}"
                )
        for name, number in (("depth", self.depth), ("top", self.top)):
            if number is not None and number < 1:
                raise UsageError(f"{setting(name)} is {number}", "it is 1 or more")
        self._check_for_idle_settings()

    def _check_for_idle_settings(self) -> None:
        """Refuse what would change nothing in what is shown."""
        of_trees = {
            "depth": self.depth is not None,
            "fold": self.fold is True,
            "no_fold": self.fold is False,
        }
        of_lists = {"sort": self.sort is not None, "top": self.top is not None}
        if self.view == "structure":
            other = f"{setting('view')} structure"
            idle = of_trees | of_lists | {"columns": self.columns is not None}
        else:
            given = next((name for name, is_given in of_lists.items() if is_given), "")
            other = given and setting(given)
            idle = of_trees if other else {}
        for name, is_given in idle.items():
            if is_given:
                raise UsageError(
                    f"{setting(name)} and {other} contradict each other", "leave one of them out"
                )

    @property
    def is_list(self) -> bool:
        """Whether the layers are a flat list, the largest first, and no tree."""
        return self.sort is not None or self.top is not None

    @property
    def sort_key(self) -> str:
        """The attribute of a layer that shares are of, and that a list is sorted by."""
        return SORT_KEYS[self.sort or "macs"]

    def layers(self, summary: SummaryResult) -> tuple[LayerRow, ...]:
        """Return the layers that are shown, in their order."""
        if self.is_list:
            return largest(summary.layers, self.sort_key)[: self.top]
        rows = limited(summary.layers, self.depth or DEFAULT_DEPTH)
        rows = rows if self.fold is False else folded(rows)
        # The network itself has a row where its forward does more than call its modules.
        return rows if rows[0].other_flops or not rows[0].is_silent else rows[1:]

    def of(self, summary: SummaryResult) -> "ShownSummary":
        """Return a summary that is shown like this."""
        return ShownSummary(summary, self)


@dataclass(frozen=True)
class ShownSummary(Result):
    """A summary, and how it is shown; its JSON is that of the summary.

    Attributes:
        summary: the summary.
        view: how it is shown.
    """

    schema: ClassVar[str] = SummaryResult.schema

    summary: SummaryResult
    view: SummaryView

    def to_dict(self) -> dict[str, Any]:
        """Return the complete summary."""
        return self.summary.to_dict()

    def records(self) -> Records:
        """Return the layers that are shown, exact; the structure has columns of its own."""
        if self.view.view == "structure":
            return structure_records(self.summary.layers)
        return layer_records(self.view.layers(self.summary))


@dataclass(frozen=True)
class ShownStats(Result):
    """The measurement of a dataset, and how it is shown; its JSON is that of the measurement.

    Attributes:
        measured: the measurement.
        by_class: whether the table of classes has the mean and std of each.
    """

    schema: ClassVar[str] = DatasetStatistics.schema

    measured: DatasetStatistics
    by_class: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the complete measurement."""
        return self.measured.to_dict()

    def records(self) -> Records:
        """Return the rows of the measurement."""
        return self.measured.records()
