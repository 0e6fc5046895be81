"""A confusion matrix as a picture."""

from collections.abc import Sequence
from itertools import product

from cnnkit.render.format import format_count, format_percent
from cnnkit.render.plots.style import (
    AXIS_SIZE,
    FAINT,
    HEADING_SIZE,
    INK,
    PAPER,
    TICK_SIZE,
    as_file,
    house_style,
    new_figure,
    shortened,
)

CELL = 42  # pixels; smaller with many classes
MAX_SIDE = 1000  # of the matrix
MIN_NUMBERED_CELL = 36  # in smaller ones no count is written
MIN_NAMED_CELL = 14  # beside smaller ones no class is named
NAME_WIDTH = 110
MAX_NAME = 16  # letters
MIN_WIDTH = 420  # of the picture, for its heading
LINE = 20
LIGHT, DARK = "#f4f8fd", "#08306b"


def confusion_picture(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Return a confusion matrix as a PNG file.

    The darker a cell, the larger its share of the images of the true class.

    Args:
        classes: names of the K classes, at least one.
        counts: images by true class (row) and predicted class (column), K by K.
    """
    from matplotlib.colors import LinearSegmentedColormap

    number = len(classes)
    cell = max(1, min(CELL, MAX_SIDE // number))
    is_named = cell >= MIN_NAMED_CELL
    room = LINE + (NAME_WIDTH if is_named else 0)
    side, top = cell * number, 3 * LINE
    width, height = max(room + side + LINE, MIN_WIDTH), top + side + room
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    with house_style():
        figure = new_figure(width, height)
        total, right = sum(map(sum, counts)), sum(counts[index][index] for index in range(number))
        heading = f"{right:,} of {total:,} images right"
        if total:
            heading += f", {format_percent(right / total)}"
        figure.text(
            LINE / width, 1 - 0.5 * LINE / height, heading, va="top", fontsize=HEADING_SIZE,
            fontweight="bold", color=INK,
        )  # fmt: skip
        figure.text(
            LINE / width, 1 - 1.5 * LINE / height, "true class by row, predicted class by column",
            va="top", fontsize=AXIS_SIZE, color=FAINT,
        )  # fmt: skip
        axes = figure.add_axes((room / width, room / height, side / width, side / height))
        colors = LinearSegmentedColormap.from_list("share", [LIGHT, DARK])
        axes.imshow(shares, cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.tick_params(length=0, labelsize=TICK_SIZE, colors=INK)
        axes.spines[:].set_visible(False)
        names = [shortened(name, MAX_NAME) for name in classes] if is_named else []
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        if cell >= MIN_NUMBERED_CELL:
            for row, column in product(range(number), range(number)):
                if counts[row][column]:
                    color = PAPER if shares[row][column] > 0.5 else INK
                    axes.text(
                        column, row, format_count(counts[row][column], 3, True),
                        ha="center", va="center", fontsize=TICK_SIZE, color=color,
                    )  # fmt: skip
        return as_file(figure)
