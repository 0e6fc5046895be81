"""Preparing a configuration to be timed: built, checked, and known to fit into memory."""

from collections.abc import Callable
from dataclasses import dataclass

from cnnkit.architecture.find_network import Subject
from cnnkit.bench.device_clock import Device
from cnnkit.bench.reference import Reference, Verdict
from cnnkit.bench.sweep import CellSetting
from cnnkit.bench.timing import take_batches
from cnnkit.bench.torch_state import set_state
from cnnkit.bench.workload import Workload
from cnnkit.errors import CnnkitError, UsageError, setting
from cnnkit.results import SummaryResult
from cnnkit.system.memory import is_out_of_memory

TRAINING_FACTOR = 3  # a step does the arithmetic of the forward pass three times, see `docs`
SPARE = 0.9  # maximum share of the free memory for an estimate


class MemoryShortError(Exception):
    """Raised if a configuration would need more memory than is free, by an estimate."""


@dataclass(frozen=True)
class Prepared:
    """A configuration that can be timed.

    Attributes:
        work: what to time.
        verdict: whether it computes what it should.
        peak_bytes: its peak memory; None if the device does not report it.
        compile_seconds: None for what is not compiled.
    """

    work: Workload
    verdict: Verdict
    peak_bytes: int | None
    compile_seconds: float | None


class Network:
    """A network to be measured: its weights on the CPU, and its cost.

    Args:
        subject: which one.
        count: returns what a batch of so many images costs.
    """

    def __init__(self, subject: Subject, count: Callable[[int], SummaryResult]) -> None:
        self.subject = subject
        self.name = subject.name
        self._count = count
        self._costs: dict[int, SummaryResult] = {}
        self._reference: Reference | None = None

    @property
    def input(self) -> str:
        """Shapes of the inputs without the batch."""
        return " ".join(map(str, self.subject.inputs))

    def costs(self, batch_size: int) -> SummaryResult:
        """Return the cost of a batch."""
        if batch_size not in self._costs:
            self._costs[batch_size] = self._count(batch_size)
        return self._costs[batch_size]

    def flops(self, batch_size: int, is_training: bool) -> int | None:
        """Return the FLOPs of a batch; None where they are not all counted, or there are none."""
        costs = self.costs(batch_size)
        if not costs.complete or costs.totals.flops == 0:
            return None
        return costs.totals.flops * (TRAINING_FACTOR if is_training else 1)

    def reference(self) -> Reference:
        """Return the network on the CPU."""
        if self._reference is None:
            self._reference = Reference(self.name, self.subject.make_real(), self.subject.inputs)
        return self._reference


def prepare(network: Network, setting: CellSetting, batch_size: int) -> Prepared:
    """Build a configuration, check its results, and measure its memory.

    Raises:
        MemoryShortError: it would need more memory than there is.
        Exception: whatever the network raises.
    """
    device = setting.device
    lack = device.lacks(setting.precision)
    if lack is not None:
        raise UsageError(lack)
    check_fits(network, device, batch_size, setting.mode == "train")
    set_state(setting.threads, "fp32")
    reference = network.reference()
    feed = reference.feed(batch_size)
    held = device.held_bytes()
    set_state(setting.threads, setting.precision)
    work = Workload(
        reference.network, feed, device, setting.mode, setting.precision,
        setting.channels_last, setting.compiled,
    )  # fmt: skip
    compile_seconds = None
    if setting.compiled:
        compile_seconds = sum(take_batches(work, 1))
    verdict = reference.judge(work, batch_size, setting.precision, whole=setting.compiled)
    set_state(setting.threads, setting.precision)
    peak = None
    if held is not None and device.peak_bytes() is not None:
        take_batches(work, 1)
        device.forget_peak()
        take_batches(work, 1)
        peak = (device.peak_bytes() or 0) - held
    return Prepared(work, verdict, peak, compile_seconds)


def check_fits(network: Network, device: Device, batch_size: int, is_training: bool) -> None:
    """Refuse what would exhaust the memory: the CPU does not fail in time.

    Raises:
        MemoryShortError: it would need more than there is.
    """
    free = device.free_bytes()
    if device.torch_device.type != "cpu" or free is None:
        return
    totals = network.costs(batch_size).totals
    needed = totals.training_bytes if is_training else totals.inference_bytes
    if needed is not None and needed > SPARE * free:
        raise MemoryShortError(
            f"it would need about {needed / 2**20:,.0f} MiB of memory, and {free / 2**20:,.0f} MiB "
            "are free; it was not tried"
        )


def error_text(error: BaseException) -> str:
    """Return the error of a configuration, in one line."""
    if isinstance(error, CnnkitError | MemoryShortError):
        return str(error)
    if isinstance(error, Exception) and is_out_of_memory(error):
        return "out of memory"
    words = " ".join(str(error).split())
    if "more than 1 value per channel" in words:
        hint = f"use {setting('batch_sizes')} 2 or more"
        return f"batch norm cannot be trained on a single image; {hint}"
    kind = type(error).__name__
    return f"{kind}: {words[:200]}" if words else kind
