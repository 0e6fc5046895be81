"""Decoder for TIFF files that Pillow reads wrongly or not at all.

It loses the lower byte of 16-bit color, and mixes up planes with alpha. Strips and tiles are
given to Pillow as those of grayscale images: each plane is one, and interleaved channels are one
of as many times the width.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnkit.data import tiff
from cnnkit.data.image_files import explained, opened_image
from cnnkit.data.image_limits import BadImageError, check_size, reserve
from cnnkit.data.orientation import turned_planes
from cnnkit.data.tiff import TiffLayout

if TYPE_CHECKING:
    from PIL import Image

STRIP_PIXELS = 2**20  # copied at once
COPIES = 4  # of the pixels, at most, while decoding: in the file, Pillow's, ours, turned
BIT_ORDER = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def read_planes(content: bytes, layout: TiffLayout, allow_large: bool) -> npt.NDArray[Any]:
    """Return the pixels of a TIFF file that `has_planes`, upright, black being 0.

    Alpha is dropped, and CMYK becomes RGB by Pillow's formula.

    Args:
        content: the bytes of the file.
        layout: of the file.
        allow_large: decode what is above the limits as well.

    Returns:
        uint8 or uint16 of shape (C, H, W), C = 1 or 3.

    Raises:
        BadImageError: it is cut short or damaged, or is too large.
    """
    num_bytes = COPIES * layout.bits_a_pixel // 8 * layout.size[0] * layout.size[1]
    if not allow_large:
        check_size(layout.size, num_bytes)
    reserve(num_bytes)
    with explained(content):
        planes = _in_colour(_stored(content, layout), layout)
        return turned_planes(planes, layout.orientation)


def strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Return the rows of an image in strips, so that a copy of it never takes much memory."""
    number = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, number):
        bottom = min(top + number, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def grey_plane(image: Image.Image) -> npt.NDArray[Any]:
    """Return a loaded grayscale image, uint8 or uint16 of shape (H, W)."""
    plane = np.empty((image.height, image.width), np.uint8 if image.mode == "L" else np.uint16)
    for rows, strip in strips(image):
        plane[rows] = np.asarray(strip)
    return plane


def _stored(content: bytes, layout: TiffLayout) -> npt.NDArray[Any]:
    """Return every channel as it is in the file, of shape (C, H, W)."""
    (width, height), channels = layout.size, layout.channels
    if layout.value(tiff.PLANAR, 1) == tiff.SEPARATE:
        return np.stack(
            [_decoded(_as_grey(content, layout, width, plane)) for plane in range(channels)]
        )
    wide = _decoded(_as_grey(content, layout, width * channels, None))
    pixels = wide.reshape(height, width, channels)
    if channels > 1 and _is_predicted(layout):
        _undo_predictor(pixels, layout.value(tiff.TILE_WIDTH, width))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decoded(content: bytes) -> npt.NDArray[Any]:
    with opened_image(content, allow_large=True) as image:
        image.load()
        return grey_plane(image)


def _is_predicted(layout: TiffLayout) -> bool:
    packed = layout.value(tiff.COMPRESSION, tiff.NOT_PACKED) != tiff.NOT_PACKED
    return packed and layout.value(tiff.PREDICTOR, 1) == 2


def _undo_predictor(pixels: npt.NDArray[Any], tile_width: int) -> None:
    """Add up the differences of neighbors in the rows of each tile, which are stored instead."""
    for left in range(0, pixels.shape[1], tile_width):
        tile = pixels[:, left : left + tile_width]
        np.cumsum(tile, axis=1, dtype=tile.dtype, out=tile)


def _as_grey(content: bytes, layout: TiffLayout, width: int, plane: int | None) -> bytes:
    """Return a TIFF file of one grayscale image, with strips or tiles of another.

    Args:
        content: the bytes of the other.
        layout: of the other.
        width: of the grayscale image.
        plane: which of the other's planes it is; None where there is one only.
    """
    is_tiled = tiff.TILE_STARTS in layout.tags
    height, scale = layout.size[1], width // layout.size[0]
    across = layout.value(tiff.TILE_WIDTH, 0) * scale if is_tiled else width
    rows = layout.value(tiff.TILE_HEIGHT if is_tiled else tiff.ROWS, height)
    if across < 1 or rows < 1:
        raise BadImageError("damaged: its strips or tiles have no size")
    rows = rows if is_tiled else min(rows, height)
    number = -(-height // rows) * -(-width // across)
    parts = list(_parts(content, layout, across, rows, number, plane or 0))
    tags: dict[int, tuple[int, ...]] = {
        tiff.WIDTH: (width,),
        tiff.HEIGHT: (height,),
        tiff.BITS: (layout.bits,),
        tiff.COMPRESSION: (layout.value(tiff.COMPRESSION, tiff.NOT_PACKED),),
        tiff.PHOTOMETRIC: (tiff.BLACK_IS_ZERO,),
        tiff.SAMPLES: (1,),
        # Of channels beside each other the differences are those of `_undo_predictor`.
        tiff.PREDICTOR: (layout.value(tiff.PREDICTOR, 1) if scale == 1 else 1,),
    }
    if is_tiled:
        tags |= {tiff.TILE_WIDTH: (across,), tiff.TILE_HEIGHT: (rows,)}
    else:
        tags |= {tiff.ROWS: (rows,)}
    return _tiff_file(layout.order, tags, parts, is_tiled)


def _parts(
    content: bytes, layout: TiffLayout, across: int, rows: int, number: int, plane: int
) -> Iterator[bytes]:
    """Return the strips or tiles of a plane.

    Raises:
        BadImageError: there are too few.
    """
    tags = layout.tags
    starts = tags.get(tiff.TILE_STARTS) or tags.get(tiff.STRIP_STARTS) or ()
    lengths = tags.get(tiff.TILE_LENGTHS) or tags.get(tiff.STRIP_LENGTHS) or ()
    is_tiled = tiff.TILE_STARTS in tags
    is_packed = layout.value(tiff.COMPRESSION, tiff.NOT_PACKED) != tiff.NOT_PACKED
    for index in range(number):
        place = plane * number + index
        if place >= len(starts) or (is_packed and place >= len(lengths)):
            raise BadImageError("damaged: strips or tiles of its pixels are missing")
        if is_packed:
            length = lengths[place]
        else:
            last = layout.size[1] - index * rows
            length = layout.bits // 8 * across * (rows if is_tiled else min(rows, last))
        part = content[starts[place] : starts[place] + length]
        if len(part) < length:
            raise BadImageError("cut short")
        yield part.translate(BIT_ORDER) if layout.value(tiff.FILL_ORDER, 1) == 2 else part


def _tiff_file(
    order: str, tags: dict[int, tuple[int, ...]], parts: list[bytes], is_tiled: bool
) -> bytes:
    """Return a TIFF file of these tags, whose values are written as long ones, and parts."""
    names = (
        (tiff.TILE_STARTS, tiff.TILE_LENGTHS)
        if is_tiled
        else (tiff.STRIP_STARTS, tiff.STRIP_LENGTHS)
    )
    tags = tags | {names[0]: (0,) * len(parts), names[1]: tuple(map(len, parts))}
    after = 8 + 2 + 12 * len(tags) + 4
    # Behind the directory come the lists of starts and lengths, if they are lists, and the parts.
    place = after + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    starts = []
    for part in parts:
        starts.append(place)
        place += len(part)
    tags[names[0]] = tuple(starts)
    entries, lists = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            packed, value = struct.pack(f"{order}I", after + len(lists)), packed
            lists += value
        entries += struct.pack(f"{order}HHI4s", tag, 4, len(values), packed)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    return b"".join((head, lists, *parts))


def _in_colour(planes: npt.NDArray[Any], layout: TiffLayout) -> npt.NDArray[Any]:
    """Return grayscale or RGB channels from the stored ones."""
    photometric = layout.value(tiff.PHOTOMETRIC, 0)
    if photometric == tiff.CMYK:
        return _rgb_of_cmyk(planes)
    if layout.num_extra:
        alpha, planes = planes[-1], planes[:-1]
        if layout.value(tiff.EXTRA_SAMPLES, 0) == tiff.PREMULTIPLIED:
            planes = np.stack([_unmultiplied(plane, alpha) for plane in planes])
    return ~planes if photometric == tiff.WHITE_IS_ZERO else planes


def _unmultiplied(plane: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a channel with premultiplied alpha undone, where possible."""
    result, white = plane.copy(), np.iinfo(plane.dtype).max
    for row, over in zip(result, alpha, strict=True):
        known = over > 0
        wide = row[known].astype(np.int64) * white // over[known]
        row[known] = wide.clip(max=white)
    return result


def _rgb_of_cmyk(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rgb, white = np.empty_like(planes[:3]), np.iinfo(planes.dtype).max
    for row in range(planes.shape[1]):  # one after another: wide integers take much memory
        light = white - planes[3, row].astype(np.int64)
        shade = (planes[:3, row] * light + white // 2) // white
        rgb[:, row] = light - shade
    return rgb
