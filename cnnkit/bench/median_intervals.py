"""Medians and what is known of them, without a word on how the values are distributed."""

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
MOST_EXACT = 500  # beyond so many values the binomial distribution is taken as a normal one

Interval = tuple[float, float]


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return a 95 % confidence interval of the median; None for fewer than 6 values.

    Its ends are order statistics: that the median lies below the k-th smallest of n values is as
    likely as fewer than k heads in n tosses (Conover, Practical Nonparametric Statistics, section
    3.2).
    """
    rank = _rank(len(values))
    if rank == 0:
        return None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def _rank(number: int) -> int:
    """Return the highest k with P(fewer than k heads in `number` tosses) <= 2.5 %."""
    tail = (1 - CONFIDENCE) / 2
    if number > MOST_EXACT:
        return math.floor(number / 2 - 0.98 * math.sqrt(number))
    ways, most = 0, tail * 2**number
    for k in range(number + 1):
        ways += math.comb(number, k)
        if ways > most:
            return k
    return number


def steady_interval(rounds: Sequence[Sequence[float]]) -> Interval | None:
    """Return a 95 % confidence interval of the median of times that were taken in rounds.

    Times of one round are alike, for the machine changes slowly; so they tell less than as many
    independent ones would. The interval spans that of all times and that of the medians of the
    rounds.
    """
    intervals = [
        median_interval([value for values in rounds for value in values]),
        median_interval([statistics.median(values) for values in rounds]),
    ]
    if intervals[0] is None or intervals[1] is None:
        return None  # the same for both, or too few rounds
    return min(low for low, _ in filter(None, intervals)), max(
        high for _, high in filter(None, intervals)
    )


def half_width(interval: Interval | None, median: float) -> float:
    """Return the longer side of an interval as a share of the median; infinite without one."""
    if interval is None or median <= 0:
        return math.inf
    return max(interval[1] - median, median - interval[0]) / median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share lies, interpolated between two neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio_interval(
    median: float, interval: Interval, other: float, other_interval: Interval
) -> Interval:
    """Return an interval of `median / other`, two medians that were measured independently.

    Their relative errors are added as independent ones are, by their squares.
    """
    ratio = median / other
    below = math.hypot(math.log(median / interval[0]), math.log(other_interval[1] / other))
    above = math.hypot(math.log(interval[1] / median), math.log(other / other_interval[0]))
    return ratio * math.exp(-below), ratio * math.exp(above)
