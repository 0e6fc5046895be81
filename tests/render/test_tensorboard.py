"""What TensorBoard reads back is what the events said, however often a run was stopped."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnkit.events import ConfusionCounted, EpochEnded, Event, Note, RunStarted, TrainingImages
from cnnkit.render.tensorboard import TensorBoardLog

IMAGES = TrainingImages(1, 2, 2, 1, (bytes([0, 255, 0, 255]),) * 3, (0, 1, 0))
COUNTS = ((3, 1), (0, 2))
IN_PROJECT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def started(path: Path, *epochs: dict[str, Any]) -> RunStarted:
    return RunStarted(str(path), "lenet5", "digits", ("a", "b"), 5, epochs, None)


def metrics(epoch: int, loss: float = 1.0) -> dict[str, Any]:
    return {
        "epoch": epoch, "train_loss": loss / epoch, "train_accuracy": 0.5, "val_loss": 2 / epoch,
        "val_accuracy": 0.25, "learning_rate": 0.125, "seconds": 1.0, "images_per_second": 10.0,
    }  # fmt: skip


def ended(epoch: int, is_best: bool = False, loss: float = 1.0) -> EpochEnded:
    return EpochEnded(epoch, 5, metrics(epoch, loss), is_best)


def write(*events: Event) -> None:
    log = TensorBoardLog()
    for event in events:
        log(event)
    log.close()


def read(path: Path) -> EventAccumulator:
    found = EventAccumulator(str(path / "tensorboard"), {"images": 0, "scalars": 0})
    return found.Reload()


def points(path: Path, tag: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in read(path).Scalars(tag)]


def test_figures_and_pictures_are_read_back(tmp_path: Path) -> None:
    write(
        Note("is no matter"),
        started(tmp_path),
        IMAGES,
        ConfusionCounted("val", 1, COUNTS),
        ended(1, is_best=True),
        ConfusionCounted("val", 2, COUNTS),
        ended(2),
        ConfusionCounted("test", 1, COUNTS),
    )
    found = read(tmp_path)
    assert set(found.Tags()["scalars"]) == {
        "Train/loss", "Train/accuracy", "Valid/loss", "Valid/accuracy", "Train/learning_rate",
    }  # fmt: skip
    assert points(tmp_path, "Train/loss") == [(1, 1.0), (2, 0.5)]
    assert points(tmp_path, "Valid/loss") == [(1, 2.0), (2, 1.0)]
    assert points(tmp_path, "Valid/accuracy") == [(1, 0.25), (2, 0.25)]
    assert set(found.Tags()["images"]) == {"Train/samples", "Valid/confusion", "Test/confusion"}
    for tag in found.Tags()["images"]:
        (one,) = found.Images(tag)  # of the best epoch alone
        assert one.step == 1
        with Image.open(io.BytesIO(one.encoded_image_string)) as image:
            assert image.size == (one.width, one.height)


def test_sets_that_are_not_followed_have_no_points(tmp_path: Path) -> None:
    unjudged = replace(ended(1), metrics=metrics(1) | {"val_loss": None, "val_accuracy": None})
    write(started(tmp_path), unjudged)
    assert not [tag for tag in read(tmp_path).Tags()["scalars"] if "Valid" in tag]
    tested = replace(ended(1), metrics=metrics(1) | {"test_loss": 0.5, "test_accuracy": 0.75})
    write(started(tmp_path), tested)
    assert points(tmp_path, "Test/accuracy") == [(1, 0.75)]


def test_a_run_that_goes_on_has_no_point_twice(tmp_path: Path) -> None:
    """It goes on after epoch 1: epochs 2 and 3 are done anew, as after a damaged checkpoint."""
    write(started(tmp_path), IMAGES, *[ended(epoch) for epoch in (1, 2, 3)])
    write(
        started(tmp_path, metrics(1)),
        replace(IMAGES, epoch=2),
        *[ended(epoch, loss=8.0) for epoch in (2, 3, 4)],
    )
    write(
        started(tmp_path, *[metrics(n) for n in (1, 2, 3, 4)]), replace(IMAGES, epoch=5), ended(5)
    )
    assert points(tmp_path, "Train/loss") == [
        (1, 1.0), (2, 4.0), (3, pytest.approx(8 / 3)), (4, 2.0), (5, pytest.approx(0.2))
    ]  # fmt: skip
    assert [one.step for one in read(tmp_path).Images("Train/samples")] == [1, 2, 5]


def test_a_run_that_begins_anew_has_no_point_twice(tmp_path: Path) -> None:
    write(started(tmp_path), IMAGES)  # killed in its first epoch
    write(started(tmp_path), IMAGES, ended(1))
    assert [one.step for one in read(tmp_path).Images("Train/samples")] == [1]


def test_a_log_that_begins_later_has_the_epochs_before_it(tmp_path: Path) -> None:
    write(started(tmp_path, metrics(1), metrics(2)), ended(3))
    assert [step for step, _ in points(tmp_path, "Valid/loss")] == [1, 2, 3]


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_file_cut_short_anywhere_costs_no_later_epoch(tmp_path: Path, tenth: int) -> None:
    write(started(tmp_path), *[ended(epoch) for epoch in (1, 2)])
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[: file.stat().st_size * tenth // 10])
    write(started(tmp_path, metrics(1)), *[ended(epoch) for epoch in (2, 3)])
    steps = [step for step, _ in points(tmp_path, "Train/loss")]
    assert steps[-2:] == [2, 3]
    assert len(set(steps)) == len(steps)


def test_what_is_written_is_there_at_once(tmp_path: Path) -> None:
    log = TensorBoardLog()
    log(started(tmp_path))
    log(ended(1))
    assert points(tmp_path, "Train/loss") == [(1, 1.0)]
    log.close()
    log.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files here")
def test_a_full_disk_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from cnnkit.events import EpochEnded, RunStarted\n"
        "from cnnkit.render.tensorboard import TensorBoardLog\n"
        "log = TensorBoardLog()\n"
        "log(RunStarted(sys.argv[1], 'lenet5', 'digits', ('a', 'b'), 5, (), None))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "try: [log(EpochEnded(n, 5, {'epoch': n, 'train_loss': 1.0}, False)) for n in range(9)]\n"
        "except OSError: print('full')\n"
        "log.close()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, check=False, env=IN_PROJECT
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"full\n", b"")
