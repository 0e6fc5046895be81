"""The recipes that there are, and what they reached."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.table import Column, Table


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
        seconds: of a whole run, median.
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
    """The answer of `recipes`."""

    schema: ClassVar[str] = "cnnkit.recipes/1"

    recipes: tuple[RecipeRow, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a recipe."""
        columns = (
            Column("name", "name", "name"),
            Column("model", "network", "name", rank=1),
            Column("dataset", "dataset", "name", rank=4),
            Column("what", "what for", rank=2),
            Column("epochs", "epochs", "integer"),
            Column("accuracy", "reached", "fraction"),
            Column("deviation", "deviation", "fraction"),
            Column("n", "n", "integer"),
            Column("seconds", "time", "seconds"),
            Column("machine", "on", rank=3),
        )
        rows = tuple(
            tuple(_known(getattr(row, column.key)) for column in columns) for row in self.recipes
        )
        notes = ("reached: accuracy on the test set, mean of n runs with different seeds",)
        return (Table("recipes", "", columns, rows, notes),)


def _known(value: str | float | None) -> str | float:
    return "unknown" if value is None else value
