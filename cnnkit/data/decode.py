"""The one way to open an image file: its formats, its limits, its checks, and why a file is bad.

Files of others are not trusted here. Pillow is given the formats of `FORMATS` and no others, for
some of its readers start programs; what an image would take is known before it is decoded; and
whatever goes wrong is a `BadImageError` with a reason.
"""

from __future__ import annotations

import functools
import io
import math
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnkit.files import open_regular

if TYPE_CHECKING:  # listing a folder must not cost the import of Pillow
    from pathlib import Path

    from PIL import ImageFile

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""The formats that are read, by Pillow's names, and the suffixes of their files."""

IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

MAX_PIXELS = 89_478_485
"""More pixels in one image are refused unless allowed: Pillow's own limit, a quarter of 1 GiB."""

MAX_DECODING_BYTES = 8 * MAX_PIXELS
"""What decoding may take: enough for an image of `MAX_PIXELS` in colour that is converted once."""

MAX_FILE_BYTES = 2**27
"""Longer image files, and longer members of archives, are refused unless allowed: 128 MiB."""

MAX_TAG_NUMBERS = 2**20
"""More numbers in the tags of a TIFF file are refused unless allowed."""

UNCOUNTED_BYTES = 2**23
"""What takes less is decoded by any number of threads at once."""

HEADER_BYTES = 2**16
"""So much of a file is read at first where its header alone is wanted."""

CHUNK_BYTES = 2**18

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"P5", "PGM"),
    (b"P6", "PPM"),
    (b"GIF8", "GIF"),
)
PNG_HEAD_BYTES = 8
_PNG_CHUNK, _PNG_CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")
SECOND_SCAN = b"\xff\xda"  # of a JPEG file
UNCOUNTED_PIXELS = 2**18  # take no more than `UNCOUNTED_BYTES`, whatever they are
FRAME_BYTES = {"WEBP": 20, "AVIF": 16}  # a pixel, measured: frames, canvases and copies of them
TIFF_COMPRESSION, ADOBE_DEFLATE, DEFLATE = 259, 8, 32946
TIFF_STARTS, TIFF_LENGTHS = (273, 324), (279, 325)  # of strips and tiles
TIFF_BITS, TIFF_SAMPLES = 258, 277
TIFF_UNITS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
}  # fmt: skip
TIFF_TEXTS = (1, 2, 7)  # types of tags that stay bytes


class BadImageError(Exception):
    """A file that is no image, is damaged, or is too large; the message is the reason."""


class StoppedError(Exception):
    """What a thread decodes is not wanted any more."""


def read_image_file(path: str | Path, allow_large: bool = False) -> bytes:
    """Return the bytes of an image file.

    Args:
        path: the file.
        allow_large: read more than `MAX_FILE_BYTES` as well.

    Raises:
        BadImageError: it cannot be opened or read, is no regular file, or is too long.
    """
    try:
        handle = open_regular(path)
        try:
            return _read_all(handle, os.fstat(handle).st_size, allow_large)
        finally:
            os.close(handle)
    except OSError as error:
        raise BadImageError(os_reason(error)) from error
    except MemoryError as error:
        raise BadImageError("does not fit in memory") from error


def _read_all(handle: int, size: int, allow_large: bool) -> bytes:
    if size > UNCOUNTED_BYTES:
        if not allow_large:
            check_file_size(size)
        _take(_FILES, size)
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    whole = io.BytesIO()  # it grows, or the system does not know its size
    while content:
        whole.write(content)
        if not allow_large:
            check_file_size(whole.tell())
        content = os.read(handle, CHUNK_BYTES)
    return whole.getvalue()


def check_file_size(size: int) -> None:
    """Refuse an image file of so many bytes.

    Raises:
        BadImageError: they are more than `MAX_FILE_BYTES`.
    """
    if size > MAX_FILE_BYTES:
        raise BadImageError(too_large(f"{size:,} bytes", MAX_FILE_BYTES))


