"""Sum of the measurements of all ranks of torchrun: an integer all-reduce, and joined lists."""

from dataclasses import replace

import numpy as np

from cnnkit.data.histogram import Counts
from cnnkit.errors import RunFailedError
from cnnkit.stats.counting.tally import ImageSums, Tally
from cnnkit.stats.saved_counts import Measurement
from cnnkit.system.distributed import ProcessGroup

LIMB_BITS = 32
NUM_LIMBS = 5  # 2^64 units times 2^96 images are below 2^160


def combine(measured: Measurement, group: ProcessGroup) -> Measurement:
    """Return the sum of the measurements of all ranks, on every rank.

    Raises:
        RunFailedError: the ranks did not see the same images.
    """
    fingerprints = group.gather(measured.fingerprint)
    different = [str(rank) for rank, one in enumerate(fingerprints) if one != fingerprints[0]]
    if different:
        raise RunFailedError(
            f"rank {', '.join(different)} sees different images of {measured.dataset} than rank 0",
            "give every rank the same files",
        )
    tally = measured.tally
    kinds = sorted({kind for one in group.gather(list(tally.histograms)) for kind in one})
    keys = sorted({key for one in group.gather(list(tally.sums)) for key in one})
    whole = Tally()
    for kind in kinds:
        _, channels, bins = kind
        own = tally.histograms.get(kind)
        counts = np.zeros((channels, bins), dtype=np.int64) if own is None else own
        whole.histograms[kind] = group.add_up(counts)
    for key in keys:
        whole.sums[key] = _add_up_sums(tally.sums.get(key), key[1], group)
    # What is left is small, or, as the bad files are, a list.
    rest = replace(tally, histograms={}, sums={})
    for one in group.gather(rest):
        whole.merge(one)
    classes = dict.fromkeys(name for one in group.gather(measured.classes) for name in one)
    return replace(measured, tally=whole, classes=list(classes))


def _add_up_sums(sums: ImageSums | None, channels: int, group: ProcessGroup) -> ImageSums:
    own = sums or ImageSums(0, [0] * channels, [0] * channels, [0] * channels)
    numbers = [own.number, *own.means, *own.squares, *own.deviations]
    added = _from_limbs(group.add_up(_to_limbs(numbers)))
    parts = [added[1 + i * channels : 1 + (i + 1) * channels] for i in range(3)]
    return ImageSums(added[0], *parts)


def _to_limbs(numbers: list[int]) -> Counts:
    """Return integers of any size as int64 of shape (N, limbs), which may be added."""
    mask = (1 << LIMB_BITS) - 1
    return np.array(
        [[number >> (LIMB_BITS * i) & mask for i in range(NUM_LIMBS)] for number in numbers],
        dtype=np.int64,
    )


def _from_limbs(limbs: Counts) -> list[int]:
    return [sum(limb << (LIMB_BITS * i) for i, limb in enumerate(row)) for row in limbs.tolist()]
