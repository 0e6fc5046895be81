"""TIFF files of any layout, written by hand, and the pixels that they hold."""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

RGB, WHITE_IS_ZERO, BLACK_IS_ZERO, CMYK = 2, 0, 1, 5
LETTERS = {"u": 1, "i": 2, "f": 3}


def tiff(
    pixels: npt.NDArray[Any],
    photometric: int = RGB,
    *,
    order: str = "<",
    separate: bool = False,
    deflate: bool = False,
    predictor: bool = False,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    extra: int | None = None,
    orientation: int | None = None,
    tags: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """Return a TIFF file.

    Args:
        pixels: as they are stored, of shape (height, width, channels).
        photometric: what the values mean.
        order: of the bytes, `<` or `>`.
        separate: keep each channel in a plane of its own.
        deflate: pack the strips with zlib.
        predictor: store the differences of neighbours.
        rows: of a strip; all of them where left out.
        tile: height and width of tiles, in place of strips.
        extra: what the last channel is: 0 unknown, 1 premultiplied alpha, 2 alpha.
        orientation: 1 to 8.
        tags: further ones, or others.
    """
    height, width, channels = pixels.shape
    planes = [pixels[..., c : c + 1] for c in range(channels)] if separate else [pixels]
    high, wide = tile or (rows or height, width)
    parts = []
    for plane in planes:
        for top in range(0, height, high):
            for left in range(0, width, wide):
                part = plane[top : top + high, left : left + wide]
                if tile:
                    pad = [(0, high - part.shape[0]), (0, wide - part.shape[1]), (0, 0)]
                    part = np.pad(part, pad)
                if predictor:
                    part = np.diff(part, axis=1, prepend=part[:, :1] * 0)
                packed = part.astype(pixels.dtype.newbyteorder(order)).tobytes()
                parts.append(zlib.compress(packed) if deflate else packed)
    found: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (8 * pixels.itemsize,) * channels,
        259: (8 if deflate else 1,), 262: (photometric,), 277: (channels,),
        284: (2 if separate else 1,), 317: (2 if predictor else 1,),
        339: (LETTERS[pixels.dtype.kind],) * channels,
    }  # fmt: skip
    if tile:
        found |= {322: (wide,), 323: (high,)}
    else:
        found |= {278: (high,)}
    if extra is not None:
        found[338] = (extra,)
    if orientation is not None:
        found[274] = (orientation,)
    return _file(order, found | (tags or {}), parts, (324, 325) if tile else (273, 279))


def _file(
    order: str, tags: dict[int, tuple[int, ...]], parts: list[bytes], names: tuple[int, int]
) -> bytes:
    """Return the bytes: the parts first, then lists of values, then the directory."""
    body = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    starts = []
    for part in parts:
        starts.append(len(body))
        body += part + bytes(len(part) % 2)
    tags = tags | {names[0]: tuple(starts), names[1]: tuple(map(len, parts))}
    entries = b""
    for tag, values in sorted(tags.items()):
        kind = "I" if tag in names else "H"
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            packed, place = struct.pack(f"{order}I", len(body)), packed
            body += place + bytes(len(place) % 2)
        entries += struct.pack(f"{order}HHI", tag, 4 if kind == "I" else 3, len(values))
        entries += packed.ljust(4, b"\0")
    body[4:8] = struct.pack(f"{order}I", len(body))
    return bytes(body) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
