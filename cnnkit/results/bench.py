"""The result of `bench`: speed, the measured peaks of the machine, and comparisons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from cnnkit.results.base import Records, Result, Value, to_plain

# What makes two configurations the same one, in the order of a table.
SETTINGS = (
    *("model", "input", "device", "mode", "batch_size", "precision", "layout", "compile"),
    "threads",
)

Verdict = Literal["slower", "faster", "same", "unclear", "failed", "wrong", "repaired", "unknown"]


@dataclass(frozen=True)
class Machine:
    """The machine that a speed was measured on.

    Attributes:
        processor: what the processor calls itself.
        device_name: what the first device that was measured calls itself.
        devices: the names of all of them.
        num_cores: cores that the process may run on.
        num_threads: threads that torch uses by default.
        memory_bytes: of the machine; None where unknown.
        system: the operating system.
        torch: version of torch.
        versions: of everything else that counts.
        fingerprint: the same for the same machine with the same versions.
    """

    processor: str
    device_name: str
    devices: Mapping[str, str]
    num_cores: int
    num_threads: int
    memory_bytes: int | None
    system: str
    torch: str
    versions: Mapping[str, str]
    fingerprint: str

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the machine that a dictionary holds.

        Raises:
            TypeError, KeyError: it holds none.
        """
        return cls(**{one.name: plain[one.name] for one in fields(cls)})

    def differences(self, before: "Machine") -> list[str]:
        """Return the differences, each as `torch 2.15.0 for 2.14.0`."""
        pairs = [
            ("processor", self.processor, before.processor),
            ("cores", str(self.num_cores), str(before.num_cores)),
            ("system", self.system, before.system),
            ("torch", self.torch, before.torch),
        ]
        for name in sorted({*self.devices} & {*before.devices} - {"cpu"}):
            pairs.append((name, self.devices[name], before.devices[name]))
        for name in sorted({*self.versions} & {*before.versions}):
            pairs.append((name, self.versions[name], before.versions[name]))
        return [f"{name} {now} for {then}" for name, now, then in pairs if now != then]


@dataclass(frozen=True)
class Peak:
    """The highest performance measured on a device.

    Attributes:
        device: which one.
        threads: of the processor.
        precision: of the numbers; `bytes` for the memory.
        kind: `matmul` and `conv`, or `memory`.
        per_second: FLOPs, two per multiply-accumulate; of memory bytes, read and written.
        how: what reached it: `2048x2048x2048`, a convolution, or a configuration that was faster.
    """

    device: str
    threads: int
    precision: str
    kind: str
    per_second: float
    how: str


@dataclass(frozen=True)
class BenchCell:
    """The measurement of one configuration; all times are per batch.

    Attributes:
        model: what the network is called.
        device: where it ran: `cpu`, `cuda`, `cuda:1`, `mps`.
        mode: `infer`, or `train` for a complete step: forward, loss, backward, optimizer.
        batch_size: images per batch; None where the largest was asked for and none was found.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        layout: of images and weights in memory, `channels-first` or `channels-last`.
        compile: whether it was compiled by `torch.compile`.
        threads: of the processor, within one operation.
        input: shapes of the inputs without the batch.
        images_per_second: the batch over its median time; None where nothing was timed, as all
            numbers below.
        batch_ms_median: milliseconds per batch, the median.
        batch_ms_p05: 5th percentile.
        batch_ms_p95: 95th percentile.
        num_batches: how many batches were timed.
        interval_low: lower end of the 95 % confidence interval of the median, in milliseconds;
            None where too few batches were timed for one.
        interval_high: upper end of it.
        noisy: the interval is wider than that of a number to be quoted should be.
        peak_memory_bytes: the most that it allocated on its device, weights included; None where
            the device does not report it.
        flops_per_second: two per multiply-accumulate; None where they are not all counted.
        share_of_peak: of the highest rate that this machine reaches in this precision; likewise.
        correct: whether it computes what the CPU computes in fp32; None where unknown.
        max_error: the largest relative error of outputs, loss and gradients.
        error: why it was not measured; None where it was.
        speedup: images per second over those of the first configuration; None for those that were
            not timed in the same rounds.
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
    def key(self) -> tuple[Value, ...]:
        """What identifies it in another file."""
        return tuple(getattr(self, name) for name in SETTINGS)

    @property
    def speedup_interval(self) -> tuple[float, float] | None:
        """The confidence interval of the speedup; None where there is none, as for the baseline."""
        if self.speedup_low is None or self.speedup_high is None:
            return None
        ends = self.speedup_low, self.speedup_high
        return None if ends[0] == ends[1] else ends

    @property
    def mark(self) -> str:
        """A warning about the numbers: `wrong`, `failed`, `noisy`, or nothing."""
        if self.correct is False:
            return "wrong"
        if self.error is not None:
            return "failed"
        return "noisy" if self.noisy else ""

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the configuration that a dictionary holds; missing fields keep defaults.

        Raises:
            TypeError, KeyError: it holds none.
        """
        known = {one.name for one in fields(cls)}
        missing = [name for name in SETTINGS if name not in plain]
        if missing:
            raise KeyError(missing[0])
        return cls(**{name: value for name, value in plain.items() if name in known})


