"""From the bytes of an image file to its pixels, whole, at their own depth, and what was odd."""

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnnkit.data.decode import (
    MAX_PIXELS,
    BadImageError,
    has_several_frames,
    is_16_bit_colour,
    opened_image,
)
from cnnkit.data.loading.jpeg import Canvas, decode_plain_jpeg

ORIENTATION_TAG = 274  # of EXIF
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
STRIP_PIXELS = 2**20  # copied at once
PALETTE = "palette expanded"
ALPHA = "alpha dropped"
CONVERTED = "converted to RGB"
REDUCED = "16 bits reduced to 8"
FIRST_FRAME = "first of several frames"


@dataclass(frozen=True)
class DecodedImage:
    """The pixels of an image file, and what the file says about itself.

    Attributes:
        image: 8 bits: a Pillow image of mode `L` or `RGB`; None for 16 bits.
        planes: 16 bits: uint16 of shape (C, H, W), C = 1 or 3; None for 8 bits.
        mode: the file's own mode, in Pillow's words; of 16-bit colour `RGB;16` and the like.
        form: its format, such as `JPEG`.
        width: in pixels, as stored.
        height: in pixels, as stored.
        is_oriented: whether EXIF asks viewers to turn or mirror it.
        changes: what was done to the pixels beside decoding, such as `alpha dropped`.
    """

    image: Image.Image | None
    planes: npt.NDArray[np.uint16] | None
    mode: str
    form: str
    width: int
    height: int
    is_oriented: bool
    changes: tuple[str, ...] = ()


def decode(content: bytes, allow_large: bool = False, canvas: Canvas | None = None) -> DecodedImage:
    """Decode an image file, whole.

    A palette is expanded, alpha dropped, CMYK and its like converted, each by Pillow; 16 bits stay
    16 bits, except in colour PPM files. The EXIF orientation is ignored. Of several frames the
    first is taken.

    Args:
        content: the bytes of the file.
        allow_large: decode what is above the limits of `cnnkit.data.decode` as well.
        canvas: memory for the pixels; then they last until it is used again.

    Raises:
        BadImageError: the file is no image, is cut short or damaged, or is too large.
    """
    plain = decode_plain_jpeg(content, MAX_PIXELS, canvas)
    if plain is not None:
        return DecodedImage(plain, None, plain.mode, "JPEG", *plain.size, is_oriented=False)
    with opened_image(content, allow_large) as opened:
        width, height = opened.size
        form = "JPEG" if opened.format == "MPO" else opened.format or "unknown"
        mode = _own_mode(opened)
        # Pillow turns TIFF files as they ask for, and forgets it; of PNG files the end tells.
        orientation = _orientation(opened) if form == "TIFF" else None
        if orientation in SIDEWAYS:
            width, height = height, width
        changes: tuple[str, ...] = (FIRST_FRAME,) if has_several_frames(opened) else ()
        image: Image.Image | None = None
        planes: npt.NDArray[np.uint16] | None
        if is_16_bit_colour(opened) and form in ("PNG", "TIFF"):
            every = _planes_of_16_bits(opened, mode, content, allow_large)
            has_alpha = mode in ("LA;16", "RGBA;16")
            planes = every[:-1] if has_alpha else every
            changes += (ALPHA,) if has_alpha else ()
        else:
            opened.load()
            image, planes, more = _pixels(opened, mode)
            changes += more
        is_oriented = (orientation or _orientation(opened)) not in (None, 1)
    return DecodedImage(image, planes, mode, form, width, height, is_oriented, changes)


def _own_mode(image: Image.Image) -> str:
    """Return the mode of the file, which Pillow's own hides where it has 16 bits a channel."""
    if not _tiles(image):
        return image.mode
    tile = _tiles(image)[0]
    if tile.codec_name == "ppm":  # by mode and largest value
        return f"{image.mode};16" if tile.args[1] > 255 else image.mode
    raw = _raw_mode(image)
    return raw.rstrip("BLNS") if ";16" in raw and not image.mode.startswith("I") else image.mode


