"""Locks on files, as disks and other processes have them."""

import errno
import os
from pathlib import Path

import filelock
import pytest

from cnnkit.errors import UnavailableError
from cnnkit.system import locks
from cnnkit.system.locks import locked, try_lock, waiting_lock


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make each lock fail as a disk would let it."""

    def lock_descriptor(handle: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock, "lock_descriptor", lock_descriptor)


@pytest.mark.parametrize("number", locks.CANNOT_LOCK)
def test_a_disk_without_locks_lets_everybody_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    failing(monkeypatch, number)
    with locked(tmp_path) as is_held, waiting_lock(tmp_path / "other"):
        assert not is_held
    assert not (tmp_path / ".lock").exists()


def test_a_lock_that_fails_otherwise_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, errno.EIO)
    with pytest.raises(UnavailableError, match=r"\.lock.*input/output error"), locked(tmp_path):
        pass


def test_a_lock_that_is_held_is_refused_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(locks, "MAX_WAIT_SECONDS", 0.1)
    with locked(tmp_path) as is_held:
        assert is_held
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
        with (
            pytest.raises(UnavailableError, match=rf"another process \({os.getpid()}\)"),
            locked(tmp_path),
        ):
            pass
        with waiting_lock(tmp_path / ".lock"):  # not for ever
            pass
    with (tmp_path / "file").open("wb") as first, (tmp_path / "file").open("wb") as second:
        assert try_lock(first.fileno())
        assert try_lock(second.fileno()) is False
