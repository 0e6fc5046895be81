"""Files of at most a few megabytes that would become gigabytes; each is made in a moment."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.stats.making import encode

SIDE = 9459  # of a square that has just fewer pixels than are allowed
MILLION = 10**6


def deflated(number: int) -> bytes:
    """Return a zlib stream of so many zeros, whose blocks are made once and repeated."""
    parts = []
    for count, size in ((number // MILLION, MILLION), (1, number % MILLION)):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        block = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
        parts.append(block * count)
    checksum = (number % 65_521) << 16 | 1
    return b"\x78\x01" + b"".join(parts) + b"\x03\0" + struct.pack(">I", checksum)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(
    width: int, height: int, bits: int, colour: int, *others: bytes, pixels: bytes | None = None
) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if pixels is None:
        pixels = deflated(height * (1 + (width * bits * channels + 7) // 8))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *others, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(tags: dict[int, tuple[int, list[int]]], content: bytes, repeat: int = 0) -> bytes:
    """Return a TIFF file whose `content` begins at byte 8.

    Args:
        tags: type (3 or 4) and values by number.
        content: pixels.
        repeat: so many further tags have all of the file as their value.
    """
    body = bytearray(b"II*\0" + bytes(4) + content)
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, place = struct.pack("<I", len(body)), packed
            body += place
        entries.append(struct.pack("<HHI4s", tag, kind, len(values), packed))
    size = len(body) + 12 * (len(entries) + repeat)
    for number in range(repeat):
        entries.append(struct.pack("<HHII", 40_000 + number, 7, size - 8, 8))
    body[4:8] = struct.pack("<I", len(body))
    body += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return bytes(body)


def tiff_of(
    width: int, height: int, channels: int, bits: int, content: bytes, **more: object
) -> bytes:
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [8]),
        262: (3, [1 if channels == 1 else 2]),
        273: (4, [8]),
        277: (3, [channels]),
        278: (4, [height]),
        279: (4, [len(content)]),
    }
    if channels == 4:
        tags[338] = (3, [2])
    return tiff(tags | more.pop("tags", {}), content, **more)  # type: ignore[operator, arg-type]


def jpeg_of(width: int, height: int, **options: object) -> bytes:
    """Return a JPEG file that says to be so large, and ends soon."""
    mode = str(options.pop("mode", "RGB"))
    content = bytearray(encode(Image.new(mode, (16, 16)), "JPEG", **options))
    place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def exif_of(number: int) -> bytes:
    """Return EXIF of so many bytes with tags that each have all of it as their value."""
    repeat = min(60_000, number // 12 - 10)
    head = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", repeat)
    entries = b"".join(
        struct.pack(">HHII", 1 + tag, 7, number - 100, 8) for tag in range(repeat)
    )  # fmt: skip
    return (head + entries).ljust(number, b"\0")


def jpeg_with_exif() -> bytes:
    plain, exif = encode(Image.new("RGB", (16, 16)), "JPEG"), exif_of(2_000_000)
    parts = [exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
    segments = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts
    )
    return plain[:2] + segments + plain[2:]


def webp_canvas(width: int, height: int) -> bytes:
    frames = [Image.new("RGBA", (16, 16), (number, 0, 0, 9)) for number in (1, 200)]
    content = bytearray(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    place = content.find(b"VP8X") + 12
    content[place : place + 6] = (
        (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )  # fmt: skip
    return bytes(content)


def gif_canvas(width: int, height: int) -> bytes:
    frames = [Image.new("P", (16, 16), number) for number in (1, 200)]
    content = bytearray(
        encode(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2)
    )
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def bmp_rle(width: int, height: int) -> bytes:
    runs = (b"\xff\0" * (width // 255) + bytes([width % 255, 0]) + b"\0\0") * height + b"\0\1"
    start = 14 + 40 + 1024
    header = struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start)
    header += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return header + bytes(1024) + runs


IMAGES: dict[str, Callable[[], bytes]] = {
    "thin.png": lambda: png(1, 65_500, 8, 2),
    "flat.png": lambda: png(65_500, 1, 8, 2),
    "thin.jpg": lambda: encode(Image.new("RGB", (1, 65_500)), "JPEG"),
    "nearly_as_long.png": lambda: png(226, 394_000, 8, 2),
    "bits.png": lambda: png(30_000, 30_000, 1, 0),
    "grey.png": lambda: png(SIDE, SIDE, 8, 0),
    "colour.png": lambda: png(SIDE, SIDE, 8, 2),
    "alpha.png": lambda: png(SIDE, SIDE, 8, 6),
    "grey_alpha.png": lambda: png(SIDE, SIDE, 8, 4),
    "palette.png": lambda: png(
        SIDE, SIDE, 8, 3, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256))
    ),
    "deep_grey.png": lambda: png(SIDE, SIDE, 16, 0),
    "deep_colour.png": lambda: png(5_900, 5_900, 16, 2),
    "too_deep_colour.png": lambda: png(SIDE, SIDE, 16, 2),
    "text.png": lambda: png(
        4, 4, 8, 2, *[chunk(b"zTXt", b"a\0\0" + deflated(300 * MILLION)) for _ in range(5)]
    ),
    "profile.png": lambda: png(4, 4, 8, 2, chunk(b"iCCP", b"a\0\0" + deflated(300 * MILLION))),
    "exif.png": lambda: png(4, 4, 8, 2, chunk(b"eXIf", exif_of(2_000_000))),
    "progressive.jpg": lambda: jpeg_of(SIDE, SIDE, progressive=True, subsampling=0),
    "progressive_cmyk.jpg": lambda: jpeg_of(SIDE, SIDE, progressive=True, mode="CMYK"),
    "largest.jpg": lambda: jpeg_of(65_500, 65_500),
    "exif.jpg": jpeg_with_exif,
    "canvas.webp": lambda: webp_canvas(9_000, 9_000),
    "largest_canvas.webp": lambda: webp_canvas(60_000, 60_000),
    "allowed_canvas.webp": lambda: webp_canvas(5_900, 5_900),
    "canvas.gif": lambda: gif_canvas(65_535, 65_535),
    "allowed_canvas.gif": lambda: gif_canvas(SIDE, SIDE),
    "strip.tif": lambda: tiff_of(SIDE, SIDE, 3, 8, deflated(3 * SIDE**2)),
    "deep_strip.tif": lambda: tiff_of(SIDE, SIDE, 4, 16, deflated(8 * SIDE**2)),
    "strip_of_gigabytes.tif": lambda: tiff_of(50, 50, 3, 8, deflated(2_000 * MILLION)),
    "tags.tif": lambda: tiff_of(4, 4, 1, 8, zlib.compress(bytes(16)), repeat=25_000),
    "strips.tif": lambda: tiff_of(
        4, 4, 1, 8, zlib.compress(bytes(16)),
        tags={259: (3, [1]), 273: (4, [8] * MILLION), 279: (4, [1] * MILLION)},
    ),
    "tile.tif": lambda: tiff_of(
        16, 16, 3, 8, deflated(900 * MILLION),
        tags={322: (4, [60_000]), 323: (4, [60_000]), 324: (4, [8]), 325: (4, [900_000])},
    ),
    "run_lengths.bmp": lambda: bmp_rle(SIDE, SIDE),
    "header.ppm": lambda: b"P6 99999999 99999999 255\n" + bytes(1000),
    "deep.ppm": lambda: b"P6 9459 9459 65535\n" + bytes(100_000),
    "icon.png": lambda: b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", 1000, 22) + bytes(9),
}  # fmt: skip


def zip_of(packed: bytes, size: int, kind: int, number: int = 1, name: str = "a/1.png") -> bytes:
    """Return a zip archive of one member, whose index has it many times.

    Args:
        packed: the member, as it is packed.
        size: how many bytes it has, as the index says.
        kind: how it is packed.
        number: how often it is there.
        name: what it is called.
    """
    label = name.encode()
    fields = (kind, 0, 0x21, 0, len(packed), size)
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, *fields, len(label), 0) + label + packed
    entry = struct.pack(
        "<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, *fields, len(label), 0, 0, 0, 0, 0, 0
    )
    entries = (entry + label) * number
    count = number & 0xFFFF
    end = (0x06054B50, 0, 0, count, count, len(entries), len(local), 0)
    return local + entries + struct.pack("<IHHHHIIH", *end)


def lzma_of_zip(size: int) -> bytes:
    """Return so many zeros as a member of a zip archive that is packed with LZMA."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", bytes(size))
    content = buffer.getvalue()
    return content[31 : content.index(b"PK\1\2")]


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    item = tarfile.TarInfo(name)
    item.size, item.type = size, kind
    return item.tobuf(tarfile.GNU_FORMAT)


