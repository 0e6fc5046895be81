"""Writing files so that they appear whole or not at all, and opening only what is a file."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnnkit.errors import CnnkitError, NotFoundError, UnavailableError

_READ_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # not every system has all
    _READ_FLAGS |= getattr(os, _name, 0)

# What opening a socket, or on some systems a folder, ends with.
_NO_FILE_ERRORS = (errno.ENXIO, errno.EOPNOTSUPP, errno.ENODEV, errno.EACCES, errno.EISDIR)
_KINDS = {
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFDIR: "a folder, not a file",
}


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
        case _:
            hint = ""
    return UnavailableError(f"cannot {action}: {reason}", hint)


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


def open_regular(path: str | Path) -> int:
    """Return the descriptor of a regular file that is opened to be read; the caller closes it.

    Links are followed. A pipe, a device, a socket or a folder is refused and never waited for: what
    counts is what was opened, so nothing can be put in its place between a look and the opening.

    Raises:
        OSError: it cannot be opened, or is no regular file; its `strerror` says which.
    """
    try:
        handle = os.open(path, _READ_FLAGS)
    except OSError as error:
        kind = _kind_of(path) if error.errno in _NO_FILE_ERRORS else ""
        if not kind:
            raise
        raise OSError(errno.EINVAL, kind, str(path)) from error
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(mode), "not a regular file"), str(path))


def _kind_of(path: str | Path) -> str:
    """Return what a path that cannot be opened is, if it is no file; empty for a file."""
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "")  # noqa: PTH116
    except OSError:
        return ""