@dataclass(frozen=True)
class LayerTime:
    """A layer in a forward pass.

    Attributes:
        cell: index of its configuration, from 0.
        name: dotted; empty for what is computed outside of layers.
        type: its class.
        ms: median milliseconds of a batch.
        share_of_time: of the forward pass.
        macs: multiply-accumulates of a batch.
        share_of_macs: of those of the network; None where it has none.
    """

    cell: int
    name: str
    type: str
    ms: float
    share_of_time: float
    macs: int
    share_of_macs: float | None

    @property
    def slowness(self) -> float | None:
        """The share of the time over that of the MACs: above 1 it is slower than its count says."""
        return self.share_of_time / self.share_of_macs if self.share_of_macs else None


@dataclass(frozen=True)
class CellChange:
    """A configuration that was measured twice.

    Attributes:
        cell: as it is now.
        before_ms: median of a batch then; None where it was not measured.
        now_ms: median now; likewise.
        ratio: now over then, so that 1.1 is a tenth slower.
        ratio_low: lower end of its 95 % confidence interval.
        ratio_high: upper end of it.
        verdict: `slower` or `faster` where the interval is beyond the tolerance, `same` where it
            is within, `unclear` where neither is so; `failed` or `wrong` where it was measured
            then and is so now, `repaired` the other way round; `unknown` where neither has a time
            or an interval.
    """

    cell: BenchCell
    before_ms: float | None
    now_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    verdict: Verdict

    @property
    def ratio_interval(self) -> tuple[float, float] | None:
        """The confidence interval of the ratio; None where there is none."""
        if self.ratio_low is None or self.ratio_high is None:
            return None
        return self.ratio_low, self.ratio_high


@dataclass(frozen=True)
class BenchComparison(Result):
    """Two measurements of the same configurations, compared.

    Attributes:
        before: the file of then.
        now: that of now; empty for what was measured just now.
        tolerance: share by which a configuration may be slower.
        machine_changes: what of the machine is not as it was.
        changes: the configurations of both.
        num_before_only: configurations measured only before.
        num_now_only: configurations measured only now.
    """

    schema: ClassVar[str] = "cnnkit.bench-compare/1"

    before: str
    now: str
    tolerance: float
    machine_changes: tuple[str, ...]
    changes: tuple[CellChange, ...]
    num_before_only: int
    num_now_only: int

    @property
    def regressions(self) -> tuple[CellChange, ...]:
        """The configurations that are slower than allowed, or no longer work."""
        return tuple(one for one in self.changes if one.verdict in ("slower", "failed", "wrong"))

    def records(self) -> Records:
        """Return one row per configuration of both, with its ratio."""
        names = ("before_ms", "now_ms", "ratio", "ratio_low", "ratio_high", "verdict")
        rows: list[tuple[Value, ...]] = [
            (*one.cell.key, *(getattr(one, name) for name in names)) for one in self.changes
        ]
        return Records((*SETTINGS, *names), tuple(rows))


@dataclass(frozen=True)
class BenchResult(Result):
    """The result of `bench`.

    Attributes:
        machine: what it was measured on.
        peaks: its highest measured performance, by device and precision.
        cells: the configurations that were measured.
        layers: the time of each layer of each configuration; None where it was not asked for.
        against: how the configurations compare with those of an earlier file; None without one.
        interrupted: it was stopped before all configurations were measured.
    """

    schema: ClassVar[str] = "cnnkit.bench/1"
    line_schema: ClassVar[str] = "cnnkit.bench-cell/1"

    machine: Machine
    peaks: tuple[Peak, ...]
    cells: tuple[BenchCell, ...]
    layers: tuple[LayerTime, ...] | None = None
    against: BenchComparison | None = None
    interrupted: bool = False

    def lines(self) -> list[dict[str, Any]]:
        """Return a dictionary per configuration, with machine and peaks: the lines of a file."""
        machine, peaks = to_plain(self.machine), to_plain(self.peaks)
        return [
            {"schema": self.line_schema, **to_plain(cell), "machine": machine, "peaks": peaks}
            for cell in self.cells
        ]

    def records(self) -> Records:
        """Return every configuration with all that is known of it; without any, the peaks."""
        kind, rows = (BenchCell, self.cells) if self.cells else (Peak, self.peaks)
        return Records.of(rows, [one.name for one in fields(kind)])


def best_peak(peaks: Iterable[Peak], device: str, threads: int, precision: str) -> Peak | None:
    """Return the highest rate of arithmetic in a setting; None where unknown."""
    fitting = [
        one
        for one in peaks
        if (one.device, one.threads, one.precision) == (device, threads, precision)
    ]
    return max(fitting, key=lambda one: one.per_second, default=None)
