import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit import measure_dataset
from cnnkit.data import decode as opening
from cnnkit.data.decode import BadImageError
from cnnkit.stats.counting import decoding
from cnnkit.stats.counting.decoding import decode
from cnnkit.stats.counting.measuring import count_decoded
from tests.stats.making import encode, noise, png_of_16_bits, tiff_of_16_bits, write_files

COLOUR = Image.fromarray(noise(1, 9, 7))
GREY = Image.fromarray(noise(2, 9, 7, 1))
RGBA = Image.fromarray(noise(3, 9, 7, 4))
DEEP = np.random.default_rng(4).integers(0, 65536, (9, 7, 4), dtype=np.uint16)


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
        (encode(GREY.convert("LA")), "LA", "PNG", (decoding.ALPHA,)),
        (encode(RGBA), "RGBA", "PNG", (decoding.ALPHA,)),
        (palette(False), "P", "PNG", (decoding.PALETTE,)),
        (palette(True), "P", "PNG", (decoding.PALETTE, decoding.ALPHA)),
        (encode(COLOUR, "JPEG", quality=90), "RGB", "JPEG", ()),
        (encode(GREY, "JPEG"), "L", "JPEG", ()),
        (encode(COLOUR.convert("CMYK"), "JPEG"), "CMYK", "JPEG", (decoding.CONVERTED,)),
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
        (2, "LA;16", 1, (decoding.ALPHA,)),
        (3, "RGB;16", 3, ()),
        (4, "RGBA;16", 3, (decoding.ALPHA,)),
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
    assert (found.mode, found.changes) == ("RGB;16", (decoding.REDUCED,))
    assert found.image is not None


def test_16_bits_of_tiff_and_of_32_bit_files() -> None:
    deep = Image.fromarray(DEEP[..., 0])
    wide = Image.fromarray(DEEP[..., 0].astype(np.int32))
    for image in (deep, wide):
        counts = count_decoded(decode(encode(image, "TIFF")))
        assert (counts[0] == np.bincount(DEEP[..., 0].ravel(), minlength=65536)).all()
    with pytest.raises(BadImageError, match="outside of 16 bits"):
        decode(encode(Image.fromarray(np.full((2, 2), 70_000, dtype=np.int32)), "TIFF"))
    with pytest.raises(BadImageError, match="floating-point"):
        decode(encode(Image.fromarray(np.ones((2, 2), dtype=np.float32)), "TIFF"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_ignored_and_told(form: str) -> None:
    exif = Image.Exif()
    exif[decoding.ORIENTATION_TAG] = 6
    plain, turned = encode(COLOUR, form), encode(COLOUR, form, exif=exif.tobytes())
    assert not decode(plain).is_oriented
    assert decode(turned).is_oriented
    assert (decode(turned).width, decode(turned).height) == (7, 9)
    assert (count_decoded(decode(plain)) == count_decoded(decode(turned))).all()
    upright = Image.Exif()
    upright[decoding.ORIENTATION_TAG] = 1
    assert not decode(encode(COLOUR, form, exif=upright.tobytes())).is_oriented


def test_odd_metadata_does_not_make_pixels_bad() -> None:
    content = encode(COLOUR, "JPEG", exif=b"Exif\0\0" + b"nonsense")
    assert decode(content).width == 7


def test_huge_images_are_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MAX_PIXELS", 200)
    small, large = Image.new("L", (10, 10), 7), Image.new("L", (20, 20), 9)
    write_files(tmp_path / "set", {"a/1.png": encode(small), "b/2.png": encode(large)})
    result = measure_dataset(str(tmp_path / "set"))
    assert result.num_images == 1
    (bad,) = result.bad_files
    assert bad.reason == "refused: 20 x 20 pixels, more than 200; --allow-large reads it"
    allowed = measure_dataset(str(tmp_path / "set"), allow_large=True)
    assert (allowed.num_images, allowed.num_pixels, allowed.bad_files) == (2, 500, ())


def test_a_real_bomb_is_refused_from_its_header() -> None:
    bomb = bytearray(encode(Image.new("1", (30_000, 30_000))))  # 110 kB that would be 900 MB
    with pytest.raises(BadImageError, match="refused: 900,000,000 pixels, more than 89,478,485"):
        decode(bytes(bomb))
