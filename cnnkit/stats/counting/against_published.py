"""Comparison of statistics with published ones, and with another dataset."""

from decimal import Decimal

import numpy as np

from cnnkit.data.entry import Published
from cnnkit.results.stats import Comparison, PublishedStats, Verdict
from cnnkit.stats.counting.summarized import MeanAndStd, mean_and_std
from cnnkit.stats.counting.tally import Tally


def compare_published(
    published: Published, measured: MeanAndStd, over_images: MeanAndStd
) -> PublishedStats | None:
    """Return published values with the verdict; None if the channels differ.

    Values are equal if the measured ones round to them, at the number of published
    digits.

    Args:
        published: published mean and std.
        measured: means and standard deviations.
        over_images: mean of the images' means, and of their standard deviations.
    """
    if len(published.mean) != len(measured.mean):
        return None
    digits = max(_num_decimals(value) for value in (*published.mean, *published.std))
    means = _difference(published.mean, measured.mean)
    stds = _difference(published.std, measured.std)
    # Rounding to the nearest; a value halfway may have been rounded either way.
    allowed = 0.5 * 10.0**-digits * (1 + 1e-9)
    verdict: Verdict = "different"
    if means <= allowed and stds <= allowed:
        verdict = "equal"
    elif (
        min(means, _difference(published.mean, over_images.mean)) <= allowed
        and _difference(published.std, over_images.std) <= allowed
    ):
        verdict = "equal to the per-image kind"
    return PublishedStats(
        published.mean, published.std, published.source, verdict, max(means, stds)
    )


def compare(name: str, tally: Tally, other: Tally) -> Comparison:
    """Return the differences from another dataset, which has images.

    Args:
        name: of the other.
        tally: the measurement.
        other: what it is compared with.
    """
    here, there = mean_and_std(tally), mean_and_std(other)
    assert here is not None
    assert there is not None
    same_channels = len(here.mean) == len(there.mean)
    own, others = tally.classes(), other.classes()
    changed = sorted(one for one in own & others if not _same_class(one, tally, other))
    return Comparison(
        name=name,
        equal=own == others and not changed,
        num_images=other.num_images,
        mean=there.mean,
        std=there.std,
        mean_difference=_minus(here.mean, there.mean) if same_channels else None,
        std_difference=_minus(here.std, there.std) if same_channels else None,
        classes_added=tuple(sorted(own - others)),
        classes_removed=tuple(sorted(others - own)),
        classes_changed=tuple(changed),
    )


def _same_class(name: str, a: Tally, b: Tally) -> bool:
    kinds = {kind for kind in (*a.histograms, *b.histograms) if kind[0] == name}
    return all(
        kind in a.histograms
        and kind in b.histograms
        and np.array_equal(a.histograms[kind], b.histograms[kind])
        for kind in kinds
    )


def _num_decimals(value: float) -> int:
    exponent = Decimal(repr(value)).as_tuple().exponent
    return max(0, -int(exponent))


def _difference(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def _minus(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))
