"""What a dataset looks like: exact figures of its pixels, classes, sizes, and bad files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cnnkit.results.base import Result, to_plain
from cnnkit.results.duplicates import Duplicates
from cnnkit.results.quality import ImageIssues
from cnnkit.results.table import Column, Table, Value, format_count, format_value

Verdict = Literal["equal", "equal to the per-image kind", "different"]
Weighting = Literal["pixel", "image"]

MAX_SHOWN_CLASSES = 20
MAX_SHOWN_FILES = 20
NUM_BARS = 32
BARS = " ▁▂▃▄▅▆▇█"
CHANNEL_NAMES = {1: ("grey",), 3: ("red", "green", "blue")}


@dataclass(frozen=True)
class ChannelFigures:
    """The figures of one channel over all pixels.

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
        """Return all but the histogram, which `--save` keeps."""
        return _without(self, "histogram")


@dataclass(frozen=True)
class ClassFigures:
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
    """Smallest, largest, and what parts the values in four equal parts."""

    min: float
    q1: float
    median: float
    q3: float
    max: float


@dataclass(frozen=True)
class SizeFigures:
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
        """Return all but the counts, which `--save` keeps."""
        return _without(self, "counts")


@dataclass(frozen=True)
class BadFile:
    """A file that is no image, or not a whole one.

    Attributes:
        path: where it is.
        reason: what is wrong with it.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class PublishedFigures:
    """Figures that somebody published, and how they agree with the measured ones.

    Attributes:
        mean: by channel, on the scale 0..1.
        std: by channel.
        source: who published them, or of what they are.
        verdict: `equal` to all digits that were published; `equal to the per-image kind` if the
            deviations are the mean of those of single images; `different`.
        difference: the largest difference of a mean or deviation from the measured one.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    verdict: Verdict
    difference: float


