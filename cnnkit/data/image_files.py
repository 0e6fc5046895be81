"""Opening image files: formats, limits, checks, and why a file is bad.

Image files are not trusted here. Pillow is given the formats of `FORMATS` and no others, because
some of its readers start programs; the memory of an image is known before it is decoded; and
whatever goes wrong is a `BadImageError` with a reason.
"""

from __future__ import annotations

import functools
import io
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnkit.data.image_limits import (
    MAX_PIXELS,
    UNCOUNTED_BYTES,
    BadImageError,
    StoppedError,
    check_file_size,
    check_size,
    check_stopped,
    one_image,
    reserve,
    reserve_file,
    too_large,
)
from cnnkit.data.orientation import SIDEWAYS, image_orientation
from cnnkit.data.png import checked_png
from cnnkit.data.tiff import NOT_READ, TiffLayout, check_deflated, read_layout
from cnnkit.system.files import open_regular

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
    "HEIF": (".heic", ".heif"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""The formats that are read, by Pillow's names, and the suffixes of their files.

HEIF takes pi-heif, which is an extra; without it the error for such a file names the extra.
"""

IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

HEADER_BYTES = 2**16
"""Bytes read from the beginning of a file if only its header is needed."""

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
SECOND_SCAN = b"\xff\xda"  # of a JPEG file
EXIF_OF_PNG = b"eXIf"
FRAME_BYTES = {"WEBP": 20, "AVIF": 16, "HEIF": 16}
"""Measured bytes per pixel: frames, canvases and copies of them."""

AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
BRAND_BYTES = 256  # of a file, which hold the names of its brands
WITHOUT_HEIF = "a HEIC file; to read it, pip install 'cnnkit[heic]'"


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
        reserve_file(size)
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    whole = io.BytesIO()  # the file grows, or its size is unknown
    while content:
        whole.write(content)
        if not allow_large:
            check_file_size(whole.tell())
        content = os.read(handle, CHUNK_BYTES)
    return whole.getvalue()


def os_reason(error: OSError) -> str:
    """Return why a file cannot be read, for a list."""
    return (error.strerror or str(error)).lower()


@contextmanager
def opened_image(
    content: bytes,
    allow_large: bool = False,
    covering: tuple[int, int] | None = None,
    upright: bool = True,
) -> Iterator[ImageFile.ImageFile]:
    """Yield the image in the bytes of a file, not decoded yet: its first frame, if it has several.

    Read its pixels inside the block: damage is found only then.

    Args:
        content: the bytes of the file.
        allow_large: open what is above the limits as well.
        covering: width and height that it will be reduced to; JPEG files may then be decoded at
            1/2, 1/4 or 1/8 of their size, where that still covers.
        upright: whether it will be turned as its EXIF asks before it is reduced.

    Raises:
        BadImageError: it is no image in one of `FORMATS`, is damaged, or is too large.
    """
    if not content:
        raise BadImageError("empty: 0 bytes")
    from PIL import Image

    with explained(content), pillow_limits(allow_large):
        layout = tiff_layout(content, allow_large)
        if signature(content) == "PNG":
            content = checked_png(content)
        with Image.open(_file_of(content), formats=_known_formats()) as image:
            if not allow_large:
                check_size(image.size, _decoding_bytes(image, content, layout))
            if covering is not None and image.format == "JPEG":
                sideways = upright and image_orientation(image) in SIDEWAYS
                image.draft(None, covering[::-1] if sideways else covering)
            reserve(_decoding_bytes(image, content, layout))
            if layout is not None:
                check_deflated(content, layout)
            yield image


def tiff_layout(content: bytes, allow_large: bool) -> TiffLayout | None:
    """Return the pixel layout of a TIFF file; None for other files.

    Raises:
        BadImageError: cnnkit does not read such a TIFF file, or its tags are too many.
    """
    if signature(content) != "TIFF":
        return None
    layout = read_layout(content, allow_large)
    if layout is not None:
        layout.check()
    return layout


@contextmanager
def explained(content: bytes) -> Iterator[None]:
    """Turn whatever goes wrong while an image is decoded into a `BadImageError` with a reason.

    Args:
        content: the bytes of the file.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
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
    """Return mode and (height, width) of an image file, upright, without decoding it.

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
        return header_of(content, allow_large)


def header_of(content: bytes, allow_large: bool = False) -> tuple[str, tuple[int, int]]:
    """Return mode and (height, width) of an image, upright, from the bytes of its file.

    Raises:
        BadImageError: its header cannot be read.
    """
    layout = tiff_layout(content, allow_large)
    if layout is not None and layout.has_planes:
        mode, size, orientation = layout.mode, layout.size, layout.orientation
    else:
        with opened_image(content, allow_large) as image:
            if image.format == "PNG" and EXIF_OF_PNG in content:
                image.load()  # it may be at the end
            mode, size, orientation = image.mode, image.size, image_orientation(image)
            if layout is not None:
                size, orientation = layout.size, layout.orientation
    return mode, size if orientation in SIDEWAYS else size[::-1]


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


def has_several_frames(image: ImageFile.ImageFile) -> bool:
    """Return whether an image that is not decoded yet is the first of several in its file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first frame does not matter
        return False


def signature(content: bytes) -> str | None:
    """Return the format that the first bytes of a file indicate."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        length = min(int.from_bytes(content[:4], "big"), BRAND_BYTES)
        brands = {content[place : place + 4] for place in range(8, length, 4)}
        if not brands.isdisjoint(AVIF_BRANDS):
            return "AVIF"
        return None if brands.isdisjoint(HEIF_BRANDS) else "HEIF"
    return next((form for start, form in SIGNATURES if content.startswith(start)), None)


def _file_of(content: bytes) -> io.BytesIO:
    """Return the bytes of an image file as a file; small ones are read so fast that none stops."""
    return _Content(content) if len(content) > HEADER_BYTES else io.BytesIO(content)


class _Content(io.BytesIO):
    """The bytes of an image file; reading stops once they are no longer wanted."""

    def read(self, size: int | None = -1, /) -> bytes:
        check_stopped()
        return super().read(size)


class _PillowLimits:
    """Pillow's global settings while several threads decode."""

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
        warnings.simplefilter("ignore")  # odd metadata does not matter here

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

    `opened_image` does so for every image; to open many, do it once around them.
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
    with suppress(ImportError):  # an extra
        import_module("pi_heif").register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decoding_bytes(image: ImageFile.ImageFile, content: bytes, layout: TiffLayout | None) -> int:
    """Return about how much memory it takes to decode an image and convert it."""
    pixels = math.prod(image.size)
    if pixels * max(FRAME_BYTES.values()) <= UNCOUNTED_BYTES:
        return 0  # unknown format
    bands = len(image.getbands())
    kept = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    needed = kept if image.mode in ("L", "RGB") else kept + 4
    codec = image.tile[0].codec_name if image.tile else ""
    if image.format in FRAME_BYTES:
        needed = FRAME_BYTES[image.format]
    elif codec == "jpeg" and has_several_scans(content):
        needed = max(needed, kept + 2 * bands)
    elif layout is not None:
        # A complete strip may be unpacked at once, and Pillow turns it as its orientation says.
        needed = max(needed, kept + max(kept, math.ceil(layout.bits_a_pixel / 8)))
    elif codec not in ("jpeg", "zip", "raw", "gif"):  # decoders that are written in Python
        needed = max(needed, kept + 2 * bands * (4 if image.mode == "I" else 1))
    if is_16_bit_colour(image):
        needed = max(needed, 20)  # with its channels apart, of 16 bits each
    elif "exif" in image.info or EXIF_OF_PNG in content:  # it may have to be turned
        needed = max(needed, 2 * kept if image.mode in ("L", "RGB") else 8)
    return pixels * needed


def is_16_bit_colour(image: ImageFile.ImageFile) -> bool:
    """Return whether a file that is not decoded yet has 16 bits a channel where Pillow has 8."""
    return not image.mode.startswith("I") and ";16" in _raw_mode(image)


def own_mode(image: ImageFile.ImageFile) -> str:
    """Return the mode of a file that is not decoded yet, with the 16 bits that Pillow hides."""
    if image.tile and image.tile[0].codec_name == "ppm":  # by mode and largest value
        maximum: Any = image.tile[0].args
        return f"{image.mode};16" if maximum[1] > 255 else image.mode
    return _raw_mode(image).rstrip("BLNS") if is_16_bit_colour(image) else image.mode


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how Pillow will take the bytes of a file; empty once it is decoded."""
    arguments: Any = image.tile[0].args if image.tile else ""
    if isinstance(arguments, tuple | list):
        arguments = arguments[0] if arguments else ""
    return str(arguments)


def has_several_scans(content: bytes) -> bool:
    """Return whether a JPEG file is progressive or the like: all of it is kept while decoding."""
    return content.count(SECOND_SCAN) > 1


def _unidentified(content: bytes) -> str:
    form = signature(content)
    if form is None:
        return "not an image in a format that cnnkit reads"
    from PIL import Image, features

    if form == "HEIF" and form not in Image.OPEN:
        return WITHOUT_HEIF
    if form in ("WEBP", "AVIF") and not features.check(form.lower()):
        return f"{_article(form)} {form} file, which this build of Pillow does not read"
    layout = read_layout(content, allow_large=True) if form == "TIFF" else None
    if layout is not None and min(layout.size) > 0:
        return f"a TIFF file with {layout}, {NOT_READ}"
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


def _article(form: str) -> str:
    return "an" if form == "AVIF" else "a"