def too_large(what: str, limit: int | str) -> str:
    """Return the reason of what is above a limit: what it has, the limit, and the option."""
    shown = f"{limit:,}" if isinstance(limit, int) else limit
    return f"refused: {what}, more than {shown}; --allow-large reads it"


def os_reason(error: OSError) -> str:
    """Return why a file cannot be read, for a list."""
    return (error.strerror or str(error)).lower()


@contextmanager
def opened_image(
    content: bytes, allow_large: bool = False, covering: tuple[int, int] | None = None
) -> Iterator[ImageFile.ImageFile]:
    """Give the image in the bytes of a file, not decoded yet: its first frame, if it has several.

    What reads it further belongs into the block, for damage is found only then.

    Args:
        content: the bytes of the file.
        allow_large: open what is above the limits as well.
        covering: width and height that it will be reduced to; JPEG files may then be decoded at
            1/2, 1/4 or 1/8 of their size, where that still covers.

    Raises:
        BadImageError: it is no image in one of `FORMATS`, is damaged, or is too large.
    """
    if not content:
        raise BadImageError("empty: 0 bytes")
    from PIL import Image, UnidentifiedImageError

    try:
        with pillow_limits(allow_large):
            form = signature(content)
            if form == "PNG":
                _check_png(content)
            elif form == "TIFF" and not allow_large:
                _check_tags(content)
            with Image.open(_file_of(content), formats=_known_formats()) as image:
                _check_size(image, content, allow_large)
                if covering is not None and image.format == "JPEG":
                    image.draft(None, covering)
                if math.prod(image.size) > UNCOUNTED_PIXELS:
                    reserve(_decoding_bytes(image, content))
                if image.format == "TIFF":
                    _check_deflated(image, content)
                yield image
    except (BadImageError, StoppedError):
        raise
    except Image.DecompressionBombError as error:
        number = re.search(r"[0-9]+", str(error))
        pixels = f"{int(number[0]):,} pixels" if number else "too many pixels"
        raise BadImageError(too_large(pixels, MAX_PIXELS)) from error
    except UnidentifiedImageError as error:
        raise BadImageError(_unidentified(content)) from error
    except MemoryError as error:
        raise BadImageError("does not fit in memory") from error
    except Exception as error:  # Pillow's readers raise whatever a broken file makes of them
        raise BadImageError(_reason(content, error)) from error


def read_header(path: str, allow_large: bool = False) -> tuple[str, tuple[int, int]]:
    """Return mode and (height, width) of an image file, without decoding it.

    Raises:
        BadImageError: its header cannot be read.
    """
    from cnnkit.data.loading.jpeg import plain_frame

    with one_image():
        content = read_start(path, HEADER_BYTES)
        frame = plain_frame(content)
        if frame is not None:
            return frame[2], (frame[1], frame[0])
        if len(content) == HEADER_BYTES:
            content = read_image_file(path, allow_large)
        with opened_image(content, allow_large) as image:
            return image.mode, (image.height, image.width)


def read_start(path: str | Path, number: int) -> bytes:
    """Return the first bytes of a regular file.

    Raises:
        BadImageError: it cannot be opened or read, or is no regular file.
    """
    try:
        handle = open_regular(path)
        try:
            return os.read(handle, number)
        finally:
            os.close(handle)
    except OSError as error:
        raise BadImageError(os_reason(error)) from error


def check_resized(
    size: tuple[int, int], new_size: tuple[int, int], allow_large: bool, weight: int = 1
) -> None:
    """Refuse to resize an image to more pixels than one may have; its own count half.

    Args:
        size: width and height.
        new_size: width and height that it would have.
        allow_large: refuse nothing.
        weight: how often a new pixel counts.

    Raises:
        BadImageError: they are more than `MAX_PIXELS`.
    """
    if not allow_large and weight * math.prod(new_size) + math.prod(size) // 2 > MAX_PIXELS:
        told = f"{_by(size)} pixels, resized to {_by(new_size)}"
        raise BadImageError(too_large(told, MAX_PIXELS))


