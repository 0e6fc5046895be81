"""Sampling of images, and the standard errors of the estimates.

Complete images are drawn, so pixels are not independent: the error depends on how images
differ, not on how pixels do. Formulas: W. G. Cochran, Sampling Techniques, 3rd edition, 1977,
sections 6.3 and 6.4 (ratio estimates), with the finite population correction.
"""

import math
from collections.abc import Sequence

from cnnkit.results.stats import Weighting
from cnnkit.stats.counting.tally import SampledImage
from cnnkit.system.randomness import permutation

WHITE = 65535  # the scale of SampledImage


def draw(number: int, limit: int, seed: int) -> frozenset[int]:
    """Return the numbers of a sample of `limit` images out of `number`, the same for a seed."""
    return frozenset(permutation(number, seed)[:limit].tolist())


def standard_errors(
    sample: Sequence[SampledImage], channel: int, population: int, weighting: Weighting
) -> tuple[float, float] | None:
    """Return the standard errors of mean and std of a channel, on the scale 0..1.

    Args:
        sample: the images; a grayscale one counts in every channel.
        channel: which channel.
        population: how many images the sample was drawn from.
        weighting: what the estimate gives the same weight, pixels or images.

    Returns:
        None for fewer than two images, which do not show how images differ.
    """
    number = len(sample)
    if number < 2:
        return None
    rows = [_image(one, channel, weighting) for one in sample]
    # fsum rounds once, at its end, so that the order of the images does not matter.
    weight = math.fsum(row[0] for row in rows)
    mean = math.fsum(row[1] for row in rows) / weight
    variance = max(0.0, math.fsum(row[2] for row in rows) / weight - mean * mean)
    of_mean = math.fsum((total - mean * size) ** 2 for size, total, _ in rows)
    of_variance = math.fsum(
        (squares - 2 * mean * total + (mean * mean - variance) * size) ** 2
        for size, total, squares in rows
    )
    correction = max(0.0, 1 - number / population) * number / (number - 1)
    mean_error = math.sqrt(correction * of_mean) / weight
    if variance == 0:
        return mean_error, 0.0
    return mean_error, math.sqrt(correction * of_variance) / weight / (2 * math.sqrt(variance))


def _image(one: SampledImage, channel: int, weighting: Weighting) -> tuple[float, float, float]:
    """Return weight, and weighted sums of values and squares on the scale 0..1, of an image."""
    index = channel if len(one.totals) > 1 else 0
    weight = one.num_pixels if weighting == "pixel" else 1
    part = weight / one.num_pixels
    return weight, one.totals[index] * part / WHITE, one.squares[index] * part / WHITE**2
