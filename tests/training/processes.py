"""Several processes that know of each other, as torchrun and `--nproc` start them, for tests.

They are forked from one that has imported torch, and so begin at once.
"""

import multiprocessing
import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "sklearn.datasets",
        "torch._dynamo",  # the first optimizer imports it
        "cnnkit.training.train",
        "tests.training.test_distributed",
    ]
)
SECONDS = 120  # nothing here takes so long, unless processes wait for each other forever


class Launch:
    """What starts processes, perhaps several times, and what they remember.

    Args:
        size: how many processes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._store = TCPStore(
            "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60)
        )

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        restart: int = 0,
        max_restarts: int = 0,
        **named: Any,
    ) -> list[Any]:
        """Call a function of a module in every process.

        Returns:
            What each returned, or the error that it raised, by rank; None of one that was killed.
        """
        running = []
        for rank in range(self.size):
            environment = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": self.size,
                "LOCAL_WORLD_SIZE": self.size,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": self._store.port,
                "TORCHELASTIC_RUN_ID": "cnnkit-test",
                "TORCHELASTIC_RESTART_COUNT": restart,
                "TORCHELASTIC_MAX_RESTARTS": max_restarts,
                "TORCHELASTIC_USE_AGENT_STORE": True,
                "CNNKIT_DATA_DIR": os.environ["CNNKIT_DATA_DIR"],
                "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"],
            }
            ours, theirs = CONTEXT.Pipe(duplex=False)
            process = CONTEXT.Process(
                target=_call,
                args=(theirs, environment, str(Path.cwd()), function, arguments, named),
            )
            process.start()
            theirs.close()
            running.append((process, ours))
        return [_result(process, ours) for process, ours in running]


def in_processes(size: int, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a function returns in the first of so many processes.

    Raises:
        AssertionError: it failed in one of them.
    """
    results = Launch(size).run(function, *arguments, **named)
    assert not [result for result in results if isinstance(result, BaseException)], results
    return results[0]


def _call(
    connection: Connection,
    environment: dict[str, object],
    folder: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    os.chdir(folder)
    try:
        result = function(*arguments, **named)
    except BaseException as error:
        error.__cause__ = error.__context__ = None  # it need not fit through the pipe
        result = error
    connection.send_bytes(pickle.dumps(result))  # tensors as well, which outlive the process


def _result(process: Any, connection: Connection) -> Any:
    try:
        assert connection.poll(SECONDS), "a process hangs"
        return pickle.loads(connection.recv_bytes())
    except EOFError:
        return None
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()