@dataclass(frozen=True)
class Comparison:
    """What differs from another dataset, or from what was saved.

    Attributes:
        name: of the other.
        equal: whether the histograms are the same, class by class.
        num_images: images of the other.
        mean: its means by channel, on the scale 0..1.
        std: its deviations by channel.
        mean_difference: measured mean minus its mean, by channel; None where channels differ.
        std_difference: likewise.
        classes_added: classes that it has not.
        classes_removed: classes that it alone has.
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
    """The answer of `stats`.

    Attributes:
        dataset: what it was called.
        split: the part of it that was measured; `all` for every image.
        num_images: images that were measured; without bad ones.
        num_pixels: of all of them together, each counted once whatever its channels.
        mean: by channel, on the scale 0..1; None where nothing was decoded.
        std: (population) standard deviation by channel, likewise.
        mean_of_image_means: by channel, the mean of each image's mean.
        mean_of_image_stds: by channel, the mean of each image's deviation; not the deviation.
        exact: whether every image counted; False for a sample.
        weighting: `pixel` if every pixel counts the same, `image` if every image does.
        transform: what was done to images before they were counted; None for nothing.
        bit_depth: 8 or 16; None where nothing was decoded.
        num_listed: images that there are, bad ones and those outside the sample included.
        mean_error: standard error of each mean of a sample; None where it is exact.
        std_error: likewise of each deviation.
        channels: a row a channel.
        classes: a row a class.
        imbalance: images of the largest class over those of the smallest; None where that is
            empty, or there are no classes.
        sizes: of the images; None where nothing was decoded.
        modes: images by mode of their files.
        formats: images by format; empty for sets in memory.
        num_grey: images with one channel.
        changes: images by what was done to their pixels beside decoding.
        num_oriented: images with an EXIF orientation, which is ignored.
        num_bytes: length of all image files together; None for sets in memory.
        bad_files: those that could not be decoded.
        duplicates: images that are there twice; None where they were not looked for.
        issues: images with something odd; None where they were not looked for.
        published: published figures and the verdict; None where there are none to compare.
        against: what differs from another dataset; None where there is none.
        shard: which part this is, such as `3/8`; None for the whole.
        seconds: duration of the measuring.
        images_per_second: its rate.
        by_class: whether means and deviations of classes are shown; not in the JSON.
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
    channels: tuple[ChannelFigures, ...]
    classes: tuple[ClassFigures, ...]
    imbalance: float | None
    sizes: SizeFigures | None
    modes: dict[str, int]
    formats: dict[str, int]
    num_grey: int
    changes: dict[str, int]
    num_oriented: int
    num_bytes: int | None
    bad_files: tuple[BadFile, ...]
    duplicates: Duplicates | None
    issues: ImageIssues | None
    published: PublishedFigures | None
    against: Comparison | None
    shard: str | None
    seconds: float
    images_per_second: float
    by_class: bool = False

    @property
    def mean_255(self) -> tuple[float, ...] | None:
        """The means on the scale 0..255."""
        return None if self.mean is None else tuple(255 * value for value in self.mean)

    @property
    def std_255(self) -> tuple[float, ...] | None:
        """The deviations on the scale 0..255."""
        return None if self.std is None else tuple(255 * value for value in self.std)

    @property
    def normalize(self) -> str | None:
        """The line to paste into a pipeline of torchvision."""
        if self.mean is None or self.std is None:
            return None
        return f"transforms.Normalize(mean={_tuple(self.mean)}, std={_tuple(self.std)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result, with what follows from it."""
        plain: dict[str, Any] = {}
        for name, value in super().to_dict().items():
            if name == "by_class":
                continue
            plain[name] = value
            if name == "std":
                plain["mean_255"], plain["std_255"] = (
                    to_plain(self.mean_255),
                    to_plain(self.std_255),
                )
            elif name == "mean_of_image_stds":
                plain["normalize"] = self.normalize
        return plain

    def tables(self) -> tuple[Table, ...]:
        """Return the channels, and what else there is to tell."""
        if not self.channels:  # nothing was decoded: labels alone, or a part without images
            return (self._class_table(self.title(), self._count_notes()),)
        found = [self._channel_table(), self._value_table()]
        if self.sizes is not None and self.sizes.num_sizes > 1:
            found.append(self._size_table())
        if self.classes:
            found.append(self._class_table("", []))
        if self.bad_files:
            found.append(self._bad_table())
        if self.duplicates is not None:
            found.append(self.duplicates.table())
        if self.issues is not None:
            found.append(self.issues.table())
        if self.against is not None:
            found.append(self._against_table())
        return tuple(found)

    def title(self) -> str:
        """Return what was measured, as a heading."""
        part = "all images" if self.split == "all" else f"the {self.split} images"
        shard = f", part {self.shard}" if self.shard else ""
        return f"{part} of {self.dataset}{shard}"

    def _channel_table(self) -> Table:
        columns = (
            Column("channel", "channel", "name"),
            Column("mean", "mean", "decimal"),
            Column("std", "std", "decimal"),
            Column("mean_255", "mean 255", "decimal", rank=2),
            Column("std_255", "std 255", "decimal", rank=2),
            Column("mean_of_image_stds", "image std", "decimal", rank=1),
        )
        rows = []
        for index, channel in enumerate(self.channels):
            assert self.mean is not None
            assert self.std is not None
            assert self.mean_of_image_stds is not None
            rows.append(
                (
                    channel.name,
                    self.mean[index],
                    self.std[index],
                    255 * self.mean[index],
                    255 * self.std[index],
                    self.mean_of_image_stds[index],
                )
            )
        return Table("channels", self.title(), columns, tuple(rows), self._notes())

    def _value_table(self) -> Table:
        """Return the channels' values, on the scale of the bit depth."""
        columns = (
            Column("channel", "channel", "name"),
            Column("min", "min", "integer"),
            Column("median", "median", "integer"),
            Column("max", "max", "integer"),
            Column("black", "black", "fraction"),
            Column("white", "white", "fraction"),
            Column("entropy", "bits", "decimal", rank=2),
            Column("histogram", "from black to white", "sketch", rank=1),
        )
        rows = tuple(
            (
                one.name,
                one.min,
                _whole(one.median),
                one.max,
                one.black,
                one.white,
                one.entropy,
                bars,
            )
            for one in self.channels
            for bars in (_bars(one.histogram),)
        )
        return Table("values", "", columns, rows)

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self.normalize is not None:
            notes.append(self.normalize)
        notes += self._count_notes()
        notes += self._error_notes()
        notes.append("image std: mean of the deviations of single images; not the deviation")
        if self.weighting == "image":
            notes.append("every image counts the same, whatever its size")
        if self.transform:
            notes.append(f"measured after {self.transform}")
        if self.published is not None:
            notes.append(_published_note(self.published))
        notes += self._kind_notes()
        if self.num_images and self.channels:
            rate = format_value("rate", self.images_per_second)
            notes.append(f"{rate} images/s, {format_value('seconds', self.seconds)}")
        return tuple(notes)

    def _count_notes(self) -> list[str]:
        images = f"{self.num_images:,} image{'' if self.num_images == 1 else 's'}"
        if self.num_pixels:
            images += f", {format_count(self.num_pixels)} pixels"
        if self.classes:
            images += f", {len(self.classes):,} class{'' if len(self.classes) == 1 else 'es'}"
        if self.imbalance == 1:
            images += ", balanced"
        elif self.imbalance is not None:
            images += f", the largest {self.imbalance:.3g} times the smallest"
        notes = [images]
        if self.bad_files:
            notes.append(f"bad files, which are not counted: {len(self.bad_files):,}")
        if self.sizes is not None and self.sizes.num_sizes == 1:
            width, height = self.sizes.smallest
            notes.append(f"all {width:,} x {height:,} (width x height)")
        return notes

    def _error_notes(self) -> list[str]:
        if self.exact:
            return []
        notes = [f"estimated from {self.num_images:,} of {self.num_listed:,} images"]
        if self.mean_error is not None and self.std_error is not None:
            notes.append(
                f"standard errors: of the mean {_tuple(self.mean_error)}, of the deviation "
                f"{_tuple(self.std_error)}"
            )
        return notes

    def _kind_notes(self) -> list[str]:
        notes = []
        kinds = [*self.modes.items(), *self.formats.items()]
        if len(self.modes) > 1 or self.formats:
            notes.append(", ".join(f"{name} {number:,}" for name, number in kinds))
        if self.num_grey and len(self.channels) == 3:
            notes.append(f"grey images, counted in every channel: {self.num_grey:,}")
        if self.bit_depth == 16:
            notes.append("16 bits: values of 8-bit files count as 257 times themselves")
        notes += [f"{what}: {number:,}" for what, number in self.changes.items()]
        if self.num_oriented:
            notes.append(f"with an EXIF orientation, which is ignored: {self.num_oriented:,}")
        if self.num_bytes:
            notes.append(f"{format_count(self.num_bytes)} bytes of files")
        return notes

    def _size_table(self) -> Table:
        assert self.sizes is not None
        columns = (
            Column("measure", "", "name"),
            Column("min", "min", "decimal"),
            Column("q1", "quarter", "decimal"),
            Column("median", "half", "decimal"),
            Column("q3", "3 quarters", "decimal"),
            Column("max", "max", "decimal"),
        )
        rows: list[tuple[Value, ...]] = []
        for name in ("width", "height", "aspect"):
            figures: Quartiles = getattr(self.sizes, name)
            values = (figures.min, figures.q1, figures.median, figures.q3, figures.max)
            rows.append(
                (
                    name,
                    *(
                        f"{value:,.0f}"
                        if name != "aspect" and value == int(value)
                        else f"{value:,.2f}"
                        for value in values
                    ),
                )
            )
        smallest, largest = (
            f"{width:,} x {height:,}" for width, height in (self.sizes.smallest, self.sizes.largest)
        )
        note = f"{self.sizes.num_sizes:,} sizes from {smallest} to {largest} (width x height)"
        return Table("sizes", "sizes in pixels", columns, tuple(rows), (note,))

    def _class_table(self, title: str, notes: list[str]) -> Table:
        columns = [Column("name", "class", "name"), Column("num_images", "images", "integer")]
        with_figures = self.by_class and self.mean is not None
        shown = self.classes
        notes = list(notes)
        if not with_figures and len(shown) > MAX_SHOWN_CLASSES:
            by_size = sorted(shown, key=lambda one: -one.num_images)
            half = MAX_SHOWN_CLASSES // 2
            shown = (*by_size[:half], *by_size[-half:])
            notes.append(f"the {half} largest and the {half} smallest; all are in the JSON")
        rows: list[tuple[Value, ...]] = [(one.name, one.num_images) for one in shown]
        if with_figures:
            names = CHANNEL_NAMES[len(self.mean or ())]
            for kind in ("mean", "std"):
                for index, name in enumerate(names):
                    heading = kind if len(names) == 1 else f"{kind} {name[0].upper()}"
                    columns.append(
                        Column(f"{kind}_{name}", heading, "decimal", rank=int(kind == "std"))
                    )
                    rows = [
                        (*row, None if figures is None else figures[index])
                        for row, one in zip(rows, shown, strict=True)
                        for figures in (getattr(one, kind),)
                    ]
        return Table("classes", title, tuple(columns), tuple(rows), tuple(notes))

    def _bad_table(self) -> Table:
        columns = (Column("path", "bad file"), Column("reason", "reason"))
        shown = self.bad_files[:MAX_SHOWN_FILES]
        more = len(self.bad_files) - len(shown)
        notes = (f"and {more:,} more, which are in the JSON",) if more else ()
        below = f"{self.dataset}/"  # which every path would repeat
        rows = tuple((file.path.removeprefix(below), file.reason) for file in shown)
        return Table("bad_files", "", columns, rows, notes)

    def _against_table(self) -> Table:
        assert self.against is not None
        other = self.against
        columns = (
            Column("channel", "channel", "name"),
            Column("mean_difference", "mean here minus there", "decimal"),
            Column("std_difference", "std here minus there", "decimal"),
        )
        rows: tuple[tuple[Value, ...], ...] = ()
        if other.mean_difference is not None and other.std_difference is not None:
            names = CHANNEL_NAMES[len(other.mean)]
            rows = tuple(zip(names, other.mean_difference, other.std_difference, strict=True))
        if other.equal:
            notes = [f"the same as {other.name}, pixel by pixel of every class"]
        else:
            notes = [f"{self.num_images:,} images here, {other.num_images:,} there"]
            if other.mean_difference is None:
                notes.append(f"the channels differ: {len(self.channels)} and {len(other.mean)}")
            for what, names in (
                ("classes here alone", other.classes_added),
                ("classes there alone", other.classes_removed),
                ("classes that differ", other.classes_changed),
            ):
                if names:
                    notes.append(f"{what}: {_some(names)}")
        return Table("against", f"against {other.name}", columns, rows, tuple(notes))


