"""All pairs of 64-bit hashes that differ in few bits: a complete search, not a sampled one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]

BLOCK_ROWS = 64
BLOCK_COLUMNS = 4096  # 64 x 4096 differences of 8 bytes stay in the cache of a core


def close_pairs(hashes: Hashes, radius: int) -> Iterator[Pairs]:
    """Find every pair of hashes that differ in at most `radius` bits.

    Every pair is compared, except those whose numbers of set bits already differ by more than the
    radius: these cannot be close. Tables of bands would be faster on random hashes, but not on
    those of real images, most of which share their commonest bands.

    Args:
        hashes: uint64 of shape (N,).
        radius: the largest number of bits, 0 to 64.

    Yields:
        Indices i and j of pairs, and the number of bits in which they differ, int64 of shape (M,)
        each; every pair once, blocks with none left out.
    """
    weights = np.bitwise_count(hashes)
    order = np.argsort(weights, kind="stable")
    hashes, weights = hashes[order], weights[order].astype(np.int64)
    for start in range(0, len(hashes), BLOCK_ROWS):
        rows = hashes[start : start + BLOCK_ROWS, None]
        end = int(np.searchsorted(weights, weights[start + len(rows) - 1] + radius, "right"))
        for first in range(start, end, BLOCK_COLUMNS):
            columns = hashes[first : min(first + BLOCK_COLUMNS, end)]
            bits = np.bitwise_count(rows ^ columns)
            row, column = np.nonzero(bits <= radius)
            later = first + column > start + row  # each pair once, and none with itself
            row, column = row[later], column[later]
            if len(row):
                distance = bits[row, column].astype(np.int64)
                yield order[start + row], order[first + column], distance