def has_several_frames(image: ImageFile.ImageFile) -> bool:
    """Return whether an image that is not decoded yet is the first of several in its file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first frame is damaged, and is not wanted
        return False


def signature(content: bytes) -> str | None:
    """Return the format that a file begins like."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((form for start, form in SIGNATURES if content.startswith(start)), None)


class _Room:
    """Memory that large images share, whatever thread they are in.

    Each takes from a room once, and from that of files before that of pixels, so that no two wait
    for each other. One that needs all of a room, or more, waits until it is alone.
    """

    def __init__(self, num_bytes: int) -> None:
        self._freed = threading.Condition()
        self._size = num_bytes
        self._taken = 0

    def take(self, num_bytes: int) -> None:
        with self._freed:
            while self._taken and self._taken + num_bytes > self._size:
                self._freed.wait()
            self._taken += num_bytes

    def give_back(self, num_bytes: int) -> None:
        with self._freed:
            self._taken -= num_bytes
            self._freed.notify_all()


_FILES, _PIXELS = _Room(MAX_FILE_BYTES), _Room(MAX_DECODING_BYTES)
_of_thread = threading.local()


@contextmanager
def one_image() -> Iterator[None]:
    """Read and decode one image in the block; where it is large, other threads wait with theirs."""
    taken: dict[_Room, int] = {}
    _of_thread.taken = taken
    try:
        yield
    finally:
        _of_thread.taken = None
        for room, num_bytes in taken.items():
            room.give_back(num_bytes)


def reserve(num_bytes: int) -> None:
    """Wait until there is room to decode a large image; `one_image` gives it back at its end."""
    _take(_PIXELS, num_bytes)


def _take(room: _Room, num_bytes: int) -> None:
    taken = getattr(_of_thread, "taken", None)
    if num_bytes > UNCOUNTED_BYTES and taken is not None and room not in taken:
        room.take(num_bytes)
        taken[room] = num_bytes


def stop_with(stopped: threading.Event) -> None:
    """Let this thread end what it decodes once the event is set; it is a pool's initializer."""
    _of_thread.stopped = stopped


