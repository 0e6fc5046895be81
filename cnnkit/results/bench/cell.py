"""One measurement: a network on a device, in one setting."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

# What makes two cells the same one, in the order of a table; and how people call it.
SETTINGS = {
    "model": "network",
    "input": "input",
    "device": "device",
    "mode": "mode",
    "batch_size": "batch",
    "precision": "precision",
    "layout": "channels",
    "compile": "compile",
    "threads": "threads",
}


@dataclass(frozen=True)
class BenchCell:
    """What was measured in one setting; all times are of whole batches.

    Attributes:
        model: what the network is called.
        device: where it ran: `cpu`, `cuda`, `cuda:1`, `mps`.
        mode: `infer`, or `train` for a whole step: forward, loss, backward, optimizer.
        batch_size: images a batch; None where the largest was asked for and none was found.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        layout: of images and weights in memory, `channels-first` or `channels-last`.
        compile: whether it was compiled by `torch.compile`.
        threads: of the processor, within one operation.
        input: shapes of the inputs without the batch.
        images_per_second: the batch over its median time; None where nothing was timed, as all
            figures below.
        batch_ms_median: milliseconds a batch, the median.
        batch_ms_p05: 5th percentile.
        batch_ms_p95: 95th percentile.
        num_batches: how many batches were timed.
        interval_low: lower end of the 95 % confidence interval of the median, in milliseconds;
            None where too few batches were timed for one.
        interval_high: upper end of it.
        noisy: the interval is wider than figures to be quoted should have.
        peak_memory_bytes: the most that the cell held on its device, weights included; None where
            the device does not tell.
        flops_per_second: two a multiply-accumulate; None where they are not all counted.
        share_of_peak: of the highest rate that this machine reaches in this precision; likewise.
        correct: whether it computes what the CPU computes in fp32; None where that cannot be told.
        max_error: the largest relative error of outputs, loss and gradients.
        error: why it was not measured; None where it was.
        speedup: images a second over those of the first cell; None for cells that were not timed in
            the same rounds.
        speedup_low: lower end of its 95 % confidence interval.
        speedup_high: upper end of it.
        forward_ms: the part of a training step that is the forward pass and the loss.
        backward_ms: the backward pass.
        optimizer_ms: the step of the optimizer.
        compile_seconds: until the first batch of a compiled network was done.
        remark: what else has to be known; empty for nothing.
    """

    model: str
    device: str
    mode: str
    batch_size: int | None
    precision: str
    layout: str
    compile: bool
    threads: int
    input: str
    images_per_second: float | None = None
    batch_ms_median: float | None = None
    batch_ms_p05: float | None = None
    batch_ms_p95: float | None = None
    num_batches: int = 0
    interval_low: float | None = None
    interval_high: float | None = None
    noisy: bool | None = None
    peak_memory_bytes: int | None = None
    flops_per_second: float | None = None
    share_of_peak: float | None = None
    correct: bool | None = None
    max_error: float | None = None
    error: str | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    forward_ms: float | None = None
    backward_ms: float | None = None
    optimizer_ms: float | None = None
    compile_seconds: float | None = None
    remark: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What it is told by in another file."""
        return tuple(getattr(self, name) for name in SETTINGS)

    @property
    def mark(self) -> str:
        """What a reader has to know before the figures: `wrong`, `failed`, `noisy`, or nothing."""
        if self.correct is False:
            return "wrong"
        if self.error is not None:
            return "failed"
        return "noisy" if self.noisy else ""

    def differing(self, names: list[str]) -> str:
        """Return the settings of these names, as a sentence lists them."""
        return " ".join(setting_text(self, name) for name in names)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the cell that a dictionary holds; fields that it lacks keep their default.

        Raises:
            TypeError, KeyError: it holds none.
        """
        known = {one.name for one in fields(cls)}
        missing = [name for name in SETTINGS if name not in plain]
        if missing:
            raise KeyError(missing[0])
        return cls(**{name: value for name, value in plain.items() if name in known})


def setting_text(cell: BenchCell, name: str) -> str:
    """Return a setting as a title has it: `batch 32`, `2 threads`, `compiled`."""
    value = getattr(cell, name)
    match name:
        case "batch_size":
            return "batch unknown" if value is None else f"batch {value}"
        case "compile":
            return "compiled" if value else "not compiled"
        case "threads":
            return f"{value} thread{'' if value == 1 else 's'}"
        case _:
            return str(value)


def varying_settings(cells: tuple[BenchCell, ...]) -> list[str]:
    """Return the names of the settings in which cells differ; at least that of the network."""
    varying = [name for name in SETTINGS if len({getattr(cell, name) for cell in cells}) > 1]
    return varying or ["model"]
