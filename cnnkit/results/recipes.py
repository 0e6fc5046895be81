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
        """Return a row a recipe; the machines stand below, for a column has no room."""
        return (self._table(self._columns(), "unknown"),)

    def exact_table(self) -> Table:
        """Return the same with the machines, and nothing where nothing is known."""
        return self._table((*self._columns(), Column("machine", "on")), None)

    def _columns(self) -> tuple[Column, ...]:
        return (
            Column("name", "name", "name"),
            Column("model", "network", "name", rank=1),
            Column("dataset", "dataset", "name", rank=2),
            Column("what", "what for", rank=3),
            Column("epochs", "epochs", "integer"),
            Column("accuracy", "reached", "fraction"),
            Column("deviation", "deviation", "fraction"),
            Column("n", "n", "integer"),
            Column("seconds", "time", "seconds"),
        )

    def _table(self, columns: tuple[Column, ...], unknown: str | None) -> Table:
        rows = []
        for recipe in self.recipes:
            values = [getattr(recipe, column.key) for column in columns]
            rows.append(tuple(unknown if value is None else value for value in values))
        reached = "reached: accuracy on the test set, mean of n runs with different seeds"
        return Table("recipes", "", columns, tuple(rows), (reached, *self._time_notes()))

    def _time_notes(self) -> tuple[str, ...]:
        """Return on which machine each time was measured; nothing where there is no time."""
        names: dict[str, list[str]] = {}
        for one in self.recipes:
            if one.seconds is not None:
                names.setdefault(one.machine or "a machine that is unknown", []).append(one.name)
        what = "time: of a whole run, median"
        if len(names) > 1:
            return tuple(f"{what}, of {', '.join(of)}: on {on}" for on, of in names.items())
        return tuple(f"{what}, on {on}" for on in names)
