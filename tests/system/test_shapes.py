import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.errors import UsageError, settings_written
from cnnkit.system.shapes import parse_image_shape, parse_sizes

SIZES = st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=5)


@given(SIZES, st.sampled_from(["x", "X", ",", " x ", ", "]))
def test_sizes_are_read_as_they_were_written(sizes: list[int], between: str) -> None:
    assert parse_sizes(f" {between.join(map(str, sizes))} ") == tuple(sizes)


@pytest.mark.parametrize(
    "text",
    ["", "x", "3x", "x3", "3xx3", "3,,3", "3.5", "²", "3x²", "٣", "3;3", "3 3", "+3", "--3", "axb",
     "9" * 13, "1e3", "1_000", "3x3\n3"],
)  # fmt: skip
def test_other_texts_are_no_sizes(text: str) -> None:
    assert parse_sizes(text) == ()


def test_an_image_is_a_square_or_channels_height_width() -> None:
    assert parse_image_shape("32") == (None, 32, 32)
    assert parse_image_shape("3,32,16") == (3, 32, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3x32", "is not a shape"),
        ("1x2x3x4", "is not a shape"),
        ("3x0x3", "below 1"),
        ("-1", "below 1"),
    ],
)
def test_errors_name_the_setting(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^input '{text}' .*{message}"):
        parse_image_shape(text)
    with (
        settings_written(lambda name: f"--{name}"),
        pytest.raises(UsageError, match=f"^--input '{text}' .*{message}"),
    ):
        parse_image_shape(text)
