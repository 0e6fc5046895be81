import json
import tomllib
from pathlib import Path

import pytest

from tests.conftest import Answer, Cnnkit

MINE = """\
model = "mlp"
dataset = "fake:1x8x8:3:40"
epochs = 3
batch_size = 8
optimizer = "sgd"
lr = 0.02
nesterov = true
dropout = 0.25

[about]
what = "a quick one"

[model_arg]
hidden = "8"
dropout = "0.1"
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path / "mine.toml"


def settings(answer: Answer) -> dict[str, object]:
    assert answer.code == 0, answer.stderr
    return tomllib.loads(answer.stdout)


def test_a_recipe_brings_network_data_and_settings_and_run_json_has_its_name(
    cnnkit: Cnnkit,
) -> None:
    answer = cnnkit("train", "--recipe", "mine.toml", "--epochs", "1", "--json")
    assert "recipe mine.toml: a quick one" in answer.stderr
    description = json.loads((Path(answer.json["run"]) / "run.json").read_text())
    assert description["recipe_name"] == "mine.toml"
    assert description["recipe"]["epochs"] == 1
    assert description["recipe"]["nesterov"] is True
    assert description["setup"]["model"] == "mlp"
    assert description["setup"]["dataset"] == "fake:1x8x8:3:40"
    assert description["setup"]["model_arguments"] == {"hidden": "8", "dropout": "0.1"}
    plain = cnnkit("train", "mlp", "fake:1x8x8:3:40", "--epochs", "1", "--json").json
    assert json.loads((Path(plain["run"]) / "run.json").read_text())["recipe_name"] is None


def test_flag_beats_environment_beats_file_beats_recipe_beats_default(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c.toml").write_text("epochs = 4\nlr = 0.3\nruns_dir = 'of-file'\nrecipe = 'mine.toml'\n")
    monkeypatch.setenv("CNNKIT_RUNS_DIR", "of-environment")
    for order in (["-c", "c.toml", "--recipe", "mine.toml"], ["-c", "c.toml"]):
        found = settings(cnnkit("train", *order, "--lr", "0.4", "--dry-run"))
        assert found["lr"] == 0.4  # flag
        assert found["runs_dir"] == "of-environment"
        assert found["epochs"] == 4  # file
        assert found["batch_size"] == 8  # recipe
        assert found["label_smoothing"] == 0.0  # default
    found = settings(cnnkit("train", "linear", "digits", "--recipe", "mine.toml", "--dropout",
                            "0.5", "--no-nesterov", "--dry-run"))  # fmt: skip
    assert (found["model"], found["dataset"]) == ("linear", "digits")
    assert (found["dropout"], found["nesterov"]) == (0.5, False)
    assert "model_arg" not in found  # they are mlp's
    found = settings(cnnkit("train", "--recipe", "mine.toml", "--model-arg", "hidden=9",
                            "--input", "10", "--dry-run"))  # fmt: skip
    assert (found["model_arg"], found["input"]) == ({"hidden": "9"}, "10")


def test_a_dry_run_prints_a_file_that_needs_no_recipe(cnnkit: Cnnkit, mine: Path) -> None:
    printed = cnnkit("train", "--recipe", "mine.toml", "--dry-run")
    Path("kept.toml").write_text(printed.stdout)
    mine.unlink()
    assert cnnkit("train", "-c", "kept.toml", "--dry-run").stdout == printed.stdout


def test_none_takes_back_what_a_recipe_sets(cnnkit: Cnnkit, mine: Path) -> None:
    mine.write_text("ema = 0.9\npatience = 3\n" + MINE)
    assert {"ema", "patience"} <= set(
        settings(cnnkit("train", "--recipe", "mine.toml", "--dry-run"))
    )
    for given in (["--ema", "none", "--patience=none"], ["-c", "c.toml"]):
        Path("c.toml").write_text("ema = 'none'\npatience = 'none'\n")
        found = settings(cnnkit("train", "--recipe", "mine.toml", "--dry-run", *given))
        assert not {"ema", "patience"} & set(found)
        assert found["nesterov"] is True


def test_every_recipe_of_the_package_is_a_file_for_c(cnnkit: Cnnkit) -> None:
    names = [row["name"] for row in cnnkit("recipes", "--json").json["recipes"]]
    assert names
    for name in names:
        Path("printed.toml").write_text(cnnkit("recipes", name).stdout)
        by_file = cnnkit("train", "-c", "printed.toml", "--dry-run")
        by_name = cnnkit("train", "--recipe", name, "--dry-run")
        assert by_file.code == by_name.code == 0, by_name.stderr
        assert by_file.stdout == by_name.stdout


def test_a_recipe_for_something_else_works_and_says_so(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "lenet5", "digits", "--recipe", "mnist-lenet5_relu-lecture",
                    "--dry-run")  # fmt: skip
    assert settings(answer)["momentum"] == 0.5
    assert "it is made for lenet5_relu on mnist, and may not suit lenet5 on digits" in " ".join(
        answer.stderr.split()
    )
    same = cnnkit("train", "lenet5", "mnist", "--recipe", "lecture", "--dry-run")
    assert "recipe mnist-lenet5-lecture" in same.stderr
    assert "made for" not in same.stderr
    other = cnnkit("train", "--recipe", "mine.toml", "--optimizer", "adam", "--dry-run")
    assert settings(other)["lr"] == 0.002
    assert "its lr, nesterov were chosen for its own optimizer" in " ".join(other.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--recipe", "mnist-lecure"], 3, "unknown recipe 'mnist-lecure'; did you mean"),
        (["train", "--recipe", "gone.toml"], 3, "cannot read the recipe gone.toml"),
        (["train", "--recipe", "wrong.toml"], 2, "unknown key 'epoch'; did you mean epochs?"),
        (["train", "--recipe", "large.toml"], 2, "label_smoothing must be below 1, not 2"),
        (["train", "-c", "large.toml", "lenet5"], 2, "--label-smoothing must be below 1, not 2"),
        (["recipes", "-o", "x.toml"], 2, "only a recipe that is named is TOML"),
        (["train", "--recipe", "run.toml"], 2, "unknown key 'runs_dir'"),
        (["train", "--recipe", "lecture"], 2, "lecture names"),
        (["train", "--recipe", "mnist-lenet5-lecture", "--resume", "x"], 2, "contradict"),
        (["recipes", "zzz"], 3, "unknown recipe 'zzz'"),
        (["recipes", "mnist-lenet5-lecture", "--json"], 2, "writes TOML"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    cnnkit: Cnnkit, arguments: list[str], code: int, says: str
) -> None:
    Path("wrong.toml").write_text("epoch = 3\n")
    Path("large.toml").write_text("label_smoothing = 2.0\n")
    Path("run.toml").write_text("runs_dir = 'x'\n")
    answer = cnnkit(*arguments)
    assert answer.code == code, answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("cnnkit: ")]
    assert says in line


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_list_fits(cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = cnnkit("recipes").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "reached" in lines[0]
    assert lines[-1].startswith("time: of a full run, median, on ")
    assert any(line.startswith("mnist-lenet5-lecture") for line in lines)
