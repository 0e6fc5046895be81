"""Every command through its front door, with real data."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from cnnkit.data import DATASETS
from cnnkit.models import MODELS
from tests.conftest import Cnnkit


def test_train_and_eval_in_json(cnnkit: Cnnkit) -> None:
    trained = cnnkit("train", "lenet5", "--epochs", "2", "--json")
    assert trained.code == 0, trained.stderr
    plain = trained.json
    assert plain["schema"] == "cnnkit.train/1"
    assert plain["num_params"] == 61_706
    assert plain["dataset"] == "digits"
    assert [epoch["epoch"] for epoch in plain["epochs"]] == [1, 2]
    evaluated = cnnkit("eval", plain["run"], "--json").json
    assert evaluated["schema"] == "cnnkit.eval/1"
    for key, value in plain["test"].items():
        assert evaluated[key] == value
    assert sum(row["num_images"] for row in evaluated["per_class"]) == 359
    assert sum(map(sum, evaluated["confusion"])) == 359


def test_a_table_is_the_default_and_fits(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "linear", "--epochs", "2")
    assert answer.code == 0
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert "accuracy" in answer.stdout
    assert "images/s" in answer.stdout
    assert "1/2" in answer.stderr
    quiet = cnnkit("train", "linear", "--epochs", "1", "-q")
    assert quiet.stderr == ""


def test_a_run_by_its_name_and_by_the_environment(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNKIT_RUNS_DIR", "elsewhere")
    run = Path(cnnkit("train", "linear", "--epochs", "1", "--json").json["run"])
    assert run.parent == Path("elsewhere")
    assert cnnkit("eval", run.name, "--json").json["run"] == str(run)
    assert cnnkit("eval", run.name, "--split", "val", "--json").json["num_images"] == 145
    assert cnnkit("eval", run.name, "--checkpoint", "last", "--json").json["checkpoint"] == "last"


def test_flag_beats_environment_beats_file_beats_default(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(
        "model = 'mlp'\nepochs = 1\nbatch-size = 100\nseed = 1\nruns_dir = 'of-file'\n"
        "optimizer = 'sgd'\n[model_arg]\nhidden = '16,8'\nactivation = 'tanh'\n"
    )

    def recipe(*arguments: str) -> tuple[dict[str, object], dict[str, object], Path]:
        run = Path(cnnkit("train", "-c", "c.toml", "--json", *arguments).json["run"])
        description = json.loads((run / "run.json").read_text())
        return description["recipe"], description["setup"], run.parent

    values, setup, parent = recipe()
    assert (values["epochs"], values["batch_size"], values["seed"]) == (1, 100, 1)
    assert (values["optimizer"], values["lr"]) == ("sgd", 0.05)
    assert setup["model"] == "mlp"
    assert setup["model_arguments"] == {"hidden": "16,8", "activation": "tanh"}
    assert parent == Path("of-file")
    monkeypatch.setenv("CNNKIT_RUNS_DIR", "of-environment")
    assert recipe()[2] == Path("of-environment")
    values, setup, parent = recipe("mlp", "--seed", "2", "--runs-dir", "of-flag")
    assert values["seed"] == 2
    assert parent == Path("of-flag")


def test_a_dry_run_prints_a_file_that_makes_the_same_run(cnnkit: Cnnkit) -> None:
    settings = [
        "mlp", "digits", "--epochs", "2", "-b", "100", "--optimizer", "sgd", "--schedule", "linear",
        "--clip-grad", "0.5", "--ema", "0.9", "--accumulate", "2", "--patience", "5", "--seed", "3",
        "--input", "1x9x9", "--model-arg", "hidden=16,8", "--checkpoint-steps", "4", "-j", "0",
    ]  # fmt: skip
    printed = cnnkit("train", *settings, "--dry-run")
    assert printed.code == 0, printed.stderr
    assert not Path("runs").exists()
    Path("c.toml").write_text(printed.stdout)
    assert cnnkit("train", "-c", "c.toml", "--dry-run", "-o", "d.toml").code == 0
    assert Path("d.toml").read_text() == printed.stdout

    def run(*arguments: str) -> tuple[dict[str, object], list[float]]:
        answer = cnnkit("train", *arguments, "--json").json
        description = json.loads((Path(answer["run"]) / "run.json").read_text())
        del description["id"], description["created"], description["sha256"]
        return description, [epoch["train_loss"] for epoch in answer["epochs"]]

    assert run("-c", "c.toml") == run(*settings)
    refused = cnnkit("train", "mlp", "--dry-run", "--format", "csv")
    assert refused.code == 2
    assert "--dry-run writes TOML" in refused.stderr


@pytest.mark.parametrize("name", ["x.json", "x.csv", "x.md", "x.tex", "x.html", "x.txt"])
def test_the_answer_goes_to_a_file_in_the_format_of_its_name(cnnkit: Cnnkit, name: str) -> None:
    answer = cnnkit("models", "resnet*", "-o", name)
    assert answer.code == 0
    assert answer.stdout == ""
    assert f"wrote {name}" in answer.stderr
    text = Path(name).read_text()
    start = {"x.json": "{", "x.csv": "name,", "x.md": "| name", "x.tex": "\\begin{tabular}",
             "x.html": "<table", "x.txt": "name"}  # fmt: skip
    assert text.startswith(start[name])
    assert "resnet18" in text.replace("\\_", "_")


def test_a_link_is_followed_and_a_pipe_is_written_to(cnnkit: Cnnkit, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    (tmp_path / "target.json").write_text("before")
    assert cnnkit("models", "lenet5", "-o", "link.json").code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "target.json").read_text())["schema"] == "cnnkit.models/1"
    assert cnnkit("models", "lenet5", "--json", "-o", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_dash_is_stdout(cnnkit: Cnnkit) -> None:
    answer = cnnkit("conv", "28", "--kernel", "3", "-o", "-")
    assert answer.stdout == cnnkit("conv", "28", "--kernel", "3").stdout
    assert not Path("-").exists()


def test_what_a_network_prints_does_not_get_into_the_answer(cnnkit: Cnnkit, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nprint('imported')\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n        print(x.shape)\n        return self.a(x.flatten(1))\n"
    )
    answer = cnnkit("train", "net.py:Net", "--epochs", "1", "--json")
    assert answer.json["num_params"] == 650
    assert "torch.Size" in answer.stderr


def test_home_is_expanded(cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    answer = cnnkit("train", "linear", "--epochs", "1", "--runs-dir=~/runs", "--json")
    assert Path(answer.json["run"]).parent == tmp_path / "home" / "runs"


def test_models_and_datasets_list_all(cnnkit: Cnnkit) -> None:
    assert [row["name"] for row in cnnkit("models", "--json").json["models"]] == list(MODELS)
    rows = cnnkit("datasets", "--json").json["datasets"]
    assert [row["name"] for row in rows] == list(DATASETS)
    cifar = next(row for row in rows if row["name"] == "cifar10")
    assert cifar["mean"] == [0.4914, 0.4822, 0.4465]
    assert cifar["splits"] == {"train": 50_000, "test": 10_000}
    table = list(
        csv.DictReader(io.StringIO(cnnkit("models", "vgg16_b*", "--format", "csv").stdout))
    )
    assert table[0]["num_params"] == "138365992"


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("command", ["models", "datasets", "doctor"])
def test_listings_fit_the_terminal(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, command: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    answer = cnnkit(command)
    assert answer.code == 0
    assert max(map(len, answer.stdout.splitlines())) <= int(width)


def test_doctor(cnnkit: Cnnkit, tmp_path: Path) -> None:
    (tmp_path / "data" / "MNIST" / "raw").mkdir(parents=True)
    before = cnnkit("doctor", "--json").json["findings"]
    found = {(row["area"], row["name"]): row["value"] for row in before}
    import torch

    assert found["versions", "torch"] == torch.__version__.split("+")[0]
    assert int(found["processor", "torch threads"]) == torch.get_num_threads()
    assert found["devices", "cpu"] == "yes"
    assert found["folders", "datasets there"] == "none"
    assert "0 runs" in found["folders", "runs"]
    assert {name for area, name in found if area == "extras"} == {"tensorboard", "timm"}


def test_doctor_sees_data_and_runs(cnnkit: Cnnkit, tmp_path: Path, mnist_files: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in mnist_files.glob("*.gz"):
        shutil.copy(file, raw)
    cnnkit("train", "linear", "--epochs", "1")
    rows = cnnkit("doctor", "--json").json["findings"]
    found = {(row["area"], row["name"]): row["value"] for row in rows}
    assert "mnist" in found["folders", "datasets there"]
    assert "1 runs" in found["folders", "runs"]


def test_mnist_from_its_four_files(cnnkit: Cnnkit, tmp_path: Path, mnist_files: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in mnist_files.glob("*.gz"):
        shutil.copy(file, raw)
    answer = cnnkit(
        "train", "lenet5", "mnist", "--epochs", "1", "--val-split", "0", "-b", "256", "--json"
    )
    assert answer.code == 0, answer.stderr
    assert answer.json["num_train_images"] == 60_000
    assert answer.json["test"]["num_images"] == 10_000
    assert answer.json["test"]["accuracy"] > 0.9
