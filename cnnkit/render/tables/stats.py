"""What a dataset looks like, as tables."""

import math
import posixpath

from cnnkit.render.format import counted, format_bytes, format_count, format_rate, format_seconds
from cnnkit.render.result_views import ShownStats
from cnnkit.render.tabular import Column, Table, attribute_rows, build_tables
from cnnkit.results.base import Value
from cnnkit.results.inspection import ISSUES, Duplicates, ImageIssues
from cnnkit.results.stats import (
    CHANNEL_NAMES,
    Comparison,
    DatasetStatistics,
    PublishedStats,
    SizeStats,
    in_brackets,
)

MAX_SHOWN_CLASSES = 20
MAX_SHOWN_FILES = 20
MAX_SHOWN_IMAGES = 20
MAX_SHOWN_GROUPS = 10
NUM_BARS = 32
BARS = " ▁▂▃▄▅▆▇█"


@build_tables.register
def stats_tables(result: DatasetStatistics) -> tuple[Table, ...]:
    """Return the channels, and what else was found."""
    return build_tables(ShownStats(result))


@build_tables.register
def view_tables(view: ShownStats) -> tuple[Table, ...]:
    """Return the channels, and what else was found."""
    result = view.measured
    if not result.channels:  # nothing was decoded: only labels, or a part without images
        return (_class_table(view, stats_title(result), _count_notes(result)),)
    found = [_channel_table(result), _value_table(result)]
    if result.sizes is not None and result.sizes.num_sizes > 1:
        found.append(_size_table(result.sizes))
    if result.classes:
        found.append(_class_table(view, "", []))
    if result.bad_files:
        found.append(_bad_file_table(result))
    if result.duplicates is not None:
        found.append(duplicate_table(result.duplicates))
    if result.issues is not None:
        found.append(issue_table(result.issues))
    if result.against is not None:
        found.append(_against_table(result, result.against))
    return tuple(found)


def stats_title(result: DatasetStatistics) -> str:
    """Return what was measured, as a heading."""
    part = "all images" if result.split == "all" else f"the {result.split} images"
    shard = f", part {result.shard}" if result.shard else ""
    return f"{part} of {result.dataset}{shard}"


def _channel_table(result: DatasetStatistics) -> Table:
    columns = (
        Column("channel", "channel", "name"),
        Column("mean", "mean", "decimal"),
        Column("std", "std", "decimal"),
        Column("mean_255", "mean 255", "decimal", rank=2),
        Column("std_255", "std 255", "decimal", rank=2),
        Column("mean_of_image_stds", "image std", "decimal", rank=1),
    )
    return Table("channels", stats_title(result), columns, result.records().rows, _notes(result))


def _value_table(result: DatasetStatistics) -> Table:
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
            int(one.median) if one.median == int(one.median) else one.median,
            one.max,
            one.black,
            one.white,
            one.entropy,
            _bars(one.histogram),
        )
        for one in result.channels
    )
    return Table("values", "", columns, rows)


def _bars(histogram: tuple[int, ...]) -> str:
    """Return a histogram of 256 bins as a line of blocks, the highest for the fullest."""
    width = len(histogram) // NUM_BARS
    sums = [sum(histogram[i * width : (i + 1) * width]) for i in range(NUM_BARS)]
    top = max(sums)
    return "".join(BARS[math.ceil(8 * number / top)] for number in sums)


def _notes(result: DatasetStatistics) -> tuple[str, ...]:
    notes = [] if result.normalize is None else [result.normalize]
    notes += _count_notes(result)
    notes += _error_notes(result)
    notes.append("image std: mean of the std of each image, which is not the std of all pixels")
    if result.weighting == "image":
        notes.append("every image counts the same, whatever its size")
    if result.transform:
        notes.append(f"measured after {result.transform}")
    if result.published is not None:
        notes.append(_published_note(result.published))
    notes += _kind_notes(result)
    if result.num_images and result.channels:
        rate = format_rate(result.images_per_second)
        notes.append(f"{rate} images/s, {format_seconds(result.seconds)}")
    return tuple(notes)


def _count_notes(result: DatasetStatistics) -> list[str]:
    """Return the line that counts, and those about bad files and a common size."""
    images = counted(result.num_images, "image")
    if result.num_pixels:
        images += f", {format_count(result.num_pixels)} pixels"
    if result.classes:
        images += f", {counted(len(result.classes), 'class', 'classes')}"
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


def _error_notes(result: DatasetStatistics) -> list[str]:
    if result.exact:
        return []
    notes = [f"estimated from {result.num_images:,} of {result.num_listed:,} images"]
    if result.mean_error is not None and result.std_error is not None:
        notes.append(
            f"standard errors: of the mean {in_brackets(result.mean_error)}, of the std "
            f"{in_brackets(result.std_error)}"
        )
    return notes


def _published_note(published: PublishedStats) -> str:
    values = f"mean {in_brackets(published.mean)}, std {in_brackets(published.std)}"
    verdict: str = published.verdict
    if verdict == "different":
        verdict += f", by {published.difference:.4f} at most"
    return f"published ({published.source}): {values}; {verdict}"


def _kind_notes(result: DatasetStatistics) -> list[str]:
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
        notes.append(f"orientation applied to {counted(result.num_oriented, 'image')}")
    if result.num_bytes:
        notes.append(f"{format_bytes(result.num_bytes)} of files")
    return notes


