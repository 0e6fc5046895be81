"""Settings in messages: by name in Python, by option on the command line."""

from pathlib import Path

import pytest

from cnnkit.bench.sweep import Sweep
from cnnkit.errors import UsageError, setting, settings_written
from cnnkit.runs.recipe import Recipe
from cnnkit.stats import measure_dataset
from tests.conftest import Cnnkit


def test_a_setting_is_written_as_its_place_has_it() -> None:
    assert setting("batch_size") == "batch_size"
    with settings_written(str.upper):
        assert setting("batch_size") == "BATCH_SIZE"
        with settings_written(str):
            assert setting("batch_size") == "batch_size"
    with pytest.raises(ValueError, match="x"), settings_written(str.upper):
        raise ValueError("x")
    assert setting("batch_size") == "batch_size"


def test_python_reads_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^batch_size must be at least 1, not 0$"):
        Recipe.of(batch_size=0)
    with pytest.raises(UsageError, match=r"^limit and duplicates contradict each other"):
        measure_dataset("digits", limit=10, duplicates=True)
    with pytest.raises(UsageError, match=r"^batch_sizes 0 is below 1"):
        Sweep(batch_sizes=(0,)).check()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "lenet5", "-b", "0"], "--batch-size must be at least 1, not 0"),
        (["train", "mlp", "--model-arg", "num_classes=3"], "cannot be set by --model-arg"),
        (["train", "lenet5", "-j", "-1"], "--workers must be at least 0, not -1"),
        (["stats", "digits", "--limit", "9", "--duplicates"], "--limit and --duplicates contra"),
        (["stats", "digits", "--labels-only", "--save", "x"], "so --save has no meaning"),
        (["show", "digits", "--index", "1", "--class", "1"], "--index and --class are both"),
        (["bench", "lenet5", "-b", "0"], "--batch-size 0 is below 1"),
        (["bench", "lenet5", "--mode", "eval"], "--mode 'eval' is unknown"),
        (["bench", "--device", "cpu"], "or give only --peak"),
        (["bench", "lenet5", "-b", "auto", "--data", "digits"], "be used with --data"),
        (["summary", "lenet5", "--model", "a.py:f"], "--model is for a run"),
        (["conv", "28", "--image", "1 2"], "--image needs --weight to slide over it, or --pool"),
        (["conv", "--kernel", "3"], "SIZE is missing"),
    ],
)
def test_a_command_reads_options(arguments: list[str], line: str, cnnkit: Cnnkit) -> None:
    answer = cnnkit(*arguments)
    assert answer.code == 2
    assert line in answer.stderr


def test_a_file_name_is_not_taken_for_a_setting(tmp_path: Path, cnnkit: Cnnkit) -> None:
    name = str(tmp_path / "{batch_size} seed.csv")
    assert name in cnnkit("stats", name).stderr.replace("\n", "")
    assert setting("batch_size") == "batch_size"


def test_a_recipe_file_is_corrected_by_its_own_keys(tmp_path: Path, cnnkit: Cnnkit) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('model = "lenet5"\ndataset = "digits"\nbatch_size = 0\n')
    assert ": batch_size must be at least 1" in cnnkit("train", "--recipe", str(file)).stderr
