"""Images that are blank, very dark, very bright or blurred.

All is measured in grayscale, by ITU-R 601 luma. The thresholds are meant to find what is
certainly odd; an image that is found may still be right.
"""

from collections.abc import Iterable
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnnkit.data.decode import Pixels, to_8_bits
from cnnkit.results.inspection import ImageIssue, ImageIssues, ImageQuality, Issue
from cnnkit.stats.inspection.grey import natural_order, to_grey

BLANK_CONTRAST = 2 / 255
"""Blank: the std of the pixels is below this, on the scale 0..1."""

DARK = 0.2
"""Very dark: 99 of 100 pixels are below this. White strokes on black are not."""

BRIGHT = 0.8
"""Very bright: 99 of 100 pixels are above this. Black letters on white are not."""

BLURRED = 0.01
"""Blurred: less sharp than this. Photographs of 256 pixels have 0.1 and more; a Gaussian blur with
a standard deviation of 1.5 of these pixels brings them below."""

SHARPNESS_SIDE = 256
"""Larger images are reduced to so many pixels on their longer side before sharpness is measured:
the same picture would otherwise be the more blurred the more pixels it has."""

MIN_SHARPNESS_SIDE = 8
"""Images with fewer pixels on a side are too small to be called blurred."""


class QualityCollector:
    """Finds issues of images while they are decoded; thread-safe.

    The order in which images are added does not matter.
    """

    def __init__(self) -> None:
        self.num_images = 0
        self.found: list[ImageIssue] = []
        self._lock = Lock()

    def add(self, name: str, pixels: Pixels) -> None:
        """Examine an image.

        Args:
            name: its path or display name.
            pixels: the decoded image.
        """
        quality = measure_quality(pixels)
        issues = issues_of(quality)
        with self._lock:
            self.num_images += 1
            if issues:
                self.found.append(ImageIssue(name, issues, quality))

    def extend(self, num_images: int, found: Iterable[ImageIssue]) -> None:
        """Add the findings among other images."""
        with self._lock:
            self.num_images += num_images
            self.found.extend(found)

    def result(self) -> ImageIssues:
        """Return the findings so far."""
        found = sorted(self.found, key=lambda image: natural_order(image.path))
        return ImageIssues(self.num_images, tuple(found))


def measure_quality(pixels: Pixels) -> ImageQuality:
    """Return the global issue of an image, from the histogram of its gray levels."""
    grey = to_grey(to_8_bits(pixels))
    counts = np.array(grey.histogram(), dtype=np.int64)
    values = np.arange(256)
    number = int(counts.sum())
    total, squares = int(counts @ values), int(counts @ values**2)
    contrast = (number * squares - total * total) ** 0.5 / number / 255
    below = np.cumsum(counts)
    rank = -(-number // 100)  # a hundredth of the pixels, rounded up
    return ImageQuality(
        brightness=total / number / 255,
        contrast=contrast,
        dark=int(np.searchsorted(below, rank)) / 255,
        bright=int(np.searchsorted(below, number - rank + 1)) / 255,
        sharpness=None if contrast < BLANK_CONTRAST else measure_sharpness(grey),
    )


def measure_sharpness(grey: Image.Image) -> float | None:
    """Return the variance of the Laplacian over the variance of the pixels.

    The Laplacian is that of four neighbors (J. L. Pech-Pacheco et al., Diatom autofocusing in
    brightfield microscopy, 2000). By itself its variance would grow with contrast and, for the same
    picture, fall with size; so it is divided by that of the pixels, and larger images are
    reduced to `SHARPNESS_SIDE`. White noise has 20.

    Args:
        grey: an image of mode `L`.

    Returns:
        None for an image that is too small, or even.
    """
    if min(grey.size) < MIN_SHARPNESS_SIDE:
        return None
    scale = SHARPNESS_SIDE / max(grey.size)
    if scale < 1:
        size = max(round(grey.width * scale), 3), max(round(grey.height * scale), 3)
        grey = grey.resize(size, Image.Resampling.BILINEAR)
    values: npt.NDArray[np.float32] = np.asarray(grey, dtype=np.float32)
    variance = float(values.var())
    if variance == 0:
        return None
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((laplacian - 4 * inner).var()) / variance


def issues_of(quality: ImageQuality) -> tuple[Issue, ...]:
    """Return the issues of an image with these values; mostly none."""
    found: list[Issue] = []
    if quality.contrast < BLANK_CONTRAST:
        found.append("blank")
    if quality.bright < DARK:
        found.append("very dark")
    if quality.dark > BRIGHT:
        found.append("very bright")
    if quality.sharpness is not None and quality.sharpness < BLURRED:
        found.append("blurred")
    return tuple(found)
