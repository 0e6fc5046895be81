"""The integers of a dataset, which add up: histograms by class, sums over images, and counts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cnnkit.data.histogram import Counts, widen

Integers = npt.NDArray[np.int64]

FRACTION_BITS = 64
"""Fraction bits of the fixed-point sums of the images' means, each rounded down."""

DEVIATION_BITS = 52
"""Fraction bits of the sums of the images' standard deviations, each rounded to the nearest."""


@dataclass(slots=True)
class ImageRecord:
    """The counts and metadata of one image file.

    Attributes:
        name: its path, or archive and member.
        class_name: its class; empty without one.
        reason: why it is bad; empty if it is not, and then the following hold.
        counts: int64 of shape (C, bins): C = 1 or 3, bins = 256 or 65536.
        width: in pixels, upright.
        height: in pixels, upright.
        mode: the file's own, such as `RGB`.
        form: `JPEG` and the like; empty for images in memory.
        num_bytes: length of the file.
        is_oriented: whether it was turned or mirrored, as its EXIF asks.
        changes: what was done to its pixels beside decoding.
        extras: what further examinations found, by their name.
    """

    name: str
    class_name: str
    reason: str = ""
    counts: Counts | None = None
    width: int = 0
    height: int = 0
    mode: str = ""
    form: str = ""
    num_bytes: int = 0
    is_oriented: bool = False
    changes: tuple[str, ...] = ()
    extras: dict[str, object] = field(default_factory=dict)


@dataclass
class ImageSums:
    """Sums over images of one class and one number of channels, on the scale 0..1.

    Attributes:
        number: how many images.
        means: by channel, the sum of each image's mean, in units of 2^-64.
        squares: by channel, the sum of each image's mean square, in units of 2^-64.
        deviations: by channel, the sum of each image's std, in units of 2^-52.
    """

    number: int
    means: list[int]
    squares: list[int]
    deviations: list[int]

    def add(self, other: "ImageSums") -> None:
        """Add the sums of other images."""
        self.number += other.number
        for mine, others in (
            (self.means, other.means),
            (self.squares, other.squares),
            (self.deviations, other.deviations),
        ):
            mine[:] = [a + b for a, b in zip(mine, others, strict=True)]

    def spread(self) -> "ImageSums":
        """Return the sums of grayscale images as those of images with three equal channels."""
        return ImageSums(self.number, self.means * 3, self.squares * 3, self.deviations * 3)


@dataclass(frozen=True)
class SampledImage:
    """An image of a sample: its pixels, and sums of values and squares by channel.

    Values are on the scale 0..65535, whatever the depth of the file.
    """

    num_pixels: int
    totals: tuple[int, ...]
    squares: tuple[int, ...]

    @property
    def is_possible(self) -> bool:
        """Whether an image may have these sums."""
        return (
            1 <= self.num_pixels < 2**63
            and len(self.totals) == len(self.squares)
            and len(self.totals) in (1, 3)
            and all(0 <= one <= self.num_pixels * 65535 for one in self.totals)
            and all(0 <= one <= self.num_pixels * 65535**2 for one in self.squares)
        )