def _without(value: ChannelFigures | SizeFigures, left_out: str) -> dict[str, Any]:
    names = (name for name in value.__dataclass_fields__ if name != left_out)
    return {name: to_plain(getattr(value, name)) for name in names}


def _tuple(values: tuple[float, ...]) -> str:
    """Return figures with four digits, as Python writes a tuple of one or several."""
    inside = ", ".join(f"{value:.4f}" for value in values)
    return f"({inside},)" if len(values) == 1 else f"({inside})"


def _whole(value: float) -> float:
    """Return a number as an integer, where it is one."""
    return int(value) if value == int(value) else value


def _bars(histogram: tuple[int, ...]) -> str:
    """Return a histogram of 256 bins as a line of blocks, the highest for the fullest."""
    width = len(histogram) // NUM_BARS
    sums = [sum(histogram[i * width : (i + 1) * width]) for i in range(NUM_BARS)]
    top = max(sums)
    return "".join(BARS[math.ceil(8 * number / top)] for number in sums)


def _published_note(published: PublishedFigures) -> str:
    figures = f"mean {_tuple(published.mean)}, std {_tuple(published.std)}"
    verdict: str = published.verdict
    if verdict == "different":
        verdict += f", by {published.difference:.4f} at most"
    return f"published ({published.source}): {figures}; {verdict}"


def _some(names: tuple[str, ...]) -> str:
    listed = ", ".join(names[:5])
    return f"{listed} and {len(names) - 5:,} more" if len(names) > 5 else listed
