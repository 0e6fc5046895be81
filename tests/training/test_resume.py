"""A run that was stopped ends as one that was not, and loses nothing to what may happen to it."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import cnnkit
from cnnkit import Recipe, resume
from cnnkit.errors import (
    CheckFailedError,
    CnnkitError,
    ExitCode,
    InterruptedRunError,
    RunFailedError,
    UnavailableError,
    UsageError,
)
from cnnkit.events import EpochEnded, Event, Note, TaskStarted, Warned
from cnnkit.runs import checkpoints
from cnnkit.runs.checkpoints import Checkpoint, CheckpointFolder, TrainingCheckpoint
from cnnkit.training.step import Step, Stepper
from tests.conftest import Cnnkit
from tests.rewriting import rewrite
from tests.training.killing import make_photos, outcome, same

ROOT = Path(__file__).parents[2]
AUGMENTED = {"crop": 1, "flip": "alternating", "cutout": 2, "mixup": 0.3, "cutmix": 1.0}
IN_PROJECT = {**os.environ, "PYTHONPATH": str(ROOT)}


def recipe(**settings: object) -> Recipe:
    plain = {"epochs": 4, "batch_size": 128, "optimizer": "sgd"}
    return Recipe.of(**{**plain, **AUGMENTED, **settings})


def only_run() -> Path:
    (run,) = Path("runs").iterdir()
    return run


def stop_after_epoch(number: int) -> Callable[[Event], None]:
    """Press Ctrl-C when an epoch is over."""

    def on_event(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == number:
            os.kill(os.getpid(), signal.SIGINT)

    return on_event


def stopped(folder: str = "runs", **settings: object) -> Path:
    """Return a run that was stopped after its second epoch."""
    with pytest.raises(InterruptedRunError) as caught:
        cnnkit.train(
            "linear", recipe=recipe(**settings), runs_dir=Path(folder), on_event=stop_after_epoch(2)
        )
    assert "resumes the run" in caught.value.hint
    (run,) = Path(folder).iterdir()
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was not stopped."""
    runs = tmp_path_factory.mktemp("whole")
    return Path(cnnkit.train("linear", recipe=recipe(), runs_dir=runs).run)


def assert_equal(run: Path, other: Path) -> None:
    one, two = outcome(run), outcome(other)
    assert [name for name in one if not same(one[name], two[name])] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--times", "5", "--seed", "1", "--epochs", "2"],
        ["--times", "2", "--seed", "2", "--epochs", "2", "--recipe", "sgd", "--workers", "1"],
    ],
)
def test_killed_and_resumed_is_bit_for_bit_the_run_that_was_not(
    tmp_path: Path, arguments: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.killing", tmp_path / "runs", *arguments],
        env=IN_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{arguments[1]} of {arguments[1]} equal" in done.stdout


def test_ctrl_c_in_the_last_validation_leaves_the_test_to_the_resume(whole: Path) -> None:
    validations = []

    def stop(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.task == "validate":
            validations.append(event)
            if len(validations) == 4:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match="after epoch 4 of 4; all is kept"):
        cnnkit.train("linear", recipe=recipe(), on_event=stop)
    resume(only_run())
    assert_equal(only_run(), whole)


@pytest.mark.parametrize("number", [3, 11, 12, 22, 30])
def test_ctrl_c_in_any_step_is_no_break(
    monkeypatch: pytest.MonkeyPatch, whole: Path, number: int
) -> None:
    forward = nn.Linear.forward
    count = [0]

    def counted(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGINT)
        return forward(self, x)

    with monkeypatch.context() as context:
        context.setattr(nn.Linear, "forward", counted)
        with pytest.raises(InterruptedRunError, match=r"step \d+ of epoch \d of 4; all is kept"):
            cnnkit.train("linear", recipe=recipe())
    resume(only_run())
    assert_equal(only_run(), whole)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_augmented_files_go_on_alike_with_any_number_of_readers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, num_workers: int
) -> None:
    make_photos(tmp_path / "photos")
    settings = recipe(epochs=2, batch_size=16, randaugment=9, crop=3, cutout=7)
    kept = cnnkit.train("linear", "photos", settings, runs_dir=Path("whole"), num_workers=2)
    take = Stepper.take
    count = [0]

    def counted(self: Stepper, *batch: Any) -> Step:
        count[0] += 1
        if count[0] == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return take(self, *batch)

    with monkeypatch.context() as context:
        context.setattr(Stepper, "take", counted)
        with pytest.raises(InterruptedRunError, match="step 2 of epoch 2 of 2"):
            cnnkit.train("linear", "photos", settings, num_workers=num_workers)
    resume(only_run(), {"workers": 3 - num_workers})
    assert_equal(only_run(), Path(kept.run))


