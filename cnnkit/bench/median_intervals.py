"""Confidence intervals of medians, without assumptions on the distribution."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtrik  # scipy.stats takes 0.6 s longer to import

CONFIDENCE = 0.95

Interval = tuple[float, float]


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return a 95 % confidence interval of the median; None for fewer than 6 values.

    Its ends are order statistics: that the median is below the k-th smallest of n values is as
    likely as fewer than k heads in n tosses (Conover, Practical Nonparametric Statistics, section
    3.2).
    """
    if len(values) < 6:
        return None
    rank = math.ceil(bdtrik((1 - CONFIDENCE) / 2, len(values), 0.5))
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def steady_interval(rounds: Sequence[Sequence[float]]) -> Interval | None:
    """Return a 95 % confidence interval of the median of times that were taken in rounds.

    Times of one round are correlated, because the machine changes slowly, and carry less
    information than independent ones. The interval spans that of all times and that
    of the medians of the rounds.
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
    """Return the longer side of an interval divided by the median; infinite without one."""
    if interval is None or median <= 0:
        return math.inf
    return max(interval[1] - median, median - interval[0]) / median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the quantile for this share, interpolated between two neighbors."""
    return float(np.quantile(values, share))


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
