"""The names of run folders."""

from pathlib import Path

from cnnkit.runs import create_run


def test_a_run_is_named_in_any_script_and_fits_the_file_system(tmp_path: Path) -> None:
    assert create_run(tmp_path, "lenet5", "猫の写真").path.name.startswith("lenet5-猫の写真-")
    assert create_run(tmp_path, "lenet5", "Zoe\u0308 1").path.name.startswith("lenet5-Zoë-1-")
    long = create_run(tmp_path, "猫" * 200, "犬" * 200).path
    assert long.is_dir()
    assert "/" not in create_run(tmp_path, "a/b", "../..").path.name
