"""Intervals that hold what they promise, whatever the distribution."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cnnkit.bench.median_intervals import (
    half_width,
    median_interval,
    percentile,
    ratio_interval,
    steady_interval,
)


@pytest.mark.parametrize("number", [6, 9, 10, 25, 100, 499, 500, 501, 1000, 5000])
def test_ranks_are_those_of_the_binomial_distribution(number: int) -> None:
    interval = median_interval(list(map(float, range(1, number + 1))))
    assert interval is not None
    rank = int(interval[0])
    assert interval[1] == number + 1 - rank
    covered = 1 - 2 * stats.binom.cdf(rank - 1, number, 0.5)
    assert covered >= 0.95
    assert 1 - 2 * stats.binom.cdf(rank, number, 0.5) < 0.95  # none is narrower


def test_few_values_have_no_interval() -> None:
    assert median_interval([1.0] * 5) is None
    assert median_interval([1.0] * 6) == (1, 1)
    assert steady_interval([[1.0] * 100] * 5) is None
    assert half_width(None, 1) == math.inf


@pytest.mark.parametrize("name", ["expon", "lognorm", "uniform"])
def test_intervals_cover_the_median_of_skewed_values(name: str) -> None:
    random = np.random.default_rng(0)
    draw = {
        "expon": lambda: random.exponential(1, 40),
        "lognorm": lambda: random.lognormal(0, 1, 40),
        "uniform": lambda: random.random(40),
    }[name]
    median = {"expon": math.log(2), "lognorm": 1.0, "uniform": 0.5}[name]
    hits = 0
    for _ in range(1000):
        interval = median_interval(draw().tolist())
        assert interval is not None
        hits += interval[0] <= median <= interval[1]
    assert hits >= 940


def test_rounds_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    hits, naive_hits = 0, 0
    for _ in range(300):
        rounds = [
            (level + random.normal(0, 0.001, 50)).tolist() for level in random.normal(1, 0.05, 12)
        ]
        steady, naive = (
            steady_interval(rounds),
            median_interval([one for values in rounds for one in values]),
        )
        assert steady is not None
        assert naive is not None
        hits += steady[0] <= 1 <= steady[1]
        naive_hits += naive[0] <= 1 <= naive[1]
    assert hits >= 0.94 * 300
    assert naive_hits < 0.8 * 300  # which is why there are rounds


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(np.quantile(values, share)))


def test_the_interval_of_a_ratio() -> None:
    low, high = ratio_interval(1.1, (1.1 / 1.03, 1.1 * 1.03), 1.0, (1 / 1.04, 1.04))
    assert low == pytest.approx(1.1 * math.exp(-math.hypot(math.log(1.03), math.log(1.04))))
    assert high == pytest.approx(1.1**2 / low)
    assert ratio_interval(2, (2, 2), 1, (1, 1)) == (2, 2)
