import errno
import os
import stat
from pathlib import Path

import pytest

from cnnkit.errors import NotFoundError, UnavailableError
from cnnkit.files import explain_os_error, replacing, write_text


def test_a_file_appears_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one\r\ntwo")
    assert (tmp_path / "a.txt").read_bytes() == b"one\r\ntwo"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(ValueError, match="half way"), replacing(target) as temporary:
        temporary.write_text("half")
        raise ValueError("half way")
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_mode_is_that_of_an_ordinary_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes[0] == modes[1]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot write .*missing/a.txt: no such file"):
        write_text(tmp_path / "missing" / "a.txt", "x")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "may write to")]
)
def test_disk_and_permission_have_a_way_out(number: int, hint: str) -> None:
    error = explain_os_error(OSError(number, os.strerror(number)), "write x")
    assert isinstance(error, UnavailableError)
    assert hint in error.hint
