"""The processes of a training: joining them, their devices, threads, and the lock of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from cnnkit.events import Warned, emit
from cnnkit.runs.folder import RunFolder
from cnnkit.system.device import check_processes, choose_device, num_usable_cores
from cnnkit.system.distributed import Ranks, joined_ranks, telling_once

T = TypeVar("T")


@contextmanager
def joined_processes() -> Iterator[Ranks | None]:
    """Join the processes that were started together; None where there is only this one."""
    with (
        joined_ranks("cuda" if torch.cuda.is_available() else "cpu") as ranks,
        telling_once(ranks),
    ):
        yield ranks


def run_begun_before(
    joined: Ranks | None,
) -> str | None:
    """Return the run that processes began which these replace; None where there is none."""
    if joined is None or joined.num_restarts == 0:
        return None
    loss = joined.recall("loss") or "a process was lost"
    emit(Warned(f"{loss}; restart {joined.num_restarts} of {joined.max_restarts}"))
    run = joined.recall("run")
    is_there = joined.from_first(lambda: run is not None and RunFolder(Path(run)).is_described)
    return run if is_there else None


def device_of(ranks: Ranks | None, name: str) -> torch.device:
    """Return the device of this name; of several GPUs each process takes its own.

    Raises:
        UsageError, UnavailableError: there is no such device, or not one for every process.
    """
    device = choose_device(name)
    if ranks is not None:
        check_processes(device, ranks.local_size)
        if device.type == "cuda":  # then "cuda" is that one
            torch.cuda.set_device(ranks.local_rank)
    return device


def num_threads(
    ranks: Ranks | None,
) -> int:
    """Return how many threads to compute with: the cores are shared out."""
    said = torch.get_num_threads()
    if ranks is None:
        return said
    cores = num_usable_cores()
    if ranks.local_size > cores:
        their = f"{cores} core{'s' if cores > 1 else ''}"
        emit(Warned(f"{ranks.local_size} processes on {their}: they wait for each other"))
    # Unless told otherwise, torch takes all cores, and torchrun tells each of several to take one.
    is_by_torchrun = said == 1 and not ranks.is_launched_here
    if is_by_torchrun or said * ranks.local_size > cores:
        return ranks.num_cores()
    return said


@contextmanager
def computing_with(number: int) -> Iterator[None]:
    """Compute with so many threads: sums are added in another order with more or fewer."""
    earlier = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)


@contextmanager
def held(
    run: RunFolder,
) -> Iterator[None]:
    """Hold the lock of a run."""
    with run.lock() as is_held:
        if not is_held:
            emit(
                Warned(f"the disk of {run.path} has no locks: let no other process train this run")
            )
        yield


def from_first(ranks: Ranks | None, find: Callable[[], T]) -> T:
    """Return what rank 0 finds, which alone needs to see the run folder."""
    return find() if ranks is None else ranks.from_first(find)
