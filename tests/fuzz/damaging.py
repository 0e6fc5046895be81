"""Image files of 32 kinds, and fifty ways to damage each; all of it follows from a seed."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.stats.making import encode, png_of_16_bits, tiff_of_16_bits

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
NUM_DAMAGES = 50


def pixels(seed: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return (values // 4 + 90).astype(np.uint8)


COLOUR = Image.fromarray(pixels(1, 20, 24, 3))
GREY = Image.fromarray(pixels(2, 20, 24))
ALPHA = Image.fromarray(pixels(3, 20, 24, 4))
DEEP = np.random.default_rng(4).integers(0, 65_536, (20, 24, 3), dtype=np.uint16)


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a picture"
    return encode(COLOUR, "JPEG", exif=exif.tobytes())


def frames(form: str, **options: object) -> bytes:
    return encode(COLOUR, form, save_all=True, append_images=[GREY.convert("RGB")], **options)


def interlaced() -> bytes:
    """Return an interlaced PNG, which Pillow does not write, of one grey value a pass."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
              (0, 1, 1, 2))  # fmt: skip
    image = np.asarray(GREY)
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in image[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", GREY.width, GREY.height, 8, 0, 0, 0, 1)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def run_lengths() -> bytes:
    rows = (bytes([GREY.width, 7]) + b"\0\0") * GREY.height + b"\0\1"
    start = 14 + 40 + 1024
    header = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
    header += struct.pack("<IiiHHIIiiII", 40, *GREY.size, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return header + bytes(range(256)) * 4 + rows


def tiled() -> bytes:
    """Return a TIFF file of two tiles of 16 x 32 pixels."""
    content = pixels(5, 2 * 32 * 16).tobytes()
    tags = (
        (256, 4, 1, 24), (257, 4, 1, 20), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (277, 3, 1, 1), (322, 4, 1, 16), (323, 4, 1, 32), (324, 4, 2, 146), (325, 4, 2, 154),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    head = head.ljust(146, b"\0")
    return head + struct.pack("<4I", 162, 162 + 512, 512, 512) + content


def two_jpegs() -> bytes:
    return encode(COLOUR, "MPO", save_all=True, append_images=[COLOUR])


WMF = struct.pack("<IHhhhhHIH", 0x9AC6CDD7, 0, 0, 0, 16, 16, 96, 0, 0) + b"\1\0\t\0\0\3" + bytes(60)
FITS = b"".join(
    line.ljust(80)
    for line in (
        b"SIMPLE  =                    T", b"BITPIX  =                    8",
        b"NAXIS   =                    2", b"NAXIS1  =                   16",
        b"NAXIS2  =                   16", b"END",
    )
).ljust(2880) + bytes(2880)  # fmt: skip
PSD = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 16, 16, 8, 3) + bytes(12) + b"\0\0" + bytes(3 * 256)

FOREIGN = (
    "icon.png", "photoshop.png", "postscript.png", "metafile.jpg", "fits.png", "jpeg2000.jpg",
)  # fmt: skip
KINDS: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": lambda: encode(COLOUR, "JPEG"),
    "progressive.jpg": lambda: encode(COLOUR, "JPEG", progressive=True),
    "grey.jpeg": lambda: encode(GREY, "JPEG"),
    "cmyk.jpg": lambda: encode(COLOUR.convert("CMYK"), "JPEG"),
    "exif.jpg": with_exif,
    "pictures.jpg": two_jpegs,
    "bits.png": lambda: encode(GREY.convert("1")),
    "palette.png": lambda: encode(COLOUR.quantize(13), transparency=3),
    "interlaced.png": interlaced,
    "alpha.png": lambda: encode(ALPHA, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "deep.png": lambda: png_of_16_bits(DEEP),
    "still.gif": lambda: encode(COLOUR.quantize(40), "GIF"),
    "moving.gif": lambda: frames("GIF"),
    "colour.bmp": lambda: encode(COLOUR, "BMP"),
    "run_lengths.bmp": run_lengths,
    "plain.tif": lambda: encode(COLOUR, "TIFF"),
    "deflated.tif": lambda: encode(COLOUR, "TIFF", compression="tiff_adobe_deflate"),
    "lzw_pages.tif": lambda: frames("TIFF", compression="tiff_lzw"),
    "jpeg.tiff": lambda: encode(COLOUR, "TIFF", compression="jpeg"),
    "deep.tif": lambda: tiff_of_16_bits(DEEP, ">", True),
    "float.tif": lambda: encode(GREY.convert("F"), "TIFF"),
    "tiled.tif": tiled,
    "lossy.webp": lambda: encode(COLOUR, "WEBP"),
    "moving.webp": lambda: frames("WEBP", lossless=True),
    "still.avif": lambda: encode(COLOUR, "AVIF"),
    "text.ppm": lambda: b"P3 4 4 255\n" + b"9 200 37 " * 16,
    "icon.png": lambda: encode(COLOUR, "ICO", sizes=[(16, 16)]),
    "photoshop.png": lambda: PSD,
    "postscript.png": lambda: EPS + bytes(100),
    "metafile.jpg": lambda: WMF,
    "fits.png": lambda: FITS,
    "jpeg2000.jpg": lambda: encode(COLOUR, "JPEG2000"),
}
"""Those that cnnkit reads, and those in `FOREIGN` that it does not, under names of images."""


def damaged(content: bytes, number: int, stream: random.Random) -> bytes:
    """Return a file damaged in one of `NUM_DAMAGES` ways; the first leaves it as it is."""
    place = stream.randrange(max(1, len(content)))
    match number % 10:
        case 0:
            return content if number == 0 else content[:place]
        case 1 | 2:  # a bit
            changed = bytearray(content)
            place = place if number % 10 == 1 else stream.randrange(min(64, len(content)))
            changed[place] ^= 1 << stream.randrange(8)
            return bytes(changed)
        case 3:  # several bytes
            changed = bytearray(content)
            for _ in range(stream.randrange(1, 9)):
                changed[stream.randrange(len(changed))] = stream.randrange(256)
            return bytes(changed)
        case 4:
            return content[:place] + stream.randbytes(stream.randrange(1, 40)) + content[place:]
        case 5:
            return content[:place] + content[place + stream.randrange(1, 40) :]
        case 6:  # a size or an offset that is very large, or 0
            value = stream.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
            place = stream.randrange(min(200, len(content)))
            return content[:place] + value + content[place + 4 :]
        case 7:  # the head of one kind, the body of another
            other = KINDS[stream.choice(list(KINDS))]()
            cut = stream.randrange(2, 40)
            return other[:cut] + content[cut:]
        case 8:
            return stream.choice((EPS, b"%PDF-1.4\n", b"<svg xmlns='x'/>", b"\xc5\xd0\xd3\xc6")) + (
                content
            )
        case _:
            return content + EPS if number % 20 == 9 else EPS[: stream.randrange(4, 40)] + content


def damaged_files(seed: int) -> Iterator[tuple[str, bytes]]:
    """Return name and content of 1,600 files."""
    for kind, make in KINDS.items():
        content = make()
        for number in range(NUM_DAMAGES):
            stream = random.Random(f"{seed} {kind} {number}")
            yield f"{number:02}_{kind}", damaged(content, number, stream)
