import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnnkit.data.decode import BadImageError
from cnnkit.data.loading.jpeg import Canvas, decode_plain_jpeg
from cnnkit.stats.counting.decoding import decode
from tests.stats.making import encode, noise

MOST = 10**8


@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.integers(1, 100),
    st.sampled_from([0, 1, 2]), st.booleans(), st.booleans(), st.integers(0, 3),
)  # fmt: skip
def test_pixels_are_those_of_pillows_reader(
    height: int, width: int, channels: int, quality: int, subsampling: int,
    progressive: bool, optimize: bool, restart: int,
) -> None:  # fmt: skip
    image = Image.fromarray(noise(height, height, width, channels))
    content = encode(
        image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive,
        optimize=optimize, restart_marker_blocks=restart,
    )  # fmt: skip
    ours = decode_plain_jpeg(content, MOST)
    assert ours is not None
    with Image.open(io.BytesIO(content)) as theirs:
        assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
        assert (np.asarray(ours) == np.asarray(theirs)).all()
        assert ours.histogram() == theirs.histogram()


PLAIN = encode(Image.fromarray(noise(1, 40, 40)), "JPEG")


@pytest.mark.parametrize(
    "content",
    [
        encode(Image.fromarray(noise(1, 9, 9))),
        encode(Image.fromarray(noise(1, 9, 9)).convert("CMYK"), "JPEG"),
        encode(Image.fromarray(noise(1, 9, 9)), "JPEG", exif=b"Exif\0\0MM\0*"),
        PLAIN[: len(PLAIN) // 2],
        PLAIN[:-2],
        PLAIN[:30],
        PLAIN[:2],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xc0\x00\x03\x08",
        b"\xff\xd8" + b"\xff\xc0\x00\x11\x08\x00\x00\x00\x00\x03" * 3,
        PLAIN.replace(b"\xff\xda", b"\xff\xd9", 1),
    ],
)
def test_what_is_not_plain_is_left_to_pillows_reader(content: bytes) -> None:
    assert decode_plain_jpeg(content, MOST) is None


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_a_changed_byte_never_gives_other_pixels_than_pillow(place: int, byte: int) -> None:
    content = PLAIN[:place] + bytes([byte]) + PLAIN[place + 1 :]
    ours = decode_plain_jpeg(content, MOST)
    if ours is None:
        return
    with Image.open(io.BytesIO(content)) as theirs:
        assert (np.asarray(ours) == np.asarray(theirs.convert(ours.mode))).all()


def test_a_canvas_is_drawn_anew() -> None:
    canvas = Canvas()
    for seed, (height, width) in enumerate([(40, 30), (40, 30), (30, 40), (40, 30)]):
        for channels in (1, 3, 3):
            content = encode(Image.fromarray(noise(seed, height, width, channels)), "JPEG")
            assert decode_plain_jpeg(content[:-30], MOST, canvas) is None  # drawn half
            ours = decode_plain_jpeg(content, MOST, canvas)
            assert ours is not None
            with Image.open(io.BytesIO(content)) as theirs:
                assert (np.asarray(ours) == np.asarray(theirs)).all()


def test_large_ones_are_left_to_the_check() -> None:
    assert decode_plain_jpeg(PLAIN, 40 * 40) is not None
    assert decode_plain_jpeg(PLAIN, 40 * 40 - 1) is None


def test_every_cut_is_found() -> None:
    for length in range(len(PLAIN)):
        with pytest.raises(BadImageError):
            decode(PLAIN[:length])
