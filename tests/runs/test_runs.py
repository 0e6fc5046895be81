"""Run folders: their names, and where they can be."""

from pathlib import Path

import pytest

from cnnkit.errors import UnavailableError
from cnnkit.runs.folder import check_runs_dir, create_run


def test_a_run_is_named_in_any_script_and_fits_the_file_system(tmp_path: Path) -> None:
    assert create_run(tmp_path, "lenet5", "猫の写真").path.name.startswith("lenet5-猫の写真-")
    assert create_run(tmp_path, "lenet5", "Zoe\u0308 1").path.name.startswith("lenet5-Zoë-1-")
    long = create_run(tmp_path, "猫" * 200, "犬" * 200).path
    assert long.is_dir()
    assert "/" not in create_run(tmp_path, "a/b", "../..").path.name


def test_what_runs_cannot_be_kept_in_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("")
    for folder in (tmp_path / "e.csv", tmp_path / "e.csv" / "deeper"):
        with pytest.raises(UnavailableError, match="is a file; choose another runs_dir"):
            check_runs_dir(folder)
    check_runs_dir(tmp_path / "not" / "yet")
    assert not (tmp_path / "not").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_folder_that_takes_none(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="choose another runs_dir"):
        create_run(Path("/proc/x"), "linear", "digits")
