import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.render import Column, Table
from cnnkit.render.format import (
    format_bytes,
    format_count,
    format_interval,
    format_seconds,
    format_value,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (842, "842"),
        (999, "999"),
        (1_000, "1.000 k"),
        (61_706, "61.71 k"),
        (138_357_544, "138.4 M"),
        (15_470_264_320, "15.47 G"),
        (999_999, "1.000 M"),
        (999_960, "1.000 M"),
        (999_949, "999.9 k"),
    ],
)
def test_counts(number: int, text: str) -> None:
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("count", "digits", "is_round", "text"),
    [
        (43_149, 3, False, "43.1 k"),
        (999_500, 3, False, "1.00 M"),
        (999_499, 3, False, "999 k"),
        (200e6, 4, True, "200 M"),
        (60_000, 6, True, "60 k"),
        (2_500_000, 6, True, "2.5 M"),
        (12, 3, True, "12"),
    ],
)
def test_counts_of_other_lengths(count: float, digits: int, is_round: bool, text: str) -> None:
    assert format_count(count, digits, is_round) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (842, "842 B"),
        (1023.99, "1.000 KiB"),
        (2**20, "1.000 MiB"),
        (3 * 2**40, "3.000 TiB"),
    ],
)
def test_bytes(number: float, text: str) -> None:
    assert format_bytes(number) == text


def test_an_interval_has_two_ends() -> None:
    assert format_interval((0.9812, 1.0249)) == "0.98 to 1.02"
    assert format_interval((0.9812, 1.0249), 3) == "0.981 to 1.025"


@given(st.integers(min_value=0, max_value=10**14))
def test_a_count_is_right_to_four_digits(number: int) -> None:
    text = format_count(number)
    digits, _, sign = text.partition(" ")
    value = float(digits) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[sign]
    assert math.isclose(value, number, rel_tol=5.1e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12.3 ms"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (72.4, "1 min 12 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_values_by_kind() -> None:
    assert format_value("fraction", 0.98764) == "98.76 %"
    assert format_value("loss", 0.04116) == "0.0412"
    assert format_value("integer", 60000) == "60,000"
    assert format_value("rate", 16700.4) == "16,700"
    assert format_value("name", None) == "-"
    assert format_value("text", "[bold]") == "[bold]"
    assert format_value("loss", math.nan) == "nan"


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Table("t", "", (Column("a", "A"),), ((1, 2),)).formatted()
