"""Several processes behind one command: who speaks, and starting them."""

import os
from pathlib import Path

import typer

from cnnkit.errors import UsageError


def is_rank() -> bool:
    """Return whether this process is one of several, started by torchrun or by `launch`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Return whether this process speaks: the first one of several, or the only one."""
    return not is_rank() or os.environ.get("RANK", "0") == "0"


def num_started() -> int:
    """Return how many processes torchrun or `launch` has started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_rank() else 1


def check_rank(num_processes: int | None) -> None:
    """Refuse a number of processes that torchrun did not start.

    Raises:
        UsageError: it is another.
    """
    started = num_started()
    if num_processes is not None and num_processes != started:
        raise UsageError(
            f"--nproc {num_processes} under torchrun, which has started {started}",
            "leave it out",
        )


def launch(context: typer.Context, num_processes: int, max_restarts: int, device: str) -> None:
    """Run this very command in several processes; the first of them answers.

    Raises:
        UsageError, UnavailableError: there is not one device for every process.
        CnnkitError: they failed.
    """
    from cnnkit.runs.folder import RunFolder
    from cnnkit.system.device import check_processes, choose_device
    from cnnkit.system.launch import LostError, StoppedError
    from cnnkit.system.launch import launch as run_processes
    from cnnkit.training.train_and_test import resume_hint

    check_processes(choose_device(device), num_processes)
    # The processes report for themselves.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        run_processes(context.find_root().obj, num_processes, max_restarts)
    except (LostError, StoppedError) as error:
        run = RunFolder(Path(error.run)) if error.run is not None else None
        if run is not None and run.is_described:
            error.hint = resume_hint(run)
        raise
