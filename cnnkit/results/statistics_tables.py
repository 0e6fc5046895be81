"""The tables that say what a dataset looks like."""

import math
from typing import TYPE_CHECKING

from cnnkit.registry import some_of
from cnnkit.results.table import Column, Table, Value, format_bytes, format_count, format_value

if TYPE_CHECKING:
    from cnnkit.results.statistics import DatasetStatistics, PublishedFigures, Quartiles

MAX_SHOWN_CLASSES = 20
MAX_SHOWN_FILES = 20
NUM_BARS = 32
BARS = " ▁▂▃▄▅▆▇█"
CHANNEL_NAMES = {1: ("grey",), 3: ("red", "green", "blue")}


def channel_table(result: "DatasetStatistics") -> Table:
    """Return mean and deviation of every channel, with all that is told in lines."""
    columns = (
        Column("channel", "channel", "name"),
        Column("mean", "mean", "decimal"),
        Column("std", "std", "decimal"),
        Column("mean_255", "mean 255", "decimal", rank=2),
        Column("std_255", "std 255", "decimal", rank=2),
        Column("mean_of_image_stds", "image std", "decimal", rank=1),
    )
    rows = []
    for index, channel in enumerate(result.channels):
        assert result.mean is not None
        assert result.std is not None
        assert result.mean_of_image_stds is not None
        rows.append(
            (
                channel.name,
                result.mean[index],
                result.std[index],
                255 * result.mean[index],
                255 * result.std[index],
                result.mean_of_image_stds[index],
            )
        )
    return Table("channels", result.title(), columns, tuple(rows), _notes(result))


def value_table(result: "DatasetStatistics") -> Table:
    """Return the channels' values, on the scale of the bit depth."""
    columns = (
        Column("channel", "channel", "name"),
        Column("min", "min", "integer"),
        Column("median", "median", "integer"),
        Column("max", "max", "integer"),
        Column("black", "black", "fraction"),
        Column("white", "white", "fraction"),
        Column("entropy", "bits", "decimal", rank=2),
        Column("histogram", "from black to white", "histogram", rank=1),
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
        for one in result.channels
        for bars in (_bars(one.histogram),)
    )
    return Table("values", "", columns, rows)


def _notes(result: "DatasetStatistics") -> tuple[str, ...]:
    notes = []
    if result.normalize is not None:
        notes.append(result.normalize)
    notes += count_notes(result)
    notes += _error_notes(result)
    notes.append("image std: mean of the deviations of single images; not the deviation")
    if result.weighting == "image":
        notes.append("every image counts the same, whatever its size")
    if result.transform:
        notes.append(f"measured after {result.transform}")
    if result.published is not None:
        notes.append(_published_note(result.published))
    notes += _kind_notes(result)
    if result.num_images and result.channels:
        rate = format_value("rate", result.images_per_second)
        notes.append(f"{rate} images/s, {format_value('seconds', result.seconds)}")
    return tuple(notes)


def count_notes(result: "DatasetStatistics") -> list[str]:
    """Return the line that counts, and those about bad files and a common size."""
    images = f"{result.num_images:,} image{'' if result.num_images == 1 else 's'}"
    if result.num_pixels:
        images += f", {format_count(result.num_pixels)} pixels"
    if result.classes:
        images += f", {len(result.classes):,} class{'' if len(result.classes) == 1 else 'es'}"
    if result.imbalance == 1 and len(result.classes) > 1:
        images += ", balanced"
    elif result.imbalance is not None and result.imbalance > 1:
        images += f", the largest {result.imbalance:.3g} times the smallest"
    notes = [images]
    if result.bad_files:
        notes.append(f"bad files, which are not counted: {len(result.bad_files):,}")
    if result.sizes is not None and result.sizes.num_sizes == 1:
        width, height = result.sizes.smallest
        notes.append(f"all {width:,} x {height:,} (width x height)")
    return notes


def _error_notes(result: "DatasetStatistics") -> list[str]:
    if result.exact:
        return []
    notes = [f"estimated from {result.num_images:,} of {result.num_listed:,} images"]
    if result.mean_error is not None and result.std_error is not None:
        notes.append(
            f"standard errors: of the mean {in_brackets(result.mean_error)}, of the deviation "
            f"{in_brackets(result.std_error)}"
        )
    return notes