def test_the_state_is_written_as_often_as_asked(whole: Path) -> None:
    def steps_written(**settings: object) -> list[tuple[int, int]]:
        written: list[tuple[int, int]] = []
        save = CheckpointFolder.save

        def noted(self: CheckpointFolder, checkpoint: Checkpoint) -> None:
            if isinstance(checkpoint, TrainingCheckpoint):
                written.append((checkpoint.epoch, checkpoint.step))
            save(self, checkpoint)

        with pytest.MonkeyPatch.context() as context:
            context.setattr(CheckpointFolder, "save", noted)
            result = cnnkit.train("linear", recipe=recipe(), **settings)  # type: ignore[arg-type]
        assert_equal(Path(result.run), whole)
        return written

    ends = [(epoch, 0) for epoch in (1, 2, 3, 4)]
    every = [(epoch, step) for epoch in range(4) for step in range(1, 12)]
    assert steps_written(checkpoint_minutes=0) == ends
    assert steps_written(checkpoint_minutes=1e-9) == sorted([*every, *ends])
    # Counted from the first step of the run; an epoch has 11.
    assert [one for one in steps_written(checkpoint_steps=10) if one[1]] == [
        (0, 10), (1, 9), (2, 8), (3, 7)
    ]  # fmt: skip


def test_sigterm_finishes_the_step_saves_and_prints_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cnnkit", "train", "lenet5", "--epochs", "9999"]
    with subprocess.Popen(command, env=IN_PROJECT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(Path("runs").glob("*/metrics.csv")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        _, errors = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    last = errors.splitlines()[-1]
    assert last.startswith("cnnkit: interrupted after ")
    assert f"`cnnkit train --resume {only_run()}` resumes the run" in last
    assert not (only_run() / ".lock").exists()


def test_what_may_change_is_changed_and_recorded(cnnkit: Cnnkit, whole: Path) -> None:
    run = stopped()
    answer = cnnkit(
        "train", "--resume", run, "-j", "0", "--checkpoint-steps", "5", "--epochs", "4", "--json"
    )
    assert answer.code == 0, answer.stderr
    assert "resumes in epoch 3 of 4" in answer.stderr
    assert_equal(run, whole)
    description = json.loads((run / "run.json").read_text())
    (entry,) = description["resumed"]
    assert set(entry) == {"at", "epoch", "step", "changes", "device", "versions"}
    assert (entry["epoch"], entry["step"]) == (2, 0)
    assert entry["changes"]["checkpoint_steps"] == [None, 5]
    assert entry["changes"].get("epochs") is None
    assert description["checkpointing"] == {"minutes": 10.0, "steps": 5}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--lr", "0.5"], "--lr cannot be changed in a resumed run: it was 0.05, not 0.5"),
        (["-b", "64"], "--batch-size cannot be changed in a resumed run: it was 128, not 64"),
        (["--ema", "0.9"], "--ema cannot be changed in a resumed run: it was none, not 0.9"),
        (["--input", "1x9x9"], "--input cannot be changed in a resumed run: it was 1x8x8"),
        (["--skip-bad"], "--skip-bad cannot be changed"),
        (
            ["--model-arg", "a=1"],
            "--model-arg cannot be changed in a resumed run: it was none",
        ),
        (["--epochs", "3"], "--epochs 3 is below the 4 of the run"),
        (["--epochs", "8"], "--epochs cannot be changed with --schedule onecycle, whose"),
        (["lenet5"], "the run is of linear, not of lenet5"),
        (["linear", "iris"], "the run is of digits, not of iris"),
        (["--checkpoint-steps", "0"], "--checkpoint-steps must be at least 1"),
        (["-j", "-1"], "--workers must be at least 0"),
        (["--dry-run"], "--resume and --dry-run contradict each other"),
    ],
)
def test_what_would_break_the_run_is_refused(
    cnnkit: Cnnkit, whole: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    run = tmp_path / "copy"
    shutil.copytree(whole, run)
    (run / "result.json").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = cnnkit("train", "--resume", run, *arguments)
    assert answer.code == ExitCode.USAGE
    assert says in answer.stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    same_again = ["linear", "digits", "--lr", "0.05", "-b", "128", "--device", "auto"]
    assert cnnkit("train", *same_again, "--resume", run).code == 0


def test_a_constant_learning_rate_goes_on_for_more_epochs(whole: Path) -> None:
    settings = {"schedule": "constant", "optimizer": "adam", "ema": 0.9}
    short = Path(cnnkit.train("linear", recipe=recipe(epochs=2, **settings)).run)
    events: list[Event] = []
    with pytest.raises(UsageError, match="is complete; give more epochs to continue"):
        resume(short)
    result = resume(short, {"epochs": 4}, on_event=events.append)
    assert any("was already tested" in event.text for event in events if isinstance(event, Warned))
    assert len(result.epochs) == 4
    long = cnnkit.train("linear", recipe=recipe(**settings), runs_dir=Path("long"))
    assert_equal(short, Path(long.run))
    with pytest.raises(UsageError, match="has ended; begin a new run for more"):
        resume(whole)


def test_patience_stops_and_goes_on_stopping() -> None:
    settings = {"epochs": 40, "patience": 2, "schedule": "constant", "lr": 0.5}
    events: list[Event] = []
    result = cnnkit.train("linear", recipe=recipe(**settings), on_event=events.append)
    accuracies = [epoch.val_accuracy or 0.0 for epoch in result.epochs]
    highest = accuracies.index(max(accuracies))
    assert len(accuracies) == highest + 1 + 2 < 40
    note = f"stopped after epoch {highest + 3}: no better one since epoch {highest + 1}"
    assert note in [event.text for event in events if isinstance(event, Note)]
    run = stopped("again", **settings)
    resume(run)
    assert_equal(run, Path(result.run))
    with pytest.raises(UsageError, match="needs validation images, and none are held out"):
        cnnkit.train("linear", recipe=recipe(patience=2, val_split=0))


def test_the_average_is_what_is_evaluated() -> None:
    result = cnnkit.train("linear", recipe=recipe(ema=0.9))
    assert cnnkit.evaluate(result.run).metrics == result.test
    assert cnnkit.evaluate(result.run, split="val").metrics.loss == (
        result.epochs[result.best_epoch - 1].val_loss
    )
    plain = cnnkit.train("linear", recipe=recipe())
    assert plain.epochs[0].train_loss == result.epochs[0].train_loss
    assert plain.epochs[0].val_loss != result.epochs[0].val_loss


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt", "manifest.json"])
def test_a_checkpoint_cut_short_anywhere_costs_no_more_than_its_steps(
    whole: Path, name: str
) -> None:
    run = stopped()
    length = (run / "checkpoints" / "last" / name).stat().st_size
    for tenth in range(10):
        copy = Path(f"cut-{tenth}")
        shutil.copytree(run, copy)
        damaged = copy / "checkpoints" / "last" / name
        damaged.write_bytes(damaged.read_bytes()[: length * tenth // 10])
        events: list[Event] = []
        resume(copy, on_event=events.append)
        (warning,) = [event.text for event in events if isinstance(event, Warned)]
        assert str(damaged) in warning
        assert "the previous checkpoint is used" in warning
        assert_equal(copy, whole)
        assert (copy / "checkpoints" / "damaged" / name).exists()


def test_a_damaged_checkpoint_does_not_replace_the_one_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped in the middle of the first save after it, there must be one to go on from."""
    run = stopped()
    (run / "checkpoints" / "last" / "training.pt").write_bytes(b"")
    rename = Path.rename

    def stop(self: Path, target: Path) -> Path:
        if self.name == ".last-new":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as context:
        context.setattr(Path, "rename", stop)
        with pytest.raises(InterruptedRunError, match="the last checkpoint is kept"):
            resume(run)
    assert CheckpointFolder(run / "checkpoints").load_training("previous").epoch == 1
    assert len(resume(run).epochs) == 4


def test_damage_beyond_repair_is_said_and_touches_nothing(cnnkit: Cnnkit) -> None:
    run = stopped()
    for folder in ("last", "previous"):
        (run / "checkpoints" / folder / "training.pt").write_bytes(b"x")
    answer = cnnkit("train", "--resume", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert "training.pt is not what was saved" in answer.stderr
    assert cnnkit("eval", run).code == 0
    shutil.rmtree(run / "checkpoints")
    assert cnnkit("train", "--resume", run).code == 0  # as if killed before the first


def test_damaged_best_weights_are_found_before_the_work(cnnkit: Cnnkit) -> None:
    run = stopped()
    best = run / "checkpoints" / "best" / "model.safetensors"
    content = bytearray(best.read_bytes())
    content[-1] ^= 1
    best.unlink()  # the file may be that of `last` as well
    best.write_bytes(content)
    answer = cnnkit("train", "--resume", run)
    # The epoch before comes by the best one again.
    assert answer.code == 0, answer.stderr
    assert "best is damaged or missing: the weights of epoch 2" in " ".join(answer.stderr.split())


@pytest.mark.parametrize("damage", ["manifest", "weights", "folder"])
def test_best_weights_that_a_checkpoint_has_are_written_again(whole: Path, damage: str) -> None:
    run = stopped()
    best = run / "checkpoints" / "best"
    if damage == "folder":
        shutil.rmtree(best)
    else:
        path = best / ("manifest.json" if damage == "manifest" else "model.safetensors")
        path.unlink()  # it may be that of `last` as well
        path.write_bytes(b"{")
    events: list[Event] = []
    resume(run, on_event=events.append)
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert "best is damaged or missing: the weights of epoch" in warning
    assert "; they are written again from" in warning
    assert_equal(run, whole)


@pytest.mark.parametrize("name", ["model.safetensors", "training.pt", "manifest.json"])
def test_what_of_last_cannot_be_read_is_read_from_previous(
    whole: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped()
    path = run / "checkpoints" / "last" / name
    read = checkpoints.read_regular

    def failing(wanted: Path, most_bytes: int) -> bytes:
        if wanted == path:
            raise OSError(errno.EIO, "Input/output error")
        return read(wanted, most_bytes)

    events: list[Event] = []
    with monkeypatch.context() as context:
        context.setattr(checkpoints, "read_regular", failing)
        resume(run, on_event=events.append)
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert f"cannot read {path}: input/output error" in warning
    assert "the previous checkpoint is used" in warning
    assert_equal(run, whole)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_of_a_checkpoint_is_no_file_is_never_waited_for(cnnkit: Cnnkit, kind: str) -> None:
    run = stopped()
    for name in ("last/model.safetensors", "previous/training.pt", "best/manifest.json"):
        path = run / "checkpoints" / name
        kept = path.rename(path.with_name("kept"))
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to("/dev/zero")
            case _:
                path.symlink_to(path.name)
        for command in (("train", "--resume", run), ("eval", run)):
            answer = cnnkit(*command)
            assert answer.code == ExitCode.CHECK_FAILED
            (line,) = answer.stderr.splitlines()
            assert f"{path} is a" in line
        path.unlink()
        kept.rename(path)


def test_a_file_larger_than_its_manifest_says_is_not_read(cnnkit: Cnnkit) -> None:
    run = stopped()
    for name in ("best", "last"):
        weights = run / "checkpoints" / name / "model.safetensors"
        content = weights.read_bytes()
        weights.unlink()  # both may be one file
        weights.write_bytes(content)
        os.truncate(weights, 2**36)
    answer = cnnkit("eval", run)
    assert answer.code == ExitCode.CHECK_FAILED
    assert "best/model.safetensors is not what was saved" in answer.stderr


class Harm:
    """A pickle that writes a file when it is executed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_crafted_pickle_is_refused_by_name_and_never_executed(whole: Path) -> None:
    run = stopped()

    def craft(folder: str, content: bytes) -> None:
        path = run / "checkpoints" / folder
        (path / "training.pt").write_bytes(content)
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["files"]["training.pt"] = {
            "bytes": len(content), "sha256": sha256(content).hexdigest()
        }  # fmt: skip
        (path / "manifest.json").write_text(json.dumps(manifest))

    torch.save({"progress": Harm()}, "harm.pt")
    with zipfile.ZipFile("harm.pt") as archive:
        assert any(b"system" in archive.read(name) for name in archive.namelist())
    crafted = Path("harm.pt").read_bytes()
    craft("last", crafted)
    kept = Path("kept")
    shutil.copytree(run, kept)
    events: list[Event] = []
    resume(kept, on_event=events.append)
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert "is refused: it holds more than data: it asks for posix.system" in warning
    assert_equal(kept, whole)
    craft("previous", pickle.dumps(Harm()))  # no archive of torch at all
    with pytest.raises(CheckFailedError, match=r"posix\.system"):
        resume(run)
    craft("last", b"")
    craft("previous", crafted)
    with pytest.raises(CheckFailedError, match="is refused"):
        resume(run)
    assert not list(Path().rglob("executed"))


def test_checkpoints_of_another_run_are_refused() -> None:
    run, other, wider = stopped("a"), stopped("b", seed=1), stopped("c", seed=2)
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(other / "checkpoints", run / "checkpoints")
    with pytest.raises(CheckFailedError, match="is of another run"):
        resume(run)
    rewrite(wider, lambda description: description["setup"].update(model="mlp"))
    with pytest.raises(CheckFailedError, match="do not fit the network mlp"):
        resume(wider)


def test_images_and_networks_that_changed_are_refused(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos")
    net = tmp_path / "net.py"
    net.write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(4320, 2))\n"
    )
    with pytest.raises(InterruptedRunError):
        cnnkit.train("net.py:make", "photos", recipe(), on_event=stop_after_epoch(1))
    run = only_run()
    extra = tmp_path / "photos" / "dark" / "00.jpg"
    shutil.copy(tmp_path / "photos" / "dark" / "0.jpg", extra)
    with pytest.raises(CheckFailedError, match="are not those that the run began with"):
        resume(run)
    extra.unlink()
    kept = run / "network" / "net.py"
    original = kept.read_text()
    kept.write_text(original + "# changed\n")
    with pytest.raises(CheckFailedError, match="is not what the run kept"):
        resume(run)
    with pytest.raises(CheckFailedError, match="has changed since the run began"):
        cnnkit.resume(run, trust_code=True)
    kept.write_text(original)
    net.write_text(original + "# changed\n")
    with pytest.raises(CheckFailedError, match=r"is not the code that the run .* began with"):
        cnnkit.resume(run, network=f"{net}:make")
    net.unlink()  # the copy is there
    assert resume(run).best_epoch


def test_validation_images_that_changed_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_photos(tmp_path / "photos" / split)
    with pytest.raises(InterruptedRunError):
        cnnkit.train("linear", "photos", recipe(), on_event=stop_after_epoch(1))
    light = tmp_path / "photos" / "val" / "light"
    shutil.copy(light / "0.jpg", light / "00.jpg")
    with pytest.raises(CheckFailedError, match=r"the validation images of .* are not those"):
        resume(only_run())
    (light / "00.jpg").unlink()
    resume(only_run())


def test_a_second_process_is_refused_and_a_killed_one_leaves_nothing(cnnkit: Cnnkit) -> None:
    run = stopped()

    hold = (
        "import sys; from pathlib import Path; from cnnkit.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, run]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=IN_PROJECT, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline().strip() == b"held"
        answer = cnnkit("train", "--resume", run)
        assert answer.code == ExitCode.UNAVAILABLE
        told = f"is being trained by another process ({process.pid}); wait"
        assert told in answer.stderr
        process.kill()
    assert (run / ".lock").exists()
    assert cnnkit("train", "--resume", run).code == 0
    assert not (run / ".lock").exists()


def test_a_planted_nan_stops_before_the_weights_change(
    cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = nn.Linear.forward
    count = [0]

    def planted(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        count[0] += self.training
        result = forward(self, x)
        return result * float("nan") if self.training and count[0] == 17 else result

    with monkeypatch.context() as context:
        context.setattr(nn.Linear, "forward", planted)
        answer = cnnkit("train", "linear", "-b", "128")
    assert answer.code == ExitCode.RUN_FAILED
    line = answer.stderr.splitlines()[-1]
    # The first forward of all is that of the check; 11 steps are an epoch.
    assert "the loss is nan at step 5 of epoch 2: the training has diverged" in line
    assert "try a smaller --lr than 0.002, or --clip-grad 1" in line
    assert f"the last good checkpoint is {only_run() / 'checkpoints' / 'last'}" in line
    assert cnnkit("eval", only_run(), "--checkpoint", "last", "--json").json["epoch"] == 1


def test_weights_that_only_validation_finds_too_large_are_said_where_and_not_gone_on_with() -> None:
    settings = {"optimizer": "sgd", "momentum": 0.0, "lr": 1e6, "schedule": "constant"}
    chosen = Recipe.of(**settings, epochs=2, batch_size=2000)  # one step an epoch
    with pytest.raises(
        RunFailedError, match=r"images to validate is not finite after step 1 of"
    ) as e:
        cnnkit.train("lenet5_relu", "digits", chosen, checkpoint_steps=1)
    assert "try a smaller lr than 1e+06" in e.value.hint
    assert "--resume" not in e.value.hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_costs_nothing(small_disk: Path, whole: Path) -> None:
    filler = small_disk / "filler"

    def fill(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(b"x" * 1000)

    with pytest.raises(UnavailableError, match="no space left") as caught:
        cnnkit.train("linear", recipe=recipe(), runs_dir=small_disk, on_event=fill)
    assert "free some space" in caught.value.hint
    (run,) = (path for path in small_disk.iterdir() if path.is_dir())
    assert f"`cnnkit train --resume {run}` resumes the run" in caught.value.hint
    with pytest.raises(CnnkitError, match="no space left"):
        resume(run)
    with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:  # what was half written is gone, and its place is filled to the last byte
            file.write(b"x")
    with pytest.raises(CnnkitError, match="no space left"):
        resume(run)
    filler.unlink()
    resume(run)
    assert_equal(run, whole)


def test_what_is_no_run_is_refused(cnnkit: Cnnkit) -> None:
    assert cnnkit("train", "--resume", "gone").code == ExitCode.NOT_FOUND
    Path("empty").mkdir()
    answer = cnnkit("train", "--resume", "empty")
    assert answer.code == ExitCode.NOT_FOUND
    assert "has no run.json" in answer.stderr
    assert not list(Path("empty").iterdir())
    answer = cnnkit("train")
    assert answer.code == ExitCode.USAGE
    assert "name a network to train" in answer.stderr
    run = stopped()
    rewrite(run, lambda description: description.pop("checkpointing"))
    with pytest.raises(CheckFailedError, match=r"run\.json is damaged: checkpointing is missing"):
        resume(run)


def test_a_vanished_file_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos")
    settings = recipe(batch_size=20, cache="off")
    kept = cnnkit.train("linear", "photos", settings, runs_dir=Path("whole"), num_workers=1)
    lost = [(path, path.read_bytes()) for path in (tmp_path / "photos").rglob("*.jpg")]

    def vanish(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            for path, _ in lost:
                path.unlink()

    with pytest.raises(RunFailedError, match=r"broken image .*no such file") as caught:
        cnnkit.train("linear", "photos", settings, num_workers=1, on_event=vanish)
    way_on = (
        f"restore it, and `cnnkit train --resume {only_run()}` resumes the run; or begin a new run"
    )
    assert caught.value.hint.startswith(way_on)
    for path, content in lost:
        path.write_bytes(content)
    resume(only_run(), {"workers": 3})
    assert_equal(only_run(), Path(kept.run))


def test_a_run_of_an_older_cnnkit_has_the_defaults_of_what_it_did_not_know() -> None:
    run = stopped()

    def forget(description: dict[str, Any]) -> None:
        for name in ("nesterov", "lr_rest", "pretrained", "freeze", "dropout"):
            del description["recipe"][name]

    rewrite(run, forget)
    with pytest.raises(UsageError, match=r"^nesterov cannot be changed .* it was False, not True"):
        resume(run, {"nesterov": True})
    assert resume(run, {"nesterov": False}).best_epoch
