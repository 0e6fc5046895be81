import io
import itertools
import struct
import warnings
import zlib
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnkit import measure_dataset, show_dataset
from cnnkit.data import image_limits
from cnnkit.data.decode import ALPHA, CONVERTED, PALETTE, REDUCED, decode, to_8_bits
from cnnkit.data.image_files import FORMATS, read_header
from cnnkit.data.image_limits import BadImageError
from cnnkit.data.loading.jpeg import decode_plain_jpeg
from cnnkit.data.loading.preprocessing import Decoding, Preprocessing
from cnnkit.stats.counting.count_files import count_decoded
from tests import heic
from tests.stats.making import encode, noise, png_of_16_bits, tiff_of_16_bits, write_files
from tests.tiffs import BLACK_IS_ZERO, CMYK, RGB, WHITE_IS_ZERO, tiff

COLOUR = Image.fromarray(noise(1, 9, 7))
GREY = Image.fromarray(noise(2, 9, 7, 1))
RGBA = Image.fromarray(noise(3, 9, 7, 4))
DEEP = np.random.default_rng(4).integers(0, 65536, (9, 7, 4), dtype=np.uint16)


def treatment(channels: int, height: int, width: int, decoding: Decoding = "full") -> Preprocessing:
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return Preprocessing(channels, height, width, zeros, ones, decoding=decoding)


def palette(transparent: bool) -> bytes:
    image = COLOUR.quantize(16)
    return encode(image, transparency=3) if transparent else encode(image)


def expected_counts(content: bytes) -> np.ndarray:
    """Return the histogram of the pixels that Pillow gives, brought to RGB or grey by its rules."""
    with Image.open(io.BytesIO(content)) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grey = image.mode in ("1", "L", "LA")
        if grey:
            pixels = np.asarray(image.convert("LA"))[..., :1]
        elif image.mode == "CMYK":
            pixels = np.asarray(image.convert("RGB"))
        else:
            pixels = np.asarray(image.convert("RGBA"))[..., :3]
    return np.stack(
        [np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(pixels.shape[-1])]
    )


@pytest.mark.parametrize(
    ("content", "mode", "form", "changes"),
    [
        (encode(COLOUR), "RGB", "PNG", ()),
        (encode(GREY), "L", "PNG", ()),
        (encode(GREY.convert("1")), "1", "PNG", ()),
        (encode(GREY.convert("LA")), "LA", "PNG", (ALPHA,)),
        (encode(RGBA), "RGBA", "PNG", (ALPHA,)),
        (palette(False), "P", "PNG", (PALETTE,)),
        (palette(True), "P", "PNG", (PALETTE, ALPHA)),
        (encode(COLOUR, "JPEG", quality=90), "RGB", "JPEG", ()),
        (encode(GREY, "JPEG"), "L", "JPEG", ()),
        (encode(COLOUR.convert("CMYK"), "JPEG"), "CMYK", "JPEG", (CONVERTED,)),
        (encode(COLOUR, "WEBP", lossless=True), "RGB", "WEBP", ()),
        (encode(COLOUR, "BMP"), "RGB", "BMP", ()),
        (encode(COLOUR, "TIFF", compression="tiff_lzw"), "RGB", "TIFF", ()),
        (encode(COLOUR, "PPM"), "RGB", "PPM", ()),
    ],
)
def test_modes_by_rule(content: bytes, mode: str, form: str, changes: tuple[str, ...]) -> None:
    found = decode(content)
    assert (found.mode, found.form, found.changes) == (mode, form, changes)
    assert (found.width, found.height) == (7, 9)
    assert (count_decoded(found) == expected_counts(content)).all()


@pytest.mark.parametrize(
    ("channels", "mode", "kept", "changes"),
    [
        (1, "I;16", 1, ()),
        (2, "LA;16", 1, (ALPHA,)),
        (3, "RGB;16", 3, ()),
        (4, "RGBA;16", 3, (ALPHA,)),
    ],
)
def test_16_bits_stay_16_bits(
    channels: int, mode: str, kept: int, changes: tuple[str, ...]
) -> None:
    pixels = DEEP[..., :channels]
    found = decode(png_of_16_bits(pixels))
    assert (found.mode, found.changes) == (mode, changes)
    assert found.image is None
    counts = count_decoded(found)
    assert counts.shape == (kept, 65536)
    for channel in range(kept):
        assert (counts[channel] == np.bincount(pixels[..., channel].ravel(), minlength=65536)).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
def test_16_bits_of_colour_tiff(order: str, compressed: bool) -> None:
    found = decode(tiff_of_16_bits(DEEP[..., :3], order, compressed))
    assert (found.mode, found.form, found.changes) == ("RGB;16", "TIFF", ())
    assert found.planes is not None
    assert (found.planes == DEEP[..., :3].transpose(2, 0, 1)).all()