def check_stopped() -> None:
    """End what this thread does, if it is not wanted any more.

    Raises:
        StoppedError: the event of `stop_with` is set.
    """
    stopped = getattr(_of_thread, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise StoppedError


def _file_of(content: bytes) -> io.BytesIO:
    """Return the bytes of an image file as a file; small ones are read so fast that none stops."""
    return _Content(content) if len(content) > HEADER_BYTES else io.BytesIO(content)


class _Content(io.BytesIO):
    """The bytes of an image file; reading them ends where they are not wanted any more."""

    def read(self, size: int | None = -1, /) -> bytes:
        check_stopped()
        return super().read(size)


class _PillowLimits:
    """What Pillow's own settings are while several threads decode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = {False: 0, True: 0}
        self._before: tuple[int | None, bool] = (None, False)
        self._warnings = warnings.catch_warnings()

    def enter(self, allow_large: bool) -> None:
        with self._lock:
            if not any(self._users.values()):
                self._begin()
            self._users[allow_large] += 1
            self._set()

    def leave(self, allow_large: bool) -> None:
        with self._lock:
            self._users[allow_large] -= 1
            self._set()
            if not any(self._users.values()):
                self._end()

    def _begin(self) -> None:
        from PIL import Image, ImageFile

        self._before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")  # odd metadata, which is no matter here

    def _set(self) -> None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None if self._users[True] else MAX_PIXELS

    def _end(self) -> None:
        from PIL import Image, ImageFile

        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = self._before
        self._warnings.__exit__(None, None, None)


_PILLOW_LIMITS = _PillowLimits()


@contextmanager
def pillow_limits(allow_large: bool) -> Iterator[None]:
    """Give Pillow this module's limits, in all threads, and keep it from warning of metadata.

    `opened_image` does so for every image; who opens many does it once around them.
    """
    _PILLOW_LIMITS.enter(allow_large)
    try:
        yield
    finally:
        _PILLOW_LIMITS.leave(allow_large)


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Return the formats that this Pillow reads, with their readers imported and no others."""
    from PIL import Image

    Image.preinit()
    for module in ("TiffImagePlugin", "WebPImagePlugin", "AvifImagePlugin"):
        with suppress(ImportError):  # a Pillow that was built without it
            import_module(f"PIL.{module}")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(image: ImageFile.ImageFile, content: bytes, allow_large: bool) -> None:
    if allow_large:
        return
    if math.prod(image.size) > MAX_PIXELS:
        raise BadImageError(too_large(f"{_by(image.size)} pixels", MAX_PIXELS))
    if math.prod(image.size) <= UNCOUNTED_PIXELS:
        return
    needed = _decoding_bytes(image, content)
    if needed > MAX_DECODING_BYTES:
        told = f"{_by(image.size)} pixels take {needed:,} bytes to decode"
        raise BadImageError(too_large(told, MAX_DECODING_BYTES))


def _decoding_bytes(image: ImageFile.ImageFile, content: bytes) -> int:
    """Return about how much memory it takes to decode an image and convert it."""
    bands = len(image.getbands())
    kept = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    needed = kept if image.mode in ("L", "RGB") else kept + 4
    codec = image.tile[0].codec_name if image.tile else ""
    if image.format in FRAME_BYTES:
        needed = FRAME_BYTES[image.format]
    elif codec == "jpeg" and has_several_scans(content):
        needed = max(needed, kept + 2 * bands)
    elif image.format == "TIFF":
        # A whole strip may be unpacked at once, and Pillow turns it as its orientation says.
        needed = max(needed, kept + max(kept, math.ceil(_bits_of_tiff(image) / 8)))
    elif codec not in ("jpeg", "zip", "raw", "gif"):  # decoders that are written in Python
        needed = max(needed, kept + 2 * bands * (4 if image.mode == "I" else 1))
    if is_16_bit_colour(image):
        needed = max(needed, 20)  # with its channels apart, of 16 bits each
    return math.prod(image.size) * needed


def is_16_bit_colour(image: ImageFile.ImageFile) -> bool:
    """Return whether a file that is not decoded yet has 16 bits a channel where Pillow has 8."""
    if image.mode.startswith("I") or not image.tile:
        return False
    arguments: Any = image.tile[0].args
    raw = arguments[0] if isinstance(arguments, tuple | list) and arguments else arguments
    return ";16" in str(raw)


def _bits_of_tiff(image: ImageFile.ImageFile) -> int:
    """Return how many bits a pixel has in a TIFF file, of which a whole strip may be unpacked."""
    tags = vars(image)["tag_v2"]
    bits = tags.get(TIFF_BITS, (1,))
    samples = tags.get(TIFF_SAMPLES, 1)
    return int(max(sum(bits), max(bits) * samples))


def has_several_scans(content: bytes) -> bool:
    """Return whether a JPEG file is progressive or the like: all of it is kept while decoding."""
    return content.count(SECOND_SCAN) > 1


def _check_png(content: bytes) -> None:
    """Check the checksum of every chunk of a PNG file, of which Pillow leaves out some.

    Raises:
        BadImageError: one is wrong, or the end is missing.
    """
    view = memoryview(content)
    place, end = PNG_HEAD_BYTES, len(content)
    while place + 12 <= end:
        length, kind = _PNG_CHUNK.unpack_from(content, place)
        stop = place + 8 + length
        if not kind.isalpha():
            raise BadImageError("damaged: one of its chunks has no name")
        if stop + 4 > end:
            break
        if zlib.crc32(view[place + 4 : stop]) != _PNG_CHECKSUM.unpack_from(content, stop)[0]:
            raise BadImageError(f"damaged: wrong checksum of its chunk {kind.decode('ascii')}")
        if kind == b"IEND":
            return
        place = stop + 4
    raise BadImageError("cut short: its end is missing")


def _check_tags(content: bytes) -> None:
    """Refuse a TIFF file whose first directory would become very many numbers, or much memory.

    Raises:
        BadImageError: it would.
    """
    order = "<" if content[:2] == b"II" else ">"
    is_big = 43 in content[2:4]
    head, entry, inline = ("Q", "HHQ8x", 8) if is_big else ("H", "HHI4x", 4)
    numbers = num_bytes = 0
    with suppress(struct.error):  # it ends too early, as Pillow will say
        (place,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", content, inline)
        (count,) = struct.unpack_from(f"{order}{head}", content, place)
        place += struct.calcsize(f"={head}")
        for _ in range(min(count, MAX_TAG_NUMBERS)):
            _, kind, length = struct.unpack_from(f"{order}{entry}", content, place)
            place += struct.calcsize(f"={entry}")
            size = length * TIFF_UNITS.get(kind, 0)
            if size > len(content):
                continue  # Pillow passes over it, or says that the file is too short
            num_bytes += size if size > inline else 0
            numbers += length if kind in TIFF_UNITS and kind not in TIFF_TEXTS else 0
    if numbers > MAX_TAG_NUMBERS:
        raise BadImageError(too_large(f"{numbers:,} numbers in its tags", MAX_TAG_NUMBERS))
    if num_bytes > 2 * len(content) + HEADER_BYTES:
        raise BadImageError(f"damaged: its tags have {num_bytes:,} bytes, more than the file")


def _check_deflated(image: ImageFile.ImageFile, content: bytes) -> None:
    """Check the checksum of every deflated strip of a TIFF file, which libtiff leaves out.

    Raises:
        BadImageError: one is wrong, or a strip unpacks to far more than the image has.
    """
    tags = vars(image)["tag_v2"]
    if tags.get(TIFF_COMPRESSION) not in (ADOBE_DEFLATE, DEFLATE):
        return
    starts, lengths = (
        next((tags[tag] for tag in both if tag in tags), ()) for both in (TIFF_STARTS, TIFF_LENGTHS)
    )
    starts = (starts,) if isinstance(starts, int) else starts
    lengths = (lengths,) if isinstance(lengths, int) else lengths or (len(content),) * len(starts)
    allowed = 2**20 + 4 * math.prod(image.size) * max(1, _bits_of_tiff(image) // 8)
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
        told = "wrong checksum of its pixels" if is_checksum else "its pixels cannot be unpacked"
        raise BadImageError(f"damaged: {told}") from error
    if not unpacker.eof:
        raise BadImageError("damaged: the end of its pixels is missing")
    return number


def _unidentified(content: bytes) -> str:
    form = signature(content)
    if form is None:
        return "no image in a format that cnnkit reads"
    from PIL import features

    if form in ("WEBP", "AVIF") and not features.check(form.lower()):
        return f"{_article(form)} {form} file, which this build of Pillow does not read"
    return f"{_article(form)} {form} file with a broken header"


def _reason(content: bytes, error: Exception) -> str:
    """Return why Pillow could not decode a file that it took for an image."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if any(word in text.lower() for word in ("truncated", "not enough", "unexpected end")):
        return "cut short"
    if signature(content) == "WEBP":
        promised = int.from_bytes(content[4:8], "little") + 8
        return "cut short" if len(content) < promised else "damaged"
    if "data stream" in text or "decoder error" in text:
        return "damaged: its pixels cannot be decoded"
    return f"damaged: {text}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"


def _article(form: str) -> str:
    return "an" if form == "AVIF" else "a"
