"""How a run decodes image files is part of the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnkit import Recipe, evaluate, resume, train
from cnnkit.errors import InterruptedRunError
from cnnkit.events import EpochEnded, Event, Note
from tests.conftest import Cnnkit
from tests.stats.making import encode, noise, write_files

SIDE = 12


def make_set(folder: Path, orientation: int | None) -> Path:
    """Write images whose classes differ in which half is bright, as they are stored."""
    for number in range(40):
        label = number % 2
        pixels = noise(number, SIDE, SIDE) // 4
        half = pixels[:, : SIDE // 2] if label else pixels[:, SIDE // 2 :]
        half += 150
        exif = Image.Exif()
        if orientation is not None:
            exif[274] = orientation
        content = encode(Image.fromarray(pixels), "JPEG", quality=95, exif=exif.tobytes())
        write_files(folder, {f"{'ab'[label]}/{number:02}.jpg": content})
    return folder


def make_upright(folder: Path, turned: Path) -> Path:
    """Write the images of another set upright, without a loss."""
    for path in turned.glob("*/*.jpg"):
        with Image.open(path) as image:
            content = encode(ImageOps.exif_transpose(image))
        write_files(folder, {f"{path.parent.name}/{path.stem}.png": content})
    return folder


def quick(**settings: object) -> Recipe:
    return Recipe.of(
        **{"epochs": 2, "batch_size": 8, "normalize": "measured", "val_split": 0.0, **settings}
    )


@pytest.mark.parametrize("orientation", [2, 6])
def test_training_sees_upright_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    monkeypatch.chdir(tmp_path)
    turned = make_set(tmp_path / "turned", orientation)
    upright = make_upright(tmp_path / "upright", turned)
    results = [train("lenet5", str(folder), quick()) for folder in (turned, upright)]
    assert [one.train_loss for one in results[0].epochs] == [
        one.train_loss for one in results[1].epochs
    ]
    tested = [evaluate(one.run, split="train") for one in results]
    assert tested[0].metrics == tested[1].metrics


def test_a_run_from_before_ignores_the_orientation_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored = make_set(tmp_path / "stored", None)
    turned = make_set(tmp_path / "turned", 3)
    run = train("lenet5", str(stored), quick()).run
    as_stored = evaluate(run, str(stored), split="train").metrics
    assert evaluate(run, str(turned), split="train").metrics != as_stored
    path = Path(run) / "run.json"
    description = json.loads(path.read_text())
    assert description["setup"]["preprocessing"].pop("decoding") == "full"
    del description["recipe"]["decode"]
    description.pop("sha256", None)
    path.write_text(json.dumps(description))
    notes: list[Event] = []
    assert evaluate(run, str(turned), split="train", on_event=notes.append).metrics == as_stored
    said = [one.text for one in notes if isinstance(one, Note)]
    assert sum("from an earlier version, so its image files are decoded as then" in one
               for one in said) == 1  # fmt: skip


def test_a_run_from_before_is_resumed_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_set(tmp_path / "set", 6)

    def stop(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        train("lenet5", str(folder), quick(epochs=3), on_event=stop)
    (run,) = Path("runs").iterdir()
    path = run / "run.json"
    description = json.loads(path.read_text())
    del description["setup"]["preprocessing"]["decoding"]
    del description["recipe"]["decode"]
    description.pop("sha256", None)
    path.write_text(json.dumps(description))
    # checkpoints from before do not know the settings that they are good for
    monkeypatch.setattr("cnnkit.training.record.Record._check_asked", lambda *_: None)
    notes: list[Event] = []
    resume(run, on_event=notes.append)
    assert any(isinstance(one, Note) and "decoded as then" in one.text for one in notes)
    after = json.loads(path.read_text())["setup"]["preprocessing"]
    assert after.get("decoding", "before") == "before"


def test_fast_decoding_is_asked_for_and_recorded(tmp_path: Path, cnnkit: Cnnkit) -> None:
    rows, columns = np.mgrid[0:200, 0:200]
    for number in range(24):
        pixels = np.stack([(rows * (7 + number) + columns * 13) % 251] * 3, -1).astype(np.uint8)
        content = encode(Image.fromarray(pixels), "JPEG", quality=95)
        write_files(tmp_path / "set", {f"{'ab'[number % 2]}/{number:02}.jpg": content})
    losses = []
    for options in ((), ("--decode", "fast")):
        answer = cnnkit(
            "train", "lenet5", tmp_path / "set", "--epochs", "1", "--input", "32", "--json",
            *options,
        )  # fmt: skip
        assert answer.code == 0, answer.stderr
        description = json.loads((Path(answer.json["run"]) / "run.json").read_text())
        decoding = options[1] if options else "full"
        assert description["recipe"]["decode"] == decoding
        assert description["setup"]["preprocessing"]["decoding"] == decoding
        losses.append(answer.json["test"]["loss"])
        tested = cnnkit("eval", answer.json["run"], "--json")
        assert tested.json["loss"] == losses[-1]
    assert losses[0] != losses[1]
    assert cnnkit("train", "lenet5", "digits", "--decode", "slow").code == 2
