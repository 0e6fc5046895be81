"""Training as pictures: loss and accuracy by epoch, and the search for a learning rate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.render.format import format_count, format_interval, format_value
from cnnkit.render.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    ORANGE,
    as_file,
    count_ticks,
    label_axes,
    new_figure,
    shortened,
    write_title,
)
from cnnkit.render.tables.train import search_title
from cnnkit.results import EpochMetrics, LearningRateSearch, Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 1000, 440  # pixels
WIDE_RANGE = 30  # losses over a wider range than this are drawn on a logarithmic scale
MAX_DOTTED = 30  # the lines of more epochs than this have no dots
MAX_NUMBERED = 10  # and not every one of more than this has its number
LEGEND_COLUMNS = 3
MAX_TITLE = 90  # letters

# the name of a set in `EpochMetrics`, its color, and what its line is
LINES = (
    ("train", BLUE, "training, while the weights change"),
    ("val", ORANGE, "validation, after each epoch"),
    ("test", GREEN, "test, after each epoch"),
)
TEST_COLOR = LINES[2][1]
LOSS_COLOR, CHOICE_COLOR = LINES[0][1], LINES[1][1]


def training_curves(
    title: str,
    epochs: Sequence[EpochMetrics],
    best_epoch: int | None = None,
    tested_epoch: int | None = None,
    test: Metrics | None = None,
) -> bytes:
    """Return losses and accuracies by epoch, and by images seen, as a PNG file.

    Args:
        title: the heading.
        epochs: at least one.
        best_epoch: the one that was chosen on the validation set; None where none was.
        tested_epoch: the one whose weights were tested at the end; None where none were.
        test: what came of it.
    """
    figure = _titled(title, top=0.8)  # below one more axis
    losses, accuracies = figure.subplots(1, 2)
    numbers = [one.epoch for one in epochs]
    drawn = _draw_lines(losses, numbers, [_values(epochs, f"{name}_loss") for name, *_ in LINES])
    is_wide = min(drawn) > 0 and max(drawn) > WIDE_RANGE * min(drawn)
    if is_wide:
        _set_logarithmic(losses)
    else:
        losses.set_ylim(0, 1.05 * max(drawn) or 1)
        losses.yaxis.set_major_formatter("{x:g}")  # no common factor, which would push the heading
    shares = [_values(epochs, f"{name}_accuracy", 100) for name, *_ in LINES]
    drawn = _draw_lines(accuracies, numbers, shares)
    if test is not None and tested_epoch is not None:
        _mark_test(accuracies, tested_epoch, test)
        drawn += [100 * test.accuracy_low, 100 * test.accuracy_high]
    room = max(0.05 * (max(drawn) - min(drawn)), 0.1)
    accuracies.set_ylim(min(drawn) - room, min(max(drawn) + room, 100 + room / 2))
    for axes in (losses, accuracies):
        if best_epoch is not None:
            axes.axvline(
                best_epoch, color=FAINT, linewidth=1, linestyle=":", zorder=0,
                label=f"best epoch on validation: {best_epoch}",
            )  # fmt: skip
        _count_images(axes, epochs)
    scale = ", logarithmic scale" if is_wide else ""
    label_axes(losses, "loss", "epoch", f"cross entropy{scale}")
    label_axes(accuracies, "accuracy", "epoch", "images classified right, %")
    _draw_legend(figure, accuracies)
    return as_file(figure)


def learning_rate_picture(search: LearningRateSearch) -> bytes:
    """Return the loss by learning rate as a PNG file, with the rate that is suggested."""
    figure = _titled(search_title(search))
    axes = figure.subplots()
    rates = [one.learning_rate for one in search.points]
    smoothed = [one.smoothed_loss for one in search.points]
    axes.plot(
        rates, [one.loss for one in search.points], color=LOSS_COLOR, alpha=0.3, linewidth=0.8,
        label="loss of the batch",
    )  # fmt: skip
    axes.plot(rates, smoothed, color=LOSS_COLOR, linewidth=1.5, label="smoothed loss")
    lowest = format_value("learning_rate", search.lowest_at)
    axes.axvline(
        search.lowest_at, color=FAINT, linewidth=1, linestyle=":", label=f"lowest at {lowest}"
    )
    if search.suggestion is not None:
        suggested = format_value("learning_rate", search.suggestion)
        axes.axvline(
            search.suggestion, color=CHOICE_COLOR, linewidth=1.3,
            label=f"suggestion, where it falls most steeply: {suggested}",
        )  # fmt: skip
    axes.set_xscale("log")
    # Where it began, and where it was lowest: a divergence would hide all the rest.
    high, low = max(smoothed[:10]), min(smoothed)
    room = 0.5 * (high - low) + 0.05 * high
    axes.set_ylim(max(0, low - room), high + room)
    label_axes(axes, "", "learning rate of the step, logarithmic scale", "loss before the step")
    _draw_legend(figure, axes)
    return as_file(figure)


def _titled(title: str, top: float = 0.84) -> "Figure":
    figure = new_figure(WIDTH, HEIGHT)
    write_title(figure, shortened(title, MAX_TITLE), 1 - 12 / HEIGHT, parse_math=False)
    # Said outright: to have it worked out costs as much as all the rest.
    figure.subplots_adjust(left=0.065, right=0.985, bottom=0.23, top=top, wspace=0.16)
    return figure


def _values(epochs: Sequence[EpochMetrics], name: str, scale: float = 1) -> list[float]:
    """Return a metric of each epoch; nothing where it was not measured."""
    values = [getattr(one, name) for one in epochs]
    return [] if None in values else [scale * value for value in values]


def _draw_lines(
    axes: "Axes", numbers: Sequence[int], lines: Sequence[Sequence[float]]
) -> list[float]:
    """Draw a line for each set by epoch; return all values."""
    for (_, color, label), values in zip(LINES, lines, strict=True):
        if values:
            marker = "o" if len(numbers) <= MAX_DOTTED else ""
            axes.plot(
                numbers, values, color=color, linewidth=1.3, marker=marker, markersize=3.5,
                label=label,
            )  # fmt: skip
    if len(numbers) <= MAX_NUMBERED:
        axes.set_xticks(numbers)
    else:
        count_ticks(axes.xaxis)
    room = max(0.5, 0.02 * (numbers[-1] - numbers[0]))
    axes.set_xlim(numbers[0] - room, numbers[-1] + room)
    return [value for values in lines for value in values]


def _count_images(axes: "Axes", epochs: Sequence[EpochMetrics]) -> None:
    """Draw an axis along the top that counts the training images which the network has seen."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    # Their number is kept as a rate; the product is it again, but for rounding.
    seen = sum(round(one.seconds * one.images_per_second) for one in epochs)
    per_epoch = seen / len(epochs)
    if per_epoch == 0:
        return

    def to_images(epoch: Any) -> Any:
        return epoch * per_epoch

    def to_epoch(count: Any) -> Any:
        return count / per_epoch

    top = axes.secondary_xaxis("top", functions=(to_images, to_epoch))
    top.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    top.xaxis.set_major_formatter(FuncFormatter(lambda count, _: format_count(count, 6, True)))
    top.tick_params(labelsize=7.5, colors=FAINT, length=2.5, pad=2)
    top.spines["top"].set_color(GRID)
    axes.set_title("images seen", fontsize=8, loc="right", color=FAINT)  # as high as the heading


def _set_logarithmic(axes: "Axes") -> None:
    """Draw losses on a logarithmic scale, with plain numbers at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_test(axes: "Axes", epoch: int, test: Metrics) -> None:
    """Mark the accuracy on the test set, with its interval."""
    percent, low, high = (100 * x for x in (test.accuracy, test.accuracy_low, test.accuracy_high))
    interval = format_interval((low, high))
    axes.errorbar(
        [epoch], [percent], [[percent - low], [high - percent]], color=TEST_COLOR, marker="D",
        markersize=4.5, linewidth=1.3, capsize=4, zorder=4,
        label=f"test after epoch {epoch}: {percent:.2f} % (95 % CI {interval})",
    )  # fmt: skip


def _draw_legend(figure: "Figure", axes: "Axes") -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=LEGEND_COLUMNS, frameon=False, fontsize=8.5
    )
