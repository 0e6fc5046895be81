"""The chunks of a PNG file: checksums are verified, and long texts removed."""

import zlib

from cnnkit.data.image_limits import BadImageError

HEAD_BYTES = 8
TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")

MAX_TEXT_BYTES = 2**20
"""A text or color profile that unpacks to more is left out: Pillow refuses its file."""

MAX_TEXTS_BYTES = 2**24
"""Once the texts of a file unpack to more, further ones are left out."""


def checked_png(content: bytes) -> bytes:
    """Check every chunk of a PNG file, and return the file without its long texts.

    Pillow leaves out some checksums, and refuses an image for the length of its texts. Nothing
    here needs them, except that a short one may contain the orientation.

    Raises:
        BadImageError: a checksum is wrong, or the end is missing.
    """
    view = memoryview(content)
    place, end = HEAD_BYTES, len(content)
    dropped: list[tuple[int, int]] = []
    num_text_bytes = 0
    while place + 12 <= end:
        length = int.from_bytes(view[place : place + 4], "big")
        kind = bytes(view[place + 4 : place + 8])
        stop = place + 8 + length
        if not kind.isalpha():
            raise BadImageError("damaged: one of its chunks has no name")
        if stop + 4 > end:
            break
        if zlib.crc32(view[place + 4 : stop]) != int.from_bytes(view[stop : stop + 4], "big"):
            raise BadImageError(f"damaged: wrong checksum of its chunk {kind.decode('ascii')}")
        if kind in TEXT_KINDS:
            size = _text_bytes(kind, bytes(view[place + 8 : stop]))
            num_text_bytes += size
            if size > MAX_TEXT_BYTES or num_text_bytes > MAX_TEXTS_BYTES:
                dropped.append((place, stop + 4))
        if kind == b"IEND":
            return _without(content, dropped) if dropped else content
        place = stop + 4
    raise BadImageError("cut short: its end is missing")


def _text_bytes(kind: bytes, chunk: bytes) -> int:
    """Return how many bytes a text unpacks to, counted to just above `MAX_TEXT_BYTES`."""
    _, _, rest = chunk.partition(b"\0")
    if kind == b"tEXt" or (kind == b"iTXt" and rest[:1] != b"\1"):
        return len(chunk)
    packed = rest[2:].split(b"\0", 2)[-1] if kind == b"iTXt" else rest[1:]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES + 1))
    except zlib.error:
        return MAX_TEXT_BYTES + 1  # nothing that anybody could read


def _without(content: bytes, dropped: list[tuple[int, int]]) -> bytes:
    """Return the bytes without those of some chunks."""
    starts = [0, *(end for _, end in dropped)]
    ends = [*(start for start, _ in dropped), len(content)]
    view = memoryview(content)
    return b"".join(view[start:end] for start, end in zip(starts, ends, strict=True))
