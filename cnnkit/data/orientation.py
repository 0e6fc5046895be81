"""EXIF and TIFF orientation: reading it, and transposing images upright."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image

ORIENTATION_TAG = 274  # of EXIF and TIFF
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""

SHORT = 3
MAX_ENTRIES = 1024  # of a directory that is read here
METADATA = ("exif", "xmp")  # where the orientation may be, in the keys of Pillow's `info`

# By orientation, whether rows and columns are reversed, after they are exchanged if it is sideways.
REVERSED = {
    2: (False, True), 3: (True, True), 4: (True, False),
    5: (False, False), 6: (False, True), 7: (True, True), 8: (True, False),
}  # fmt: skip


def image_orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF or XMP gives an image: 1 to 8; 1 where none can be read."""
    if image.format != "TIFF" and not any(
        word in str(key).lower() for key in image.info for word in METADATA
    ):
        return 1
    try:
        value = image.getexif().get(ORIENTATION_TAG)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1  # odd metadata does not make the pixels bad
    return value if isinstance(value, int) and value in REVERSED else 1


def original_orientation(image: Image.Image) -> int:
    """Return the orientation that an image had in its file; pi-heif turns those that it reads."""
    value = image.info.get("original_orientation")
    return value if isinstance(value, int) and value in REVERSED else image_orientation(image)


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation that EXIF has, without Pillow; None if unclear.

    Args:
        exif: a TIFF structure.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, place)
        if count > MAX_ENTRIES:
            return None
        found = None
        for start in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, number, value = struct.unpack_from(f"{order}HHIH2x", exif, start)
            if tag == ORIENTATION_TAG:
                if found is not None or kind != SHORT or number != 1 or not 1 <= value <= 8:
                    return None
                found = value
    except struct.error:
        return None
    return found or 1


def turned_image(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright, as `PIL.ImageOps.exif_transpose` does."""
    from PIL.Image import Transpose

    methods = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(methods[orientation]) if orientation in methods else image


def turned_planes(planes: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return channels of shape (C, H, W) upright."""
    if orientation not in REVERSED:
        return planes
    if orientation in SIDEWAYS:
        planes = planes.swapaxes(1, 2)
    rows, columns = (slice(None, None, -1 if one else None) for one in REVERSED[orientation])
    return planes[:, rows, columns].copy(order="C")