def test_16_bits_of_colour_ppm_are_reduced_and_told() -> None:
    content = b"P6 7 9 65535\n" + DEEP[..., :3].astype(">u2").tobytes()
    found = decode(content)
    assert (found.mode, found.changes) == ("RGB;16", (REDUCED,))
    assert found.image is not None


def test_16_bits_of_grey_tiff() -> None:
    counts = count_decoded(decode(encode(Image.fromarray(DEEP[..., 0]), "TIFF")))
    assert (counts[0] == np.bincount(DEEP[..., 0].ravel(), minlength=65536)).all()


FLOATS = "floating-point pixels, whose range the file does not state"
SIGNED = "signed integers, whose range the file does not state"
LONG = "32-bit integers, whose range the file does not state"
ONES = np.ones((4, 5, 5))
REFUSED = [
    (encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), FLOATS),
    (tiff(ONES[..., :1], 1), FLOATS),
    (tiff(ONES[..., :3].astype(np.float32)), FLOATS),
    (tiff(ONES[..., :3].astype(np.float16)), FLOATS),
    (b"Pf 2 2 -1.0\n" + bytes(16), FLOATS),
    (encode(Image.fromarray(np.ones((2, 2), np.int32)), "TIFF"), SIGNED),
    (tiff(ONES[..., :1].astype(np.int16), 1), SIGNED),
    (tiff(ONES[..., :1].astype(np.int8), 1), SIGNED),
    (tiff(ONES[..., :1].astype(np.uint32), 1), LONG),
    (tiff(ONES[..., :3].astype(np.uint32)), LONG),
    (tiff(ONES.astype(np.uint8), 1), "a TIFF file with 5 channels, NOT_READ"),
    (tiff(ONES.astype(np.uint16)), "a TIFF file with 5 channels, NOT_READ"),
    (tiff(ONES[..., :2].astype(np.uint8)), "a TIFF file with 2 channels of 8 bits, NOT_READ"),
    (tiff(ONES[..., :3].astype("u2"), 3), "a TIFF file with 3 channels of 16 bits, NOT_READ"),
    (
        tiff(ONES[..., :3].astype(np.uint8), tags={259: (999,)}),
        "a TIFF file of compression 999, NOT_READ",
    ),
    (
        tiff(ONES[..., :3].astype(np.uint16), tags={259: (999,)}),
        "a TIFF file of compression 999, NOT_READ",
    ),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_states_no_range_is_refused_with_one_reason(content: bytes, reason: str) -> None:
    for one in (decode, treatment(3, 4, 5).decode):
        with pytest.raises(BadImageError) as caught:
            one(content)
        assert str(caught.value) == reason.replace("NOT_READ", "which cnnkit does not read")


def test_heic_files_name_the_extra() -> None:
    if find_spec("pi_heif"):
        pytest.skip("the extra heic is installed")
    content = heic.CONTENT
    with pytest.raises(BadImageError, match=r"HEIC file; .* pip install 'cnnkit\[heic\]'"):
        decode(content)


def test_heic_files_are_read_upright() -> None:
    pytest.importorskip("pi_heif", reason="the extra heic is not installed")
    found = decode(heic.CONTENT)
    assert (found.form, found.width, found.height, found.is_oriented) == ("HEIF", 24, 40, True)
    assert isinstance(found.pixels, Image.Image)
    rows, columns = np.mgrid[0:24, 0:40]
    drawn = np.rot90(np.stack([rows * 10, columns * 6, 0 * rows + 60], -1), -1)
    assert np.abs(rows_of(found.pixels).transpose(1, 2, 0) - drawn).mean() < 5
    assert (treatment(3, 40, 24).decode(heic.CONTENT).numpy() == rows_of(found.pixels)).all()
    with pytest.raises(BadImageError, match="HEIF file with a broken header"):
        decode(heic.CONTENT[:100])


