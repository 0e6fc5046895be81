"""Utilization: the share of the machine's peak that a configuration reaches."""

from collections.abc import Sequence
from dataclasses import replace

from cnnkit.bench.device_clock import Device
from cnnkit.bench.peaks import PeakBook
from cnnkit.bench.sweep import CellSetting, Sweep
from cnnkit.results.bench import BenchCell, Peak

Where = tuple[Device, int, str]  # threads, and precision


def measure_peaks(
    book: PeakBook, sweep: Sweep, devices: Sequence[Device], num_threads: int
) -> None:
    """Measure every peak of a sweep again, and the memory bandwidth; no networks.

    Args:
        book: where they are kept.
        sweep: says which precisions and numbers of threads.
        devices: on which.
        num_threads: that of the machine, where the sweep says none.
    """
    for device in devices:
        for threads in dict.fromkeys(sweep.threads or (num_threads,)):
            book.measure_memory(device, threads)
            for precision in sweep.precisions:
                if device.lacks(precision) is None:
                    book.measure(device, threads, precision)


def with_shares(
    cells: Sequence[BenchCell], settings: Sequence[CellSetting], book: PeakBook, remeasure: bool
) -> list[BenchCell]:
    """Return configurations with their share of the peak.

    Args:
        cells: measured configurations.
        settings: of each configuration.
        book: the peaks that are known; those that are missing are measured.
        remeasure: measure all of them, and the memory bandwidth.
    """
    places: dict[Where, list[int]] = {}
    for number, setting in enumerate(settings):
        where = (setting.device, setting.threads, setting.precision)
        places.setdefault(where, []).append(number)
    if remeasure:
        for device, threads in dict.fromkeys((device, threads) for device, threads, _ in places):
            book.measure_memory(device, threads)
    shared = list(cells)
    for where, numbers in places.items():
        fastest = max((cells[i] for i in numbers), key=lambda cell: cell.flops_per_second or 0.0)
        if not remeasure and not fastest.flops_per_second:
            continue
        peak = _highest_peak(book, where, fastest, remeasure)
        for i in numbers:
            rate = cells[i].flops_per_second
            if rate is not None:
                shared[i] = replace(cells[i], share_of_peak=rate / peak.per_second)
    return shared


def _highest_peak(book: PeakBook, where: Where, fastest: BenchCell, remeasure: bool) -> Peak:
    """Return a peak that no configuration exceeds.

    A configuration that is faster than the known peak shows that this was not the peak: it is
    measured again, and if the configuration is still faster, its rate is the peak that was reached.
    """
    device, threads, precision = where
    rate = fastest.flops_per_second or 0.0
    known = book.find(*where)
    if remeasure or known is None or known.per_second < rate:
        book.measure(*where)
        known = book.find(*where)
    if known is None or known.per_second < rate:
        how = (
            f"{fastest.model} itself ({fastest.mode}, batch {fastest.batch_size}, {fastest.layout})"
        )
        book.raise_to(Peak(device.name, threads, precision, "network", rate, how))
        known = book.find(*where)
    assert known is not None
    return known
