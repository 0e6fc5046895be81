"""Opening image files: formats, what is no file, limits, checksums, and threads that share."""

import ast
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

import cnnkit
from cnnkit.data import image_files, image_limits
from cnnkit.data.decode import decode as decode_for_stats
from cnnkit.data.image_files import (
    FORMATS,
    IMAGE_SUFFIXES,
    opened_image,
    pillow_limits,
    read_header,
    read_image_file,
)
from cnnkit.data.image_limits import (
    BadImageError,
    StoppedError,
    check_resized,
    one_image,
    reserve,
    stop_with,
)
from cnnkit.data.loading.preprocessing import Preprocessing
from tests.stats.making import encode, noise

PACKAGE = Path(cnnkit.__file__).parent
COLOUR = Image.fromarray(noise(1, 20, 24))
TREATED = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)


def decoders() -> list[object]:
    return [decode_for_stats, TREATED.decode]


def reason(content: bytes) -> str:
    """Return why both decoders refuse a file; empty where both take it."""
    found = set()
    for one in decoders():
        try:
            one(content)  # type: ignore[operator]
            found.add("")
        except BadImageError as error:
            found.add(str(error))
    assert len(found) == 1, found
    return found.pop()


def pixels_of(content: bytes) -> bytes:
    with opened_image(content) as image:
        return image.tobytes()


def test_pillow_opens_files_in_one_place_alone() -> None:
    """And with a list of formats; every other call would let it choose among all."""
    calls = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "Image.open", "PIL.Image.open", "ImageFile.Parser", "Image.init",
                "Image.registered_extensions", "torchvision.io.decode_image", "imread",
                "pil_loader", "default_loader",
            ):  # fmt: skip
                calls.append((path.name, ast.unparse(node)))
    assert calls == [("image_files.py", "Image.open(_file_of(content), formats=_known_formats())")]


def test_only_the_readers_of_the_formats_are_imported(tmp_path: Path) -> None:
    content = tmp_path / "x.png"
    content.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    code = (
        "import sys\n"
        "from cnnkit.data.image_files import *\n"
        "from cnnkit.data.image_limits import BadImageError\n"
        "try:\n"
        "    with opened_image(read_image_file(sys.argv[1])): pass\n"
        "except BadImageError as error: print(error)\n"
        "print(sorted(name for name in sys.modules if name.endswith('ImagePlugin')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(content)], capture_output=True, text=True, check=True
    )
    error, plugins = done.stdout.splitlines()
    assert error == "not an image in a format that cnnkit reads"
    allowed = {f"PIL.{name}ImagePlugin" for name in
               ("Bmp", "Gif", "Jpeg", "Png", "Ppm", "Tiff", "WebP", "Avif", "Mpo")}  # fmt: skip
    assert set(ast.literal_eval(plugins)) <= allowed


def test_suffixes_are_those_of_the_formats() -> None:
    """As far as Pillow knows them; each suffix belongs to one format."""
    Image.init()
    for name, suffixes in FORMATS.items():
        if name == "HEIF":  # of another package
            continue
        for suffix in suffixes:
            known = Image.EXTENSION.get(suffix)
            assert known in (name, "MPO" if name == "JPEG" else name), suffix
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)


@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("AVIF", "HEIF")])
def test_every_format_is_read(form: str) -> None:
    with opened_image(encode(COLOUR, form)) as image:
        assert (image.format, image.size) == (form, (24, 20))


@pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow reads no AVIF")
def test_avif_is_read() -> None:
    with opened_image(encode(COLOUR, "AVIF")) as image:
        assert image.format == "AVIF"


def test_a_format_that_this_pillow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_known_formats", lambda: ("PNG",))
    monkeypatch.setattr(features, "check", lambda name: False)
    assert reason(encode(COLOUR, "WEBP")) == (
        "a WEBP file, which this build of Pillow does not read"
    )


