"""A confusion matrix as a picture."""

import io
from collections.abc import Sequence
from itertools import product

from cnnkit.render.safe_text import visible
from cnnkit.render.sample_grid import FAINT, INK, LABEL_SIZE, PAPER, cut_to_fit, font

CELL = 42  # pixels; smaller with many classes
MAX_SIDE = 1000  # of the matrix
MIN_NUMBERED_CELL = 36  # in smaller ones no count is written
MIN_NAMED_CELL = 14  # beside smaller ones no class is named
NAME_WIDTH = 110
MIN_WIDTH = 420  # of the whole picture, for its heading
LINE = 20
LIGHT, DARK = "#f4f8fd", "#08306b"


def confusion_picture(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Return a confusion matrix as a PNG file.

    The darker a cell, the larger its share of the images of the true class.

    Args:
        classes: names of the K classes, at least one.
        counts: images by true class (row) and predicted class (column), K by K.
    """
    from PIL import Image, ImageDraw, ImageOps

    number = len(classes)
    cell = max(1, min(CELL, MAX_SIDE // number))
    is_named = cell >= MIN_NAMED_CELL
    longest = max(font(LABEL_SIZE).getlength(visible(name)) for name in classes) if is_named else 0
    room = min(NAME_WIDTH, round(longest) + 12)
    left = LINE + room
    top, side = 3 * LINE, cell * number
    width, height = max(left + side + LINE, MIN_WIDTH), top + side + left
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    total, right = sum(map(sum, counts)), sum(counts[index][index] for index in range(number))
    words = f"{right:,} of {total:,} images right" + f", {100 * right / total:.2f} %" * (total > 0)
    draw.text((LINE, LINE // 2), words, fill=INK, font=font(LABEL_SIZE, is_bold=True))
    words = "a row for each true class, a column for what it was taken for"
    draw.text((LINE, LINE // 2 + LINE), words, fill=FAINT, font=font(LABEL_SIZE))
    sums = [sum(row) or 1 for row in counts]
    shares = bytes(
        255 * count // of_class for row, of_class in zip(counts, sums, strict=True) for count in row
    )
    cells = ImageOps.colorize(Image.frombytes("L", (number, number), shares), LIGHT, DARK)
    canvas.paste(cells.resize((side, side), Image.Resampling.NEAREST), (left, top))
    if cell >= MIN_NUMBERED_CELL:
        for row, column in product(range(number), range(number)):
            if counts[row][column]:
                draw.text(
                    (left + (column + 0.5) * cell, top + (row + 0.5) * cell),
                    _short(counts[row][column]), anchor="mm", font=font(LABEL_SIZE),
                    fill=PAPER if shares[row * number + column] > 127 else INK,
                )  # fmt: skip
    if is_named:
        names = Image.new("RGB", (room, side), PAPER)
        pen = ImageDraw.Draw(names)
        for row, name in enumerate(classes):
            words, place = cut_to_fit(name, room - 6), (room - 6, (row + 0.5) * cell)
            pen.text(place, words, anchor="rm", fill=INK, font=font(LABEL_SIZE))
        canvas.paste(names, (LINE, top))
        canvas.paste(names.rotate(90, expand=True), (left, top + side))
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def _short(count: int) -> str:
    """Return a count in at most four letters, for a cell: `9999`, `12k`."""
    return str(count) if count < 10_000 else f"{count // 1000}k" if count < 10**6 else "1M+"
