"""Notes every process that is started while files of others are read.

An audit hook of Python looks at each start of a process, and writes a line to the file that the
variable below names where reading data is what led to it. It uses the standard library only, for
the child processes of tests load it as well, by `sitecustomize.py`.
"""

import os
import sys
from types import FrameType

VARIABLE = "CNNKIT_TEST_AUDIT"
EVENTS = frozenset(
    {
        "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork",
        "os.forkpty", "os.startfile", "os.startfile/2", "pty.spawn", "webbrowser.open",
    }
)  # fmt: skip
READERS = tuple(
    part.replace("/", os.sep)
    for part in (
        "/PIL/", "/cnnkit/data/", "/cnnkit/stats/", "/cnnkit/runs", "/cnnkit/checkpoints",
        "/cnnkit/torch_files",
    )
)  # fmt: skip


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Write down the start of a process, if a frame of a reader is among those that led to it."""
    if event not in EVENTS:
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return  # a module that is imported looks at the machine, as platform does
        if any(part in name for part in READERS):
            break
        frame = frame.f_back
    path = os.environ.get(VARIABLE)
    if frame is None or not path:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    line = f"{event} {arguments[:2]!r} by {frame.f_code.co_filename}:{frame.f_lineno} in {test}\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode("utf-8", "backslashreplace"))
    os.close(handle)
