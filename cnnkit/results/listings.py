"""Listings of networks, datasets and recipes."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Records, Result, Value


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
        macs: multiply-accumulates per image as published; None where not.
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
    """The result of `models`."""

    schema: ClassVar[str] = "cnnkit.models/1"

    models: tuple[ModelRow, ...]

    def records(self) -> Records:
        """Return one row per network."""
        names = ("name", "family", "year", "input", "min_size", "num_params", "macs", "top1")
        return Records.of(self.models, (*names, "top1_dataset", "salient"))


@dataclass(frozen=True)
class DatasetRow:
    """A dataset of the catalog.

    Attributes:
        name: what it is called on the command line.
        title: its own name.
        task: what the classes are.
        channels: 1 for grayscale, 3 for RGB.
        size: height and width, `HxW`; None where images differ.
        num_classes: how many classes.
        splits: number of images by split; None where unknown.
        obtain: how one gets it: `included`, `download`, `by hand`.
        requires: what else it asks for: an extra, a licence, files put in place by hand.
        mean: published channel means, scale 0..1; None where there are none.
        std: published channel stds, likewise.
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
    """The result of `datasets`."""

    schema: ClassVar[str] = "cnnkit.datasets/1"

    datasets: tuple[DatasetRow, ...]

    def records(self) -> Records:
        """Return one row per dataset, with the numbers of images of the usual splits."""
        names = ("name", "task", "size", "num_classes", "train", "val", "test", "obtain")
        rows: list[tuple[Value, ...]] = [
            (
                row.name,
                row.task,
                f"{row.channels}x{row.size or '*'}",
                row.num_classes,
                *(row.splits.get(split) for split in ("train", "val", "test")),
                row.obtain,
                row.requires or None,
            )
            for row in self.datasets
        ]
        return Records((*names, "requires"), tuple(rows))


@dataclass(frozen=True)
class RecipeRow:
    """A recipe of the package.

    Attributes:
        name: what it is called on the command line.
        kind: `lecture`, `fast` or `best`.
        model: the network that it is made for.
        dataset: the data that it is made for.
        what: what it is, in one line.
        epochs: passes over the training set.
        accuracy: on the test set, mean over the runs, as a fraction; None where unknown, as all
            that follow.
        n: number of runs, each with its own seed.
        deviation: sample standard deviation of the accuracy, as a fraction.
        seconds: of a complete run, median.
        machine: that the seconds were measured on.
    """

    name: str
    kind: str
    model: str
    dataset: str
    what: str
    epochs: int
    accuracy: float | None
    n: int | None
    deviation: float | None
    seconds: float | None
    machine: str | None


@dataclass(frozen=True)
class RecipeList(Result):
    """The result of `recipes`."""

    schema: ClassVar[str] = "cnnkit.recipes/1"

    recipes: tuple[RecipeRow, ...]

    def records(self) -> Records:
        """Return one row per recipe."""
        names = ("name", "model", "dataset", "what", "epochs", "accuracy", "deviation", "n")
        return Records.of(self.recipes, (*names, "seconds", "machine"))
