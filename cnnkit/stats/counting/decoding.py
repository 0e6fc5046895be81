"""From the bytes of an image file to its pixels, whole, at their own depth, and what was odd."""

import io
import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cnnkit.data.loading.jpeg import Canvas, decode_plain_jpeg

ORIENTATION_TAG = 274  # of EXIF
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
MAX_PIXELS = 89_478_485
"""More pixels in one image are refused unless allowed: Pillow's own limit, a quarter of 1 GiB."""

PALETTE = "palette expanded"
ALPHA = "alpha dropped"
CONVERTED = "converted to RGB"
REDUCED = "16 bits reduced to 8"

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"P5", "PGM"),
    (b"P6", "PPM"),
    (b"GIF8", "GIF"),
)
PNG_END = b"IEND\xaeB`\x82"


class BrokenImageError(Exception):
    """A file that is no image, or not a whole one; the message is the reason, for a list."""


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
    16 bits, except in colour PPM files. The EXIF orientation is ignored.

    Args:
        content: the bytes of the file.
        allow_large: decode images of more than `MAX_PIXELS` as well; Pillow's own limit must be
            lifted for that, as `unlimited_pixels` does.
        canvas: memory for the pixels; then they last until it is used again.

    Raises:
        BrokenImageError: the file is no image, is cut short or damaged, or is too large.
    """
    if not content:
        raise BrokenImageError("empty: 0 bytes")
    plain = decode_plain_jpeg(content, MAX_PIXELS, canvas)
    if plain is not None:
        return DecodedImage(plain, None, plain.mode, "JPEG", *plain.size, is_oriented=False)
    try:
        with Image.open(io.BytesIO(content)) as opened:
            width, height, form = opened.width, opened.height, opened.format or "unknown"
            if width * height > MAX_PIXELS and not allow_large:
                raise BrokenImageError(_too_large(f"{width:,} x {height:,} pixels"))
            mode = _own_mode(opened)
            # Pillow turns TIFF files as they ask for, and forgets it; of PNG files the end tells.
            orientation = _orientation(opened) if form == "TIFF" else None
            if orientation in SIDEWAYS:
                width, height = height, width
            opened.load()
            if form == "PNG" and content.rfind(PNG_END) < 0:
                raise BrokenImageError("cut short: its end is missing")
            is_oriented = (orientation or _orientation(opened)) not in (None, 1)
            image, planes, changes = _pixels(opened, mode, form, content)
    except Image.DecompressionBombError as error:
        raise BrokenImageError(_too_large("too many pixels")) from error
    except UnidentifiedImageError as error:
        raise BrokenImageError(_unidentified(content)) from error
    except MemoryError as error:
        raise BrokenImageError("does not fit in memory") from error
    except BrokenImageError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file makes of them
        raise BrokenImageError(_reason(content, error)) from error
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
    image: Image.Image, mode: str, form: str, content: bytes
) -> tuple[Image.Image | None, npt.NDArray[np.uint16] | None, tuple[str, ...]]:
    """Return 8-bit pixels or 16-bit planes, and what was changed."""
    if mode.endswith(";16") and not mode.startswith("I"):
        if form in ("PNG", "TIFF"):
            planes = _planes_of_16_bits(image, mode, content)
            alpha = mode in ("LA;16", "RGBA;16")
            return None, planes[:-1] if alpha else planes, (ALPHA,) if alpha else ()
        image, changes = _to_8_bits(image)
        return image, None, (*changes, REDUCED)
    if mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise BrokenImageError("pixels outside of 16 bits")
        return None, values.astype(np.uint16)[None], ()
    if mode == "F":
        raise BrokenImageError("floating-point pixels, which have no histogram")
    image, changes = _to_8_bits(image)
    return image, None, changes


def _planes_of_16_bits(image: Image.Image, mode: str, content: bytes) -> npt.NDArray[np.uint16]:
    """Return the channels of a file of 16 bits a channel, which Pillow reads with 8.

    Pillow takes the upper byte of each value. Told that the other byte comes first, it takes the
    lower; a grey value and its alpha are told to be the four bytes of an RGBA image.

    Args:
        image: the loaded image.
        mode: its own mode.
        content: the bytes of the file.
    """
    with Image.open(io.BytesIO(content)) as again:
        if mode == "LA;16":
            again._mode = "RGBA"
            _set_raw_mode(again, "RGBA")
            again.load()
            parts = np.asarray(again).astype(np.uint16)
            values = parts[..., ::2] << 8 | parts[..., 1::2]
        else:
            order = _raw_mode(again)[-1]
            if order == "N":
                order = "L" if sys.byteorder == "little" else "B"
            _set_raw_mode(again, f"{mode}{'L' if order == 'B' else 'B'}")
            again.load()
            values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(again)
    return np.ascontiguousarray(values.transpose(2, 0, 1))


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
            return image.convert("LA").convert("L"), (ALPHA,)
        case "RGBA" | "RGBa":
            return image.convert("RGBA").convert("RGB"), (ALPHA,)
        case "P" | "PA":
            if image.mode == "PA" or "transparency" in image.info:
                return image.convert("RGBA").convert("RGB"), (PALETTE, ALPHA)
            return image.convert("RGB"), (PALETTE,)
        case _:
            return image.convert("RGB"), (CONVERTED,)


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; None where there is none, or none that can be read."""
    if image.format != "TIFF" and not any("exif" in str(key).lower() for key in image.info):
        return None
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return None  # odd metadata does not make the pixels bad
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _too_large(what: str) -> str:
    return f"refused: {what}, more than {MAX_PIXELS:,}; --allow-large reads it"


def _signature(content: bytes) -> str | None:
    """Return the format that a file begins like."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return next((form for start, form in SIGNATURES if content.startswith(start)), None)


def _unidentified(content: bytes) -> str:
    form = _signature(content)
    return f"a {form} file with a broken header" if form else "no image"


def _reason(content: bytes, error: Exception) -> str:
    """Return why Pillow could not decode a file that it took for an image."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if any(word in text.lower() for word in ("truncated", "not enough data", "unexpected end")):
        return "cut short"
    if _signature(content) == "WEBP":
        promised = int.from_bytes(content[4:8], "little") + 8
        return "cut short" if len(content) < promised else "damaged"
    if "data stream" in text or "decoder error" in text:
        return "damaged: its pixels cannot be decoded"
    return f"damaged: {text}"
