"""The decoder: from the bytes of an image file to its pixels, and what was changed.

Pixels are returned upright and at their own depth; `to_8_bits` scales them to eight bits by the
range that the file states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from cnnkit.data.image_files import (
    has_several_frames,
    is_16_bit_colour,
    opened_image,
    own_mode,
    tiff_layout,
)
from cnnkit.data.image_limits import MAX_PIXELS, BadImageError
from cnnkit.data.loading.jpeg import Canvas, decode_plain_jpeg
from cnnkit.data.orientation import (
    image_orientation,
    original_orientation,
    turned_image,
    turned_planes,
)
from cnnkit.data.tiff import TiffLayout
from cnnkit.data.tiff_planes import grey_plane, read_planes, strips
from cnnkit.system.compat import set_raw_mode

if TYPE_CHECKING:
    from PIL import Image, ImageFile

PALETTE = "palette expanded"
ALPHA = "alpha dropped"
CONVERTED = "converted to RGB"
REDUCED = "16 bits reduced to 8"
FIRST_FRAME = "first of several frames"

Planes: TypeAlias = npt.NDArray[np.uint16]
Pixels: TypeAlias = "Image.Image | Planes"
"""Pixels of an image of mode `L` or `RGB`, or of 16 bits, of shape (C, H, W), C = 1 or 3."""

Table = npt.NDArray[np.uint8]

TWELVE = 12
OF_12_BITS = ((np.arange(65536).clip(max=4095) * 65535 + 2047) // 4095).astype(np.uint16)
"""Lookup table from 12-bit to 16-bit values."""

OF_16_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)
"""Lookup table from 16-bit to 8-bit values: times 255 / 65535, rounded."""

UPPER_OF_16 = (np.arange(65536) >> 8).astype(np.uint8)
"""Lookup table from 16-bit values to their upper byte, which earlier versions trained on."""


@dataclass(frozen=True)
class DecodedImage:
    """The decoded pixels of an image file, and its metadata.

    Attributes:
        image: 8 bits: a Pillow image of mode `L` or `RGB`; None for 16 bits.
        planes: 16 bits: uint16 of shape (C, H, W), C = 1 or 3; None for 8 bits.
        mode: the file's own mode, in Pillow's words; for 16-bit color `RGB;16` and the like.
        form: its format, such as `JPEG`.
        width: in pixels, upright.
        height: in pixels, upright.
        is_oriented: whether it was turned or mirrored, as its EXIF or its TIFF tag asks.
        changes: what was done to the pixels beside decoding, such as `alpha dropped`.
    """

    image: Image.Image | None
    planes: Planes | None
    mode: str
    form: str
    width: int
    height: int
    is_oriented: bool
    changes: tuple[str, ...] = ()

    @property
    def pixels(self) -> Pixels:
        """The image, or the planes."""
        if self.image is not None:
            return self.image
        assert self.planes is not None
        return self.planes


def decode(
    content: bytes,
    allow_large: bool = False,
    canvas: Canvas | None = None,
    covering: tuple[int, int] | None = None,
    upright: bool = True,
) -> DecodedImage:
    """Return the pixels of an image file, upright.

    A palette is expanded, alpha dropped, CMYK and its like converted, each by Pillow; 16 bits stay
    16 bits, except in color PPM files. Of several frames the first is taken.

    Args:
        content: the bytes of the file.
        allow_large: decode what is above the limits of `cnnkit.data.image_limits` as well.
        canvas: memory for the pixels; then they last until it is used again.
        covering: width and height that it will be reduced to; JPEG files may then be decoded at
            1/2, 1/4 or 1/8 of their size, where that still covers.
        upright: turn it as its EXIF asks; TIFF files are turned in any case.

    Raises:
        BadImageError: the file is no image, is cut short or damaged, is too large, or does not
            state the range of its values.
    """
    # Larger ones may be worth to be decoded at a fraction of their size.
    max_plain = MAX_PIXELS if covering is None else 4 * covering[0] * covering[1] - 1
    plain = decode_plain_jpeg(content, max_plain, canvas)
    if plain is not None:
        return DecodedImage(plain, None, plain.mode, "JPEG", *plain.size, is_oriented=False)
    layout = tiff_layout(content, allow_large)
    if layout is not None and layout.has_planes:
        return _of_planes(content, layout, allow_large)
    with opened_image(content, allow_large, covering, upright) as opened:
        form = "JPEG" if opened.format == "MPO" else opened.format or "unknown"
        mode = own_mode(opened)
        changes: tuple[str, ...] = (FIRST_FRAME,) if has_several_frames(opened) else ()
        # Pillow turns TIFF files as they are loaded; for PNG files the end is needed.
        before = image_orientation(opened) if layout is not None else 1
        image: Image.Image | None = None
        planes: Planes | None = None
        if form == "PNG" and is_16_bit_colour(opened):
            planes = _planes_of_png(opened, mode, content, allow_large)
            if mode in ("LA;16", "RGBA;16"):
                planes, changes = planes[:-1], (*changes, ALPHA)
        elif mode.startswith("I"):
            opened.load()
            planes = grey_plane(opened)[None]
            if layout is not None and layout.bits == TWELVE:  # Pillow does not scale them
                planes = OF_12_BITS[planes]
        else:
            opened.load()
            image, more = _eight_bits(opened)
            changes += (*more, REDUCED) if mode.endswith(";16") else more
        asked = original_orientation(opened) if layout is None else before
        turn = asked if layout is None and upright else 1
        if form == "HEIF":  # its reader has turned it
            turn = 1
        if image is not None:
            if image is not opened:
                opened.close()  # it would be in memory once more
            image = turned_image(image, turn)
            width, height = image.size
        else:
            assert planes is not None
            planes = turned_planes(planes, turn)
            height, width = planes.shape[1:]
    is_oriented = asked != 1 and (upright or layout is not None)
    return DecodedImage(image, planes, mode, form, width, height, is_oriented, changes)


def to_8_bits(pixels: Pixels, by_value: Table = OF_16_BITS) -> Image.Image:
    """Return decoded pixels with 8 bits a channel, as an image of mode `L` or `RGB`.

    Args:
        pixels: of 8 or 16 bits.
        by_value: lookup table from 16-bit to 8-bit values.
    """
    from PIL import Image

    if isinstance(pixels, Image.Image):
        return pixels
    channels, height, width = pixels.shape
    reduced = np.empty((height, width, channels), dtype=np.uint8)
    for channel, plane in enumerate(pixels):
        reduced[..., channel] = by_value[plane]
    return Image.fromarray(reduced[..., 0] if channels == 1 else reduced)


def _as_image(planes: npt.NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    if len(planes) == 1:
        return Image.fromarray(planes[0])
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def _of_planes(content: bytes, layout: TiffLayout, allow_large: bool) -> DecodedImage:
    planes = read_planes(content, layout, allow_large)
    frames = (FIRST_FRAME,) if layout.has_several else ()
    changes = (CONVERTED,) if layout.mode.startswith("CMYK") else (ALPHA,) * layout.num_extra
    height, width = planes.shape[1:]
    is_oriented = layout.orientation != 1
    image, deep = (None, planes) if layout.bits == 16 else (_as_image(planes), None)
    return DecodedImage(
        image, deep, layout.mode, "TIFF", width, height, is_oriented, frames + changes
    )


def _planes_of_png(
    image: ImageFile.ImageFile, mode: str, content: bytes, allow_large: bool
) -> Planes:
    """Return the channels of a PNG file of 16 bits a channel, which Pillow reads with 8.

    Pillow takes the upper byte of each value. If the byte order is declared as reversed, it takes
    the lower; a gray value and its alpha are said to be the four bytes of an RGBA image.

    Args:
        image: the image, not loaded yet.
        mode: its own mode.
        content: the bytes of the file.
        allow_large: as `decode` has it.
    """
    if mode == "LA;16":
        set_raw_mode(image, "RGBA", "RGBA")
        image.load()
        planes = np.empty((2, image.height, image.width), dtype=np.uint16)
        for rows, strip in strips(image):
            parts = np.asarray(strip).astype(np.uint16).transpose(2, 0, 1)
            planes[:, rows] = parts[::2] << 8 | parts[1::2]
        return planes
    with opened_image(content, allow_large) as again:  # not both at once in memory
        set_raw_mode(again, f"{mode}L")
        again.load()
        planes = np.empty((len(again.getbands()), again.height, again.width), dtype=np.uint16)
        for rows, strip in strips(again):
            planes[:, rows] = np.asarray(strip).transpose(2, 0, 1)
    image.load()
    for rows, strip in strips(image):
        planes[:, rows] |= np.asarray(strip).transpose(2, 0, 1).astype(np.uint16) << 8
    return planes


def _eight_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return a loaded image as `L` or `RGB`, and the changes made for it."""
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
            image.info.pop("transparency", None)  # its pixels keep the color of their palette
            return _as(image, "P").convert("RGB"), (PALETTE, ALPHA) if has_alpha else (PALETTE,)
        case "F":
            raise BadImageError("floating-point pixels, whose range the file does not state")
        case _:
            return image.convert("RGB"), (CONVERTED,)


def _as(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in a mode; itself if it has that mode, because `convert` would copy it."""
    return image if image.mode == mode else image.convert(mode)
