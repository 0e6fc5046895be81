"""How long it takes to train a network to an accuracy."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.bench.machine import Machine
from cnnkit.results.table import Column, Table, format_value


@dataclass(frozen=True)
class TimedRun:
    """A training.

    Attributes:
        seed: of it.
        seconds: until the accuracy was reached, evaluation included; None where it never was.
        epochs: that it took, or that there were.
        accuracy: the highest that was reached.
        error: why it failed; None where it did not.
    """

    seed: int
    seconds: float | None
    epochs: int
    accuracy: float
    error: str | None


@dataclass(frozen=True)
class TimeToResult(Result):
    """The answer of `time_to_accuracy`.

    Attributes:
        machine: what it was measured on.
        recipe: the name or file of the settings.
        model: the network.
        dataset: the dataset.
        device: where it was trained.
        target: the accuracy.
        split: the images that it was taken on, `test` or `val`.
        mean_seconds: of all runs but the fastest and the slowest, a failed one being the slowest;
            None where a failed one is among the rest.
        num_failed: runs that never reached it.
        runs: all of them.
    """

    schema: ClassVar[str] = "cnnkit.bench-time-to/1"

    machine: Machine
    recipe: str
    model: str
    dataset: str
    device: str
    target: float
    split: str
    mean_seconds: float | None
    num_failed: int
    runs: tuple[TimedRun, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a run, the mean below."""
        columns = (
            Column("seed", "seed", "integer"),
            Column("seconds", "time", "seconds"),
            Column("epochs", "epochs", "integer"),
            Column("accuracy", "best", "fraction"),
            Column("error", "failed", "text"),
        )
        rows = tuple(
            (run.seed, run.seconds, run.epochs, run.accuracy, run.error or "") for run in self.runs
        )
        title = (
            f"{self.model} on {self.dataset} to {100 * self.target:g} % of the {self.split} images"
        )
        mean = (
            "none, for more than one run failed"
            if self.mean_seconds is None
            else format_value("seconds", self.mean_seconds)
        )
        notes = (
            f"mean without the fastest and the slowest: {mean}",
            f"failed: {self.num_failed} of {len(self.runs)}; a failed run counts as the slowest",
            f"recipe {self.recipe}, evaluation inside the clock; {self.machine.device_name}",
        )
        return (Table("runs", title, columns, rows, notes),)
