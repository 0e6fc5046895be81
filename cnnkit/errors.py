"""Errors that a user can do something about, and the exit codes they end with."""

import re
from collections.abc import Callable
from enum import IntEnum


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
    """An error with a way out: what went wrong in one line, and what to do about it.

    Attributes:
        message: one line that says what, and which value.
        hint: one line that says what to do; may be empty.
        rank: which of several processes it befell; None where there is one, or all fail alike.
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
    """A value that was asked for makes no sense (exit code 2)."""

    exit_code = ExitCode.USAGE


class SettingError(UsageError):
    """A setting makes no sense, or does not go with another.

    Args:
        message: as that of any error, with the names of settings in braces: `{batch_size} must be
            at least 1, not 0`.
        hint: likewise.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self._texts = message, hint
        super().__init__(*self._named(str))

    def renamed(self, name: Callable[[str], str]) -> UsageError:
        """Return the error in the words of another place, where settings have other names."""
        return UsageError(*self._named(name))

    def _named(self, name: Callable[[str], str]) -> list[str]:
        return [re.sub(r"\{(\w+)\}", lambda found: name(found[1]), text) for text in self._texts]


class NotFoundError(CnnkitError):
    """Something that was named (model, dataset, file, run) is not there (exit code 3)."""

    exit_code = ExitCode.NOT_FOUND


class UnavailableError(CnnkitError):
    """The environment cannot: device, memory, a missing extra, no network (exit code 4)."""

    exit_code = ExitCode.UNAVAILABLE


class RunFailedError(CnnkitError):
    """The work itself failed: a loss that is not finite, a broken image (exit code 5)."""

    exit_code = ExitCode.RUN_FAILED


class DivergedRunError(RunFailedError):
    """A run whose loss, gradient or weights are not finite, as they would be again."""


class BrokenImageError(RunFailedError):
    """An image that cannot be read or decoded."""


class CheckFailedError(CnnkitError):
    """A check did not hold (exit code 6)."""

    exit_code = ExitCode.CHECK_FAILED


class InterruptedRunError(CnnkitError):
    """The user stopped the work, and what was done so far is kept (exit code 130)."""

    exit_code = ExitCode.INTERRUPTED


class ToldElsewhereError(CnnkitError):
    """Another process tells what went wrong; this one ends with the same exit code, in silence."""

    def __init__(self, exit_code: ExitCode) -> None:
        super().__init__("another process failed")
        self.exit_code = exit_code