def in_colour(pixels: np.ndarray, photometric: int) -> np.ndarray:
    """Return grey or RGB of stored values, in float64 and rounded."""
    white = int(np.iinfo(pixels.dtype).max)
    if photometric == CMYK:
        light = white - pixels[..., 3:].astype(np.int64)
        return light - np.floor(pixels[..., :3] * (light / white) + 0.5).astype(np.int64)
    kept = pixels[..., : 3 if photometric == RGB else 1]
    return white - kept if photometric == WHITE_IS_ZERO else kept


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("photometric", "channels", "extra"),
    [
        (WHITE_IS_ZERO, 1, None), (BLACK_IS_ZERO, 1, None), (BLACK_IS_ZERO, 2, 2),
        (WHITE_IS_ZERO, 2, 2), (RGB, 3, None), (RGB, 4, None), (RGB, 4, 0), (RGB, 4, 2),
        (CMYK, 4, None),
    ],
)  # fmt: skip
def test_tiff_files_of_every_layout(
    kind: type, photometric: int, channels: int, extra: int | None
) -> None:
    pixels = np.random.default_rng(channels).integers(0, np.iinfo(kind).max + 1, (19, 37, channels))
    pixels = pixels.astype(kind)
    wanted = in_colour(pixels, photometric)
    eighth = wanted if kind is np.uint8 else np.floor(wanted / 257 + 0.5)
    treated = treatment(wanted.shape[-1], 19, 37)
    for order, separate, deflate, tile, rows in itertools.product(
        "<>", (False, True), (False, True), (None, (16, 32)), (None, 4)
    ):
        content = tiff(
            pixels, photometric, order=order, separate=separate and channels > 1,
            deflate=deflate, predictor=deflate and rows is None, tile=tile, rows=rows, extra=extra,
        )  # fmt: skip
        found = decode(content)
        own = found.pixels if isinstance(found.pixels, np.ndarray) else rows_of(found.pixels)
        assert (own == wanted.transpose(2, 0, 1)).all()
        assert (found.width, found.height, found.form) == (37, 19, "TIFF")
        assert (treated.decode(content).numpy() == eighth.transpose(2, 0, 1)).all()


