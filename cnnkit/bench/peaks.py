"""Measured peak performance of devices, cached by the fingerprint of the machine."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from cnnkit.bench.device_clock import DTYPES, Device
from cnnkit.bench.torch_state import set_state
from cnnkit.errors import UnavailableError
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, Warned, emit
from cnnkit.results.bench import Machine, Peak, best_peak
from cnnkit.system.files import TooLargeError, explain_os_error, read_regular, write_text
from cnnkit.system.memory import is_out_of_memory
from cnnkit.system.records import List, Record, at_most

PROBE_SECONDS = 0.25
MIN_REPEATS = 3
SCHEMA: Final = "cnnkit.bench-peaks/1"
MOST_BYTES = 2**22  # of the cache; a peak takes 200
MOST_MACHINES = 1000

# Sides of square matrices; and images, channels in, side, channels out, kernel of convolutions.
_MATRICES = {
    "cpu": (1024, 2048, 3072),
    "mps": (2048, 4096),
    "xpu": (2048, 4096, 8192),
    "cuda": (4096, 8192, 16384),
}
_CONVOLUTIONS = (
    (8, 64, 56, 64, 3),
    (8, 128, 28, 128, 3),
    (8, 256, 14, 256, 3),
    (8, 256, 28, 512, 1),
    (8, 512, 14, 512, 3),
)
_GPU_IMAGES = 16  # times as many
_MEMORY_BYTES = {"cpu": 2**28, "mps": 2**29, "xpu": 2**30, "cuda": 2**31}

Probe = tuple[str, str, float, Callable[[], object]]  # kind, how, work of one call, the call


def default_cache() -> Path:
    """Return the file of the user's cache folder that peaks are kept in."""
    from platformdirs import user_cache_path

    return user_cache_path("cnnkit", appauthor=False) / "peaks.json"


class PeakBook:
    """The known peaks of a machine.

    Args:
        machine: the machine.
        path: where they are kept; None to keep none.

    Attributes:
        peaks: all of them.
    """

    def __init__(self, machine: Machine, path: Path | None) -> None:
        self._key = f"{machine.fingerprint}"
        self._path = path
        known = {} if path is None else _read(path)
        self.peaks: list[Peak] = known.get(self._key, [])

    def find(self, device: Device, threads: int, precision: str) -> Peak | None:
        """Return the highest rate of arithmetic; None if unknown yet."""
        return best_peak(self.peaks, device.name, threads, precision)

    def measure(self, device: Device, threads: int, precision: str) -> None:
        """Measure again; an earlier higher value is kept, because it was reached."""
        self._take(_measured(device, threads, precision))

    def measure_memory(self, device: Device, threads: int) -> None:
        """Measure the memory bandwidth again."""
        self._take(_measured(device, threads, "bytes"))

    def raise_to(self, peak: Peak) -> None:
        """Store a rate that a configuration reached, if it is the highest."""
        self._take([peak])

    def _take(self, found: list[Peak]) -> None:
        for peak in found:
            same = [
                one
                for one in self.peaks
                if (one.device, one.threads, one.precision, one.kind)
                == (peak.device, peak.threads, peak.precision, peak.kind)
            ]
            if not same or same[0].per_second < peak.per_second:
                self.peaks = [one for one in self.peaks if one not in same] + [peak]
        if self._path is not None:
            _write(self._path, self._key, self.peaks)


def _measured(device: Device, threads: int, precision: str) -> list[Peak]:
    """Return the best of every kind, by the shortest time of each probe."""
    probes = list(_probes(device, precision))
    best: dict[str, Peak] = {}
    task = f"peak of {device.name} in {precision}"
    emit(TaskStarted(task, len(probes), "probes"))
    set_state(threads, precision)
    try:
        with torch.inference_mode():
            for number, make in enumerate(probes, start=1):
                for kind, how, work, call in make():
                    seconds = _shortest(device, call)
                    if seconds is None:
                        continue
                    peak = Peak(device.name, threads, precision, kind, work / seconds, how)
                    if kind not in best or best[kind].per_second < peak.per_second:
                        best[kind] = peak
                device.give_back()
                emit(TaskAdvanced(task, number))
    finally:
        emit(TaskEnded(task))
    return list(best.values())


