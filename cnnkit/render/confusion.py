"""A confusion matrix as a picture."""

from collections.abc import Sequence

from cnnkit.render.pictures import as_png, label_axes, new_figure, shortened

MAX_NUMBERED = 20  # with more classes than this no count is written
MAX_NAMED = 50  # with more than this no class is named
MAX_NAME_LENGTH = 16
CELL, MIN_SIDE, MAX_SIDE = 42, 360, 1000  # pixels
MARGIN = 150


def confusion_picture(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Return a confusion matrix as a PNG file, each row in shares of its class.

    Args:
        classes: names of the K classes, at least one.
        counts: images by true class (row) and predicted class (column), K by K.
    """
    number = len(classes)
    side = min(MAX_SIDE, max(MIN_SIDE, CELL * number))
    figure = new_figure(side + MARGIN + 30, side + MARGIN + 40)
    width, height = figure.get_size_inches() * figure.dpi
    axes = figure.add_axes((MARGIN / width, MARGIN / height, side / width, side / height))
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if number <= MAX_NUMBERED:
        size = 9 if max(map(max, counts)) < 10_000 else 7
        for row, column in ((r, c) for r in range(number) for c in range(number)):
            if counts[row][column]:
                axes.text(
                    column, row, f"{counts[row][column]:,}", ha="center", va="center",
                    fontsize=size, color="white" if shares[row][column] > 0.5 else "black",
                )  # fmt: skip
    total, right = sum(map(sum, counts)), sum(counts[index][index] for index in range(number))
    percent = 100 * right / total if total else 0.0
    title = f"{right:,} of {total:,} images right, {percent:.2f} %"
    label_axes(axes, title, "taken for", "true class")
    if number <= MAX_NAMED:
        names = [shortened(name, MAX_NAME_LENGTH) for name in classes]
        size = 9 if number <= MAX_NUMBERED else 7
        axes.set_xticks(range(number), names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(number), names, fontsize=size, parse_math=False)
    return as_png(figure)
