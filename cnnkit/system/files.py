"""Safe reading and writing: regular files only, atomic writes, no links in run folders."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cnnkit.errors import CheckFailedError, CnnkitError, NotFoundError, UnavailableError

LOOP = "it is a link that leads back to itself"

_READ_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # not every system has all
    _READ_FLAGS |= getattr(os, _name, 0)

# What opening a socket, or on some systems a folder, ends with.
_NO_FILE_ERRORS = (errno.ENXIO, errno.EOPNOTSUPP, errno.ENODEV, errno.EACCES, errno.EISDIR)

# Windows has neither flag, and needs the other one.
_PLAIN_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}
_STREAM_FOLDERS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))


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


class TooLargeError(OSError):
    """A file is larger than what it is read as can be."""

    def __init__(self, num_bytes: int, most_bytes: int) -> None:
        super().__init__(
            errno.EFBIG, f"it has {num_bytes:,} bytes, more than the {most_bytes:,} that are read"
        )


def open_regular(path: str | Path) -> int:
    """Return the descriptor of a regular file that is opened to be read; the caller closes it.

    Links are followed. A pipe, a device, a socket or a folder is refused and never waited for: what
    counts is what was opened, so nothing can be put in its place between a look and the opening.

    Raises:
        NotRegularError: it is no regular file; its `strerror` says which.
        OSError: it cannot be opened.
    """
    try:
        handle = os.open(path, _READ_FLAGS)
    except OSError as error:
        kind = _kind_of(path) if error.errno in _NO_FILE_ERRORS else stat.S_IFREG
        if kind == stat.S_IFREG:
            raise
        raise _not_regular(path, kind) from error
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind == stat.S_IFREG:
        return handle
    os.close(handle)
    raise _not_regular(path, kind)


def _kind_of(path: str | Path) -> int:
    """Return what a path that cannot be opened is; a regular file where that is unknown."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return stat.S_IFREG


def _not_regular(path: str | Path, kind: int) -> NotRegularError:
    found = _KINDS.get(kind, "something else")
    return NotRegularError(errno.EINVAL, f"{found}, not a file", str(path))


def opened_regular(path: str | Path) -> BinaryIO:
    """Return a regular file, opened to be read; see `open_regular`.

    Raises:
        OSError: as `open_regular`.
    """
    return os.fdopen(open_regular(path), "rb")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        TooLargeError: there are more than `most_bytes`.
        OSError: as `open_regular`.
    """
    with opened_regular(path) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes > most_bytes:
            raise TooLargeError(num_bytes, most_bytes)
        return file.read(num_bytes)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` if all went well.

    A link is replaced itself, and what it leads to stays. The temporary file is gone afterwards,
    whatever happens.

    Args:
        path: the file.
        mode: its permissions; those of the file that it replaces by default.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("r+b") as file:  # some systems refuse to flush what is only read
                os.fsync(file.fileno())
            temporary.chmod(_mode(path) if mode is None else mode)
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
    """Write a file that a user named, atomically.

    A link is followed; what is no regular file, such as a pipe or a device, is written to.

    Raises:
        UnavailableError: no space, no permission, or a link that leads back to itself.
        NotFoundError: the folder does not exist.
    """
    if is_stream(path):
        try:
            with path.open("ab") as stream:
                stream.write(content)
        except OSError as error:
            raise explain_os_error(error, f"write {path}") from error
        return
    replace_bytes(followed(path), content)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; a link is replaced, not followed.

    Raises:
        UnavailableError: no space, no permission.
        NotFoundError: the folder does not exist.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def is_stream(path: Path) -> bool:
    """Return whether there is a pipe or a device, and no file that could be replaced."""
    return path.exists() and (not path.is_file() or path.parent in _STREAM_FOLDERS)


def followed(path: Path) -> Path:
    """Return the path that a link leads to, or the path itself where it is none.

    Raises:
        UnavailableError: it leads back to itself.
    """
    try:
        target = path.resolve()
        is_loop = target.is_symlink()
    except (OSError, RuntimeError):  # Python 3.13 no longer raises
        is_loop = True
    if is_loop:
        raise UnavailableError(f"cannot write {path}: {LOOP}", "remove it, or name another file")
    return target


def is_folder(path: Path) -> bool:
    """Return whether there is such a folder; of a name that is too long for one there is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return the descriptor of a regular file; no link is followed, and no pipe waited for.

    Args:
        path: the file.
        flags: as `os.open` takes them.

    Raises:
        CheckFailedError: it is a link, a pipe, a device or a folder.
        OSError: it cannot be opened.
    """
    with suppress(FileNotFoundError):  # which may be created
        _check_kind(path, path.lstat().st_mode, stat.S_IFREG)
    handle = os.open(path, flags | _PLAIN_FLAGS, 0o666)
    try:
        _check_kind(path, os.fstat(handle).st_mode, stat.S_IFREG)
    except CheckFailedError:
        os.close(handle)
        raise
    return handle


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file; no link is followed, and no pipe waited for.

    Raises:
        CheckFailedError: it is a link, a pipe, a device or a folder, or holds more bytes.
        NotFoundError: it is not there.
        UnavailableError: it cannot be read.
    """
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            content = b""
            if os.fstat(file.fileno()).st_size <= max_bytes:
                content = file.read(max_bytes + 1)  # it may grow meanwhile
                if len(content) <= max_bytes:
                    return content
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error
    raise CheckFailedError(
        f"{path} holds more than {max_bytes:,} bytes, which no such file does", "restore it"
    )


def check_plain(path: Path, is_folder: bool = False) -> None:
    """Refuse what is not a regular file, or not a folder of regular files and such folders.

    What is not there is let through. Nothing is opened, and no link followed.

    Raises:
        CheckFailedError: it, or something in it, is a link, a pipe, a device or a socket.
        UnavailableError: a folder cannot be read.
    """
    try:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        _check_kind(path, mode, stat.S_IFDIR if is_folder else stat.S_IFREG)
        for entry in _all_below(path) if is_folder else ():
            if not entry.is_file(follow_symlinks=False):
                _check_kind(Path(entry.path), entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        raise explain_os_error(error, f"read {path}") from error


def files_below(folder: Path) -> list[Path]:
    """Return every file in a folder and the folders in it, sorted; none where there is no folder.

    Raises:
        CheckFailedError: one of them is a link, a pipe, a device or a socket.
        UnavailableError: a folder cannot be read.
    """
    check_plain(folder, is_folder=True)
    try:
        return sorted(Path(entry.path) for entry in _all_below(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise explain_os_error(error, f"read {folder}") from error


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, if it is there; of a link, the link."""
    with suppress(FileNotFoundError):
        if path.is_symlink():
            path.unlink()
        else:
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


def _check_kind(path: Path, mode: int, wanted: int = stat.S_IFREG) -> None:
    kind = stat.S_IFMT(mode)
    if kind != wanted:
        found = _KINDS.get(kind, "no file")
        raise CheckFailedError(
            f"{path} is {found}, and not {_KINDS[wanted]}: it is neither followed nor opened",
            "remove it, or put the real one in its place",
        )


def _all_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Return everything in a folder and the folders in it, but for the folders themselves."""
    pending = [str(folder)]
    while pending:  # no recursion: folders may be nested deeper than its limit
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    yield entry


def _mode(path: Path) -> int:
    """Return the permissions for a file: those of the one that it replaces, if there is one."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return stat.S_IMODE(mode) & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
