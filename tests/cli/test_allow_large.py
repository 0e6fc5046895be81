"""`--allow-large` wherever images are read; a run remembers it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.data import image_limits
from cnnkit.errors import ExitCode
from tests.conftest import Cnnkit
from tests.stats.making import encode, write_files

MODEL = """
from torch import nn

def small(num_classes, in_channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
"""
REFUSED = "refused: 20 x 20 pixels, more than 300; --allow-large reads it"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of images that have more pixels than are allowed in these tests."""
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 300)
    stream = np.random.default_rng(0)
    for number in range(12):
        side = 20 if number > 9 else 9
        image = Image.fromarray(stream.integers(0, 256, (side, side, 3), dtype=np.uint8))
        write_files(tmp_path / "set", {f"{'ab'[number % 2]}/{number:02}.png": encode(image)})
    (tmp_path / "small.py").write_text(MODEL)
    return tmp_path / "set"


def test_stats_and_show(folder: Path, cnnkit: Cnnkit) -> None:
    answer = cnnkit("stats", folder, "--json")
    assert [one["reason"] for one in answer.json["bad_files"]] == [REFUSED] * 2
    assert cnnkit("stats", folder, "--json", "--allow-large").json["num_images"] == 12
    shown = cnnkit("show", folder, "--json", "--input", "8")
    assert [one["reason"] for one in shown.json["samples"]].count(REFUSED) == 2
    shown = cnnkit("show", folder, "--json", "--input", "8", "--allow-large")
    assert [one["reason"] for one in shown.json["samples"]] == [None] * 12


def test_train_remembers_it_for_eval(folder: Path, cnnkit: Cnnkit, tmp_path: Path) -> None:
    words = ("train", f"{tmp_path / 'small.py'}:small", folder, "--epochs", "1", "--input", "8")
    answer = cnnkit(*words)
    assert answer.code == ExitCode.RUN_FAILED
    assert REFUSED in " ".join(answer.stderr.split())
    answer = cnnkit(*words, "--allow-large", "--json")
    assert answer.code == ExitCode.DONE, answer.stderr
    run = answer.json["run"]
    described = json.loads(Path(run, "run.json").read_text())
    assert described["setup"]["preprocessing"]["allow_large"] is True
    for split in ("train", "test"):
        answer = cnnkit("eval", run, "--split", split, "--json")
        assert answer.code == ExitCode.DONE, answer.stderr
    answer = cnnkit("train", "--resume", run, "--allow-large", "--epochs", "1")
    assert "is complete" in answer.stderr


def test_eval_takes_it_for_a_run_that_was_trained_without(
    folder: Path, cnnkit: Cnnkit, tmp_path: Path
) -> None:
    answer = cnnkit(
        "train", f"{tmp_path / 'small.py'}:small", folder, "--epochs", "1", "--input", "8",
        "--skip-bad", "--json",
    )  # fmt: skip
    run = answer.json["run"]
    answer = cnnkit("eval", run, "--split", "train")
    assert answer.code == ExitCode.RUN_FAILED
    assert REFUSED in " ".join(answer.stderr.split())
    assert cnnkit("eval", run, "--split", "train", "--allow-large").code == ExitCode.DONE
    answer = cnnkit("train", "--resume", run, "--allow-large")
    assert answer.code == ExitCode.USAGE
    assert "--allow-large cannot be changed" in answer.stderr


def test_bench_takes_it(folder: Path, cnnkit: Cnnkit, tmp_path: Path) -> None:
    words = (
        "bench", f"{tmp_path / 'small.py'}:small", "--data", folder, "--input", "8", "-b", "4",
        "--max-seconds", "0.3", "--mode", "infer", "--device", "cpu",
    )  # fmt: skip
    assert cnnkit(*words).code == ExitCode.RUN_FAILED
    answer = cnnkit(*words, "--allow-large")
    assert answer.code == ExitCode.DONE, answer.stderr
