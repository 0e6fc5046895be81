"""One measurement of mean and standard deviation: `stats`, `show` and `train` report the same."""

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cnnkit.data.loading.preprocessing import Preprocessing
from tests.conftest import Cnnkit

QUICK = ("--epochs", "1", "-q")


def make_photos(root: Path, sizes: tuple[tuple[int, int], ...], number: int = 12) -> Path:
    """Write a training and a test split of colour images in two classes."""
    random = np.random.default_rng(0)
    for split, count in (("train", number), ("test", 4)):
        for brightness, name in enumerate(("dark", "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = sizes[index % len(sizes)]
                pixels = random.integers(0, 150, (height, width, 3)) + 100 * brightness
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return root


def cropped(path: Path, side: int) -> np.ndarray[Any, Any]:
    """Return an image as torchvision's Resize(side) and CenterCrop(side) leave it, by hand."""
    with Image.open(path) as image:
        short, long = sorted(image.size)
        sizes = (side, int(side * long / short))
        width, height = sizes if image.width <= image.height else sizes[::-1]
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - side) / 2), round((height - side) / 2)
        return np.asarray(image.crop((left, top, left + side, top + side)))


def by_hand(folder: Path, side: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    pixels = np.concatenate(
        [cropped(path, side).reshape(-1, 3) for path in sorted((folder / "train").rglob("*.png"))]
    )
    return pixels.mean(0) / 255, pixels.std(0) / 255


def description(path: str = "runs") -> dict[str, Any]:
    (run,) = Path(path).iterdir()
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def close(values: object) -> object:
    return pytest.approx(values, rel=1e-12)


# Sides of 75, 90 and 99 have fractions that truncating and rounding treat differently, and margins
# that are odd.
@pytest.mark.parametrize("cache", ["auto", "off"])
@pytest.mark.parametrize("sizes", [((20, 20),), ((32, 75), (90, 41), (99, 50), (33, 33))])
def test_stats_show_and_train_report_the_same(
    cnnkit: Cnnkit, tmp_path: Path, sizes: tuple[tuple[int, int], ...], cache: str
) -> None:
    folder = make_photos(tmp_path / "photos", sizes)
    mean, std = by_hand(folder, 32)
    size = ("--input", "3x32x32")
    stats = cnnkit("stats", folder, "--transform", "resize=32,crop=32", "--json").json
    assert stats["mean"] == close(mean)
    assert stats["std"] == close(std)
    shown = cnnkit("show", folder, "-n", "1", "--normalized", *size, "--json").json["normalization"]
    assert (shown["mean"], shown["std"]) == (stats["mean"], stats["std"])
    assert shown["source"] == "measured on 24 training images"
    # The validation images are a part of the training split, whatever share and seed.
    settings = ("--val-split", "0.3", "--seed", "7", "--cache", cache)
    answer = cnnkit("train", "linear", folder, *QUICK, *size, *settings)
    assert answer.code == 0, answer.stderr
    run = description()
    assert run["setup"]["preprocessing"]["mean"] == stats["mean"]
    assert run["setup"]["preprocessing"]["std"] == stats["std"]
    assert run["normalization"] == {"source": "measured", "num_images": 24, "num_total": 24}


def test_without_a_size_show_measures_as_stats_does(cnnkit: Cnnkit, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", ((9, 20), (30, 7)))
    stats = cnnkit("stats", folder, "--json").json
    for split in ("train", "test"):  # what is measured is the training split all the same
        shown = cnnkit("show", folder, "-n", "1", "--normalized", "--split", split, "--json").json
        assert shown["normalization"]["mean"] == stats["mean"]
        assert shown["normalization"]["std"] == stats["std"]
        assert shown["normalization"]["source"] == "measured on 24 train images"


def test_sets_in_memory_are_measured_as_they_are_stored(cnnkit: Cnnkit) -> None:
    stats = cnnkit("stats", "digits", "--split", "train", "--json").json
    for size in ((), ("--input", "3x32x32")):
        shown = cnnkit("show", "digits", "-n", "1", "--normalized", *size, "--json").json
        assert set(shown["normalization"]["mean"]) == set(stats["mean"])
        assert set(shown["normalization"]["std"]) == set(stats["std"])
    cnnkit("train", "lenet5", "digits", *QUICK)
    assert description()["setup"]["preprocessing"]["mean"] == stats["mean"]


@pytest.mark.parametrize(
    ("text", "mean", "std", "kept"),
    [
        ("0.5", [0.5] * 3, [0.5] * 3, "0.5"),
        (" 0.50 / 0.25 ", [0.5] * 3, [0.25] * 3, "0.5/0.25"),
        (
            "0.4914,0.4822,0.4465/0.2470,0.2435,0.2616",
            [0.4914, 0.4822, 0.4465],
            [0.2470, 0.2435, 0.2616],
            "0.4914,0.4822,0.4465/0.247,0.2435,0.2616",
        ),
        ("0,0.5,1/1", [0.0, 0.5, 1.0], [1.0] * 3, "0,0.5,1/1"),
        ("none", [0.0] * 3, [1.0] * 3, "none"),
    ],
)
def test_numbers_are_taken_by_train_and_show(
    cnnkit: Cnnkit, tmp_path: Path, text: str, mean: list[float], std: list[float], kept: str
) -> None:
    folder = make_photos(tmp_path / "photos", ((12, 12),))
    size = ("--input", "3x12x12")
    assert cnnkit("train", "linear", folder, *QUICK, "--normalize", text, *size).code == 0
    run = description()
    assert run["setup"]["preprocessing"]["mean"] == mean
    assert run["setup"]["preprocessing"]["std"] == std
    assert run["recipe"]["normalize"] == kept
    assert run["normalization"]["source"] == ("none" if text == "none" else "given")
    shown = cnnkit("show", folder, "-n", "1", "--normalize", text, "--json").json["normalization"]
    assert (shown["mean"], shown["std"]) == (mean, std)
    assert cnnkit("eval", next(Path("runs").iterdir()), "-q").code == 0


def test_a_run_is_resumed_with_the_same_numbers_in_other_words(cnnkit: Cnnkit) -> None:
    numbers = ("--schedule", "constant", "--normalize", "0.5/0.25")
    cnnkit("train", "linear", "digits", *QUICK, *numbers)
    (run,) = Path("runs").iterdir()
    again = cnnkit("train", "--resume", run, "--epochs", "2", "--normalize", "0.50/0.250", "-q")
    assert again.code == 0, again.stderr
    other = cnnkit("train", "--resume", run, "--epochs", "3", "--normalize", "0.5", "-q")
    assert other.code == 2
    assert "--normalize cannot be changed" in other.stderr


def test_numbers_in_a_file_of_settings(cnnkit: Cnnkit) -> None:
    Path("own.toml").write_text("normalize = 0.5\nepochs = 1\n")
    for option in ("-c", "--recipe"):
        answer = cnnkit("train", "linear", "digits", option, "own.toml", "--dry-run")
        assert tomllib.loads(answer.stdout)["normalize"] == "0.5", answer.stderr


@pytest.mark.parametrize("recipe", ["cifar10-mlp-lecture", "mnist-lenet5_relu-lecture"])
def test_lecture_recipes_run_on_a_folder(cnnkit: Cnnkit, tmp_path: Path, recipe: str) -> None:
    folder = make_photos(tmp_path / "photos", ((32, 32),))
    answer = cnnkit("train", "--recipe", recipe, folder, "--epochs", "1", "--val-split", "0.2")
    assert answer.code == 0, answer.stderr
    published = [0.4914, 0.4822, 0.4465] if "cifar10" in recipe else [0.1307]
    run = description()
    assert run["setup"]["preprocessing"]["mean"] == pytest.approx(published, abs=1e-3)
    assert run["normalization"]["source"] == "given"
    assert "nothing is published for" in answer.stderr
    own = cnnkit("train", "--recipe", recipe, "--dry-run")
    assert tomllib.loads(own.stdout)["normalize"] == "published"


def test_older_runs_keep_their_sides_and_margins() -> None:
    plain = {"channels": 3, "height": 32, "width": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
    pixels = np.random.default_rng(0).integers(0, 256, (32, 75, 3), dtype=np.uint8)
    for size, width, left in (((100, 75), 43, 5), ((75, 32), 75, 21)):
        image = Image.fromarray(pixels).resize(size)
        file = io.BytesIO()
        image.save(file, "png")
        by_hand = image.resize((width, 32), Image.Resampling.BILINEAR)
        expected = np.asarray(by_hand.crop((left, 0, left + 32, 32))).transpose(2, 0, 1)
        old = Preprocessing.from_dict(plain)
        assert old.sizes == "rounded"
        assert torch.equal(old.decode(file.getvalue()), torch.from_numpy(expected.copy()))
