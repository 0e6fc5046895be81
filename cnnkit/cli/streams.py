"""What every command does with stdout and stderr, the smallest of them too."""

import os
from typing import TextIO


class PipeClosedError(Exception):
    """The reader of stdout has closed the pipe."""


def write_answer(stream: TextIO, text: str) -> None:
    """Write an answer to stdout.

    Raises:
        PipeClosedError: its reader has closed it.
        UnavailableError: it cannot be written, as to a full disk.
    """
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # Python flushes stdout once more at exit, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise PipeClosedError from error
        from cnnkit.system.files import explain_os_error

        raise explain_os_error(error, "write the answer") from error


def wanted_color(option: bool | None) -> bool | None:
    """Return whether to color: the option, then NO_COLOR, then FORCE_COLOR, else None."""
    if option is not None:
        return option
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None