def test_a_flipped_bit_of_a_png_is_found() -> None:
    content = encode(COLOUR, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    assert reason(content) == ""
    for bit in range(0, 8 * len(content), 7):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert reason(bytes(changed)), bit


def test_a_flipped_bit_of_a_deflated_tiff_is_found() -> None:
    content = encode(COLOUR, "TIFF", compression="tiff_adobe_deflate")
    with opened_image(content) as image:
        tags = vars(image)["tag_v2"]
        start, length = tags[273][0], tags[279][0]
    assert reason(content) == ""
    for bit in range(8 * start, 8 * (start + length), 5):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        # The last bits of a stream may fill its last byte, and then mean nothing.
        assert reason(bytes(changed)) or pixels_of(bytes(changed)) == pixels_of(content), bit


def test_damage_of_an_image_within_a_truncating_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user's own code has set in Pillow does not make half an image a whole one."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = encode(COLOUR, "BMP")
    assert reason(content[: len(content) // 2]) == "cut short"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def make_no_file(path: Path, kind: str) -> None:
    match kind:
        case "a pipe, not a file":
            os.mkfifo(path)
        case "a socket, not a file":
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.relpath(path))  # its whole path may be too long
        case "a device, not a file":
            path.symlink_to("/dev/zero")
        case "a folder, not a file":
            path.mkdir()
        case "too many levels of symbolic links":
            path.symlink_to(path)
        case "no such file or directory":
            path.symlink_to(path.parent / "nothing")


NO_FILES = (
    "a pipe, not a file", "a socket, not a file", "a device, not a file", "a folder, not a file",
    "too many levels of symbolic links", "no such file or directory",
)  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has none of these")
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    make_no_file(tmp_path / "x.png", kind)
    for read in (read_image_file, read_header):
        with pytest.raises(BadImageError, match=f"^{kind}$"):
            read(str(tmp_path / "x.png"))


def test_a_file_of_ten_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(10 * 10**9)
    expected = "refused: 10,000,000,000 bytes, more than 134,217,728; allow_large reads it"
    with pytest.raises(BadImageError, match=expected):
        read_image_file(path)
    with pytest.raises(BadImageError, match=expected):
        read_header(str(path))


def test_a_file_that_is_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of /proc are, whose size is 0."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("there is no /proc here")
    assert read_image_file(path).startswith(b"Name:")
    monkeypatch.setattr(image_limits, "MAX_FILE_BYTES", 100)
    with pytest.raises(BadImageError, match="more than 100; allow_large"):
        read_image_file(path)
    assert len(read_image_file(path, allow_large=True)) > 100


def test_headers_are_those_of_the_images(tmp_path: Path) -> None:
    for number, (form, options) in enumerate(
        [("JPEG", {}), ("PNG", {}), ("TIFF", {}), ("JPEG", {"exif": b"Exif\0\0" + bytes(60_000)})]
    ):
        (tmp_path / str(number)).write_bytes(encode(COLOUR, form, **options))
        assert read_header(str(tmp_path / str(number))) == ("RGB", (20, 24))
    deep = encode(Image.fromarray(np.zeros((300, 300), np.uint16)))
    (tmp_path / "deep").write_bytes(deep)
    assert read_header(str(tmp_path / "deep")) == ("I;16", (300, 300))


def test_limits_on_resized_images() -> None:
    check_resized((1, 300), (224, 67_200), False)
    with pytest.raises(BadImageError, match=re.escape(
        "refused: 1 x 65,500 pixels, resized to 224 x 14,672,000, more than 89,478,485; "
        "allow_large reads it"
    )):  # fmt: skip
        check_resized((1, 65_500), (224, 14_672_000), False)
    check_resized((1, 65_500), (224, 14_672_000), True)


def test_pillows_own_settings_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1234)
    before = list(warnings.filters)
    with pillow_limits(False):
        assert Image.MAX_IMAGE_PIXELS == image_limits.MAX_PIXELS
        with pillow_limits(True):
            assert Image.MAX_IMAGE_PIXELS is None
        assert Image.MAX_IMAGE_PIXELS == image_limits.MAX_PIXELS
        with opened_image(encode(COLOUR)) as image:
            image.load()
    assert Image.MAX_IMAGE_PIXELS == 1234
    assert list(warnings.filters) == before


def test_large_images_wait_for_each_other() -> None:
    """Each takes more than half of the room, so never two of them are decoded at once."""
    inside, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with one_image():
            reserve(image_limits.MAX_DECODING_BYTES * 2 // 3)
            reserve(image_limits.MAX_DECODING_BYTES)  # of the same image, and taken already
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert (inside, most) == (0, 1)
    with one_image():  # and all is given back
        reserve(image_limits.MAX_DECODING_BYTES)


def test_a_thread_that_is_not_wanted_any_more_stops_in_the_middle_of_an_image() -> None:
    stopped = threading.Event()
    seen: list[BaseException] = []

    def work() -> None:
        stop_with(stopped)
        try:
            with opened_image(encode(Image.fromarray(noise(0, 300, 300)))) as image:
                stopped.set()
                image.load()
        except StoppedError as error:
            seen.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(seen) == 1
