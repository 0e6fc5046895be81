"""What there is: networks and datasets by name."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.table import Column, Table


@dataclass(frozen=True)
class ModelRow:
    """A network of the zoo.

    Attributes:
        name: what it is called on the command line.
        family: the family that it belongs to.
        year: of publication.
        input: native input, `CxHxW`.
        min_size: smallest height and width of an image that it takes.
        num_params: parameters, as built at the native input.
        macs: multiply-accumulates an image as published; None where not.
        top1: published top-1 accuracy, a fraction; None where not.
        top1_dataset: the set that it was measured on; None where there is none.
        salient: what is new about it.
        reference: the paper.
    """

    name: str
    family: str
    year: int
    input: str
    min_size: int
    num_params: int
    macs: int | None
    top1: float | None
    top1_dataset: str | None
    salient: str
    reference: str


@dataclass(frozen=True)
class ModelList(Result):
    """The answer of `models`."""

    schema: ClassVar[str] = "cnnkit.models/1"

    models: tuple[ModelRow, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a network."""
        columns = (
            Column("name", "name", "name"),
            Column("family", "family", rank=5),
            Column("year", "year", "name"),
            Column("input", "input", "name"),
            Column("min_size", "smallest", "integer", rank=4),
            Column("num_params", "parameters", "count"),
            Column("macs", "MACs", "count", rank=1),
            Column("top1", "top-1", "fraction", rank=2),
            Column("top1_dataset", "on", "name", rank=6),
            Column("salient", "salient", rank=3),
        )
        rows = tuple(
            tuple(str(row.year) if c.key == "year" else getattr(row, c.key) for c in columns)
            for row in self.models
        )
        return (Table("models", "", columns, rows, (_counted(len(rows), "network"),)),)


@dataclass(frozen=True)
class DatasetRow:
    """A dataset of the catalogue.

    Attributes:
        name: what it is called on the command line.
        title: its own name.
        task: what is to be told apart.
        channels: 1 for grey, 3 for colour.
        size: height and width, `HxW`; None where images differ.
        num_classes: how many classes.
        splits: number of images by split; None where unknown.
        obtain: how one gets it: `included`, `download`, `by hand`.
        requires: what else it asks for: an extra, a licence, files put in place by hand.
        mean: published channel means, scale 0..1; None where there are none.
        std: published channel deviations, likewise.
        source: who published them.
        homepage: where to read more.
    """

    name: str
    title: str
    task: str
    channels: int | None
    size: str | None
    num_classes: int
    splits: dict[str, int | None]
    obtain: str
    requires: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    source: str | None
    homepage: str


@dataclass(frozen=True)
class DatasetList(Result):
    """The answer of `datasets`."""

    schema: ClassVar[str] = "cnnkit.datasets/1"

    datasets: tuple[DatasetRow, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a dataset."""
        columns = (
            Column("name", "name", "name"),
            Column("task", "what", rank=2),
            Column("size", "image", "name"),
            Column("num_classes", "classes", "integer"),
            Column("train", "train", "integer"),
            Column("val", "val", "integer", rank=1),
            Column("test", "test", "integer"),
            Column("obtain", "obtained", "name"),
            Column("requires", "asks for", rank=4),
        )
        rows = tuple(
            (
                row.name,
                row.task,
                f"{row.channels}x{row.size}" if row.size else f"{row.channels}x*",
                row.num_classes,
                row.splits.get("train"),
                row.splits.get("val"),
                row.splits.get("test"),
                row.obtain,
                row.requires or None,
            )
            for row in self.datasets
        )
        return (Table("datasets", "", columns, rows, (_counted(len(rows), "dataset"),)),)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