def rows_of(image: Image.Image) -> np.ndarray:
    """Return the pixels of an image, of shape (C, H, W)."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def test_premultiplied_alpha_is_undone() -> None:
    pixels = np.zeros((1, 3, 4), np.uint16)
    pixels[0, :, :3], pixels[0, :, 3] = (100, 2000, 32767), (65535, 0, 32768)
    found = decode(tiff(pixels, extra=1))
    assert found.changes == (ALPHA,)
    assert found.planes is not None
    assert found.planes[:, 0, 0].tolist() == [100, 2000, 32767]
    assert found.planes[:, 0, 1].tolist() == [100, 2000, 32767]  # nothing shows what it was
    assert found.planes[:, 0, 2].tolist() == [199, 3999, 65533]


def test_12_bits_are_scaled_by_their_range() -> None:
    values = np.array([[0, 4095, 2048, 1]])
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x01])  # of twelve bits each
    body = b"II*\0" + struct.pack("<I", 14) + packed
    tags = ((256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1),
            (279, 6))  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    found = decode(body + struct.pack("<H", len(tags)) + entries + bytes(4))
    assert found.planes is not None
    assert (found.planes[0] == np.floor(values * (65535 / 4095) + 0.5)).all()
    assert to_8_bits(found.pixels).tobytes() == bytes([0, 255, 128, 0])


def test_16_bits_become_8_by_rounding() -> None:
    values = np.arange(65536).reshape(256, 256)
    reduced = np.asarray(to_8_bits(values[None].astype(np.uint16)))
    assert (reduced == np.floor(values * 255 / 65535 + 0.5)).all()


def oriented(form: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encode(COLOUR, form, exif=exif.tobytes(), **options)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_images_are_upright_everywhere(tmp_path: Path, form: str) -> None:
    for orientation in range(1, 9):
        content = oriented(form, orientation)
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        wanted = rows_of(upright)
        found = decode(content)
        assert (found.width, found.height) == upright.size
        assert found.is_oriented == (orientation != 1)
        assert isinstance(found.pixels, Image.Image)
        assert (rows_of(found.pixels) == wanted).all()
        for treated in (treatment(3, *wanted.shape[1:]), treatment(3, *wanted.shape[1:], "fast")):
            assert (treated.decode(content).numpy() == wanted).all()
        suffix = FORMATS[form][0]
        write_files(tmp_path, {f"{orientation}{suffix}": content})
        assert read_header(str(tmp_path / f"{orientation}{suffix}"))[1] == wanted.shape[1:]
        shown = decode_of_show(tmp_path / f"{orientation}{suffix}")
        assert (shown == wanted).all()


def decode_of_show(path: Path) -> np.ndarray:
    """Return the pixels that `show` has of a file."""
    folder = path.parent / f"set{path.name}"
    write_files(
        folder, {f"a/1{path.suffix}": path.read_bytes(), f"b/1{path.suffix}": path.read_bytes()}
    )
    picture = show_dataset(str(folder), num=1).samples[0].pictures[0]
    pixels = np.frombuffer(picture.pixels, np.uint8)
    return pixels.reshape(picture.height, picture.width, picture.channels).transpose(2, 0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_upright(orientation: int) -> None:
    small = Image.fromarray((DEEP[..., 0] >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(small, exif=exif.tobytes()))))
    pixels = DEEP[..., :3].copy()
    png = png_of_16_bits(pixels)
    chunk = b"eXIf" + exif.tobytes()[6:]
    size, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    png = png.replace(png[-12:], size + chunk + checksum + png[-12:])
    for content in (tiff(pixels, orientation=orientation, separate=True), png):
        found = decode(content)
        assert found.planes is not None
        assert ((found.planes[0] >> 8) == np.asarray(turned)).all()
        assert (found.width, found.height) == turned.size
        assert found.is_oriented == (orientation != 1)


def test_orientation_in_xmp_is_that_of_pillow() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    content = encode(COLOUR, "JPEG", xmp=xmp)
    assert decode_plain_jpeg(content, 10**8) is None
    found = decode(content)
    assert (found.width, found.height, found.is_oriented) == (9, 7, True)


def test_a_run_from_before_keeps_its_way() -> None:
    treated = treatment(3, 9, 7, "before")
    for form in ("JPEG", "PNG", "WEBP"):
        content = oriented(form, 6)
        with Image.open(io.BytesIO(content)) as image:
            assert (treated.decode(content).numpy() == rows_of(image.convert("RGB"))).all()
    deep = Image.fromarray(DEEP[..., 0])
    grey = treatment(1, 9, 7, "before").decode(encode(deep)).numpy()
    assert (grey[0] == DEEP[..., 0] >> 8).all()
    plain = asdict(treated)
    del plain["decoding"]
    assert Preprocessing.from_dict(plain) == treated


def test_only_fast_decoding_uses_the_draft_mode() -> None:
    rows, columns = np.mgrid[0:300, 0:400]
    pixels = np.stack([(rows * 7 + columns * 13) % 251] * 3, -1).astype(np.uint8)
    content = encode(Image.fromarray(pixels), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        full = image.convert("RGB").resize((40, 30), Image.Resampling.BILINEAR)
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (40, 30))
        fast = image.convert("RGB").resize((40, 30), Image.Resampling.BILINEAR)
    assert (rows_of(full) != rows_of(fast)).any()
    assert (treatment(3, 30, 40).decode(content).numpy() == rows_of(full)).all()
    assert (treatment(3, 30, 40, "fast").decode(content).numpy() == rows_of(fast)).all()
    assert (treatment(3, 30, 40, "before").decode(content).numpy() == rows_of(fast)).all()


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iTXt plain", "tEXt", "iCCP"])
def test_long_texts_of_png_files_are_not_needed(kind: str) -> None:
    plain, number = encode(COLOUR), 3 * 2**20
    text = zlib.compress(bytes(65 for _ in range(number)))
    chunk = {
        "zTXt": b"zTXta\0\0" + text,
        "iCCP": b"iCCPa\0\0" + text,
        "iTXt": b"iTXta\0\1\0\0\0" + text,
        "iTXt plain": b"iTXta\0\0\0\0\0" + b"a" * 70 * 2**20,
        "tEXt": b"tEXta\0" + b"a" * 70 * 2**20,
    }[kind]
    whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = plain[:33] + whole + plain[33:]
    with pytest.raises(ValueError, match=r"MAX_TEXT|memory"), Image.open(io.BytesIO(content)) as it:
        it.load()
    for one in (content, plain[:33] + whole * 2 + plain[33:]):
        assert (rows_of(to_8_bits(decode(one).pixels)) == rows_of(COLOUR)).all()


def test_odd_metadata_does_not_make_pixels_bad() -> None:
    content = encode(COLOUR, "JPEG", exif=b"Exif\0\0" + b"nonsense")
    assert decode(content).width == 7


def test_huge_images_are_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 200)
    small, large = Image.new("L", (10, 10), 7), Image.new("L", (20, 20), 9)
    write_files(tmp_path / "set", {"a/1.png": encode(small), "b/2.png": encode(large)})
    result = measure_dataset(str(tmp_path / "set"))
    assert result.num_images == 1
    (bad,) = result.bad_files
    assert bad.reason == "refused: 20 x 20 pixels, more than 200; allow_large reads it"
    allowed = measure_dataset(str(tmp_path / "set"), allow_large=True)
    assert (allowed.num_images, allowed.num_pixels, allowed.bad_files) == (2, 500, ())


def test_a_real_bomb_is_refused_from_its_header() -> None:
    bomb = bytearray(encode(Image.new("1", (30_000, 30_000))))  # 110 kB that would be 900 MB
    with pytest.raises(BadImageError, match="refused: 900,000,000 pixels, more than 89,478,485"):
        decode(bytes(bomb))
