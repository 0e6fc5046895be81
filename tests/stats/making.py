"""Images and datasets that tests measure, and what NumPy makes of them in float64."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float64]


def noise(seed: int, height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Return uint8 of shape (height, width, channels), or without the last for one channel."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return (values // 2 + seed % 100).astype(np.uint8)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_of_16_bits(pixels: npt.NDArray[np.uint16]) -> bytes:
    """Return a PNG of uint16 of shape (height, width, channels); Pillow writes no colour ones."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def tiff_of_16_bits(pixels: npt.NDArray[np.uint16], order: str, compressed: bool) -> bytes:
    """Return a colour TIFF of uint16 of shape (height, width, 3); `order` is `<` or `>`."""
    height, width, _ = pixels.shape
    content = pixels.astype(f"{order}u2").tobytes()
    if compressed:
        content = zlib.compress(content)
    start = 8 + 2 + 10 * 12 + 4
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    short, long = 3, 4
    tags = (
        (256, short, 1, width), (257, short, 1, height), (258, short, 3, start),
        (259, short, 1, 8 if compressed else 1), (262, short, 1, 2),
        (273, long, 1, start + len(bits)), (277, short, 1, 3), (278, short, 1, height),
        (279, long, 1, len(content)), (284, short, 1, 1),
    )  # fmt: skip
    entries = b""
    for tag, kind, number, value in tags:
        packed = "HH" if kind == short and number == 1 else "I"
        values = (value, 0) if packed == "HH" else (value,)
        entries += struct.pack(f"{order}HHI{packed}", tag, kind, number, *values)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    head += struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return head + bits + content


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def small_set(num_images: int = 40, num_classes: int = 3) -> dict[str, bytes]:
    """Return PNG files of various sizes, grey and colour, by `class/number.png`."""
    files = {}
    for number in range(num_images):
        channels = 1 if number % 5 == 0 else 3
        pixels = noise(number, 3 + number % 7, 4 + number % 4, channels)
        files[f"c{number % num_classes}/{number:03d}.png"] = encode(Image.fromarray(pixels))
    return files


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))


def as_colour(image: Image.Image) -> Pixels:
    """Return float64 of shape (pixels, 3), grey spread over three channels, scale 0..1."""
    return np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.float64) / 255


def plain_figures(images: list[Pixels]) -> dict[str, Pixels]:
    """Return what NumPy computes in float64, each figure in the most direct way.

    Args:
        images: of shape (pixels, C), scale 0..1.
    """
    every = np.concatenate(images)
    means = np.stack([one.mean(0) for one in images])
    squares = np.stack([(one**2).mean(0) for one in images])
    return {
        "mean": every.mean(0),
        "std": every.std(0),
        "mean_of_image_means": means.mean(0),
        "mean_of_image_stds": np.stack([one.std(0) for one in images]).mean(0),
        "weighted_std": np.sqrt(squares.mean(0) - means.mean(0) ** 2),
    }