def _shortest(device: Device, call: Callable[[], object]) -> float | None:
    """Return the shortest time of a call; None where it needs more memory than there is."""
    try:
        call()
        call()
        device.synchronize()
        begin, times = device.now(), list[float]()
        while len(times) < MIN_REPEATS or device.now() - begin < PROBE_SECONDS:
            first = device.mark()
            call()
            last = device.mark()
            device.synchronize()
            times.append(device.seconds(first, last))
            if device.now() - begin > 8 * PROBE_SECONDS:
                break
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return None
        raise
    return min(times)


def _probes(device: Device, precision: str) -> Iterator[Callable[[], Iterator[Probe]]]:
    """Yield the function that makes the tensors of each probe."""
    where = device.torch_device
    if precision == "bytes":
        yield lambda: _memory_probes(where)
        return
    dtype = DTYPES[precision]
    for side in _MATRICES[where.type]:
        yield partial(_matrix_probe, side, dtype, where)
    for images, *shape in _CONVOLUTIONS:
        number = images if where.type == "cpu" else images * _GPU_IMAGES
        for layout in ("channels-first", "channels-last"):
            yield partial(_convolution_probe, number, tuple(shape), layout, dtype, where)


def _matrix_probe(side: int, dtype: torch.dtype, where: torch.device) -> Iterator[Probe]:
    a, b = (torch.randn(side, side, device=where).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    name = f"a product of {side}x{side} matrices"
    yield "matmul", name, 2 * side**3, lambda: torch.mm(a, b, out=out)


def _convolution_probe(
    number: int, sizes: tuple[int, ...], layout: str, dtype: torch.dtype, where: torch.device
) -> Iterator[Probe]:
    channels, side, out_channels, kernel = sizes
    order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    layer = nn.Conv2d(channels, out_channels, kernel, padding="same", bias=False)
    layer = layer.to(where, dtype).to(memory_format=order)
    images = torch.randn(number, channels, side, side, device=where).to(dtype)
    images = images.contiguous(memory_format=order)
    flops = 2 * number * side * side * channels * out_channels * kernel * kernel
    shape = f"{number}x{channels}x{side}x{side} to {out_channels} channels"
    how = f"a {kernel}x{kernel} convolution of {shape}, {layout}"
    yield "conv", how, flops, partial(layer, images)


def _memory_probes(where: torch.device) -> Iterator[Probe]:
    size = _MEMORY_BYTES[where.type]
    a, b, c = (torch.ones(size // 4, device=where) for _ in range(3))
    mebibytes = f"{size // 2**20} MiB"

    def add() -> Tensor:
        return torch.add(a, b, out=c)

    yield "memory", f"a copy of {mebibytes}", 2 * size, lambda: c.copy_(a)
    yield "memory", f"a sum of two times {mebibytes}", 3 * size, add


class _Cache(Record):
    """The contents of the file: the peaks of every machine by its fingerprint."""

    schema_name: Annotated[Literal["cnnkit.bench-peaks/1"], Field(alias="schema")] = SCHEMA
    peaks: Annotated[dict[str, List[Peak]], at_most(MOST_MACHINES)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(one.per_second > 0 for peaks in self.peaks.values() for one in peaks):
            raise ValueError("a peak is not above 0")
        return self


def _read(path: Path) -> dict[str, list[Peak]]:
    """Return the machines in a file; none if it is damaged, because it is a cache.

    Raises:
        UnavailableError: it cannot be read.
    """
    try:
        return _Cache.from_json(read_regular(path, MOST_BYTES)).peaks
    except FileNotFoundError:
        return {}
    except (ValueError, TooLargeError) as error:
        emit(Warned(f"the peaks in {path} are damaged ({error}), and are measured again"))
        return {}
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error


def _write(path: Path, key: str, peaks: list[Peak]) -> None:
    """Add the peaks of a machine to a file.

    Raises:
        UnavailableError: it cannot be written.
    """
    known = _read(path)  # again, for another process may have added some
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot create {path.parent}: {error.strerror}") from error
    document = _Cache(peaks={**known, key: peaks})
    write_text(path, document.model_dump_json(indent=1, by_alias=True) + "\n")
