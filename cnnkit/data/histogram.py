"""Exact statistics of pixels, computed from integer histograms.

A histogram counts pixels by value, in 64-bit integers. Histograms of parts add up to the
total, in any order, and every statistic follows from the sum without rounding before its last
division.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Counts = npt.NDArray[np.int64]

CHUNK_IMAGES = 256  # images gathered at once; bounds the memory for copies
CHUNK_VALUES = 32_000  # values counted at once: so few that torch wakes no threads for them
EXACT_IN_INT64 = 2**63 - 1


def count_values(images: Tensor) -> Counts:
    """Return the histogram of images in memory, by channel.

    Args:
        images: uint8 of shape (N, C, H, W).

    Returns:
        int64 of shape (C, 256).
    """
    counts = torch.zeros((images.shape[1], 256), dtype=torch.int64)
    for start in range(0, len(images), CHUNK_IMAGES):
        chunk = images[start : start + CHUNK_IMAGES].numpy()
        for channel in range(images.shape[1]):
            values = torch.from_numpy(np.ascontiguousarray(chunk[:, channel]).reshape(-1))
            for first in range(0, len(values), CHUNK_VALUES):
                part = values[first : first + CHUNK_VALUES]
                counts[channel] += torch.bincount(part, minlength=256)
    return counts.numpy()


def widen(counts: Counts) -> Counts:
    """Return a histogram of 8-bit values as one of 16-bit values; v becomes exactly 257 * v.

    Args:
        counts: int64 of shape (..., 256).

    Returns:
        int64 of shape (..., 65536); shares of full white are the same.
    """
    wide = np.zeros((*counts.shape[:-1], 65536), dtype=np.int64)
    wide[..., ::257] = counts
    return wide


@dataclass(frozen=True)
class Moments:
    """Number, sum and sum of squares of pixel values: integers of any size.

    Attributes:
        number: how many values there are.
        total: their sum.
        squares: the sum of their squares.
        white: the largest value there may be, 255 or 65535; mean and std are divided by it.
    """

    number: int
    total: int
    squares: int
    white: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """Return the moments of a histogram of shape (bins,)."""
        white = len(counts) - 1
        number = int(counts.sum())
        if number * white * white <= EXACT_IN_INT64:
            values = np.arange(len(counts), dtype=np.int64)
            return cls(number, int(counts @ values), int(counts @ values**2), white)
        pairs = [(int(value), int(counts[value])) for value in np.flatnonzero(counts)]
        total = sum(value * count for value, count in pairs)
        return cls(number, total, sum(value * value * count for value, count in pairs), white)

    @property
    def mean(self) -> float:
        """The mean, on the scale 0..1."""
        return self.total / (self.number * self.white)

    @property
    def std(self) -> float:
        """The (population) standard deviation, on the scale 0..1."""
        # number^2 * variance is an integer, so nothing cancels.
        variance = self.number * self.squares - self.total * self.total
        return math.sqrt(variance / (self.number * self.white) ** 2)


def smallest_value(counts: Counts) -> int:
    """Return the smallest value that occurs in a histogram of shape (bins,)."""
    return int(np.flatnonzero(counts)[0])


def largest_value(counts: Counts) -> int:
    """Return the largest value that occurs in a histogram of shape (bins,)."""
    return int(np.flatnonzero(counts)[-1])


def percentile(counts: Counts, percent: int) -> float:
    """Return a percentile of the values of a histogram of shape (bins,).

    Between two neighbors it is interpolated in proportion, as NumPy's default does (Hyndman and
    Fan, 1996, definition 7); 50 is the median.
    """
    reached = np.cumsum(counts)
    position = Fraction(percent * (int(reached[-1]) - 1), 100)
    before = math.floor(position)
    low = int(np.searchsorted(reached, before, side="right"))
    high = int(np.searchsorted(reached, math.ceil(position), side="right"))
    return float(low + (high - low) * (position - before))


def entropy(counts: Counts) -> float:
    """Return the entropy of the values of a histogram of shape (bins,), in bits a pixel."""
    number = int(counts.sum())
    shares = (int(count) / number for count in counts[counts > 0])
    return math.fsum(-share * math.log2(share) for share in shares) + 0.0


def to_sparse(counts: Counts) -> dict[str, Any]:
    """Return a histogram of shape (bins,) as plain lists of the values that occur."""
    values = np.flatnonzero(counts)
    return {"bins": len(counts), "values": values.tolist(), "counts": counts[values].tolist()}


def from_sparse(plain: dict[str, Any]) -> Counts:
    """Return the histogram that `to_sparse` wrote.

    Raises:
        ValueError, KeyError, TypeError, OverflowError, IndexError: it is none.
    """
    if plain["bins"] not in (256, 65536):
        raise ValueError(f"a histogram has 256 or 65,536 bins, not {plain['bins']!r}")
    counts = np.zeros(plain["bins"], dtype=np.int64)
    values = np.array(plain["values"], dtype=np.int64)
    found = np.array(plain["counts"], dtype=np.int64)
    if values.shape != found.shape or (found < 0).any() or (values < 0).any():
        raise ValueError("values and counts of a histogram do not fit")
    if len(np.unique(values)) != len(values):
        raise ValueError("a histogram has a value twice")
    counts[values] = found
    return counts
