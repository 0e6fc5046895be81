"""Every command that reads images, over damaged files of every kind: no traceback, no program."""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.data.decode import decode
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.loading.preprocessing import Decoding, Preprocessing
from cnnkit.errors import ExitCode
from cnnkit.stats.counting.count_files import count_decoded
from tests.audit.watching import VARIABLE
from tests.conftest import Answer, Cnnkit
from tests.fuzz.damaging import EPS, FOREIGN, KINDS, NUM_DAMAGES, damaged_files
from tests.stats.making import encode, write_files, write_tar, write_zip

PROGRAMS = (
    "gs", "gswin64c", "convert", "magick", "display", "xdg-open", "open", "eog", "ffmpeg", "djpeg",
    "pdftoppm", "rsvg-convert", "inkscape", "unzip", "tar", "sh",
)  # fmt: skip
MODEL = """
from torch import nn

def small(num_classes, in_channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
"""


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that stand-ins for other programs, first on PATH, write their names to."""
    folder, called = tmp_path / "programs", tmp_path / "called"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {called}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return called


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "small.py").write_text(MODEL)
    return f"{tmp_path / 'small.py'}:small"


def check(answer: Answer, *codes: ExitCode) -> Answer:
    assert answer.code in codes, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    return answer


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_is_read_or_named_by_both_decoders(name: str) -> None:
    content = KINDS[name]()
    treated = Preprocessing(3, 16, 16, (0.0,) * 3, (1.0,) * 3)
    if name in FOREIGN:
        for one in (decode, treated.decode):
            with pytest.raises(BadImageError, match="not an image in a format that cnnkit reads"):
                one(content)
        return
    if name == "float.tif":
        for one in (decode, treated.decode):
            with pytest.raises(BadImageError, match="floating-point"):
                one(content)
        return
    assert treated.decode(content).shape == (3, 16, 16)
    found = decode(content)
    assert found.form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "PPM")
    several = name in ("moving.gif", "moving.webp", "lzw_pages.tif", "pictures.jpg")
    assert ("first of several frames" in found.changes) == several


def verdict(read: Callable[[bytes], object], content: bytes) -> str:
    """Return why a file is bad; nothing where it is not."""
    try:
        read(content)
    except BadImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("decoding", ["full", "fast", "before"])
def test_stats_and_training_have_one_verdict_on_every_file(decoding: Decoding) -> None:
    zeros, ones = (0.0,) * 3, (1.0,) * 3
    treated = Preprocessing(3, 16, 16, zeros, ones, decoding=decoding)
    number = num_bad = 0
    for name, content in damaged_files(1 if decoding == "full" else 2):
        reason = verdict(lambda one: count_decoded(decode(one)), content)
        # A JPEG file that is decoded at a fraction of its size meets other damage at other places.
        ours = verdict(treated.decode, content)
        assert bool(ours) == bool(reason), f"{name}: {ours!r}, {reason!r}"
        if decoding == "full":
            assert ours == reason, name
        number, num_bad = number + 1, num_bad + bool(reason)
    assert number >= 1_500
    assert num_bad > 700


def test_no_command_starts_a_program_or_ends_in_a_traceback(
    tmp_path: Path, cnnkit: Cnnkit, called: Path, model: str
) -> None:
    start = time.monotonic()
    files = {
        f"{'ab'[number % 2]}/{name}": content
        for number, (name, content) in enumerate(damaged_files(1))
    }
    assert len(files) == len(KINDS) * NUM_DAMAGES >= 1_500
    stream = np.random.default_rng(0)
    for number in range(40):
        image = Image.fromarray(stream.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        files[f"{'ab'[number % 2]}/good{number}.png"] = encode(image)
    folder = tmp_path / "set"
    write_files(folder, files)
    write_zip(tmp_path / "set.zip", files)
    write_tar(tmp_path / "set.tar.gz", files, "w:gz")

    stats = check(cnnkit("stats", folder, "--json", "--duplicates", "--issues"), ExitCode.DONE)
    num_good, num_bad = stats.json["num_images"], len(stats.json["bad_files"])
    assert num_good + num_bad == len(files)
    assert num_bad > 900
    assert num_good > 200
    for archive in ("set.zip", "set.tar.gz"):
        packed = check(cnnkit("stats", tmp_path / archive, "--json"), ExitCode.DONE)
        assert (packed.json["num_images"], len(packed.json["bad_files"])) == (num_good, num_bad)
        assert packed.json["mean"] == stats.json["mean"]

    shown = check(cnnkit("show", folder, "-n", "400", "--input", "16", "--json"), ExitCode.DONE)
    assert any(one["reason"] for one in shown.json["samples"])
    options = ("--input", "16", "--json", "-j", "2", "--skip-bad")
    trained = check(
        cnnkit("train", model, folder, "--epochs", "1", "--batch-size", "128", *options),
        ExitCode.DONE,
    )
    named = check(
        cnnkit("train", model, folder, "--epochs", "1", *options[:-1]), ExitCode.RUN_FAILED
    )
    assert re.search("broken image .*--skip-bad", named.stderr)
    run = trained.json["run"]
    evaluated = check(cnnkit("eval", run, "--json", "--skip-bad"), ExitCode.DONE)
    assert evaluated.json["num_skipped"] > 0
    check(
        cnnkit("bench", model, "--data", folder, "--max-seconds", "0.5", "--mode", "infer", "-b",
               "64", *options),
        ExitCode.DONE,
    )  # fmt: skip
    assert not called.exists(), called.read_text()
    print(f"{time.monotonic() - start:.1f} s")


def test_postscript_under_the_name_of_an_image(
    tmp_path: Path,
    cnnkit: Cnnkit,
    called: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file of the report: Pillow, left to choose the format, starts Ghostscript with it."""
    good = encode(Image.new("RGB", (8, 8), (1, 2, 3)))
    for folder in ("a", "b"):
        write_files(tmp_path / "set" / folder, {f"{n}.png": good for n in range(5)})
        write_files(tmp_path / "set" / folder, {"x.png": EPS})
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path / "noted"))  # the audit is not to fail of it
        with suppress(OSError), Image.open(tmp_path / "set" / "a" / "x.png") as image:
            image.load()
    assert "EpsImagePlugin" in (tmp_path / "noted").read_text()
    assert called.read_text().splitlines()[0].startswith("gs")
    called.unlink()
    answer = check(cnnkit("stats", tmp_path / "set", "--json"), ExitCode.DONE)
    assert [one["reason"] for one in answer.json["bad_files"]] == [
        "not an image in a format that cnnkit reads"
    ] * 2
    check(cnnkit("show", tmp_path / "set", "-n", "12", "-o", "x.png"), ExitCode.DONE)
    answer = check(cnnkit("train", model, tmp_path / "set", "--epochs", "1"), ExitCode.RUN_FAILED)
    assert "x.png: not an image in a format that cnnkit reads" in answer.stderr.replace("\n", " ")
    check(cnnkit("train", model, tmp_path / "set", "--epochs", "1", "--skip-bad"), ExitCode.DONE)
    assert not called.exists()
