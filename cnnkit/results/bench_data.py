"""How fast networks are with a dataset: loading beside computing, and the time to an accuracy."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Records, Result, Value
from cnnkit.results.bench import Machine


@dataclass(frozen=True)
class PipelineRow:
    """A network that is fed with the images of a dataset.

    Attributes:
        model: the network.
        device: where it ran.
        mode: `infer` or `train`.
        batch_size: images per batch.
        precision: see `BenchCell`; so are the next three.
        layout: `channels-first` or `channels-last`.
        compile: whether it was compiled.
        threads: of the processor.
        loading_images_per_second: nothing but loaded, treated, and brought to the device.
        network_images_per_second: the same batch on the device, repeated.
        both_images_per_second: loaded and used.
        bottleneck: `loading` or `network`, whichever is slower by itself.
        overlap: what both reach of the slower; 1 where the faster costs nothing.
    """

    model: str
    device: str
    mode: str
    batch_size: int
    precision: str
    layout: str
    compile: bool
    threads: int
    loading_images_per_second: float
    network_images_per_second: float
    both_images_per_second: float
    bottleneck: str
    overlap: float


@dataclass(frozen=True)
class PipelineResult(Result):
    """The speed of loading and of computing, separately and together.

    Attributes:
        machine: what it was measured on.
        dataset: where the images are from.
        num_images: of its training split.
        num_workers: threads that read files; sets in memory need none.
        rows: one row per network and setting.
    """

    schema: ClassVar[str] = "cnnkit.bench-data/1"

    machine: Machine
    dataset: str
    num_images: int
    num_workers: int
    rows: tuple[PipelineRow, ...]

    @property
    def varying(self) -> tuple[str, ...]:
        """The settings in which rows differ, the network first."""
        names = ("model", "device", "mode", "batch_size", "precision", "layout", "threads")
        return tuple(
            name
            for name in names
            if name == "model" or len({getattr(row, name) for row in self.rows}) > 1
        )

    def records(self) -> Records:
        """Return one row per network and setting."""
        rates = ("loading_images_per_second", "network_images_per_second")
        names = (*self.varying, *rates, "both_images_per_second", "bottleneck", "overlap")
        return Records.of(self.rows, names)


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
    """The time that a recipe needs to reach an accuracy.

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

    def records(self) -> Records:
        """Return one row per run."""
        rows: list[tuple[Value, ...]] = [
            (run.seed, run.seconds, run.epochs, run.accuracy, run.error or "") for run in self.runs
        ]
        return Records(("seed", "seconds", "epochs", "accuracy", "error"), tuple(rows))
