"""The pixel layout of TIFF files, and checks that Pillow and libtiff omit."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cnnkit.data.image_limits import BadImageError, check_stopped, too_large

MAX_TAG_NUMBERS = 2**20
"""Maximum number of values in the tags of a TIFF file unless allowed."""

MAX_CHANNELS = 4
SPARE_BYTES = 2**16
CHUNK_BYTES = 2**18

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_STARTS, ORIENTATION, SAMPLES, ROWS, STRIP_LENGTHS = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_STARTS, TILE_LENGTHS = 284, 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
WANTED = (
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_STARTS, ORIENTATION, SAMPLES,
    ROWS, STRIP_LENGTHS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_STARTS, TILE_LENGTHS,
    EXTRA_SAMPLES, SAMPLE_FORMAT,
)  # fmt: skip

NOT_PACKED, ADOBE_DEFLATE, DEFLATE = 1, 8, 32946
JPEGS = (6, 7)  # compressions
COMPRESSIONS = (
    1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000, 50001,
)  # fmt: skip
"""Those that Pillow knows."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
NUM_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
SIGNED, FLOAT = 2, 3
SEPARATE = 2
PREMULTIPLIED = 1

UNIT_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
}  # fmt: skip
TEXTS = (1, 2, 7)  # types of tags that stay bytes
UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class TiffLayout:
    """The pixel layout of a TIFF file, from the tags of its first directory.

    Attributes:
        order: of its bytes, `<` or `>`.
        tags: values by number, of the tags that matter here.
        has_several: whether a second directory, and so a second image, follows.
    """

    order: str
    tags: Mapping[int, tuple[int, ...]]
    has_several: bool = False

    def value(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        return (self.tags.get(tag) or (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.value(WIDTH, 0), self.value(HEIGHT, 0)

    @property
    def channels(self) -> int:
        """Values a pixel, alpha included."""
        return self.value(SAMPLES, 3 if self.is_jpeg else 1)

    @property
    def bits(self) -> int:
        """Bits of the widest value."""
        return max(self.tags.get(BITS) or (1,))

    @property
    def bits_a_pixel(self) -> int:
        """Bits of all values of a pixel, of which a complete strip may be unpacked."""
        return max(sum(self.tags.get(BITS) or (1,)), self.bits * self.channels)

    @property
    def is_jpeg(self) -> bool:
        """Whether its strips or tiles are JPEG files."""
        return self.value(COMPRESSION, NOT_PACKED) in JPEGS

    @property
    def orientation(self) -> int:
        """1 to 8."""
        value = self.value(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1

    @property
    def num_extra(self) -> int:
        """Values per pixel beside those of its color, such as alpha."""
        return self.channels - NUM_COLOURS.get(self.value(PHOTOMETRIC, 0), self.channels)

    @property
    def has_planes(self) -> bool:
        """Whether `cnnkit.data.tiff_planes` reads it: grayscale, RGB, CMYK, of 16 bits or apart."""
        is_apart = self.value(PLANAR, 1) == SEPARATE and self.channels > 1
        is_odd = self.value(PHOTOMETRIC, 0) == WHITE_IS_ZERO and self.channels > 1
        bits = set(self.tags.get(BITS, ()))
        return (
            (bits == {16} or (bits == {8} and (is_apart or is_odd)))
            and set(self.tags.get(SAMPLE_FORMAT, (1,))) == {1}
            and self.value(PHOTOMETRIC, 0) in NUM_COLOURS
            and 0 <= self.num_extra <= 1
            and self.channels <= MAX_CHANNELS
            and self.value(PREDICTOR, 1) in (1, 2)
            and not self.is_jpeg
            and min(self.size) > 0
        )

    @property
    def mode(self) -> str:
        """Mode of an image that `has_planes`, in Pillow's words."""
        base = {1: "L", 3: "RGB", 4: "CMYK"}[self.channels - self.num_extra]
        name = f"{base}{'A' * self.num_extra}"
        return name if self.bits == 8 else "I;16" if name == "L" else f"{name};16"

    def check(self) -> None:
        """Refuse pixels that have no range, or more channels than cnnkit takes.

        Raises:
            BadImageError: with the reason.
        """
        formats = self.tags.get(SAMPLE_FORMAT, ())
        if FLOAT in formats:
            raise BadImageError("floating-point pixels, whose range the file does not state")
        if SIGNED in formats:
            raise BadImageError("signed integers, whose range the file does not state")
        if self.bits > 16:
            raise BadImageError(f"{self.bits}-bit integers, whose range the file does not state")
        compression = self.value(COMPRESSION, NOT_PACKED)
        if compression not in COMPRESSIONS:
            raise BadImageError(f"a TIFF file of compression {compression}, {NOT_READ}")
        if self.channels > MAX_CHANNELS:
            raise BadImageError(f"a TIFF file with {self.channels} channels, {NOT_READ}")

    def __str__(self) -> str:
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{channels} of {self.bits} bits"


NOT_READ = "which cnnkit does not read"


def read_layout(content: bytes, allow_large: bool) -> TiffLayout | None:
    """Return the layout of a TIFF file; None where its first directory cannot be read.

    Raises:
        BadImageError: its tags would become very many numbers, or much memory; the former may be
            allowed.
    """
    order = "<" if content[:2] == b"II" else ">"
    pointer, inline = ("Q", 8) if 43 in content[2:4] else ("I", 4)
    tags: dict[int, tuple[int, ...]] = {}
    numbers = num_bytes = 0
    following: int | None = None
    with suppress(struct.error):  # it ends too early, as Pillow will say
        (place,) = struct.unpack_from(order + pointer, content, inline)
        (count,) = struct.unpack_from(order + ("Q" if inline == 8 else "H"), content, place)
        place += 8 if inline == 8 else 2
        for _ in range(min(count, MAX_TAG_NUMBERS)):
            tag, kind, length = struct.unpack_from(f"{order}HH{pointer}", content, place)
            value = place + 4 + inline
            place = value + inline
            size = length * UNIT_BYTES.get(kind, 0)
            if size > len(content):
                continue  # Pillow skips it, or reports that the file is too short
            num_bytes += size if size > inline else 0
            numbers += length if kind in UNIT_BYTES and kind not in TEXTS else 0
            is_refused = not allow_large and numbers > MAX_TAG_NUMBERS
            if tag in WANTED and kind in UNSIGNED and length and not is_refused:
                if size > inline:
                    (value,) = struct.unpack_from(order + pointer, content, value)
                tags[tag] = struct.unpack_from(f"{order}{length}{UNSIGNED[kind]}", content, value)
        (following,) = struct.unpack_from(order + pointer, content, place)
    if not allow_large and numbers > MAX_TAG_NUMBERS:
        raise BadImageError(too_large(f"{numbers:,} numbers in its tags", MAX_TAG_NUMBERS))
    if not allow_large and num_bytes > 2 * len(content) + SPARE_BYTES:
        raise BadImageError(f"damaged: its tags claim {num_bytes:,} bytes, more than the file")
    return TiffLayout(order, tags, bool(following)) if tags else None


def check_deflated(content: bytes, layout: TiffLayout) -> None:
    """Check the checksum of every deflated strip of a TIFF file, which libtiff leaves out.

    Raises:
        BadImageError: one is wrong, or a strip unpacks to far more than the image has.
    """
    if layout.value(COMPRESSION, NOT_PACKED) not in (ADOBE_DEFLATE, DEFLATE):
        return
    tags = layout.tags
    starts = tags.get(STRIP_STARTS) or tags.get(TILE_STARTS) or ()
    lengths = tags.get(STRIP_LENGTHS) or tags.get(TILE_LENGTHS) or (len(content),) * len(starts)
    allowed = 2**20 + 4 * math.prod(layout.size) * max(1, layout.bits_a_pixel // 8)
    view = memoryview(content)
    for start, length in zip(starts, lengths, strict=False):
        allowed -= _check_zlib(view[start : start + length], allowed)


def _check_zlib(packed: memoryview, allowed: int) -> int:
    """Unpack a zlib stream in small parts, up to its checksum, and return its length."""
    unpacker, number = zlib.decompressobj(), 0
    try:
        for place in range(0, len(packed), CHUNK_BYTES):
            check_stopped()
            part: bytes | memoryview = packed[place : place + CHUNK_BYTES]
            unpacked = CHUNK_BYTES
            while not unpacker.eof and (part or unpacked == CHUNK_BYTES):
                unpacked = len(unpacker.decompress(part, CHUNK_BYTES))
                part = unpacker.unconsumed_tail
                number += unpacked
                if number > allowed:
                    raise BadImageError("damaged: it unpacks to far more than its pixels")
            if unpacker.eof:
                break
    except zlib.error as error:
        is_checksum = "incorrect data check" in str(error)
        what = "wrong checksum of its pixels" if is_checksum else "its pixels cannot be unpacked"
        raise BadImageError(f"damaged: {what}") from error
    if not unpacker.eof:
        raise BadImageError("damaged: the end of its pixels is missing")
    return number
