import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit import measure_dataset
from cnnkit.errors import ExitCode, RunFailedError
from tests.conftest import Cnnkit
from tests.stats.making import encode, noise, write_files


def broken_files(seed: int) -> dict[str, tuple[bytes, str]]:
    """Return a broken file of each kind, by its extension-bearing name, with what is said of it."""
    image = Image.fromarray(noise(seed, 60, 50))
    jpeg, png = encode(image, "JPEG", quality=95), encode(image)
    webp, bmp = encode(image, "WEBP", lossless=True), encode(image, "BMP")
    tiff, ppm = encode(image, "TIFF"), encode(image, "PPM")
    data = png.index(b"IDAT")
    garbled = zlib.compress(noise(seed, 60, 151, 1).tobytes())
    garbled = garbled[:40] + bytes(255 - byte for byte in garbled[40:])
    chunk = b"IDAT" + garbled
    damaged = png[: data - 4] + struct.pack(">I", len(garbled)) + chunk
    damaged += struct.pack(">I", zlib.crc32(chunk)) + png[-12:]
    return {
        "empty.jpg": (b"", "empty: 0 bytes"),
        "page.jpg": (b"<html>404 not found</html>", "not an image"),
        "random.png": (np.random.default_rng(seed).bytes(3000), "not an image"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "cut short"),
        "half.png": (png[: len(png) // 2], "cut short"),
        "header.png": (png[:20], "cut short"),
        "half.webp": (webp[: len(webp) // 2], "cut short"),
        "half.bmp": (bmp[: len(bmp) // 2], "cut short"),
        "half.tif": (tiff[: len(tiff) // 2], "cut short"),
        "damaged.png": (damaged, "damaged"),
        "half.ppm": (ppm[: len(ppm) // 2], "cut short"),
        "no_end.png": (png[:-12], "cut short"),
        "start.jpg": (jpeg[:3], "a JPEG file with a broken header"),
    }


def test_fifty_broken_files_of_ten_kinds_among_good_ones(tmp_path: Path, cnnkit: Cnnkit) -> None:
    expected: dict[str, str] = {}
    good: list[np.ndarray] = []
    for seed in range(5):
        for number, (name, (content, reason)) in enumerate(broken_files(seed).items()):
            if number >= 10:
                break
            path = f"c{seed % 3}/{seed}_{name}"
            write_files(tmp_path / "set", {path: content})
            expected[str(tmp_path / "set" / path)] = reason
    for seed in range(60):
        pixels = noise(seed, 20, 30)
        good.append(pixels.reshape(-1, 3))
        write_files(tmp_path / "set", {f"c{seed % 3}/{seed}_good.png":
                                       encode(Image.fromarray(pixels))})  # fmt: skip
    assert len(expected) == 50
    answer = cnnkit("stats", tmp_path / "set", "--json")
    assert answer.code == ExitCode.DONE
    found = {one["path"]: one["reason"] for one in answer.json["bad_files"]}
    assert sorted(found) == sorted(expected)
    for path, reason in expected.items():
        assert found[path].startswith(reason), (path, found[path])
    every = np.concatenate(good).astype(np.int64)
    assert answer.json["num_images"] == 60
    assert answer.json["num_pixels"] == len(every)
    sums = [(one["sum"], one["sum_of_squares"]) for one in answer.json["channels"]]
    assert sums == list(zip(every.sum(0), (every**2).sum(0), strict=True))
    strict = cnnkit("stats", tmp_path / "set", "--json", "--strict")
    assert strict.code == ExitCode.CHECK_FAILED
    assert strict.json["bad_files"] == answer.json["bad_files"]
    assert strict.stderr.splitlines() == ["warning: --strict: 50 bad files"]
    shown = cnnkit("stats", tmp_path / "set")
    assert "bad files, which are not counted: 50" in shown.stdout
    assert "and 30 more, which are in the JSON" in shown.stdout


@pytest.mark.parametrize("name", list(broken_files(0)))
def test_every_kind_has_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = broken_files(9)[name]
    write_files(tmp_path, {f"a/{name}": content, "b/good.png": encode(Image.new("L", (2, 2)))})
    (bad,) = measure_dataset(str(tmp_path)).bad_files
    assert bad.reason.startswith(reason)


def test_verify_is_not_the_check(tmp_path: Path) -> None:
    """It passes half a JPEG, which is why every image is decoded."""
    jpeg = broken_files(0)["half.jpg"][0]
    write_files(tmp_path, {"half.jpg": jpeg})
    with Image.open(tmp_path / "half.jpg") as image:
        image.verify()


def test_only_broken_files(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.png": b"", "b/2.jpg": b"text"})
    with pytest.raises(RunFailedError, match=r"none of the 2 files .* such as .*1.png: empty"):
        measure_dataset(str(tmp_path))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.png": encode(Image.new("L", (2, 2))), "b/2.png": b"x"})
    (tmp_path / "b" / "2.png").unlink()
    (tmp_path / "b" / "2.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "b" / "loop.png").symlink_to(tmp_path / "b" / "loop.png")
    reasons = [bad.reason for bad in measure_dataset(str(tmp_path)).bad_files]
    assert reasons == ["no such file or directory", "too many levels of symbolic links"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    image = encode(Image.new("L", (2, 2)))
    write_files(tmp_path, {"a/1.png": image, "a/2.png": image, "b/3.png": image})
    (tmp_path / "a" / "2.png").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        result = measure_dataset(str(tmp_path))
    finally:
        (tmp_path / "b").chmod(0o700)
    assert result.num_images == 1
    assert {bad.reason for bad in result.bad_files} == {"permission denied"}


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = encode(Image.new("L", (2, 2)))
    write_files(tmp_path, {"a/1.png": image, "b/2.png": image, "b/deep/3.png": image})
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = measure_dataset(str(tmp_path))
    assert result.num_images == 2
    (bad,) = result.bad_files
    assert bad.path.endswith("b/deep")
    assert bad.reason == "permission denied"


def test_names_that_are_no_text(tmp_path: Path, cnnkit: Cnnkit) -> None:
    image = encode(Image.new("L", (2, 2)))
    write_files(tmp_path / "set", {"a/1.png": image, "b/2.png": image})
    folder = os.fsencode(tmp_path / "set" / "a")
    Path(os.fsdecode(folder + b"/caf\xe9.png")).write_bytes(b"broken")
    os.mkdir(os.fsencode(tmp_path / "set") + b"/\xff")  # noqa: PTH102
    Path(os.fsdecode(os.fsencode(tmp_path / "set") + b"/\xff/4.png")).write_bytes(image)
    answer = cnnkit("stats", tmp_path / "set", "--json", "-o", tmp_path / "out.json")
    assert answer.code == ExitCode.DONE
    text = (tmp_path / "out.json").read_text("utf-8")
    assert "caf\\\\xe9.png" in text
    assert '"name": "\\\\xff"' in text


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Return a folder with images, and with what is called like an image and is no file."""
    image = encode(Image.fromarray(noise(0, 9, 9)))
    for label in "ab":
        write_files(tmp_path / "set", {f"{label}/{number}.png": image for number in range(5)})
    folder = tmp_path / "set" / "a"
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    with (folder / "sparse.jpg").open("wb") as file:
        file.truncate(10 * 10**9)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("set/a/socket.png")  # tests run in tmp_path; its whole path may be too long
    return tmp_path / "set"


ODD = {
    "pipe.png": "a pipe, not a file",
    "zero.jpg": "a device, not a file",
    "loop.png": "too many levels of symbolic links",
    "sparse.jpg": "refused: 10,000,000,000 bytes, more than 134,217,728; --allow-large reads it",
    "socket.png": "a socket, not a file",
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
def test_what_is_no_file_is_listed_by_stats(odd_folder: Path, cnnkit: Cnnkit) -> None:
    flat = cnnkit("stats", odd_folder / "a", "--json")  # without class folders
    assert {Path(one["path"]).name: one["reason"] for one in flat.json["bad_files"]} == ODD
    write_files(odd_folder, {"a/folder.jpg/5.png": encode(Image.fromarray(noise(0, 9, 9)))})
    answer = cnnkit("stats", odd_folder, "--json")
    assert answer.code == ExitCode.DONE
    found = {Path(one["path"]).name: one["reason"] for one in answer.json["bad_files"]}
    assert found == {**ODD, "folder.jpg": "a folder, not a file"}
    assert answer.json["num_images"] == 11
    assert cnnkit("stats", odd_folder, "--strict").code == ExitCode.CHECK_FAILED
    shown = cnnkit("show", odd_folder, "-n", "20", "--json").json["samples"]
    assert {one["reason"] for one in shown} == {*ODD.values(), None}


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_is_named_by_train_or_left_out(
    odd_folder: Path, cnnkit: Cnnkit, name: str
) -> None:
    for other in ODD:
        if other != name:
            (odd_folder / "a" / other).unlink()
    words = ("train", "mlp", odd_folder, "--epochs", "1", "--input", "8", "--val-split", "0")
    # It may be a test image, and then the end of the run names it.
    answer = cnnkit(*words)
    assert answer.code == ExitCode.RUN_FAILED
    said = " ".join(answer.stderr.split())
    assert f"broken image {odd_folder / 'a' / name}: {ODD[name]}; repair or remove it" in said
    answer = cnnkit(*words, "--skip-bad", "--json")
    assert answer.code == ExitCode.DONE, answer.stderr
    evaluated = [
        cnnkit("eval", answer.json["run"], "--split", split, "--skip-bad", "--json")
        for split in ("train", "test")
    ]
    assert sum(one.json["num_skipped"] for one in evaluated) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x-{0..0}.tar", "x", "./x"])
def test_a_dataset_that_is_no_file(tmp_path: Path, cnnkit: Cnnkit, name: str) -> None:
    path = tmp_path / name.replace("{0..0}", "0")
    os.mkfifo(path)
    for words in (("stats", name), ("show", name), ("stats", "digits", "--against", name)):
        answer = cnnkit(*words)
        assert answer.code in (ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.RUN_FAILED)
        assert "Traceback" not in answer.stderr
        if "." in name[1:] and words[0] != "digits" and "--against" not in words:
            assert "a pipe, not a file" in answer.stderr
    path.unlink()
    path.symlink_to("/dev/zero")
    assert cnnkit("stats", name).code != ExitCode.DONE