def _kind_notes(result: "DatasetStatistics") -> list[str]:
    notes = []
    kinds = [*result.modes.items(), *result.formats.items()]
    if len(result.modes) > 1 or result.formats:
        notes.append(", ".join(f"{name} {number:,}" for name, number in kinds))
    if result.num_grey and len(result.channels) == 3:
        notes.append(f"grey images, counted in every channel: {result.num_grey:,}")
    if result.bit_depth == 16:
        notes.append("16 bits: values of 8-bit files count as 257 times themselves")
    notes += [f"{what}: {number:,}" for what, number in result.changes.items()]
    if result.num_oriented:
        count = f"{result.num_oriented:,} image{'' if result.num_oriented == 1 else 's'}"
        notes.append(f"orientation applied to {count}")
    if result.num_bytes:
        notes.append(f"{format_bytes(result.num_bytes)} of files")
    return notes


def size_table(result: "DatasetStatistics") -> Table:
    """Return the quartiles of widths, heights and aspects."""
    assert result.sizes is not None
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
        figures: Quartiles = getattr(result.sizes, name)
        values = (figures.min, figures.q1, figures.median, figures.q3, figures.max)
        rows.append(
            (
                name,
                *(
                    f"{value:,.0f}" if name != "aspect" and value == int(value) else f"{value:,.2f}"
                    for value in values
                ),
            )
        )
    smallest, largest = (
        f"{width:,} x {height:,}" for width, height in (result.sizes.smallest, result.sizes.largest)
    )
    note = f"{result.sizes.num_sizes:,} sizes from {smallest} to {largest} (width x height)"
    return Table("sizes", "sizes in pixels", columns, tuple(rows), (note,))


def class_table(result: "DatasetStatistics", title: str, notes: list[str]) -> Table:
    """Return the classes; with means and deviations where they are to be shown."""
    columns = [Column("name", "class", "name"), Column("num_images", "images", "integer")]
    with_figures = result.by_class and result.mean is not None
    shown = result.classes
    notes = list(notes)
    if not with_figures and len(shown) > MAX_SHOWN_CLASSES:
        by_size = sorted(shown, key=lambda one: -one.num_images)
        half = MAX_SHOWN_CLASSES // 2
        shown = (*by_size[:half], *by_size[-half:])
        notes.append(f"the {half} largest and the {half} smallest; all are in the JSON")
    rows: list[tuple[Value, ...]] = [(one.name, one.num_images) for one in shown]
    if with_figures:
        names = CHANNEL_NAMES[len(result.mean or ())]
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


def bad_table(result: "DatasetStatistics") -> Table:
    """Return the first bad files."""
    columns = (Column("path", "bad file"), Column("reason", "reason"))
    shown = result.bad_files[:MAX_SHOWN_FILES]
    more = len(result.bad_files) - len(shown)
    notes = (f"and {more:,} more, which are in the JSON",) if more else ()
    below = f"{result.dataset}/"  # which every path would repeat
    rows = tuple((file.path.removeprefix(below), file.reason) for file in shown)
    return Table("bad_files", "", columns, rows, notes)


def against_table(result: "DatasetStatistics") -> Table:
    """Return what differs from another dataset."""
    assert result.against is not None
    other = result.against
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
        notes = [f"{result.num_images:,} images here, {other.num_images:,} there"]
        if other.mean_difference is None:
            notes.append(f"the channels differ: {len(result.channels)} and {len(other.mean)}")
        for what, names in (
            ("classes here alone", other.classes_added),
            ("classes there alone", other.classes_removed),
            ("classes that differ", other.classes_changed),
        ):
            if names:
                notes.append(f"{what}: {some_of(names)}")
    return Table("against", f"against {other.name}", columns, rows, tuple(notes))


def in_brackets(values: tuple[float, ...]) -> str:
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


def _published_note(published: "PublishedFigures") -> str:
    figures = f"mean {in_brackets(published.mean)}, std {in_brackets(published.std)}"
    verdict: str = published.verdict
    if verdict == "different":
        verdict += f", by {published.difference:.4f} at most"
    return f"published ({published.source}): {figures}; {verdict}"
