"""The curves of a run, its log for TensorBoard, and what is readable in a pipe."""

import csv
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

from cnnkit.cli import run_log
from cnnkit.errors import ExitCode
from cnnkit.events import EpochEnded, Event, RunStarted
from cnnkit.render.progress_bars import ProgressRenderer
from cnnkit.system.files import UnavailableError
from tests.conftest import Cnnkit

ROOT = Path(__file__).parents[2]
HAS_TENSORBOARD = importlib.util.find_spec("tensorboard") is not None
needs_tensorboard = pytest.mark.skipif(
    not HAS_TENSORBOARD, reason="the package tensorboard is not installed"
)
CONSTANT = ("linear", "-b", "128", "--schedule", "constant")


def only_run() -> Path:
    (run,) = Path("runs").iterdir()
    return run


def picture(path: Path) -> bytes:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (1000, 440))
        image.load()
    return content


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What curves were drawn of."""
    from cnnkit.render.plots import curves

    calls: list[tuple[Any, ...]] = []
    original = curves.training_curves

    def noted(*arguments: Any) -> bytes:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(curves, "training_curves", noted)
    return calls


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Press Ctrl-C when an epoch is over."""
    show = ProgressRenderer.__call__

    def stop(self: ProgressRenderer, event: Event) -> None:
        show(self, event)
        if isinstance(event, EpochEnded) and event.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ProgressRenderer, "__call__", stop)


def test_a_run_leaves_its_curves(cnnkit: Cnnkit, drawn: list[tuple[Any, ...]]) -> None:
    answer = cnnkit("train", *CONSTANT, "--epochs", 3, "--json")
    picture(only_run() / "curves.png")
    ((title, epochs, best, tested, test),) = drawn
    assert title == "linear on digits, 3 epochs"
    assert [one.to_dict() for one in epochs] == answer.json["epochs"]
    assert best == tested == answer.json["best_epoch"]
    assert test.to_dict() == answer.json["test"]
    assert answer.stderr.splitlines()[-1] == f"curves: {only_run()}/curves.png"


def test_without_validation_no_epoch_is_called_the_best(
    cnnkit: Cnnkit, drawn: list[tuple[Any, ...]]
) -> None:
    cnnkit("train", *CONSTANT, "--epochs", 1, "--val-split", 0, "--monitor", "test")
    ((title, (epoch,), best, tested, test),) = drawn
    assert title == "linear on digits, 1 epoch"
    assert (best, tested) == (None, 1)
    assert epoch.val_loss is None
    assert epoch.test_accuracy == test.accuracy


