"""Fast decoding of plain JPEG files by Pillow's decoder, without Pillow's file reader.

That reader parses every marker in Python, a third of the time that a picture of 32 x 32 pixels
costs, and a sixth of one of 300 x 200. The decoder is the same, so the pixels are.
"""

from typing import Any

from PIL import Image

from cnnkit.data.image_files import has_several_scans
from cnnkit.data.image_limits import reserve
from cnnkit.data.orientation import exif_orientation
from cnnkit.system.compat import image_of_pixels, pillow_core

MAX_CANVAS_PIXELS = 2**24
"""Larger images are left to Pillow's reader: a thread keeps the memory of its canvas."""

COUNTED_PIXELS = 2**19  # fewer take no memory to speak of

FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, with Huffman codes
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
MODES = {1: "L", 3: "RGB"}

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
XMP_ORIENTATION = b"tiff:Orientation"
SEVERAL_PICTURES = b"MPF\0"
ADOBE = 0xEE  # marks CMYK, and colors that are not transformed


class Canvas:
    """Memory for the pixels of one image, used again for the next one of the same size.

    New memory is zeroed page by page, which costs an eighth of decoding into it. Of one thread.
    """

    def __init__(self) -> None:
        self._kind: tuple[str, int, int] | None = None
        self._pixels: Any = None

    def of(self, mode: str, width: int, height: int) -> Any:
        """Return memory for an image, not cleared."""
        if self._kind != (mode, width, height):
            self._pixels = pillow_core().new(mode, (width, height))
            self._kind = mode, width, height
        return self._pixels


def decode_plain_jpeg(
    content: bytes, max_pixels: int, canvas: Canvas | None = None
) -> Image.Image | None:
    """Return the image of a plain JPEG file.

    Args:
        content: the bytes of the file.
        max_pixels: larger images are left to others.
        canvas: memory for the pixels; then they last until it is used again.

    Returns:
        An image of mode `L` or `RGB`; None for anything that is not plain or not right: other
        formats, an image that is to be turned, CMYK, several pictures, a file that is cut short
        or damaged. Pillow's own reader then reports the reason.
    """
    frame = plain_frame(content)
    if frame is None or frame[0] * frame[1] > min(max_pixels, MAX_CANVAS_PIXELS):
        return None
    width, height, mode = frame
    if width * height > COUNTED_PIXELS:
        reserve(width * height * (10 if has_several_scans(content) else 4))
    try:
        decoder = pillow_core().jpeg_decoder(mode, mode, "")
        pixels = (canvas or Canvas()).of(mode, width, height)
        decoder.setimage(pixels, (0, 0, width, height))
        consumed, error = decoder.decode(content)
    except (LookupError, AttributeError, TypeError, ValueError, OSError, MemoryError):
        return None
    if consumed >= 0 or error < 0:  # it waits for more, or has given up
        return None
    return image_of_pixels(pixels)


def plain_frame(content: bytes) -> tuple[int, int, str] | None:
    """Return width, height and mode of a plain JPEG file, from the markers at its beginning."""
    if content[:3] != b"\xff\xd8\xff":
        return None
    found: tuple[int, int, str] | None = None
    place = 2
    while place + 4 <= len(content):
        if content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker == START_OF_SCAN:
            return found
        if marker in (0x00, 0x01, 0xFF, ADOBE, END_OF_IMAGE) or 0xD0 <= marker <= 0xD7:
            return None
        length = content[place + 2] << 8 | content[place + 3]
        if marker in FRAMES:
            if found is not None or length < 8 or place + 10 > len(content):
                return None
            if content[place + 4] != 8:  # bits a sample
                return None
            height = int.from_bytes(content[place + 5 : place + 7], "big")
            width = int.from_bytes(content[place + 7 : place + 9], "big")
            mode = MODES.get(content[place + 9])
            if not width or not height or mode is None:
                return None
            found = width, height, mode
        elif 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # lossless, arithmetic
            return None
        if marker in (0xE1, 0xE2) and not _is_plain(content[place + 4 : place + 2 + length]):
            return None
        place += 2 + length
    return None


def _is_plain(segment: bytes) -> bool:
    """Return whether metadata does not change the pixels of a JPEG file."""
    if segment.startswith(EXIF):
        return exif_orientation(segment[len(EXIF) :]) == 1
    if segment.startswith(XMP):
        return XMP_ORIENTATION not in segment
    return not segment.startswith((SEVERAL_PICTURES, EXIF[:5]))
