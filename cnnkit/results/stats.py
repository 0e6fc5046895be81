"""The result of `stats`: exact statistics of pixels, classes, sizes, and bad files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnkit.results.base import Records, Result, Value, to_plain
from cnnkit.results.inspection import Duplicates, ImageIssues

Verdict = Literal["equal", "equal to the per-image kind", "different"]
Weighting = Literal["pixel", "image"]

CHANNEL_NAMES = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class ChannelStats:
    """The statistics of one channel over all pixels.

    Attributes:
        name: `grey`, or `red`, `green`, `blue`.
        min: smallest value, on the scale of the bit depth: 0..255 or 0..65535.
        max: largest value, likewise; so are median and percentiles.
        median: half of the values are at most this.
        percentiles: by percent, interpolated in proportion.
        entropy: of the values, in bits a pixel.
        black: share of the values that are 0.
        white: share of the values that are the largest there may be.
        sum: of all values.
        sum_of_squares: of all values.
        histogram: pixels by value in 256 bins; not in the JSON.
    """

    name: str
    min: int
    max: int
    median: float
    percentiles: dict[str, float]
    entropy: float
    black: float
    white: float
    sum: int
    sum_of_squares: int
    histogram: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the histogram, which a saved measurement keeps."""
        return _without(self, "histogram")


@dataclass(frozen=True)
class ClassStats:
    """One class.

    Attributes:
        name: what it is called.
        num_images: images of it; without bad ones, where they were decoded.
        mean: by channel, on the scale 0..1; None where nothing was decoded.
        std: by channel, likewise.
    """

    name: str
    num_images: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@dataclass(frozen=True)
class Quartiles:
    """Minimum, Q1, median, Q3 and maximum."""

    min: float
    q1: float
    median: float
    q3: float
    max: float


