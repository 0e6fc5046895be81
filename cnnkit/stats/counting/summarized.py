"""Statistics computed from the integers of a tally."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from cnnkit.data.histogram import (
    Counts,
    Moments,
    entropy,
    largest_value,
    percentile,
    smallest_value,
)
from cnnkit.results.stats import (
    CHANNEL_NAMES,
    BadFile,
    ChannelStats,
    ClassStats,
    Quartiles,
    SizeStats,
    Weighting,
)
from cnnkit.stats.counting.sampling import standard_errors
from cnnkit.stats.counting.tally import DEVIATION_BITS, FRACTION_BITS, Tally

PERCENTS = (1, 5, 25, 75, 95, 99)
NUM_SHOWN_BINS = 256


class MeanAndStd(NamedTuple):
    """Means and standard deviations by channel, on the scale 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def mean_and_std(tally: Tally, weighting: Weighting = "pixel") -> MeanAndStd | None:
    """Return mean and std of each channel; None if there are no images."""
    if weighting == "pixel":
        histogram = tally.histogram()
        if not histogram[0].any():
            return None
        moments = [Moments.of(counts) for counts in histogram]
        return MeanAndStd(tuple(m.mean for m in moments), tuple(m.std for m in moments))
    sums = tally.image_sums()
    if not sums.number:
        return None
    unit = sums.number << FRACTION_BITS
    means = [Fraction(total, unit) for total in sums.means]
    squares = [Fraction(total, unit) for total in sums.squares]
    # Each mean was rounded down by less than 2^-64, so a variance of 0 may come out below.
    variances = [max(Fraction(0), b - a * a) for a, b in zip(means, squares, strict=True)]
    return MeanAndStd(tuple(map(float, means)), tuple(math.sqrt(v) for v in variances))


def means_over_images(tally: Tally) -> MeanAndStd | None:
    """Return the mean of the images' means, and the mean of their standard deviations."""
    sums = tally.image_sums()
    if not sums.number:
        return None
    return MeanAndStd(
        tuple(total / (sums.number << FRACTION_BITS) for total in sums.means),
        tuple(total / (sums.number << DEVIATION_BITS) for total in sums.deviations),
    )


def errors(tally: Tally, population: int, weighting: Weighting) -> MeanAndStd | None:
    """Return the standard errors of mean and std, if the images are a sample."""
    if tally.sample is None:
        return None
    found = [
        standard_errors(tally.sample, channel, population, weighting)
        for channel in range(tally.channels)
    ]
    if None in found:
        return None
    return MeanAndStd(*zip(*(one for one in found if one is not None), strict=True))


def channel_stats(tally: Tally) -> tuple[ChannelStats, ...]:
    """Return the statistics of every channel; empty if there are no images."""
    histogram = tally.histogram()
    if not histogram[0].any():
        return ()
    names = CHANNEL_NAMES[len(histogram)]
    return tuple(_channel(name, counts) for name, counts in zip(names, histogram, strict=True))


def _channel(name: str, counts: Counts) -> ChannelStats:
    moments = Moments.of(counts)
    return ChannelStats(
        name=name,
        min=smallest_value(counts),
        max=largest_value(counts),
        median=percentile(counts, 50),
        percentiles={str(percent): percentile(counts, percent) for percent in PERCENTS},
        entropy=entropy(counts),
        black=int(counts[0]) / moments.number,
        white=int(counts[-1]) / moments.number,
        sum=moments.total,
        sum_of_squares=moments.squares,
        histogram=tuple(counts.reshape(NUM_SHOWN_BINS, -1).sum(1).tolist()),
    )


def class_stats(tally: Tally, names: Sequence[str], weighting: Weighting) -> tuple[ClassStats, ...]:
    """Return the statistics of every class, in this order."""
    parts = tally.by_class()
    found = []
    for name in names:
        figures = mean_and_std(parts[name], weighting) if name in parts else None
        if figures is None:
            found.append(ClassStats(name, 0, None, None))
            continue
        # A class of only grayscale images has one channel, which counts in all of the set.
        times = tally.channels // len(figures.mean)
        number = parts[name].num_images
        found.append(ClassStats(name, number, figures.mean * times, figures.std * times))
    return tuple(found)


def imbalance(numbers: Iterable[int]) -> float | None:
    """Return the largest number over the smallest; None where that is 0 or there are none."""
    all_numbers = list(numbers)
    if not all_numbers or min(all_numbers) == 0:
        return None
    return max(all_numbers) / min(all_numbers)


def size_stats(tally: Tally) -> SizeStats | None:
    """Return the statistics of the sizes; None if there are no images."""
    if not tally.sizes:
        return None
    widths: Counter[Fraction] = Counter()
    heights: Counter[Fraction] = Counter()
    aspects: Counter[Fraction] = Counter()
    for (width, height), number in tally.sizes.items():
        widths[Fraction(width)] += number
        heights[Fraction(height)] += number
        aspects[Fraction(width, height)] += number
    by_area = sorted(tally.sizes, key=lambda size: (size[0] * size[1], size))
    return SizeStats(
        num_sizes=len(tally.sizes),
        smallest=by_area[0],
        largest=by_area[-1],
        width=_quartiles(widths),
        height=_quartiles(heights),
        aspect=_quartiles(aspects),
        counts=dict(tally.sizes),
    )


def _quartiles(counter: Counter[Fraction]) -> Quartiles:
    """Return the quartiles, interpolated in proportion as NumPy's default does."""
    values = sorted(counter)
    number = counter.total()

    def at(position: int) -> Fraction:
        for value in values:
            position -= counter[value]
            if position < 0:
                return value
        raise IndexError(position)

    def quantile(quarter: int) -> float:
        position = Fraction(quarter * (number - 1), 4)
        low, high = at(math.floor(position)), at(math.ceil(position))
        return float(low + (high - low) * (position - math.floor(position)))

    return Quartiles(*(quantile(quarter) for quarter in range(5)))


def bad_files(tally: Tally) -> tuple[BadFile, ...]:
    """Return the bad files, sorted by path."""
    return tuple(BadFile(printable(path), reason) for path, reason in sorted(tally.bad))


def printable(path: str) -> str:
    """Return a path with escapes for bytes that are not valid text."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
