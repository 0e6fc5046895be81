"""What a network was trained on is known by its content, and is no part of an evaluation."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.data.content_hashes import ContentHashes
from cnnkit.errors import CheckFailedError, UsageError
from cnnkit.events import Event, Warned
from cnnkit.results import TrainResult
from cnnkit.runs.recipe import Recipe


def make_images(root: Path, seed: int, channels: int = 1, number: int = 20) -> Path:
    """Write images of three classes under names that are the same for every seed."""
    random = np.random.default_rng(seed)
    shape = (12, 12, 3) if channels == 3 else (12, 12)
    for brightness, name in enumerate("abc"):
        (root / name).mkdir(parents=True)
        for index in range(number):
            pixels = random.integers(0, 90, shape) + 80 * brightness
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{index}.png")
    return root


def trained(folder: Path, **settings: object) -> TrainResult:
    return cnnkit.train("linear", str(folder), Recipe.of(**{"epochs": 2, "lr": 0.01, **settings}))


def warnings_of(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, Warned))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cache": "off"},  # measured in a pass of its own
        {"cache": "off", "normalize": "0.5"},  # nothing is read before the first epoch
        {"epochs": 1, "normalize": "0.5"},
        {"val_split": 0.0},
    ],
)
def test_images_are_known_by_content_and_not_by_name(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    result = trained(make_images(tmp_path / "grey", 0), **settings)
    other = make_images(tmp_path / "rgb", 1, channels=3)
    events: list[Event] = []
    evaluated = cnnkit.evaluate(result.run, str(other), on_event=events.append)
    assert (evaluated.split, evaluated.metrics.num_images) == ("all", 60)
    assert "trained on" not in warnings_of(events)
    # The same content under other names, some of it held out for the test.
    mixed = tmp_path / "mixed"
    for name in "abc":
        (mixed / name).mkdir(parents=True)
        for path in (tmp_path / "grey" / name).iterdir():
            shutil.copy(path, mixed / name / f"renamed-{path.name}")
    assert result.test is not None
    evaluated = cnnkit.evaluate(result.run, str(mixed), on_event=events.append)
    assert evaluated.metrics.num_images == result.test.num_images == 12
    assert evaluated.metrics.accuracy == result.test.accuracy
    assert "48 of the 60 images of" in warnings_of(events)
    assert "are left out" in warnings_of(events)
    size = (Path(result.run) / "seen_images.bin").stat().st_size
    assert size < 100 + 16 * 48


def test_who_names_the_split_train_sees_it(tmp_path: Path) -> None:
    result = trained(make_images(tmp_path / "grey", 0))
    shutil.copytree(tmp_path / "grey", tmp_path / "copy")
    events: list[Event] = []
    evaluated = cnnkit.evaluate(
        result.run, str(tmp_path / "copy"), split="train", on_event=events.append
    )
    assert evaluated.metrics.num_images == 48
    assert "the accuracy is too good" in warnings_of(events)


def test_where_nothing_is_left_that_is_said(tmp_path: Path) -> None:
    make_images(tmp_path / "set" / "train", 0)
    make_images(tmp_path / "set" / "test", 1, number=5)
    result = trained(tmp_path / "set")
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "copy")
    with pytest.raises(UsageError, match=r"every image of .*copy was trained on"):
        cnnkit.evaluate(result.run, str(tmp_path / "copy"))


def test_a_run_without_hashes_says_that_it_does_not_know(tmp_path: Path) -> None:
    result = trained(make_images(tmp_path / "grey", 0))
    (Path(result.run) / "seen_images.bin").unlink()
    shutil.copytree(tmp_path / "grey", tmp_path / "copy")
    events: list[Event] = []
    evaluated = cnnkit.evaluate(result.run, str(tmp_path / "copy"), on_event=events.append)
    assert evaluated.metrics.num_images == 60
    assert "unknown whether images of" in warnings_of(events)
    assert cnnkit.evaluate(result.run).metrics == result.test


def test_hashes_that_are_damaged_are_refused(tmp_path: Path) -> None:
    result = trained(make_images(tmp_path / "grey", 0))
    other = make_images(tmp_path / "other", 1)
    path = Path(result.run) / "seen_images.bin"
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-16], whole[:-1] + bytes([whole[-1] ^ 1]), b"x" * 99):
        path.write_bytes(damaged)
        with pytest.raises(CheckFailedError, match="is damaged"):
            cnnkit.evaluate(result.run, str(other))


def test_sets_in_memory_are_compared_by_their_pixels(tmp_path: Path) -> None:
    settings = Recipe.of(epochs=1, lr=0.01)
    result = cnnkit.train("linear", "fake:1x8x8:3:60", settings)
    assert not (Path(result.run) / "seen_images.bin").exists()
    events: list[Event] = []
    evaluated = cnnkit.evaluate(result.run, "fake:1x8x8:3:90", on_event=events.append)
    assert evaluated.metrics.num_images <= 18
    assert "unknown" not in warnings_of(events)
    names = tuple(row.name for row in evaluated.per_class)
    source = make_images(tmp_path / "source", 5)
    for name in names:
        shutil.copytree(source / "a", tmp_path / "folder" / name)
    cnnkit.evaluate(result.run, str(tmp_path / "folder"), on_event=events.append)
    assert "unknown whether images of" in warnings_of(events)


def test_a_run_that_was_resumed_knows_all_its_images(tmp_path: Path) -> None:
    result = trained(
        make_images(tmp_path / "grey", 0), cache="off", normalize="0.5", schedule="constant"
    )
    path = Path(result.run) / "seen_images.bin"
    whole = path.read_bytes()
    path.unlink()
    cnnkit.resume(result.run, {"epochs": 3})
    assert path.read_bytes() == whole


def test_several_processes_put_their_hashes_together() -> None:
    first, second, whole = ContentHashes(3), ContentHashes(3), ContentHashes(3)
    first.note(0, b"a")
    second.note(2, b"c")
    for row, content in enumerate((b"a", b"b", b"c")):
        whole.note(row, content)
    first.add(second.rows)
    assert not first.is_complete
    assert first.is_among(whole.known()).tolist() == [True, False, True]
    first.note(1, b"b")
    assert first.is_complete
    assert (first.known() == whole.known()).all()
