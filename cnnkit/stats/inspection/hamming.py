"""All pairs of 64-bit hashes that differ in few bits: a complete search, not a sampled one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.int64]
Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]

BLOCK_ROWS = 64
BLOCK_COLUMNS = 4096  # 64 x 4096 differences of 8 bytes stay in the cache of a core


def close_pairs(
    hashes: Hashes, radius: int, keys: Keys | None = None, max_key_difference: int = 0
) -> Iterator[Pairs]:
    """Find every pair of hashes that differ in at most `radius` bits.

    Every pair is compared that can count. Tables of bands would be faster on random hashes, but not
    on those of real images, most of which share their commonest bands.

    Args:
        hashes: uint64 of shape (N,).
        radius: the largest number of bits, 0 to 64.
        keys: int64 of shape (N,): pairs count only if these differ by at most `max_key_difference`.
            Without any, all pairs count; the keys are then the numbers of set bits, for hashes
            where these differ by more than the radius cannot be close.
        max_key_difference: see `keys`.

    Yields:
        Indices i and j of pairs, and the number of bits in which they differ, int64 of shape (M,)
        each; every pair once, blocks with none left out.
    """
    if keys is None:
        keys, max_key_difference = np.bitwise_count(hashes).astype(np.int64), radius
    order = np.argsort(keys, kind="stable")
    hashes, keys = hashes[order], keys[order]
    for start in range(0, len(hashes), BLOCK_ROWS):
        rows = hashes[start : start + BLOCK_ROWS, None]
        last = keys[start + len(rows) - 1] + max_key_difference
        end = int(np.searchsorted(keys, last, "right"))
        for first in range(start, end, BLOCK_COLUMNS):
            columns = hashes[first : min(first + BLOCK_COLUMNS, end)]
            bits = np.bitwise_count(rows ^ columns)
            row, column = np.nonzero(bits <= radius)
            row, column = start + row, first + column
            # Each pair once, none with itself, and none beyond the reach of its own row.
            counts = (column > row) & (keys[column] - keys[row] <= max_key_difference)
            row, column = row[counts], column[counts]
            if len(row):
                distance = bits[row - start, column - first].astype(np.int64)
                yield order[row], order[column], distance