def packed_tar(pack: Callable[[bytes], bytes], *headers: bytes, size: int) -> bytes:
    """Return a packed tar archive: headers, and so many bytes of zeros after the last of them."""
    step = 10 * MILLION
    return pack(b"".join(headers)) + pack(bytes(step)) * (size // step) + pack(bytes(10_240))


def sparse_tar(number: int, size: int) -> bytes:
    """Return a tar archive of members of so many bytes, and without a block of them."""
    parts = []
    for index in range(number):
        header = bytearray(tarfile.TarInfo(f"a/{index}.png").tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[483:495] = b"%011o\0" % size
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        parts.append(bytes(header))
    return b"".join(parts) + bytes(10_240)


def nested_headers(number: int) -> bytes:
    """Return a tar archive of names that are the names of names."""
    item = tarfile.TarInfo("././@LongLink")
    item.type, item.size = tarfile.GNUTYPE_LONGNAME, 5
    return (item.tobuf(tarfile.GNU_FORMAT) + b"a.png".ljust(512, b"\0")) * number + bytes(1024)


def with_dictionary(content: bytes, size: int) -> bytes:
    """Return an xz file whose header says that unpacking takes a dictionary of 2^31 bytes."""
    changed = bytearray(content)
    place = changed.index(b"\x21\x01", 12)  # the filter LZMA2, and the length of its setting
    changed[place + 2] = size
    end = 12 + (changed[12] + 1) * 4 - 4
    changed[end : end + 4] = struct.pack("<I", zlib.crc32(changed[12:end]))
    return bytes(changed)


def shard(label: bytes, size: int) -> bytes:
    """Return a shard with an image and its label, and another whose label is very long."""
    image = encode(Image.fromarray(np.zeros((4, 4), np.uint8)))
    whole = tar_header("0.png", len(image)) + image.ljust(512, b"\0")
    whole += tar_header("0.cls", 1) + b"1".ljust(512, b"\0")
    whole += tar_header("1.png", len(image)) + image.ljust(512, b"\0")
    if size:
        return packed_tar(gzip.compress, whole, tar_header("1.cls", size), size=size)
    padded = label.ljust(-(-len(label) // 512) * 512, b"\0")
    return gzip.compress(whole + tar_header("1.json", len(label)) + padded + bytes(10_240))


LONG = 180 * MILLION
DEFLATED, BZIP2, LZMA = zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "member.zip": lambda: zip_of(deflated(LONG)[2:-4], LONG, DEFLATED),
    "bzip2.zip": lambda: zip_of(bz2.compress(bytes(50 * MILLION)), 1000, BZIP2),
    "lzma.zip": lambda: zip_of(lzma_of_zip(50 * MILLION), 1000, LZMA),
    "lying.zip": lambda: zip_of(deflated(LONG)[2:-4], 100 * MILLION, DEFLATED),
    "overlapping.zip": lambda: zip_of(
        deflated(100 * MILLION)[2:-4], 100 * MILLION, DEFLATED, 1_000
    ),
    "entries.zip": lambda: zip_of(b"", 0, 0, MILLION, ""),
    "member.tar.gz": lambda: packed_tar(gzip.compress, tar_header("a/1.png", LONG), size=LONG),
    "member.tar.bz2": lambda: packed_tar(bz2.compress, tar_header("a/1.png", LONG), size=LONG),
    "member.tar.xz": lambda: packed_tar(lzma.compress, tar_header("a/1.png", LONG), size=LONG),
    "not_an_image.tar.gz": lambda: packed_tar(
        gzip.compress, tar_header("a/readme", 6 * LONG), size=6 * LONG
    ),
    "dictionary.tar.xz": lambda: with_dictionary(
        packed_tar(lzma.compress, tar_header("a/1.png", 10 * MILLION), size=10 * MILLION), 38
    ),
    "sparse.tar": lambda: sparse_tar(3, 8_000 * MILLION),  # as many as an octal number holds
    "many_sparse.tar": lambda: sparse_tar(50, 100 * MILLION),
    "name.tar.gz": lambda: packed_tar(
        gzip.compress, tar_header("././@LongLink", LONG, tarfile.GNUTYPE_LONGNAME), size=LONG
    ),
    "header.tar.gz": lambda: packed_tar(
        gzip.compress, tar_header("pax", LONG, tarfile.XGLTYPE), size=LONG
    ),
    "nested.tar": lambda: nested_headers(5_000),
    "class.tar.gz": lambda: shard(b"", LONG),
    "json.tar.gz": lambda: shard(b"[" * 900_000, 0),
}


def write_good(folder: Path) -> None:
    """Write a folder of ten good images of two classes."""
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    for label in "ab":
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(5):
            content = encode(Image.fromarray(pixels))
            (folder / label / f"good{number}.png").write_bytes(content)
