from pathlib import Path

import pytest

from cnnkit.data import DATASETS, default_data_dir, find_dataset, open_dataset
from cnnkit.data.entry import FilesSource
from cnnkit.errors import ExitCode, NotFoundError, UsageError


@pytest.mark.parametrize("spec", ["mnist", "MNIST", "fashion-mnist", "Oxford-IIIT-Pet"])
def test_names_are_found_in_any_writing(spec: str) -> None:
    assert find_dataset(spec) is DATASETS[spec.lower().replace("-", "_")]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("mnits", "did you mean mnist"),
        ("cifar", "did you mean cifar10"),
        ("", "`cnnkit datasets` lists"),
        ("qqqqqqqq", "`cnnkit datasets` lists"),
        ("x" * 5000, "`cnnkit datasets` lists"),
        ("./mnist", "did you mean mnist"),
        ("a/\0", "`cnnkit datasets` lists"),
    ],
)
def test_unknown_names(spec: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_dataset(spec)
    assert hint in caught.value.hint
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def test_a_folder_in_sight_is_found_but_the_catalog_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("photos", "mnist"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert isinstance(find_dataset("photos").source, FilesSource)
    assert isinstance(find_dataset("./mnist").source, FilesSource)
    assert find_dataset("mnist") is DATASETS["mnist"]


@pytest.mark.parametrize(
    ("spec", "split", "hint"),
    [
        ("mnist", "tset", "did you mean test? it has train, test"),
        ("mnist", "val", "it has train, test"),
        ("imagenet", "val", "what its publishers call val is test here"),
        ("country211", "valid", "what its publishers call valid is val here"),
        ("svhn", "", "it has train, test, extra"),
        ("fake:1x8x8:2:10", "val", "it has train, test"),
        ("digits", "Train", "did you mean train"),
    ],
)
def test_unknown_splits(spec: str, split: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_dataset(spec, split, data_dir=Path("nowhere"))
    assert hint in caught.value.hint
    assert f"{split!r}" in caught.value.message


def test_the_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_DATA_DIR", "sets")
    assert default_data_dir() == Path("sets")
    monkeypatch.delenv("CNNKIT_DATA_DIR")
    assert default_data_dir().parts[-2:] == ("cnnkit", "datasets")
