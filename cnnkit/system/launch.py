"""Starting the processes of a training on this machine, with torch's own agent."""

import logging
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

from cnnkit.errors import ExitCode, InterruptedRunError, RunFailedError, ToldElsewhereError
from cnnkit.system.compat import close_processes
from cnnkit.system.distributed import LAUNCHED_HERE

HOST = "127.0.0.1"
POLL_SECONDS = 0.1
STEP_SECONDS = 24 * 3600  # the first request to end waits for a step, an evaluation, and a save
RESTART_SECONDS = 30  # before the processes are started again
HASTE_SECONDS = 10  # the second one does not wait
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class _Agent(LocalElasticAgent):
    """torch's agent, which restarts processes only where that may help.

    Args:
        store: what the processes keep for those after them; see `Ranks.remember`.
        arguments: see `LocalElasticAgent`.
    """

    def __init__(self, store: TCPStore, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._kept = store
        self._patience = STEP_SECONDS

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if result.is_failed():
            if self._kept.check(["cnnkit/ended"]):  # it would end in the same way again
                self._remaining_restarts = 0
            lost = _lost(result.failures)
            if lost is not None:
                self._kept.set("cnnkit/loss", lost)
        return result

    def _shutdown(
        self, death_sig: signal.Signals | None = None, timeout: int | None = None
    ) -> None:
        # A signal to end comes with arguments, of which torch 2.10 has no timeout. The processes
        # handle SIGTERM from the start. A second request is urgent.
        seconds = RESTART_SECONDS
        if death_sig is not None or timeout is not None:
            seconds, self._patience = self._patience, HASTE_SECONDS
        close_processes(self, seconds)
        super()._shutdown(signal.SIGTERM)


def launch(arguments: Sequence[str], num_processes: int, max_restarts: int) -> None:
    """Run `cnnkit` with these arguments in several processes that know of each other.

    Args:
        arguments: of the command line.
        num_processes: how many to start.
        max_restarts: how often all are restarted, where one of them is lost.

    Raises:
        LostError: a process was lost without an error message.
        ToldElsewhereError: one failed, and has reported it.
        StoppedError: they were stopped otherwise than after a step.
    """
    with tempfile.TemporaryDirectory(prefix="cnnkit-") as folder, _quiet():
        store = TCPStore(
            HOST, 0, is_master=True, wait_for_workers=False, multi_tenant=True,
            timeout=timedelta(minutes=5),
        )  # fmt: skip
        name = f"{LAUNCHED_HERE}{uuid.uuid4().hex}"
        spec = WorkerSpec(
            role="rank",
            local_world_size=num_processes,
            rdzv_handler=StaticTCPRendezvous(HOST, store.port, 0, 1, name, timeout=300),
            entrypoint=sys.executable,
            args=(*_safe_path(), "-m", "cnnkit", *arguments),
            max_restarts=max_restarts,
            monitor_interval=POLL_SECONDS,
            local_addr=HOST,
        )
        agent = _Agent(store, spec, DefaultLogsSpecs(log_dir=folder))
        try:
            result = agent.run()
        except SignalException:
            result = None
        if result is not None and not result.is_failed():
            return
        if store.check(["cnnkit/ended"]):
            raise ToldElsewhereError(ExitCode(int(store.get("cnnkit/ended"))))
        run = store.get("cnnkit/run").decode() if store.check(["cnnkit/run"]) else None
        failures = {} if result is None else result.failures
        lost = _lost(failures)
        codes = [one.exitcode for one in failures.values()]
        if result is None or (lost is None and ExitCode.INTERRUPTED in codes):
            raise StoppedError("interrupted", run)
        if lost is None:  # before they knew of each other, where they fail alike
            raise ToldElsewhereError(ExitCode(max(codes)))
        if "SIGKILL" in lost:
            lost += ", as the system does when memory runs out"
        raise LostError(lost, run)


class LostError(RunFailedError):
    """A process was lost.

    Attributes:
        run: the folder of the run; None where none was made yet.
    """

    def __init__(self, what: str, run: str | None) -> None:
        super().__init__(what)
        self.run = run


class StoppedError(InterruptedRunError):
    """The processes were stopped, and not after a step.

    Attributes:
        run: the folder of the run; None where none was made yet.
    """

    def __init__(self, what: str, run: str | None) -> None:
        super().__init__(what)
        self.run = run


def _safe_path() -> tuple[str, ...]:
    """Return what keeps Python from importing modules of the current folder, as `-m` lets it.

    It may be the folder of a run. Where this process imports from there too, so must the others.
    """
    here = Path.cwd()
    return () if any(not one or Path(one) == here for one in sys.path) else ("-P",)


def _lost(failures: dict[int, ProcessFailure]) -> str | None:
    """Return which process a signal has ended; None where each has ended by itself."""
    ended = {rank: -one.exitcode for rank, one in sorted(failures.items()) if one.exitcode < 0}
    # The agent itself ends the others with SIGTERM.
    for rank, number in sorted(ended.items(), key=lambda item: item[1] == signal.SIGTERM):
        return f"rank {rank} was killed by {signal.Signals(number).name}"
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Let torch's agent log nothing, and give the signals back that it takes."""
    handlers = [(one, signal.getsignal(one)) for one in SIGNALS]
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(level)
        for one, handler in handlers:
            signal.signal(one, handler)
