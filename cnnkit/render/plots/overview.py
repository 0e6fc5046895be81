"""What a dataset looks like as one picture: channel histograms, class counts and image sizes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.render.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    RED,
    as_file,
    count_ticks,
    label_axes,
    new_figure,
    shortened,
    write_title,
)
from cnnkit.render.safe_text import visible
from cnnkit.render.tables.stats import stats_title
from cnnkit.results.stats import DatasetStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PART_WIDTH = 460  # pixels
MIN_HEIGHT = 400
BAR_HEIGHT = 19

CHANNEL_COLORS = {"red": RED, "green": GREEN, "blue": BLUE, "grey": GREY}
BAR_COLOR = "#54779e"

MAX_NAMED_CLASSES = 30
MIN_BAR_ROOM = 4  # a single bar is no wider than one of so many
MAX_NAME_LENGTH = 24
MAX_BUBBLES = 2000
WIDE_RANGE = 4  # sizes over a wider range than this are drawn on a logarithmic scale
TALL_END = 2  # black or white that is so much taller than all between is cut, and written in words


def stats_picture(result: DatasetStatistics) -> bytes:
    """Return what a dataset looks like as a PNG file."""
    return overview_picture(
        stats_title(result),
        [(channel.name, channel.histogram) for channel in result.channels],
        [(one.name, one.num_images) for one in result.classes],
        result.sizes.counts if result.sizes is not None else {},
    )


def overview_picture(
    title: str,
    channels: Sequence[tuple[str, Sequence[int]]],
    classes: Sequence[tuple[str, int]],
    sizes: Mapping[tuple[int, int], int],
) -> bytes:
    """Return what a dataset looks like as a PNG file: histograms, class counts and image sizes.

    What there is nothing of is left out: classes of a set without labels, and sizes where all are
    the same, which the caption says.

    Args:
        title: the heading.
        channels: name and number of pixels by value, of any number of bins, for each channel.
        classes: name and number of images of each class, in label order.
        sizes: number of images by (width, height).
    """
    parts: list[Callable[[Axes], None]] = []
    if channels:
        parts.append(lambda axes: _draw_histograms(axes, channels))
    if classes:
        parts.append(lambda axes: _draw_classes(axes, classes))
    if len(sizes) > 1:
        parts.append(lambda axes: _draw_sizes(axes, sizes))
    named = len(classes) if len(classes) <= MAX_NAMED_CLASSES else 0
    height = max(MIN_HEIGHT, 110 + BAR_HEIGHT * named)
    figure = new_figure(PART_WIDTH * max(len(parts), 1) + 40, height)
    subtitle = _sizes_in_words(sizes)
    write_title(figure, visible(title), 1 - 12 / height, parse_math=False)
    if subtitle:
        figure.text(0.015, 1 - 36 / height, subtitle, fontsize=9, color=FAINT, va="top")
    top = 1 - (60 if subtitle else 42) / height
    figure.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, top - 0.01), wspace=0.06)
    for number, draw in enumerate(parts, 1):
        draw(figure.add_subplot(1, len(parts), number))
    return as_file(figure)


def _draw_histograms(axes: "Axes", channels: Sequence[tuple[str, Sequence[int]]]) -> None:
    shares = {
        name: [100 * count / (sum(counts) or 1) for count in counts] for name, counts in channels
    }
    for name, values in shares.items():
        places = [255 * index / (len(values) - 1) for index in range(len(values))]
        color = CHANNEL_COLORS.get(name, INK)
        axes.fill_between(places, values, step="mid", color=color, alpha=0.15, linewidth=0)
        axes.step(places, values, where="mid", color=color, linewidth=1.1, label=name)
    tallest = max(max(values) for values in shares.values())
    between = max(max(values[1:-1]) for values in shares.values())
    is_cut = between > 0 and tallest > TALL_END * between
    height = (1.5 if is_cut else 1.15) * (between if is_cut else tallest)
    axes.set_ylim(0, height or 1)
    axes.set_xlim(-2, 257)
    axes.set_xticks([0, 64, 128, 192, 255])
    for place, index, side in ((4, 0, "left"), (251, -1, "right")):
        cut = [name for name, values in shares.items() if is_cut and values[index] > height]
        for line, name in enumerate(cut):
            axes.text(
                place, height * (0.90 - 0.06 * line), f"{shares[name][index]:.1f} %", ha=side,
                va="center", fontsize=8, color=CHANNEL_COLORS.get(name, INK),
            )  # fmt: skip
    label_axes(axes, "pixels by value", "value", "share of pixels, %")
    if len(shares) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=len(shares))


def _draw_classes(axes: "Axes", classes: Sequence[tuple[str, int]]) -> None:
    counts = [count for _, count in classes]
    heading = f"images of {len(classes):,} classes" if len(classes) > 1 else "images of one class"
    if len(classes) <= MAX_NAMED_CLASSES:
        places = range(len(classes))
        axes.barh(places, counts, height=0.74, color=BAR_COLOR)
        names = [shortened(name, MAX_NAME_LENGTH) for name, _ in classes]
        axes.set_yticks(places, names, parse_math=False)
        axes.set_ylim(max(len(classes), MIN_BAR_ROOM) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        largest = max(counts) or 1
        axes.set_xlim(0, 1.2 * largest)
        for place, count in zip(places, counts, strict=True):
            axes.text(
                count + 0.015 * largest, place, f"{count:,}", va="center", fontsize=8, color=FAINT
            )
        count_ticks(axes.xaxis)
        label_axes(axes, heading, "images", "")
        return
    ordered = sorted(counts, reverse=True)
    places = range(1, len(ordered) + 1)
    axes.fill_between(places, ordered, step="mid", color=BAR_COLOR, linewidth=0)
    axes.set_xlim(0.5, len(ordered) + 0.5)
    axes.set_ylim(0, 1.3 * max(max(ordered), 1))
    count_ticks(axes.xaxis)
    count_ticks(axes.yaxis)
    by_count = sorted(classes, key=lambda one: -one[1])
    words = [
        f"most: {shortened(by_count[0][0], MAX_NAME_LENGTH)}, {by_count[0][1]:,}",
        f"fewest: {shortened(by_count[-1][0], MAX_NAME_LENGTH)}, {by_count[-1][1]:,}",
    ]
    if by_count[0][1] == by_count[-1][1]:
        words = [f"each {by_count[0][1]:,}"]
    axes.text(
        0.98, 0.98, "\n".join(words), transform=axes.transAxes, ha="right", va="top", fontsize=8,
        color=INK, parse_math=False,
    )  # fmt: skip
    label_axes(axes, heading, "classes, the largest first", "images")


def _draw_sizes(axes: "Axes", sizes: Mapping[tuple[int, int], int]) -> None:
    commonest = sorted(sizes.items(), key=lambda item: -item[1])[:MAX_BUBBLES]
    widths = [width for (width, _), _ in commonest]
    heights = [height for (_, height), _ in commonest]
    largest = commonest[0][1]
    areas = [10 + 190 * count / largest for _, count in commonest]
    axes.scatter(widths, heights, s=areas, color=BAR_COLOR, alpha=0.45, linewidths=0)
    low, high = min(*widths, *heights), max(*widths, *heights)
    if high > WIDE_RANGE * low:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            _plain_ticks(axis, low, high)
        axes.set_xlim(low / 1.2, high * 1.2)
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            count_ticks(axis)
        pad = max(1.0, 0.06 * (high - low))
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(low - pad, high + pad)
    axes.axline((low, low), (high, high), color=FAINT, linewidth=0.6, linestyle=":")
    axes.set_aspect("equal", adjustable="box")
    shown = f"the commonest {MAX_BUBBLES:,} of " if len(sizes) > MAX_BUBBLES else ""
    label_axes(axes, f"{shown}{len(sizes):,} image sizes", "width, pixels", "height, pixels")


def _plain_ticks(axis: Any, low: int, high: int) -> None:
    """Label a logarithmic axis with numbers of pixels: 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    marks = [
        step * 10**power
        for power in range(7)
        for step in (1, 2, 5)
        if low / 1.2 <= step * 10**power <= high * 1.2
    ]
    axis.set_major_locator(FixedLocator(marks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_locator(NullLocator())


def _sizes_in_words(sizes: Mapping[tuple[int, int], int]) -> str:
    if len(sizes) != 1:
        return ""
    ((width, height), number) = next(iter(sizes.items()))
    return f"all {number:,} images are {height} pixels high and {width} wide"