@dataclass(frozen=True)
class SizeStats:
    """Sizes of images, as stored.

    Attributes:
        num_sizes: how many different ones there are.
        smallest: width and height of the image with the fewest pixels.
        largest: width and height of the one with the most.
        width: in pixels.
        height: in pixels.
        aspect: width over height.
        counts: images by (width, height); not in the JSON.
    """

    num_sizes: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    width: Quartiles
    height: Quartiles
    aspect: Quartiles
    counts: Mapping[tuple[int, int], int]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the counts, which a saved measurement keeps."""
        return _without(self, "counts")


@dataclass(frozen=True)
class BadFile:
    """A file that is not an image, or is incomplete.

    Attributes:
        path: where it is.
        reason: what is wrong with it.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class PublishedStats:
    """Published values, and how they agree with the measured ones.

    Attributes:
        mean: by channel, on the scale 0..1.
        std: by channel.
        source: who published them, or of what they are.
        verdict: `equal` to all digits that were published; `equal to the per-image kind` if the
            stds are the mean of those of the images; `different`.
        difference: the largest difference of a mean or std from the measured one.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    verdict: Verdict
    difference: float


@dataclass(frozen=True)
class Comparison:
    """The differences from another dataset, or from a saved result.

    Attributes:
        name: of the other.
        equal: whether the histograms are the same, class by class.
        num_images: images of the other.
        mean: its means by channel, on the scale 0..1.
        std: its stds by channel.
        mean_difference: measured mean minus its mean, by channel; None where channels differ.
        std_difference: likewise.
        classes_added: classes that it has not.
        classes_removed: classes that only it has.
        classes_changed: classes of both whose histograms differ.
    """

    name: str
    equal: bool
    num_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_difference: tuple[float, ...] | None
    std_difference: tuple[float, ...] | None
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    classes_changed: tuple[str, ...]


@dataclass(frozen=True)
class DatasetStatistics(Result):
    """The result of `stats`.

    Attributes:
        dataset: what it was called.
        split: the part of it that was measured; `all` for every image.
        num_images: images that were measured; without bad ones.
        num_pixels: of all of them together, each counted once whatever its channels.
        mean: by channel, on the scale 0..1; None where nothing was decoded.
        std: (population) standard deviation by channel, likewise.
        mean_of_image_means: by channel, the mean of each image's mean.
        mean_of_image_stds: by channel, the mean of each image's std, which is not `std`.
        exact: whether every image counted; False for a sample.
        weighting: `pixel` if every pixel counts the same, `image` if every image does.
        transform: what was done to images before they were counted; None for nothing.
        bit_depth: 8 or 16; None where nothing was decoded.
        num_listed: images that there are, bad ones and those outside the sample included.
        mean_error: standard error of each mean of a sample; None where it is exact.
        std_error: likewise of each std.
        channels: one row per channel.
        classes: one row per class.
        imbalance: images of the largest class over those of the smallest; None where that is
            empty, or there are no classes.
        sizes: of the images; None where nothing was decoded.
        modes: images by mode of their files.
        formats: images by format; empty for sets in memory.
        num_grey: images with one channel.
        changes: images by what was done to their pixels beside decoding.
        num_oriented: images that were turned or mirrored, as their EXIF asks.
        num_bytes: length of all image files together; None for sets in memory.
        bad_files: those that could not be decoded.
        duplicates: images that are there twice; None where they were not looked for.
        issues: images with something odd; None where they were not looked for.
        published: published values and the verdict; None where there are none to compare.
        against: what differs from another dataset; None where there is none.
        shard: which part this is, such as `3/8`; None for all of it.
        seconds: duration of the measuring.
        images_per_second: its rate.
    """

    schema: ClassVar[str] = "cnnkit.stats/1"

    dataset: str
    split: str
    num_images: int
    num_pixels: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    mean_of_image_means: tuple[float, ...] | None
    mean_of_image_stds: tuple[float, ...] | None
    exact: bool
    weighting: Weighting
    transform: str | None
    bit_depth: int | None
    num_listed: int
    mean_error: tuple[float, ...] | None
    std_error: tuple[float, ...] | None
    channels: tuple[ChannelStats, ...]
    classes: tuple[ClassStats, ...]
    imbalance: float | None
    sizes: SizeStats | None
    modes: dict[str, int]
    formats: dict[str, int]
    num_grey: int
    changes: dict[str, int]
    num_oriented: int
    num_bytes: int | None
    bad_files: tuple[BadFile, ...]
    duplicates: Duplicates | None
    issues: ImageIssues | None
    published: PublishedStats | None
    against: Comparison | None
    shard: str | None
    seconds: float
    images_per_second: float

    @property
    def mean_255(self) -> tuple[float, ...] | None:
        """The means on the scale 0..255."""
        return None if self.mean is None else tuple(255 * value for value in self.mean)

    @property
    def std_255(self) -> tuple[float, ...] | None:
        """The stds on the scale 0..255."""
        return None if self.std is None else tuple(255 * value for value in self.std)

    @property
    def normalize(self) -> str | None:
        """The line to paste into a pipeline of torchvision."""
        if self.mean is None or self.std is None:
            return None
        return f"transforms.Normalize(mean={in_brackets(self.mean)}, std={in_brackets(self.std)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the complete result, with derived values."""
        plain: dict[str, Any] = {}
        for name, value in super().to_dict().items():
            plain[name] = value
            if name == "std":
                plain["mean_255"], plain["std_255"] = (
                    to_plain(self.mean_255),
                    to_plain(self.std_255),
                )
            elif name == "mean_of_image_stds":
                plain["normalize"] = self.normalize
        return plain

    def records(self) -> Records:
        """Return one row per channel; one row per class where nothing was decoded."""
        if self.mean is None or self.std is None or self.mean_of_image_stds is None:
            return Records.of(self.classes, ("name", "num_images"))
        names = ("channel", "mean", "std", "mean_255", "std_255", "mean_of_image_stds")
        rows: list[tuple[Value, ...]] = [
            (channel.name, mean, std, 255 * mean, 255 * std, of_images)
            for channel, mean, std, of_images in zip(
                self.channels, self.mean, self.std, self.mean_of_image_stds, strict=True
            )
        ]
        return Records(names, tuple(rows))


def in_brackets(values: tuple[float, ...]) -> str:
    """Return numbers with four digits, as Python writes a tuple of one or several."""
    inside = ", ".join(f"{value:.4f}" for value in values)
    return f"({inside},)" if len(values) == 1 else f"({inside})"


def _without(value: ChannelStats | SizeStats, left_out: str) -> dict[str, Any]:
    names = (name for name in value.__dataclass_fields__ if name != left_out)
    return {name: to_plain(getattr(value, name)) for name in names}