def _size_table(sizes: SizeStats) -> Table:
    columns = (
        Column("measure", "", "name"),
        Column("min", "min", "right"),
        Column("q1", "Q1", "right"),
        Column("median", "median", "right"),
        Column("q3", "Q3", "right"),
        Column("max", "max", "right"),
    )

    def written(name: str, value: float) -> str:
        return f"{value:,.0f}" if name != "aspect" and value == int(value) else f"{value:,.2f}"

    rows = tuple(
        (name, *(written(name, getattr(one, column.key)) for column in columns[1:]))
        for name in ("width", "height", "aspect")
        for one in (getattr(sizes, name),)
    )
    smallest, largest = (
        f"{width:,} x {height:,}" for width, height in (sizes.smallest, sizes.largest)
    )
    note = f"{sizes.num_sizes:,} sizes from {smallest} to {largest} (width x height)"
    return Table("sizes", "sizes in pixels", columns, rows, (note,))


def _class_table(view: ShownStats, title: str, notes: list[str]) -> Table:
    """Return the classes; with their means and stds where these are to be shown."""
    shown = view.measured.classes
    columns = [Column("name", "class", "name"), Column("num_images", "images", "integer")]
    names = CHANNEL_NAMES[len(view.measured.mean)] if view.by_class and view.measured.mean else ()
    if not names and len(shown) > MAX_SHOWN_CLASSES:
        by_size = sorted(shown, key=lambda one: -one.num_images)
        half = MAX_SHOWN_CLASSES // 2
        shown = (*by_size[:half], *by_size[-half:])
        notes = [*notes, f"the {half} largest and the {half} smallest; all are in the JSON"]
    for kind in ("mean", "std"):
        for name in names:
            heading = kind if len(names) == 1 else f"{kind} {name[0].upper()}"
            columns.append(Column(f"{kind}_{name}", heading, "decimal", rank=int(kind == "std")))
    nothing = (None,) * len(names)
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (one.name, one.num_images, *((one.mean or nothing) + (one.std or nothing) if names else ()))
        for one in shown
    )
    return Table("classes", title, tuple(columns), rows, tuple(notes))


def _bad_file_table(result: DatasetStatistics) -> Table:
    columns = (Column("path", "bad file"), Column("reason", "reason"))
    shown = result.bad_files[:MAX_SHOWN_FILES]
    more = len(result.bad_files) - len(shown)
    notes = (f"and {more:,} more, which are in the JSON",) if more else ()
    below = f"{result.dataset}/"  # which every path would repeat
    rows = tuple((file.path.removeprefix(below), file.reason) for file in shown)
    return Table("bad_files", "", columns, rows, notes)


def duplicate_table(found: Duplicates) -> Table:
    """Return the first groups, an image a row, with the counts as notes."""
    shown = found.groups[:MAX_SHOWN_GROUPS]
    folder = _common_folder([image.path for group in shown for image in group.images])
    rows = tuple(
        (
            f"{number} {group.kind}",
            image.match,
            image.split,
            image.label,
            image.path.removeprefix(folder),
        )
        for number, group in enumerate(shown, 1)
        for image in group.images
    )
    columns = (
        Column("group", "group", "group"),
        Column("match", "match", "name"),
        Column("split", "split", "name"),
        Column("label", "class", "name"),
        Column("path", "image"),
    )
    title = f"duplicates in {folder}" if folder else "duplicates"
    return Table("duplicates", title, columns, rows, _duplicate_notes(found))


def _duplicate_notes(found: Duplicates) -> tuple[str, ...]:
    notes = [
        f"{found.num_images:,} images compared: {found.count('bytes'):,} copies of a file, "
        f"{found.count('pixels'):,} more with the same pixels, {found.count('near'):,} near copies"
    ]
    if found.across_splits:
        notes.append(f"groups across splits: {len(found.across_splits):,}; these images leak")
    if found.across_labels:
        notes.append(f"groups under several labels: {len(found.across_labels):,}")
    if found.num_plain:
        notes.append(f"too flat or too small to be called near copies: {found.num_plain:,}")
    if len(found.groups) > MAX_SHOWN_GROUPS:
        notes.append(f"all {len(found.groups):,} groups are in the JSON")
    return tuple(notes)


def _common_folder(paths: list[str]) -> str:
    """Return the folder that all files are in, with a slash at its end; empty for none."""
    if not paths or not all(path.startswith("/") for path in paths):
        return ""
    folder = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    return "" if folder == "/" else f"{folder}/"


def issue_table(found: ImageIssues) -> Table:
    """Return the first images with something odd, with the counts as notes."""
    columns = (
        Column("issues", "issue", "name"),
        Column("brightness", "brightness", "fraction"),
        Column("contrast", "contrast", "fraction"),
        Column("sharpness", "sharpness", "loss"),
        Column("path", "image"),
    )
    shown = found.images[:MAX_SHOWN_IMAGES]
    rows = tuple(
        (", ".join(image.issues), *values, image.path)
        for image, values in zip(
            shown, attribute_rows((one.quality for one in shown), columns[1:4]), strict=True
        )
    )
    counts = ", ".join(f"{found.count(issue):,} {issue}" for issue in ISSUES)
    notes = [f"{found.num_images:,} images looked at: {counts}"]
    if len(found.images) > MAX_SHOWN_IMAGES:
        notes.append(f"all {len(found.images):,} are in the JSON")
    return Table("issues", "images to look at", columns, rows, tuple(notes))


def _against_table(result: DatasetStatistics, other: Comparison) -> Table:
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
        for what, classes in (
            ("classes only here", other.classes_added),
            ("classes only there", other.classes_removed),
            ("classes that differ", other.classes_changed),
        ):
            if classes:
                notes.append(f"{what}: {_some(classes)}")
    return Table("against", f"against {other.name}", columns, rows, tuple(notes))


def _some(names: tuple[str, ...]) -> str:
    listed = ", ".join(names[:5])
    return f"{listed} and {len(names) - 5:,} more" if len(names) > 5 else listed
