"""The user's own file of settings, which every command reads."""

import json
from pathlib import Path

import pytest

from tests.conftest import Cnnkit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "cnnkit" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def resolved(cnnkit: Cnnkit, *words: str) -> str:
    answer = cnnkit("train", "lenet5", "digits", "--dry-run", *words)
    assert answer.code == 0, answer.stderr
    return answer.stdout


def test_every_layer_beats_the_one_below(
    file: Path, cnnkit: Cnnkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('epochs = 7\ndevice = "cpu"\n[train]\nlr = 0.25\nbatch-size = 11\n')
    text = resolved(cnnkit)
    for line in ("epochs = 7", "lr = 0.25", "batch_size = 11", 'device = "cpu"'):
        assert line in text.splitlines()
    assert "epochs = 7" in resolved(cnnkit, "--recipe", "mnist-lenet5-lecture").splitlines()
    settings = tmp_path / "mine.toml"
    settings.write_text("epochs = 8\n")
    text = resolved(cnnkit, "-c", str(settings))
    assert "epochs = 8" in text.splitlines()
    assert "lr = 0.25" in text.splitlines()
    assert "epochs = 9" in resolved(cnnkit, "-c", str(settings), "--epochs", "9").splitlines()
    monkeypatch.setenv("CNNKIT_DEVICE", "auto")
    assert 'device = "auto"' in resolved(cnnkit).splitlines()


def test_it_reaches_other_commands(file: Path, cnnkit: Cnnkit) -> None:
    file.write_text("limit = 100\nepochs = 3\n[bench]\nmode = 'infer'\n")
    assert cnnkit("stats", "digits", "--json").json["num_images"] == 100
    file.write_text("limit = 100\n[stats]\nlimit = 50\n")
    assert cnnkit("stats", "digits", "--json").json["num_images"] == 50


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("epoch = 5\n", ("train", "lenet5"), "has an unknown key 'epoch'; did you mean epochs?"),
        ("epoch = 5\n", ("models",), "has an unknown key 'epoch'; did you mean epochs?"),
        ("[trian]\nlr = 1\n", ("train", "lenet5"), "unknown key 'trian'; did you mean train?"),
        ("[train]\nlimit = 1\n", ("train", "lenet5"), "unknown key 'limit'"),
        ("train = 3\n", ("models",), "is no table; write [train] above its keys"),
        ("json = true\n", ("models",), "unknown key 'json'"),
        ("trust_code = true\n", ("eval", "x"), "unknown key 'trust_code'"),
        ("epochs = \n", ("models",), "is not TOML"),
        (
            "limit = true\n",
            ("stats", "digits"),
            "the value of 'limit' must be a number or a string",
        ),
        ("limit = 'x'\n", ("stats", "digits"), "config.toml for '--limit'"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(
    file: Path, cnnkit: Cnnkit, text: str, words: tuple[str, ...], line: str
) -> None:
    file.write_text(text)
    answer = cnnkit(*words)
    assert answer.code == 2
    assert line in answer.stderr
    assert str(file) in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert cnnkit(words[0], "--help").code == 0
    assert cnnkit("--version").code == 0


def test_code_that_it_names_is_not_run(file: Path, cnnkit: Cnnkit, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("open('ran', 'w')\n")
    file.write_text('[train]\nmodel = "net.py:make"\n')
    answer = cnnkit("train")
    assert answer.code == 6
    assert f"{file} names code, net.py:make" in answer.stderr
    assert not (tmp_path / "ran").exists()
    assert cnnkit("train", "lenet5", "--dry-run").code == 0


def test_a_resumed_run_keeps_its_settings(file: Path, cnnkit: Cnnkit) -> None:
    words = ("--epochs", "1", "--schedule", "constant", "--json")
    run = cnnkit("train", "mlp", "digits", *words).json["run"]
    file.write_text('lr = 0.5\nrecipe = "mnist-fast"\nmodel = "lenet5"\nepochs = 9\n')
    answer = cnnkit("train", "--resume", run, "--epochs", "2", "--json")
    assert answer.code == 0, answer.stderr
    recipe = json.loads((Path(run) / "run.json").read_text())["recipe"]
    assert recipe["epochs"] == 2
    assert recipe["lr"] == 0.002
