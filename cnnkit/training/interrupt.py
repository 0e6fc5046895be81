"""Ctrl-C, and the request of the system to end, that wait for the end of a step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does; outside the main thread it does what it did."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


class DeferredInterrupt:
    """Turns the first Ctrl-C or SIGTERM into a flag that the loop looks at; the second stops it.

    A context manager. Outside the main thread, where Python delivers no signals, it does nothing.

    Attributes:
        requested: whether one of them came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._is_main:
            self._earlier = [signal.signal(one, self._note) for one in SIGNALS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_main:
            for one, earlier in zip(SIGNALS, self._earlier, strict=True):
                signal.signal(one, earlier or signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        # Nothing is written here: the signal may have come in the middle of a write.
        self.requested = True
