"""Fingerprints of images to find duplicates: about a kilobyte each."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cnnkit.data.decode import Pixels, to_8_bits
from cnnkit.data.tiff_planes import strips
from cnnkit.stats.inspection.grey import to_grey

THUMBNAIL_SIDE = 32
HASH_MARGIN = 4
"""A neighbor counts as brighter from this many of 255 levels on: noise in an even area, such as
that of a JPEG, must not set bits."""

FILTER = Image.Resampling.BILINEAR  # antialiased, as Pillow's filters are


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of an image.

    Attributes:
        name: its path or display name.
        label: the name of its class; None where it has none.
        split: the split that it is in.
        file_digest: SHA-256 of the file; None for images that come from no file of their own.
        pixel_digest: SHA-256 of size and pixels; grayscale counts as equal channels.
        difference_hash: 64 bits; see `difference_hash`.
        width: in pixels.
        height: in pixels.
        color: mean of red, green and blue, rounded down.
        thumbnail: gray levels, row by row; see `shrink`.
    """

    name: str
    label: str | None
    split: str
    file_digest: bytes | None
    pixel_digest: bytes
    difference_hash: int
    width: int
    height: int
    color: tuple[int, int, int]
    thumbnail: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def thumbnail_size(self) -> tuple[int, int]:
        """Width and height of the thumbnail."""
        return shrunken_size(self.size)


class FingerprintCollector:
    """Gathers fingerprints while images are decoded; several threads may add to it.

    The order in which images are added does not matter.
    """

    def __init__(self) -> None:
        self.fingerprints: list[Fingerprint] = []

    def __len__(self) -> int:
        return len(self.fingerprints)

    def add(
        self,
        name: str,
        pixels: Pixels,
        *,
        label: str | None,
        split: str,
        content: bytes | None,
    ) -> None:
        """Add the fingerprint of an image.

        Args:
            name: its path or display name.
            pixels: the decoded image.
            label: the name of its class; None where it has none.
            split: the split that it is in.
            content: the bytes of its file; None where it comes from no file of its own.
        """
        taken = take_fingerprint(name, pixels, label=label, split=split, content=content)
        self.fingerprints.append(taken)  # which is atomic

    def extend(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Add fingerprints that were taken elsewhere."""
        self.fingerprints.extend(fingerprints)


def take_fingerprint(
    name: str,
    pixels: Pixels,
    *,
    label: str | None,
    split: str,
    content: bytes | None,
) -> Fingerprint:
    """Return the fingerprint of an image; see `FingerprintCollector.add`."""
    image = to_8_bits(pixels)
    grey = to_grey(image)
    return Fingerprint(
        name=name,
        label=label,
        split=split,
        file_digest=None if content is None else hashlib.sha256(content).digest(),
        pixel_digest=_pixel_digest(pixels),
        difference_hash=difference_hash(grey),
        width=image.width,
        height=image.height,
        color=_mean_color(image),
        thumbnail=shrink(grey).tobytes(),
    )


def difference_hash(grey: Image.Image) -> int:
    """Return 64 bits: whether each pixel is brighter than its left neighbor, at 9 x 8 pixels.

    The image is resized with an antialiased bilinear filter, and a neighbor must be brighter by
    more than `HASH_MARGIN` levels. The first bit, of the upper left corner, is the highest. After
    N. Krawetz, Kind of Like That, 2013, who compares without a margin.

    Args:
        grey: an image of mode `L`.
    """
    small = np.asarray(grey.resize((9, 8), FILTER)).astype(np.int16)
    brighter = small[:, 1:] - small[:, :-1] > HASH_MARGIN
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")


def shrink(grey: Image.Image) -> Image.Image:
    """Return a grayscale image with sides of at most `THUMBNAIL_SIDE`; its shape may change."""
    size = shrunken_size(grey.size)
    return grey if size == grey.size else grey.resize(size, FILTER)


def shrunken_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the thumbnail of an image of this width and height."""
    return min(size[0], THUMBNAIL_SIDE), min(size[1], THUMBNAIL_SIDE)


def _mean_color(image: Image.Image) -> tuple[int, int, int]:
    counts = np.array(image.histogram(), dtype=np.int64).reshape(-1, 256)  # counted in C
    red, *others = (counts @ np.arange(256) // (image.width * image.height)).tolist()
    green, blue = others or (red, red)
    return red, green, blue


def _pixel_digest(pixels: Pixels) -> bytes:
    if isinstance(pixels, Image.Image):
        digest = hashlib.sha256(f"8 bits {pixels.width}x{pixels.height}".encode())
        for _, strip in strips(pixels):
            digest.update((strip if strip.mode == "RGB" else strip.convert("RGB")).tobytes())
        return digest.digest()
    channels, height, width = pixels.shape
    digest = hashlib.sha256(f"16 bits {width}x{height}".encode())
    for channel in range(3):
        plane = pixels[channel if channels == 3 else 0]
        digest.update(np.ascontiguousarray(plane).astype("<u2").tobytes())
    return digest.digest()
