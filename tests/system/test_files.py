import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cnnkit.errors import CheckFailedError, NotFoundError, UnavailableError
from cnnkit.system.files import explain_os_error, read_plain, replace_bytes, replacing, write_text
from tests.conftest import Cnnkit


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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    path.chmod(mode)
    write_text(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o600)
    link.symlink_to("a.txt")
    write_text(link, "after")
    assert link.is_symlink()
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    replace_bytes(link, b"in a run folder")
    assert not link.is_symlink()
    assert path.read_text() == "after"


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    for name, target in (("a", "a"), ("b", "c"), ("c", "b")):
        (tmp_path / name).symlink_to(target)
    for name in ("a", "b"):
        with pytest.raises(UnavailableError, match="leads back to itself; remove it"):
            write_text(tmp_path / name, "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device here")
def test_what_a_device_refuses_is_said() -> None:
    with pytest.raises(UnavailableError, match="cannot write /dev/full: no space left"):
        write_text(Path("/dev/full"), "x")


def test_only_regular_files_of_a_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", 5) == b"12345"
    with pytest.raises(CheckFailedError, match="holds more than 4 bytes"):
        read_plain(tmp_path / "a", 4)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(CheckFailedError, match="holds more than"):
        read_plain(tmp_path / "sparse", 2**20)
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(CheckFailedError, match="link is a link, and not a file"):
        read_plain(tmp_path / "link", 5)
    with pytest.raises(NotFoundError):
        read_plain(tmp_path / "gone", 5)


OUTPUTS = {
    "a pipe": ("{0} -o >(cat > piped)", "piped"),
    "stdout to a pipe": ("{0} -o /dev/stdout | cat > piped", "piped"),
    "stdout to a file": ("{0} -o /dev/stdout > piped", "piped"),
    "stdout after a line": ("echo line > piped; {0} -o /dev/stdout >> piped", "piped"),
    "a device": ("{0} -o /dev/null; echo none > piped", "piped"),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(("words", "file"), OUTPUTS.values(), ids=OUTPUTS)
def test_an_answer_goes_where_bash_leads_it(tmp_path: Path, words: str, file: str) -> None:
    command = f"{sys.executable} -m cnnkit conv 28 --kernel 3 -q --json"
    done = subprocess.run(
        ["bash", "-c", f"{words.format(command)}; sleep 0.3"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    text = (tmp_path / file).read_text()
    if words.startswith("echo line"):
        assert text.startswith("line\n")
        text = text.removeprefix("line\n")
    if "/dev/null" in words:
        assert text == "none\n"
    else:
        assert json.loads(text)["schema"] == "cnnkit.conv/1"


def test_an_output_that_loops_is_one_line(tmp_path: Path, cnnkit: Cnnkit) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    answer = cnnkit("conv", "28", "--kernel", "3", "-o", "loop.json")
    assert answer.code == 4
    assert answer.stderr.count("\n") == 1
    assert "leads back to itself" in answer.stderr