def _pixels(
    image: Image.Image, mode: str
) -> tuple[Image.Image | None, npt.NDArray[np.uint16] | None, tuple[str, ...]]:
    """Return 8-bit pixels or 16-bit planes of a loaded image, and what was changed."""
    if mode.startswith("I"):
        planes = np.empty((1, image.height, image.width), dtype=np.uint16)
        for rows, strip in strips(image):
            values = np.asarray(strip)
            if values.min() < 0 or values.max() > 65535:
                raise BadImageError("pixels outside of 16 bits")
            planes[0, rows] = values
        return None, planes, ()
    if mode == "F":
        raise BadImageError("floating-point pixels, which have no histogram")
    image, changes = _to_8_bits(image)
    return image, None, (*changes, REDUCED) if mode.endswith(";16") else changes


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Return the rows of an image in strips, so that a copy of it never takes much memory."""
    number = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, number):
        bottom = min(top + number, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _planes_of_16_bits(
    image: Image.Image, mode: str, content: bytes, allow_large: bool
) -> npt.NDArray[np.uint16]:
    """Return the channels of a file of 16 bits a channel, which Pillow reads with 8.

    Pillow takes the upper byte of each value. Told that the other byte comes first, it takes the
    lower; a grey value and its alpha are told to be the four bytes of an RGBA image.

    Args:
        image: the image, not loaded yet.
        mode: its own mode.
        content: the bytes of the file.
        allow_large: as `decode` has it.
    """
    if mode == "LA;16":
        image._mode = "RGBA"
        _set_raw_mode(image, "RGBA")
        image.load()
        planes = np.empty((2, image.height, image.width), dtype=np.uint16)
        for rows, strip in strips(image):
            parts = np.asarray(strip).astype(np.uint16).transpose(2, 0, 1)
            planes[:, rows] = parts[::2] << 8 | parts[1::2]
        return planes
    order = _raw_mode(image)[-1]
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    with opened_image(content, allow_large) as again:  # not both at once in memory
        _set_raw_mode(again, f"{mode}{'L' if order == 'B' else 'B'}")
        again.load()
        planes = np.empty((len(again.getbands()), again.height, again.width), dtype=np.uint16)
        for rows, strip in strips(again):
            planes[:, rows] = np.asarray(strip).transpose(2, 0, 1)
    image.load()
    for rows, strip in strips(image):
        planes[:, rows] |= np.asarray(strip).transpose(2, 0, 1).astype(np.uint16) << 8
    return planes


def _tiles(image: Image.Image) -> list[Any]:
    """Return the parts that Pillow will decode; there are none once they are decoded."""
    return getattr(image, "tile", None) or []


def _raw_mode(image: Image.Image) -> str:
    arguments = _tiles(image)[0].args
    if isinstance(arguments, tuple | list):
        return str(arguments[0]) if arguments else ""
    return str(arguments)


def _set_raw_mode(image: Image.Image, raw_mode: str) -> None:
    """Tell Pillow how the bytes of a file are to be taken."""
    changed = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in _tiles(image)
    ]
    image.tile = changed  # type: ignore[attr-defined]  # that of image files


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return an image as `L` or `RGB`, and what that took."""
    match image.mode:
        case "L" | "RGB":
            return image, ()
        case "1":
            return image.convert("L"), ()
        case "LA" | "La":
            return _as(image, "LA").convert("L"), (ALPHA,)
        case "RGBA" | "RGBa":
            return _as(image, "RGBA").convert("RGB"), (ALPHA,)
        case "P" | "PA":
            has_alpha = image.mode == "PA" or "transparency" in image.info
            image.info.pop("transparency", None)  # its pixels keep the colour of their palette
            return _as(image, "P").convert("RGB"), (PALETTE, ALPHA) if has_alpha else (PALETTE,)
        case _:
            return image.convert("RGB"), (CONVERTED,)


def _as(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in a mode; itself where it has it, for `convert` would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; None where there is none, or none that can be read."""
    if image.format != "TIFF" and not any("exif" in str(key).lower() for key in image.info):
        return None
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return None  # odd metadata does not make the pixels bad
    return value if isinstance(value, int) and 1 <= value <= 8 else None
