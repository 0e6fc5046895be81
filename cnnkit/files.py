"""Reading files that are files, and writing them so that they appear whole or not at all."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cnnkit.errors import CnnkitError, NotFoundError, UnavailableError


def explain_os_error(error: OSError, action: str) -> CnnkitError:
    """Return the error of a file operation as one line with a way out.

    Args:
        error: what the system said.
        action: what was tried, such as `write runs/x/run.json`.
    """
    reason = (error.strerror or str(error)).lower()
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            hint = "free some space, or choose a folder on another disk"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "choose a folder that you may write to, or change its permissions"
        case errno.ENOENT:
            return NotFoundError(f"cannot {action}: {reason}")
        case _ if isinstance(error, NotRegularError):
            hint = "name a file"
        case _:
            hint = ""
    return UnavailableError(f"cannot {action}: {reason}", hint)


class NotRegularError(OSError):
    """What was opened is a pipe, a device or a folder, and would be waited for or never end."""

    def __init__(self, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}, and no file")


class TooLargeError(OSError):
    """A file is larger than what it is read as can be."""

    def __init__(self, num_bytes: int, most_bytes: int) -> None:
        super().__init__(
            errno.EFBIG, f"it has {num_bytes:,} bytes, more than the {most_bytes:,} that are read"
        )


_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes; a link is followed.

    Raises:
        NotRegularError: it is a pipe, a device or a folder; none of them is waited for.
        OSError: it is not there, or cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise NotRegularError(_KINDS.get(stat.S_IFMT(mode), "something else"))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file; see `open_regular`.

    Raises:
        TooLargeError: there are more than `most_bytes`.
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes > most_bytes:
            raise TooLargeError(num_bytes, most_bytes)
        return file.read(num_bytes)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` if all went well.

    The temporary file is gone afterwards, whatever happens.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            temporary.chmod(0o666 & ~_umask())
            yield temporary
            with temporary.open("r+b") as file:  # some systems refuse to flush what is only read
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise explain_os_error(error, f"write {path}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) as `write_bytes` does.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    A link is followed; what is no regular file, such as a pipe or a device, is written to.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise explain_os_error(error, f"write {path}") from error
        return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, if it is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def flush_folder(path: Path) -> None:
    """Wait until the disk knows which files a folder has; Windows does so by itself."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
