import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cnnkit.data.histogram import (
    Moments,
    count_values,
    entropy,
    from_sparse,
    largest_value,
    percentile,
    smallest_value,
    to_sparse,
    widen,
)

values = arrays.arrays(np.uint8, st.integers(1, 300))


@given(arrays.arrays(np.uint8, st.tuples(*(st.integers(1, 6) for _ in range(4)))))
def test_counting_is_what_numpy_counts(pixels: np.ndarray) -> None:
    counted = count_values(torch.from_numpy(pixels))
    for channel in range(pixels.shape[1]):
        expected = np.bincount(pixels[:, channel].reshape(-1), minlength=256)
        assert (counted[channel] == expected).all()


def test_counting_many_images_in_chunks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 3, 20, 20), dtype=np.uint8)
    counted = count_values(torch.from_numpy(pixels))
    for channel in range(3):
        assert (counted[channel] == np.bincount(pixels[:, channel].ravel(), minlength=256)).all()


@given(values, st.integers(0, 100))
def test_figures_are_those_of_the_values(pixels: np.ndarray, percent: int) -> None:
    counts = np.bincount(pixels, minlength=256)
    moments = Moments.of(counts)
    assert (moments.number, moments.total) == (len(pixels), int(pixels.sum(dtype=int)))
    assert moments.squares == int((pixels.astype(int) ** 2).sum())
    assert moments.mean == pytest.approx(pixels.mean(dtype=float) / 255, rel=1e-14)
    assert moments.std == pytest.approx(pixels.std(dtype=float) / 255, rel=1e-9, abs=1e-12)
    assert smallest_value(counts) == pixels.min()
    assert largest_value(counts) == pixels.max()
    assert percentile(counts, percent) == pytest.approx(np.percentile(pixels, percent), rel=1e-12)
    shares = counts[counts > 0] / len(pixels)
    assert entropy(counts) == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-12)
    assert (from_sparse(to_sparse(counts)) == counts).all()


@given(values)
def test_widened_figures_are_the_same(pixels: np.ndarray) -> None:
    counts = np.bincount(pixels, minlength=256)
    wide = Moments.of(widen(counts))
    assert (wide.white, wide.number) == (65535, len(pixels))
    assert wide.mean == Moments.of(counts).mean
    assert wide.std == pytest.approx(Moments.of(counts).std, rel=1e-14)


def test_sums_that_pass_64_bits_are_exact() -> None:
    counts = np.zeros(65536, dtype=np.int64)
    counts[65535] = counts[65534] = 2**40
    moments = Moments.of(counts)
    assert moments.squares == 2**40 * (65535**2 + 65534**2)
    assert moments.std == pytest.approx(0.5 / 65535, rel=1e-14)


def test_one_value_has_no_spread() -> None:
    counts = np.bincount(np.full(1000, 77), minlength=256)
    assert Moments.of(counts).std == 0.0
    assert entropy(counts) == 0.0


@pytest.mark.parametrize(
    "plain",
    [
        {"bins": 100, "values": [], "counts": []},
        {"bins": 256, "values": [1], "counts": [1, 2]},
        {"bins": 256, "values": [-1], "counts": [1]},
        {"bins": 256, "values": [1], "counts": [-1]},
        {"bins": 256, "values": [1, 1], "counts": [1, 1]},
        {"bins": 256, "values": [256], "counts": [1]},
    ],
)
def test_what_is_no_histogram_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises((ValueError, IndexError)):
        from_sparse(plain)
