"""The verb: every configuration checked, timed, and compared with the machine's peak."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit.architecture.find_network import find_subject
from cnnkit.architecture.summarize import summary
from cnnkit.bench.batch_search import largest_batch
from cnnkit.bench.compare_results import TOLERANCE, check_tolerance, compare_cells, read_cells
from cnnkit.bench.layer_times import time_layers
from cnnkit.bench.machine import describe_machine
from cnnkit.bench.median_intervals import half_width, median_interval, percentile, steady_interval
from cnnkit.bench.peaks import PeakBook
from cnnkit.bench.prepare import MemoryShortError, Network, Prepared, error_text, prepare
from cnnkit.bench.sweep import AUTO, CellSetting, Sweep, suitable_batch
from cnnkit.bench.timing import QUOTABLE, Timed, time_in_rounds
from cnnkit.bench.torch_state import preserved_state, set_state
from cnnkit.bench.utilization import measure_peaks, with_shares
from cnnkit.errors import UsageError, setting
from cnnkit.events import (
    OnEvent,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
    emit,
    handled_by,
    ignore,
    takes_on_event,
)
from cnnkit.results import SummaryResult
from cnnkit.results.bench import BenchCell, BenchResult, LayerTime
from cnnkit.runs.code import Trusted
from cnnkit.system.compat import many_compiled
from cnnkit.system.memory import is_out_of_memory

MAX_SECONDS = 8.0
TASK = "bench"


@takes_on_event
def benchmark(
    models: str | nn.Module | Sequence[str | nn.Module] = (),
    sweep: Sweep | None = None,
    *,
    input: Any = None,  # noqa: A002  # the word for it
    num_classes: int | None = None,
    arguments: Mapping[str, str] | None = None,
    max_seconds: float = MAX_SECONDS,
    by_layer: bool = False,
    remeasure_peaks: bool = False,
    peaks_file: Path | None = None,
    against: str | Path | None = None,
    tolerance: float = TOLERANCE,
    runs_dir: str | Path = "runs",
    trust_code: bool = False,
    on_event: OnEvent | None = None,
) -> BenchResult:
    """Measure how fast networks are on the devices of this machine.

    Every combination of the settings is a configuration. Each is compared with the CPU in fp32, and
    one that computes something else is reported as wrong, and not timed. Then all are timed in
    turn, round by round. Threads, the precision of fp32, the flags of cudnn and random numbers are
    left as they were.

    Args:
        models: names of the zoo, `timm:NAME`, `FILE.py:FUNCTION`, run folders, or modules; none to
            measure only the peaks.
        sweep: the settings; every device, inference and training, in fp32 where left out.
        input: shape without the batch for all of them, as (3, 224, 224); None for the native one.
        num_classes: number of logits; None for as published.
        arguments: the networks' own arguments, as texts by name.
        max_seconds: maximum time of a configuration; it ends earlier once its median is known to
            1 %.
        by_layer: also measure the time of each layer of what is not compiled.
        remeasure_peaks: measure the peaks of the machine again, and its memory bandwidth.
        peaks_file: where peaks are kept; None to keep none.
        against: an earlier file to compare with.
        tolerance: share by which a configuration may be slower than there.
        runs_dir: where runs are looked for.
        trust_code: let the code run that a run folder brings, though this user has not trained
            with it.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: there is no such network or file.
        UsageError: a setting makes no sense, or the file contains no results.
        UnavailableError: a device is missing, or lacks a precision.
        CheckFailedError: a run is damaged, or brings code that the user does not trust.
    """
    runs_dir = Path(runs_dir)
    sweep = sweep or Sweep()
    sweep.check()
    check_tolerance(tolerance)
    if not max_seconds > 0:
        raise UsageError(f"{setting('max_seconds')} is {max_seconds:g}", "it must be above 0")
    given = [models] if isinstance(models, str | nn.Module) else list(models)
    if not given and not remeasure_peaks:
        raise UsageError(
            "name a network to measure, such as resnet18",
            f"or give only {setting('remeasure_peaks')}",
        )
    earlier = read_cells(against) if against is not None else None
    networks = [
        _network(model, input, num_classes, arguments or {}, runs_dir, trust_code)
        for model in given
    ]
    devices = sweep.open_devices()
    machine = describe_machine(devices)
    book = PeakBook(machine, peaks_file)
    settings = sweep.cells(len(networks), devices, torch.get_num_threads())
    compiling = many_compiled(len(settings)) if sweep.compiled and settings else nullcontext()
    with preserved_state(), compiling:
        run = _Run(networks, settings, max_seconds, by_layer)
        cells, interrupted = run.measure()
        if remeasure_peaks and not settings:
            measure_peaks(book, sweep, devices, machine.num_threads)
        if not interrupted:
            cells = with_shares(cells, settings, book, remeasure_peaks)
    names = {device.name for device in devices}
    shown = tuple(one for one in book.peaks if one.device in names)
    comparison = None
    if earlier is not None:
        comparison = compare_cells(str(against), earlier, "", (cells, [machine]), tolerance)
    layers = tuple(run.layers) if by_layer else None
    return BenchResult(machine, shown, tuple(cells), layers, comparison, interrupted)


def _network(
    model: str | nn.Module,
    given: Any,
    num_classes: int | None,
    arguments: Mapping[str, str],
    runs_dir: Path,
    trust_code: bool,
) -> Network:
    trusted = Trusted(code=trust_code)
    subject = find_subject(model, given, num_classes, arguments, runs_dir, trusted)

    def count(batch_size: int) -> SummaryResult:
        with handled_by(ignore):
            return summary(
                model, list(subject.inputs), batch_size=batch_size, optimizer="sgd",
                num_classes=num_classes, arguments=arguments, runs_dir=runs_dir,
                trust_code=trust_code,
            )  # fmt: skip

    count(1)  # refuses at once what no configuration could measure
    return Network(subject, count)


@dataclass(eq=False)
class _Cell:
    """A configuration while it is measured."""

    setting: CellSetting
    figures: BenchCell
    prepared: Prepared | None = None
    timed: Timed | None = None


class _Run:
    """The measurement of all configurations."""

    def __init__(
        self,
        networks: Sequence[Network],
        settings: Sequence[CellSetting],
        max_seconds: float,
        by_layer: bool,
    ) -> None:
        self.layers: list[LayerTime] = []
        self._by_layer = by_layer
        self._networks = networks
        self._max_seconds = max_seconds
        self._cells = [_Cell(one, self._unmeasured(one)) for one in settings]

    def measure(self) -> tuple[list[BenchCell], bool]:
        """Return the measured configurations, and whether Ctrl-C ended it early."""
        interrupted = False
        emit(TaskStarted(TASK, round(len(self._cells) * self._max_seconds), "s"))
        try:
            waiting, number = list(self._cells), 0
            while waiting:
                group, waiting = self._prepared_group(waiting)
                number = time_in_rounds(
                    [cell.timed for cell in group if cell.timed is not None],
                    number,
                    self._guarded,
                    self._report,
                )
                for cell in group:
                    self._time_layers(cell)
                    self._finish(cell)
        except KeyboardInterrupt:
            interrupted = True
            for cell in self._cells:
                if cell.prepared is not None:
                    self._finish(cell)
                elif cell.figures.error is None and cell.figures.batch_ms_median is None:
                    cell.figures = replace(cell.figures, error="interrupted")
        finally:
            emit(TaskEnded(TASK))
        _set_speedups(self._cells)
        return [cell.figures for cell in self._cells], interrupted

    def _prepared_group(self, waiting: list[_Cell]) -> tuple[list[_Cell], list[_Cell]]:
        """Return the configurations that fit into memory together, and the others."""
        group: list[_Cell] = []
        for index, cell in enumerate(waiting):
            self._report()
            try:
                self._prepare(cell)
            except Exception as error:
                is_short = isinstance(error, MemoryShortError) or is_out_of_memory(error)
                if is_short and any(
                    one.prepared is not None and one.setting.device is cell.setting.device
                    for one in group
                ):
                    cell.setting.device.give_back()
                    return group, waiting[index:]
                cell.figures = replace(cell.figures, error=error_text(error))
            if cell.prepared is None:
                cell.setting.device.give_back()
            group.append(cell)
        return group, []

    def _prepare(self, cell: _Cell) -> None:
        setting = cell.setting
        network = self._networks[setting.model]
        batch_size = self._batch_size(setting, network)
        cell.figures = replace(cell.figures, batch_size=batch_size)
        prepared = prepare(network, setting, batch_size)
        cell.figures = replace(
            cell.figures,
            correct=prepared.verdict.correct,
            max_error=prepared.verdict.max_error,
            remark=prepared.verdict.remark,
            peak_memory_bytes=prepared.peak_bytes,
            compile_seconds=prepared.compile_seconds,
        )
        if prepared.verdict.correct is False:
            return
        cell.prepared = prepared
        cell.timed = Timed(prepared.work, setting.threads, setting.precision, self._max_seconds)

    def _batch_size(self, setting: CellSetting, network: Network) -> int:
        if isinstance(setting.batch_size, int):
            return setting.batch_size
        if setting.batch_size == AUTO:
            return largest_batch(network, setting, self._max_seconds)
        flops = network.costs(1).totals.flops
        return suitable_batch(flops, setting.device, setting.mode == "train")

    def _guarded(self, timed: Timed, work: Callable[[], None]) -> None:
        """Run a step of a configuration; an error ends only that configuration."""
        try:
            work()
        except Exception as error:
            timed.error = error.with_traceback(None)  # which would keep the device memory allocated
            timed.is_done = True
            timed.device.give_back()

    def _time_layers(self, cell: _Cell) -> None:
        """Time the layers of a measured configuration."""
        timed, setting = cell.timed, cell.setting
        if not self._by_layer or timed is None or timed.error is not None or setting.compiled:
            return
        costs = self._networks[setting.model].costs(cell.figures.batch_size or 1)
        set_state(setting.threads, setting.precision)
        number = self._cells.index(cell)
        try:
            self.layers += time_layers(timed.work, costs, number, self._max_seconds / 4)
        except Exception as error:
            text = f"its layers were not timed: {error_text(error)}"
            cell.figures = replace(cell.figures, remark=text)

    def _finish(self, cell: _Cell) -> None:
        """Store the result of a configuration, and free its memory."""
        timed = cell.timed
        if timed is None:
            return
        if timed.error is not None:
            cell.figures = replace(cell.figures, error=error_text(timed.error))
        elif not timed.rounds:
            cell.figures = replace(cell.figures, error="interrupted")
        else:
            network = self._networks[cell.setting.model]
            flops = network.flops(cell.figures.batch_size or 1, timed.work.is_training)
            cell.figures = _with_times(cell.figures, timed, flops)
        cell.prepared = None
        del timed.work
        cell.setting.device.give_back()

    def _report(self) -> None:
        done = 0.0
        for cell in self._cells:
            over = cell.figures.error is not None or cell.figures.batch_ms_median is not None
            if over or (cell.timed is not None and cell.prepared and cell.timed.is_done):
                done += self._max_seconds
            elif cell.timed is not None:
                done += min(cell.timed.spent, self._max_seconds)
        emit(TaskAdvanced(TASK, round(done)))

    def _unmeasured(self, setting: CellSetting) -> BenchCell:
        batch = setting.batch_size if isinstance(setting.batch_size, int) else None
        network = self._networks[setting.model]
        return BenchCell(
            model=network.name,
            device=setting.device.name,
            mode=setting.mode,
            batch_size=batch,
            precision=setting.precision,
            layout=setting.layout,
            compile=setting.compiled,
            threads=setting.threads,
            input=network.input,
        )


def _with_times(cell: BenchCell, timed: Timed, flops: int | None) -> BenchCell:
    """Return a configuration with the statistics of its times."""
    times = timed.times()
    median = statistics.median(times)
    interval = steady_interval(list(timed.rounds.values()))
    parts = [statistics.median(one) for one in zip(*timed.parts, strict=True)]
    forward, backward, optimizer = (1000 * one for one in parts) if parts else (None,) * 3
    return replace(
        cell,
        images_per_second=(cell.batch_size or 1) / median,
        batch_ms_median=1000 * median,
        batch_ms_p05=1000 * percentile(times, 0.05),
        batch_ms_p95=1000 * percentile(times, 0.95),
        num_batches=len(times),
        interval_low=None if interval is None else 1000 * interval[0],
        interval_high=None if interval is None else 1000 * interval[1],
        noisy=half_width(interval, median) > QUOTABLE,
        flops_per_second=None if flops is None else flops / median,
        forward_ms=forward,
        backward_ms=backward,
        optimizer_ms=optimizer,
    )


def _set_speedups(cells: Sequence[_Cell]) -> None:
    """Compute the speedup of every configuration over the first one, round by round.

    What slows the machine down in a round slows both, and so drops out of their ratio.
    """
    timed = [one for one in cells if one.figures.images_per_second is not None]
    if not timed:
        return
    first = timed[0]
    assert first.timed is not None
    assert first.figures.images_per_second is not None
    base = {
        number: (first.figures.batch_size or 1) / statistics.median(values)
        for number, values in first.timed.rounds.items()
    }
    for cell in timed:
        assert cell.timed is not None
        rate = cell.figures.images_per_second
        assert rate is not None
        ratios = [
            (cell.figures.batch_size or 1) / statistics.median(values) / base[number]
            for number, values in cell.timed.rounds.items()
            if number in base
        ]
        if not ratios:
            continue
        speedup = rate / first.figures.images_per_second
        interval = median_interval(ratios)
        low, high = (None, None) if interval is None else (
            min(interval[0], speedup), max(interval[1], speedup)
        )  # fmt: skip
        cell.figures = replace(cell.figures, speedup=speedup, speedup_low=low, speedup_high=high)
