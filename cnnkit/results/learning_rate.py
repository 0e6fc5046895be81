"""What a search for a learning rate came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import ClassVar

from cnnkit.errors import setting
from cnnkit.results.base import Result
from cnnkit.results.table import Column, Table, format_value

ROWS = 20  # of the table for people; the exact one has every step


@dataclass(frozen=True)
class LearningRatePoint:
    """A step of the search.

    Attributes:
        step: its number, from 1.
        learning_rate: that it was taken with.
        loss: of its batch, before the step.
        smoothed_loss: running mean of the losses so far, those long past weighing less.
    """

    step: int
    learning_rate: float
    loss: float
    smoothed_loss: float


@dataclass(frozen=True)
class LearningRateSearch(Result):
    """The answer of `find_learning_rate`.

    Attributes:
        model: name of the network.
        dataset: name of the dataset.
        device: where it was computed.
        optimizer: whose learning rate is searched.
        batch_size: images a step.
        seed: of weights, order and dropout.
        recipe_lr: the learning rate that the recipe has without the search.
        points: the steps, the learning rate rising.
        diverged_at: the learning rate at which the search ended; None where it came to its end.
        lowest_at: that of the lowest smoothed loss.
        suggestion: that at which the smoothed loss falls most steeply; None where it did not fall.
    """

    schema: ClassVar[str] = "cnnkit.lr-find/1"

    model: str
    dataset: str
    device: str
    optimizer: str
    batch_size: int
    seed: int
    recipe_lr: float
    points: tuple[LearningRatePoint, ...]
    diverged_at: float | None
    lowest_at: float
    suggestion: float | None

    def title(self) -> str:
        """Return what was searched for, as a heading."""
        return (
            f"learning rates of {PurePath(self.model).name} on {PurePath(self.dataset).name}: "
            f"{self.optimizer}, batch {self.batch_size}"
        )

    def tables(self) -> tuple[Table, ...]:
        """Return some of the steps, and what follows from them."""
        every = max(1, round(len(self.points) / ROWS))
        last = self.points[-1].step
        shown = [one for one in self.points if one.step % every == 0 or one.step == last]
        return (self._table(shown, self.notes()),)

    def exact_table(self) -> Table:
        """Return every step."""
        return self._table(self.points, ())

    def notes(self) -> tuple[str, ...]:
        """Return what follows from the steps, in lines for people."""

        def rate(value: float) -> str:
            return format_value("learning_rate", value)

        ended = (
            f"no divergence up to {rate(self.points[-1].learning_rate)}"
            if self.diverged_at is None
            else f"diverged at {rate(self.diverged_at)}"
        )
        if self.suggestion is None:
            found = "no suggestion: the loss did not fall; look at the network and its input"
        else:
            found = (
                f"suggestion: {setting('lr')} {rate(self.suggestion)}, where the smoothed loss "
                "falls most "
                "steeply"
            )
        return (
            found,
            f"lowest at {rate(self.lowest_at)}; a tenth of it, {rate(self.lowest_at / 10)}, is the "
            "other rule in use",
            f"{ended}; the recipe has {rate(self.recipe_lr)}",
            "range test of Smith 2017, section 3.3; both rules as in fastai",
        )

    def _table(self, points: Sequence[LearningRatePoint], notes: tuple[str, ...]) -> Table:
        return Table(
            "points",
            self.title(),
            (
                Column("step", "step", "integer"),
                Column("learning_rate", "lr", "learning_rate"),
                Column("loss", "loss", "loss"),
                Column("smoothed_loss", "smoothed", "loss"),
            ),
            tuple((one.step, one.learning_rate, one.loss, one.smoothed_loss) for one in points),
            notes,
        )
