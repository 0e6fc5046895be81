"""Which share of what the machine can do a cell reaches."""

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
    """Measure every peak of a sweep without networks anew, and the bandwidth of the memory.

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
    cells: Sequence[BenchCell], settings: Sequence[CellSetting], book: PeakBook, anew: bool
) -> list[BenchCell]:
    """Return cells with their share of the peak where each was measured.

    Args:
        cells: as they were measured.
        settings: of each cell.
        book: the peaks that are known; those that are missing are measured.
        anew: measure all of them, and the bandwidth of the memory.
    """
    places: dict[Where, list[int]] = {}
    for number, setting in enumerate(settings):
        where = (setting.device, setting.threads, setting.precision)
        places.setdefault(where, []).append(number)
    if anew:
        for device, threads in dict.fromkeys((device, threads) for device, threads, _ in places):
            book.measure_memory(device, threads)
    shared = list(cells)
    for where, numbers in places.items():
        fastest = max((cells[i] for i in numbers), key=lambda cell: cell.flops_per_second or 0.0)
        if not anew and not fastest.flops_per_second:
            continue
        peak = _settled_peak(book, where, fastest, anew)
        for i in numbers:
            rate = cells[i].flops_per_second
            if rate is not None:
                shared[i] = replace(cells[i], share_of_peak=rate / peak.per_second)
    return shared


def _settled_peak(book: PeakBook, where: Where, fastest: BenchCell, anew: bool) -> Peak:
    """Return a peak that no cell is above.

    A cell that is faster than what was found before shows that this was not the peak: it is
    measured again, and if the cell still is the faster one, its rate is the peak that was reached.
    """
    device, threads, precision = where
    rate = fastest.flops_per_second or 0.0
    known = book.find(*where)
    if anew or known is None or known.per_second < rate:
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
