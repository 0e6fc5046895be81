"""One process per run: a lock that a killed process does not leave behind.

filelock locks the files that are opened and checked here. Its own `FileLock` (4.3) is not enough
for the folder of a run: it leaves the file there, and writes through a hard link.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnnkit.errors import CheckFailedError, UnavailableError
from cnnkit.system.files import explain_os_error, open_plain

CANNOT_LOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some disks on the network
MAX_WAIT_SECONDS = 10.0
POLL_SECONDS = 0.02


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock a run; the system releases the lock when the process ends, however it ends.

    Yields whether it is locked: a disk that cannot lock lets everybody in.

    Raises:
        UnavailableError: another process holds it.
        CheckFailedError: `.lock` is a link, or no file.
    """
    path = folder / ".lock"
    try:
        handle, is_held = _opened(path)
    except OSError as error:
        raise explain_os_error(error, f"write {path}") from error
    if handle is None:
        raise UnavailableError(
            f"{folder} is being trained by another process{_holder(path)}",
            "wait until it is done, or stop it",
        )
    try:
        with suppress(OSError):  # a full disk: locked all the same, but without the owner's id
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield is_held
    finally:
        with suppress(OSError):  # Windows keeps what is open; then the file stays, unlocked
            path.unlink()
        os.close(handle)


def try_lock(handle: int) -> bool | None:
    """Lock an open file until it is closed; return whether it is locked.

    False where another process holds the lock, None where the disk has no locks.

    Raises:
        OSError: it cannot be locked for another reason.
    """
    from filelock import lock_descriptor  # 50 ms, which `--help` need not wait for

    try:
        return lock_descriptor(handle, blocking=False)
    except OSError as error:
        if error.errno in CANNOT_LOCK:
            return None
        raise


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Lock a file, for the moment that it takes to change another.

    Whoever holds it is waited for, but not for ever; a disk that cannot lock lets everybody in.

    Raises:
        OSError: the file cannot be opened or locked.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = time.monotonic() + MAX_WAIT_SECONDS
        while try_lock(handle) is False and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> tuple[int | None, bool]:
    """Return the open file, None where another process holds it, and whether it is locked."""
    while True:
        handle = open_plain(path, os.O_RDWR | os.O_CREAT)
        if os.fstat(handle).st_nlink > 1:  # it is written to, and so would be the other
            os.close(handle)
            raise CheckFailedError(f"{path} is another file as well, by a hard link", "remove it")
        try:
            is_locked = try_lock(handle)
        except OSError:
            os.close(handle)
            raise
        if is_locked is None:
            return handle, False
        # Its owner may have removed the file since it was opened here.
        with suppress(FileNotFoundError):
            if is_locked and os.path.samestat(os.fstat(handle), path.lstat()):
                return handle, True
        os.close(handle)
        if not is_locked:
            return None, False


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""  # on Windows a locked file cannot be read
    return f" ({text})" if text.isdecimal() else ""
