"""Errors with a hint for the user, and their exit codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

# Of the process, not of a context: a command line is the process, with all of its threads.
_write: Callable[[str], str] = str


def setting(name: str) -> str:
    """Return the name of a setting as the user writes it.

    That is the name itself in Python, `batch_size`, and its option on a command line,
    `--batch-size`. Every message, hint and note names settings through this function: text from
    data, which may look like a setting, is then never mistaken for one.

    Args:
        name: of the argument or field in Python.
    """
    return _write(name)


@contextmanager
def settings_written(write: Callable[[str], str]) -> Iterator[None]:
    """Have `setting` return what `write` makes of a name, inside a block."""
    global _write
    before, _write = _write, write
    try:
        yield
    finally:
        _write = before


class ExitCode(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4
    RUN_FAILED = 5
    CHECK_FAILED = 6
    INTERRUPTED = 130


class CnnkitError(Exception):
    """Base class of errors: what went wrong in one line, and what to do about it.

    Attributes:
        message: one line that says what, and which value.
        hint: one line that says what to do; may be empty.
        rank: the process that it happened in; None where there is one, or all fail alike.
        exit_code: the code that the command line ends with.
    """

    exit_code = ExitCode.BUG
    rank: int | None = None

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(CnnkitError):
    """A value is invalid (exit code 2)."""

    exit_code = ExitCode.USAGE


class NotFoundError(CnnkitError):
    """Something that was named (model, dataset, file, run) does not exist (exit code 3)."""

    exit_code = ExitCode.NOT_FOUND


class UnavailableError(CnnkitError):
    """The environment lacks something: device, memory, an extra, the network (exit code 4)."""

    exit_code = ExitCode.UNAVAILABLE


class RunFailedError(CnnkitError):
    """The run failed, as for a loss that is not finite or a broken image (exit code 5)."""

    exit_code = ExitCode.RUN_FAILED


class DivergedRunError(RunFailedError):
    """A run whose loss, gradient or weights are not finite; a restart would not help."""


class BrokenImageError(RunFailedError):
    """An image that cannot be read or decoded."""


class CheckFailedError(CnnkitError):
    """A check failed (exit code 6)."""

    exit_code = ExitCode.CHECK_FAILED


class InterruptedRunError(CnnkitError):
    """The user interrupted the run; its progress is saved (exit code 130)."""

    exit_code = ExitCode.INTERRUPTED


class ToldElsewhereError(CnnkitError):
    """Another process reports the error; this one ends silently with the same exit code."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__("another process failed")
        self.exit_code = exit_code
