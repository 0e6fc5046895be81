"""The processes of a training: joining them, their devices, threads, and the lock of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cnnkit.events import Warned, emit
from cnnkit.runs.folder import RunFolder
from cnnkit.system.distributed import ProcessGroup, joined_group, telling_once


@contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the processes that were started together."""
    with (
        joined_group("cuda" if torch.cuda.is_available() else "cpu") as group,
        telling_once(group),
    ):
        yield group


def run_begun_before(group: ProcessGroup) -> str | None:
    """Return the run that processes began which these replace; None where there is none."""
    if group.num_restarts == 0:
        return None
    loss = group.recall("loss") or "a process was lost"
    emit(Warned(f"{loss}; restart {group.num_restarts} of {group.max_restarts}"))
    run = group.recall("run")
    is_there = group.from_first(lambda: run is not None and RunFolder(Path(run)).is_described)
    return run if is_there else None


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