def test_a_stopped_run_has_its_curves_and_a_resumed_one_those_of_all_epochs(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[Any, ...]]
) -> None:
    with monkeypatch.context() as context:
        stop_after(context, 2)
        answer = cnnkit("train", *CONSTANT, "--epochs", 5)
    assert answer.code == ExitCode.INTERRUPTED
    assert answer.stderr.splitlines()[-1].endswith("resumes the run")
    before = picture(only_run() / "curves.png")
    title, epochs, best, tested, test = drawn.pop()
    assert title == "linear on digits, stopped after 2 of 5 epochs"
    assert (len(epochs), best in (1, 2), tested, test) == (2, True, None, None)
    answer = cnnkit("train", "--resume", only_run(), "--json")
    title, epochs, best, *_ = drawn.pop()
    assert title == "linear on digits, 5 epochs"
    assert [one.to_dict() for one in epochs] == answer.json["epochs"]
    assert best == answer.json["best_epoch"]
    assert picture(only_run() / "curves.png") != before
    with (only_run() / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == (
        answer.json["epochs"]
    )


def test_a_run_that_is_stopped_before_its_first_epoch_is_over_has_none(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = nn.Linear.forward

    def pressed(self: nn.Linear, x: Any) -> Any:
        if self.training:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, x)

    monkeypatch.setattr(nn.Linear, "forward", pressed)
    assert cnnkit("train", *CONSTANT).code == ExitCode.INTERRUPTED
    assert not list(Path().rglob("curves.png"))


def test_curves_that_cannot_be_written_cost_a_warning(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise UnavailableError(f"cannot write {path}: no space left on device", "free some space")

    monkeypatch.setattr(run_log, "replace_bytes", full)
    answer = cnnkit("train", *CONSTANT, "--epochs", 1, "--json", "-q")
    assert answer.code == 0
    assert answer.json["schema"] == "cnnkit.train/1"
    told = " ".join(answer.stderr.split())
    assert told.startswith("warning: cannot write")
    assert told.endswith("; free some space")


def test_a_ctrl_c_while_the_curves_are_drawn_does_not_hide_how_to_go_on(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.render.plots import curves

    def pressed(*arguments: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(curves, "training_curves", pressed)
    stop_after(monkeypatch, 1)
    answer = cnnkit("train", *CONSTANT, "--epochs", 3)
    assert answer.code == ExitCode.INTERRUPTED
    assert f"`cnnkit train --resume {only_run()}` resumes the run" in answer.stderr


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    """In a process of its own, whose outputs are no terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "cnnkit", "train", *CONSTANT, "--epochs", "3"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    for text in (done.stdout.decode(), done.stderr.decode()):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        assert max(map(len, text.splitlines())) <= 80 or "curves: " in text
    lines = done.stderr.decode().splitlines()
    assert [line.split()[0] for line in lines if re.match(r" *\d/3 ", line)] == [
        "1/3",
        "2/3",
        "3/3",
    ]


def test_without_the_package_it_is_said_what_brings_it(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "find_spec", lambda name: None)
    answer = cnnkit("train", *CONSTANT, "--tensorboard")
    assert answer.code == ExitCode.UNAVAILABLE
    assert answer.stderr == (
        "cnnkit: --tensorboard needs the package tensorboard; `pip install tensorboard` brings it\n"
    )
    assert not Path("runs").exists()
    with monkeypatch.context() as context:
        stop_after(context, 1)
        cnnkit("train", *CONSTANT, "--epochs", 2)
    (only_run() / "tensorboard").mkdir()
    answer = cnnkit("train", "--resume", only_run())
    assert answer.code == ExitCode.UNAVAILABLE
    assert "tensorboard cannot be continued" in answer.stderr
    assert "or remove that folder" in answer.stderr
    (only_run() / "tensorboard").rmdir()
    assert cnnkit("train", "--resume", only_run()).code == 0


@needs_tensorboard
def test_the_log_of_a_stopped_run_goes_on_without_a_point_twice(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with monkeypatch.context() as context:
        stop_after(context, 2)
        cnnkit("train", *CONSTANT, "--epochs", 5, "--tensorboard", "--monitor", "test")
    answer = cnnkit("train", "--resume", only_run(), "--json")  # without being asked again
    found = EventAccumulator(str(only_run() / "tensorboard"), {"images": 0}).Reload()
    for tag, name in {
        "Train/loss": "train_loss", "Train/accuracy": "train_accuracy", "Valid/loss": "val_loss",
        "Valid/accuracy": "val_accuracy", "Test/loss": "test_loss",
        "Test/accuracy": "test_accuracy", "Train/learning_rate": "learning_rate",
    }.items():  # fmt: skip
        assert [(one.step, one.value) for one in found.Scalars(tag)] == [
            (epoch["epoch"], pytest.approx(epoch[name])) for epoch in answer.json["epochs"]
        ]
    assert [one.step for one in found.Images("Train/samples")] == [1, 3]
    assert [one.step for one in found.Images("Test/confusion")] == [answer.json["best_epoch"]]
    assert found.Images("Valid/confusion")[-1].step == answer.json["best_epoch"]


class FolderAlone:
    """Makes the folder of a log for TensorBoard, which needs no package."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            Path(event.path, "tensorboard").mkdir(exist_ok=True)

    def close(self) -> None:
        pass


def test_a_log_that_is_begun_when_a_run_goes_on_is_recorded(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "_tensorboard_log", lambda run: FolderAlone())
    for epoch, options in ((1, ()), (2, ("--tensorboard",)), (3, ("--tensorboard",)), (4, ())):
        again = ["--resume", only_run()] if epoch > 1 else [*CONSTANT, "--epochs", 9]
        with monkeypatch.context() as context:
            stop_after(context, epoch)
            assert cnnkit("train", *again, *options).code == ExitCode.INTERRUPTED
    description = json.loads((only_run() / "run.json").read_text())
    assert [one["changes"] for one in description["resumed"]] == [
        {"tensorboard": [False, True]}, {}, {}
    ]  # fmt: skip


@needs_tensorboard
def test_a_log_that_cannot_be_written_leaves_a_run_that_goes_on(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.render.tensorboard import TensorBoardLog

    def full(self: TensorBoardLog, epoch: int, metrics: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(TensorBoardLog, "_write_scalars", full)
        answer = cnnkit("train", *CONSTANT, "--epochs", 2, "--tensorboard")
    assert answer.code == ExitCode.UNAVAILABLE
    assert "cannot write the log of TensorBoard: no space left on device" in answer.stderr
    assert f"`cnnkit train --resume {only_run()}` resumes the run" in " ".join(
        answer.stderr.split()
    )
    assert cnnkit("train", "--resume", only_run()).code == 0


@needs_tensorboard
def test_a_run_that_fails_at_once_leaves_no_folder(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "linear", "--optimizer", "sgd", "--lr", "1e38", "--schedule",
                    "constant", "--tensorboard")  # fmt: skip
    assert answer.code == ExitCode.RUN_FAILED
    assert not list(Path("runs").iterdir())


def test_the_search_for_a_learning_rate(cnnkit: Cnnkit) -> None:
    answer = cnnkit("train", "linear", "-b", 64, "--optimizer", "sgd", "--lr-find", "--json")
    assert answer.code == 0
    assert answer.json["schema"] == "cnnkit.lr-find/1"
    assert answer.json["batch_size"] == 64
    table = cnnkit("train", "linear", "-b", 64, "--optimizer", "sgd", "--lr-find", "-o", "x.png")
    assert f"suggestion: --lr {answer.json['suggestion']:.3g}, where" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 80
    assert "wrote x.png" in table.stderr
    picture(Path("x.png"))
    rows = cnnkit("train", "linear", "--optimizer", "sgd", "-b", 64, "--lr-find", "--format", "csv")
    exact = list(csv.DictReader(io.StringIO(rows.stdout)))
    assert [{key: json.loads(value) for key, value in row.items()} for row in exact] == (
        answer.json["points"]
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lr-find", "--resume", "x"], "--resume and --lr-find contradict each other"),
        (["--lr-find", "--dry-run"], "--dry-run and --lr-find contradict each other"),
        (["--lr-find", "--tensorboard"], "--lr-find and --tensorboard contradict each other"),
        (["--lr-find", "-o", "x.jpg"], "-o x.jpg has the suffix of no format"),
        (["--lr-find", "-o", "x.png", "--json"], "contradict each other"),
        (["-o", "x.png"], "only --lr-find answers with a picture"),
        (["-o", "x.toml"], "only --dry-run answers with TOML"),
    ],
)
def test_what_contradicts_is_refused(cnnkit: Cnnkit, arguments: list[str], says: str) -> None:
    answer = cnnkit("train", "linear", *arguments)
    assert answer.code == ExitCode.USAGE
    assert says in answer.stderr
    assert not list(Path().iterdir())
