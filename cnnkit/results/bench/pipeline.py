"""Loading and computing, alone and together."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.bench.machine import Machine
from cnnkit.results.table import Column, Table, format_value


@dataclass(frozen=True)
class PipelineRow:
    """A network that is fed with the images of a dataset.

    Attributes:
        model: the network.
        device: where it ran.
        mode: `infer` or `train`.
        batch_size: images a batch.
        precision: see `BenchCell`; so are the next three.
        layout: `channels-first` or `channels-last`.
        compile: whether it was compiled.
        threads: of the processor.
        loading_images_per_second: nothing but loaded, treated, and brought to the device.
        network_images_per_second: one batch that lies on the device, again and again.
        both_images_per_second: loaded and used.
        bottleneck: `loading` or `network`, whichever is the slower alone.
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
    """The answer of `benchmark_pipeline`.

    Attributes:
        machine: what it was measured on.
        dataset: where the images are from.
        num_images: of its training split.
        num_workers: threads that read files; sets in memory need none.
        rows: a row a network and setting.
    """

    schema: ClassVar[str] = "cnnkit.bench-data/1"

    machine: Machine
    dataset: str
    num_images: int
    num_workers: int
    rows: tuple[PipelineRow, ...]

    def tables(self) -> tuple[Table, ...]:
        """Return a row a network and setting."""
        settings = {
            "model": "network", "device": "device", "mode": "mode", "batch_size": "batch",
            "precision": "precision", "layout": "layout", "threads": "threads",
        }  # fmt: skip
        shown = [
            name
            for name in settings
            if name == "model" or len({getattr(row, name) for row in self.rows}) > 1
        ]
        columns = (
            *(Column(name, settings[name], "name") for name in shown),
            Column("loading_images_per_second", "loading", "rate"),
            Column("network_images_per_second", "network", "rate"),
            Column("both_images_per_second", "both", "rate"),
            Column("bottleneck", "slower", "name"),
            Column("overlap", "overlap", "fraction", rank=1),
        )
        rows = tuple(
            tuple(
                str(getattr(row, column.key)) if column.key in shown else getattr(row, column.key)
                for column in columns
            )
            for row in self.rows
        )
        first = self.rows[0]
        same = ", ".join(
            f"batch {first.batch_size}" if name == "batch_size" else str(getattr(first, name))
            for name in ("device", "mode", "batch_size", "precision", "layout")
            if name not in shown
        )
        title = f"images a second of {self.dataset}" + (f", {same}" if same else "")
        notes = [f"{row.model} ({row.device}, {row.mode}): {_told(row)}" for row in self.rows]
        notes.append(
            f"{format_value('integer', self.num_images)} images, {self.num_workers} threads that "
            f"read files; {self.machine.device_name}"
        )
        return (Table("pipeline", title, columns, rows, tuple(notes)),)


def _told(row: PipelineRow) -> str:
    other = "the network" if row.bottleneck == "loading" else "loading"
    slower = "loading" if row.bottleneck == "loading" else "the network"
    ratio = max(row.loading_images_per_second, row.network_images_per_second) / min(
        row.loading_images_per_second, row.network_images_per_second
    )
    return (
        f"the bottleneck is {slower}; {other} alone is {ratio:.1f} times as fast, and both "
        f"together reach {100 * row.overlap:.0f} % of the slower"
        + ("" if row.overlap > 0.9 else ", for they wait for one another, or for the same cores")
    )
