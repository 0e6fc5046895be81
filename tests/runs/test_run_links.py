"""No link in a run folder is followed, no pipe waited for, and no device opened."""

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkit.errors import ExitCode
from cnnkit.system.files import remove_tree
from cnnkit.system.locks import locked
from tests.conftest import Cnnkit
from tests.stopped_runs import stopped_run

FILES = (".lock", "run.json", "result.json", "metrics.csv", "curves.png")
FOLDERS = ("tensorboard", "checkpoints", "network")
DEEPER = (
    "checkpoints/best", "checkpoints/best/model.safetensors", "checkpoints/last/training.pt",
    "checkpoints/.last-new", "tensorboard/events.out.tfevents.1", "network/net.py",
)  # fmt: skip
SECRET = "what lies elsewhere"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("stopped"))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "file").write_text(SECRET)
    return folder


def link_to_file(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "file")


def link_to_nothing(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "made")


def link_to_folder(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def link_to_itself(path: Path, elsewhere: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_device(path: Path, elsewhere: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


KINDS = (link_to_file, link_to_nothing, link_to_folder, link_to_itself, link_to_a_device, pipe)


def put(run: Path, name: str, make: Callable[[Path, Path], None], elsewhere: Path) -> None:
    path = run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, elsewhere, dirs_exist_ok=True)
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path, elsewhere)


def contents(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.is_dir()
        for path in folder.rglob("*")
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")
@pytest.mark.parametrize("command", ["eval", "train --resume"])
@pytest.mark.parametrize("name", [*FILES, *FOLDERS, *DEEPER])
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_nothing_is_followed(
    cnnkit: Cnnkit,
    run: Path,
    elsewhere: Path,
    make: Callable[[Path, Path], None],
    name: str,
    command: str,
) -> None:
    put(run, name, make, elsewhere)
    before = contents(elsewhere)
    start = time.perf_counter()
    answer = cnnkit(*command.split(), run)
    assert answer.code == ExitCode.CHECK_FAILED, answer.stderr
    (line,) = answer.stderr.splitlines()
    assert f"{run / name} is a {'pipe' if make is pipe else 'link'}, and not a " in line
    assert contents(elsewhere) == before
    assert os.path.lexists(run / name)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file(cnnkit: Cnnkit, run: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert f"{run / name} is a folder, and not a file" in answer.stderr


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_in_the_place_of_a_folder(cnnkit: Cnnkit, run: Path, name: str) -> None:
    remove_tree(run / name)
    (run / name).write_text("x")
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert f"{run / name} is a file, and not a folder" in answer.stderr


@pytest.mark.parametrize(
    "words", [("summary",), ("compare", "lenet5"), ("bench", "--device", "cpu")]
)
def test_the_other_commands_follow_none_either(
    cnnkit: Cnnkit, run: Path, elsewhere: Path, words: tuple[str, ...]
) -> None:
    put(run, "run.json", link_to_file, elsewhere)
    assert cnnkit(*words, run).code == ExitCode.CHECK_FAILED


def test_weights_of_a_run_are_read_through_no_link(
    cnnkit: Cnnkit, run: Path, elsewhere: Path
) -> None:
    put(run, "checkpoints/best", link_to_folder, elsewhere)
    answer = cnnkit("train", "linear", "--weights", run, "--epochs", "1")
    assert answer.code == ExitCode.CHECK_FAILED
    assert "best is a link" in answer.stderr


def test_the_folder_itself_and_that_of_all_runs_may_be_links(
    cnnkit: Cnnkit, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(run)
    (tmp_path / "linked-runs").symlink_to(tmp_path)
    assert cnnkit("eval", "linked").code == ExitCode.DONE
    assert cnnkit("eval", run.name, "--runs-dir", "linked-runs").code == ExitCode.DONE
    answer = cnnkit("train", "--resume", "linked")
    assert answer.code == ExitCode.DONE, answer.stderr


def test_what_else_lies_in_the_folder_is_no_matter(
    cnnkit: Cnnkit, run: Path, elsewhere: Path
) -> None:
    (run / "notes").symlink_to(elsewhere)
    assert cnnkit("eval", run).code == ExitCode.DONE


def test_folders_deep_in_each_other(cnnkit: Cnnkit, run: Path) -> None:
    here = Path.cwd()
    os.chdir(run / "checkpoints")
    for _ in range(1500):
        os.mkdir("a")  # noqa: PTH102  # a path of them all would be too long
        os.chdir("a")
    os.chdir(here)
    answer = cnnkit("eval", run)
    subprocess.run(["rm", "-rf", run / "checkpoints" / "a"], check=True)  # Python would recurse
    assert answer.code in (ExitCode.DONE, ExitCode.UNAVAILABLE, ExitCode.CHECK_FAILED)
    assert "Traceback" not in answer.stderr


def test_a_lock_that_is_another_file_as_well_is_not_written_to(
    cnnkit: Cnnkit, run: Path, elsewhere: Path
) -> None:
    os.link(elsewhere / "file", run / ".lock")
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert ".lock is another file as well, by a hard link; remove it" in answer.stderr
    assert (elsewhere / "file").read_text() == SECRET


def test_a_link_that_comes_later_is_replaced(run: Path, elsewhere: Path) -> None:
    from cnnkit.runs.folder import open_run

    folder = open_run(str(run), Path("runs"))
    description = folder.read_description()
    for name in ("run.json", "metrics.csv", "result.json"):
        put(run, name, link_to_file, elsewhere)
    folder.write_description(description)
    folder.write_metrics([{"epoch": 1}])
    folder.write_result({})
    assert (elsewhere / "file").read_text() == SECRET
    assert folder.read_description() == description
    with locked(run):
        assert stat.S_ISREG((run / ".lock").lstat().st_mode)


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "link").symlink_to(elsewhere)
    remove_tree(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "link")
    assert (elsewhere / "file").read_text() == SECRET