@dataclass
class Tally:
    """The counts of a dataset; the tallies of two parts add up to that of both.

    Attributes:
        histograms: by class, channels (1 or 3) and bins (256 or 65536): counts of shape
            (channels, bins).
        sums: by class and channels: sums over images.
        sizes: images by (width, height).
        modes: images by mode.
        formats: images by format; empty for sets in memory.
        changes: images by what was done to their pixels.
        num_oriented: images that were turned or mirrored, as their EXIF asks.
        num_bytes: length of all files together.
        num_pixels: pixels of all images, each counted once whatever its channels.
        bad: files that could not be decoded, as (path, reason).
        sample: the individual images if they are a sample; else None.
    """

    histograms: dict[tuple[str, int, int], Counts] = field(default_factory=dict)
    sums: dict[tuple[str, int], ImageSums] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    num_oriented: int = 0
    num_bytes: int = 0
    num_pixels: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    sample: list[SampledImage] | None = None

    @property
    def num_images(self) -> int:
        """Number of images counted, without bad ones."""
        return sum(one.number for one in self.sums.values())

    @property
    def channels(self) -> int:
        """3 if any image is in color, else 1."""
        return max((channels for _, channels, _ in self.histograms), default=1)

    @property
    def bins(self) -> int:
        """65536 if any image has 16 bits, else 256."""
        return max((bins for _, _, bins in self.histograms), default=256)

    @property
    def num_grey(self) -> int:
        """Number of grayscale images."""
        return sum(one.number for (_, channels), one in self.sums.items() if channels == 1)

    @property
    def histogram_bytes(self) -> int:
        """Bytes of memory of the histograms."""
        return sum(counts.nbytes for counts in self.histograms.values())

    def classes(self) -> set[str]:
        """Return the names of the classes that have images."""
        return {name for name, _ in self.sums}

    def merge(self, other: "Tally") -> None:
        """Add another tally."""
        for kind, counts in other.histograms.items():
            if kind in self.histograms:
                self.histograms[kind] += counts
            else:
                self.histograms[kind] = counts.copy()
        for key, sums in other.sums.items():
            self.add_sums(*key, sums)
        for name in ("sizes", "modes", "formats", "changes"):
            getattr(self, name).update(getattr(other, name))
        for name in ("num_oriented", "num_bytes", "num_pixels"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bad += other.bad
        if other.sample is not None:
            self.sample = (self.sample or []) + other.sample

    def add_sums(self, class_name: str, channels: int, sums: ImageSums) -> None:
        """Add sums over images of a class."""
        mine = self.sums.setdefault(
            (class_name, channels), ImageSums(0, [0] * channels, [0] * channels, [0] * channels)
        )
        mine.add(sums)

    def add_records(self, records: Iterable[ImageRecord]) -> None:
        """Count image files."""
        groups: dict[tuple[str, int, int], list[Counts]] = {}
        for record in records:
            if record.counts is None:
                self.bad.append((record.name, record.reason))
                continue
            groups.setdefault((record.class_name, *record.counts.shape), []).append(record.counts)
            self.sizes[record.width, record.height] += 1
            self.modes[record.mode] += 1
            if record.form:
                self.formats[record.form] += 1
            for change in record.changes:
                self.changes[change] += 1
            self.num_oriented += record.is_oriented
            self.num_bytes += record.num_bytes
        for kind, parts in groups.items():
            self._add_images(kind, np.stack(parts))

    def _add_images(self, kind: tuple[str, int, int], counts: Integers) -> None:
        """Count images of one class and kind; `counts` is int64 of shape (N, C, bins)."""
        class_name, channels, bins = kind
        self.add_histogram(class_name, counts.sum(0))
        numbers = counts[:, 0].sum(-1)
        totals, squares = _sums_of_values(counts)
        self.num_pixels += int(numbers.sum())
        self.add_sums(class_name, channels, sums_over_images(numbers, totals, squares, bins - 1))
        if self.sample is not None:
            scale = 65535 // (bins - 1)
            for number, total, square in zip(
                numbers.tolist(), totals.tolist(), squares.tolist(), strict=True
            ):
                self.sample.append(
                    SampledImage(
                        number,
                        tuple(value * scale for value in total),
                        tuple(value * scale * scale for value in square),
                    )
                )

    def add_histogram(self, class_name: str, counts: Counts) -> None:
        """Add a histogram of shape (channels, bins)."""
        kind = (class_name, *counts.shape)
        if kind in self.histograms:
            self.histograms[kind] += counts
        else:
            self.histograms[kind] = counts.astype(np.int64)

    def by_class(self) -> dict[str, "Tally"]:
        """Return histograms and sums over images by class."""
        parts: dict[str, Tally] = {}
        for kind, counts in self.histograms.items():
            parts.setdefault(kind[0], Tally()).histograms[kind] = counts
        for key, sums in self.sums.items():
            parts.setdefault(key[0], Tally()).sums[key] = sums
        return parts

    def histogram(self) -> Counts:
        """Return the histogram of all images.

        Grayscale images count in every channel, and 8-bit values as their 16-bit equivalents, if
        the set has color or 16 bits.

        Returns:
            int64 of shape (channels, bins).
        """
        whole = np.zeros((self.channels, self.bins), dtype=np.int64)
        for (_, _, bins), counts in self.histograms.items():
            whole += counts if bins == whole.shape[1] else widen(counts)
        return whole

    def image_sums(self) -> ImageSums:
        """Return the sums over all images, for every channel of the set."""
        channels = self.channels
        whole = ImageSums(0, [0] * channels, [0] * channels, [0] * channels)
        for (_, own), sums in self.sums.items():
            whole.add(sums if own == channels else sums.spread())
        return whole


def _sums_of_values(counts: Integers) -> tuple[Integers, Integers]:
    """Return sums of values and of squares, of shape (N, C); `counts` of shape (N, C, bins)."""
    values = np.arange(counts.shape[-1], dtype=np.int64)
    if counts.shape[-1] > 256:
        # A sum of squares of 16 bits fits in 63 bits up to 2^31 pixels an image.
        return counts @ values, counts @ values**2
    # Of 8 bits it is below 2^53 for any image there is, and a product of floats is much faster.
    powers = np.stack([values, values**2], axis=1).astype(np.float64)
    sums = (counts.astype(np.float64).reshape(-1, 256) @ powers).astype(np.int64)
    return (
        sums[:, 0].reshape(counts.shape[:2]),
        sums[:, 1].reshape(counts.shape[:2]),
    )


def sums_over_images(
    numbers: Integers, totals: Integers, squares: Integers, white: int
) -> ImageSums:
    """Return the sums over images of each image's mean, mean square and std.

    Args:
        numbers: pixels of each image, of shape (N,), each below 2^31.
        totals: sums of values, of shape (N, C).
        squares: sums of squares, of shape (N, C).
        white: the largest value that a pixel may have.
    """
    divisors = numbers[:, None] * white
    return ImageSums(
        len(numbers),
        fixed_point_sums(totals, np.broadcast_to(divisors, totals.shape)),
        fixed_point_sums(squares, np.broadcast_to(divisors, totals.shape), white),
        _deviation_sums(numbers, totals, squares, white),
    )


def fixed_point_sums(above: Integers, below: Integers, further: int = 1) -> list[int]:
    """Return, by column, the sum of above / (below * further), in units of 2^-64.

    Each quotient is rounded down, so that the sum is the same in any order.

    Args:
        above: not negative, of shape (N, C).
        below: above 0, of the same shape.
        further: multiplies every divisor.
    """
    sums = [0] * above.shape[1]
    largest = int(below.max()) * further if above.size else 1
    if largest >= 2**47:
        for top, bottom in zip(above.tolist(), below.tolist(), strict=True):
            for channel, (one, other) in enumerate(zip(top, bottom, strict=True)):
                sums[channel] += (one << FRACTION_BITS) // (other * further)
        return sums
    # The same in whole arrays: some bits of the quotient at a time, as a remainder allows.
    divisor, remainder = below * further, above
    bits = 32 if largest < 2**31 else 16
    for shift in range(FRACTION_BITS, -1, -bits):
        quotient, remainder = np.divmod(remainder, divisor)
        for channel, part in enumerate(quotient.sum(0).tolist()):
            sums[channel] += part << shift
        remainder = remainder << bits
    return sums


def _deviation_sums(
    numbers: Integers, totals: Integers, squares: Integers, white: int
) -> list[int]:
    """Return, by channel, the sum of the images' standard deviations, in units of 2^-52.

    A square root has to be rounded. Conversion, square root and division are rounded alike on
    every machine (IEEE 754), so the integers are the same everywhere.
    """
    number = numbers[:, None]
    if len(numbers) and int(numbers.max()) ** 2 * white**2 < 2**63:
        roots = np.sqrt((number * squares - totals * totals).astype(np.float64))
    else:
        exact = number.astype(object) * squares.astype(object) - totals.astype(object) ** 2
        roots = np.sqrt(exact.astype(np.float64))
    deviations = roots / (number * white)
    fixed = np.rint(deviations * 2.0**DEVIATION_BITS).astype(np.int64)
    # Each is at most 2^51: sums of parts of 1024 stay within 63 bits.
    sums = [0] * totals.shape[1]
    for start in range(0, len(fixed), 1024):
        for channel, part in enumerate(fixed[start : start + 1024].sum(0).tolist()):
            sums[channel] += part
    return sums
