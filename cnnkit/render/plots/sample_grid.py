"""Samples of a dataset as one picture: a labelled grid."""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.render.plots.style import FAINT, GRID, INK, PAPER
from cnnkit.render.safe_text import visible
from cnnkit.render.tables.show import sample_notes
from cnnkit.results.show import Picture, Sample, SampleList

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

CELL_SIDE = 150  # pixels of a picture in a grid of many
FEW_SIDE = 240  # of one among few
SINGLE_SIDE = 480  # of a single one
FEW = 6
MIN_LABELLED_SIDE = 48  # below this there is no room for labels
MAX_GRID_PIXELS = 4e7

TILE_SIDE = 112  # of a picture in a plain grid
TILES_PER_ROW = 8

GAP = 12
MARGIN = 20
MIN_WIDTH = 480
LABEL_SIZE = 12  # of letters, in pixels
NOTE_SIZE = 12
TITLE_SIZE = 16
LEADING = 1.35  # from line to line, in sizes of letters

EMPTY = "#eaeef2"


def samples_picture(result: SampleList) -> bytes:
    """Return the samples of a dataset as a PNG file.

    Small pictures are enlarged in squares, by an integer where they have one size, so that every
    pixel is seen; large ones are reduced smoothly.
    """
    grid = _Grid(result)
    stream = io.BytesIO()
    grid.drawn().save(stream, "PNG")
    return stream.getvalue()


def labelled_grid(pictures: Sequence[Picture], labels: Sequence[str]) -> bytes:
    """Return pictures of one size in rows, each above its label, as a PNG file.

    Args:
        pictures: at least one.
        labels: one for each.
    """
    from PIL import Image, ImageDraw

    longest = max(pictures[0].width, pictures[0].height)
    side = longest * max(1, TILE_SIDE // longest) if longest <= TILE_SIDE else TILE_SIDE
    per_row = min(len(pictures), TILES_PER_ROW)
    step, row_height = side + GAP, side + GAP + _lines(1, LABEL_SIZE) + 2
    num_rows = math.ceil(len(pictures) / per_row)
    canvas = Image.new("RGB", (per_row * step + GAP, num_rows * row_height + GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        row, column = divmod(number, per_row)
        x, y = GAP + column * step, GAP + row * row_height
        canvas.paste(fitted(picture, side, side).convert("RGB"), (x, y))
        words = cut_to_fit(label, side)
        draw.text((x, y + side + 2), words, fill=INK, font=font(LABEL_SIZE))
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def fitted(picture: Picture, width: int, height: int) -> "Image":
    """Return a picture as large as fits, its shape kept: enlarged in squares, reduced smoothly.

    Returns:
        An image of Pillow, of mode `L` or `RGB`.
    """
    from PIL import Image

    mode = "L" if picture.channels == 1 else "RGB"
    image = Image.frombytes(mode, (picture.width, picture.height), picture.pixels)
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


class _Grid:
    """Positions of pictures and words, in pixels from the upper left corner."""

    def __init__(self, result: SampleList) -> None:
        self._result = result
        number, self._parts = max(1, len(result.samples)), len(result.stages)
        self._side = _cell_side(result)
        self._is_labelled = self._side >= MIN_LABELLED_SIDE
        self._per_row = _per_row(number, self._parts)
        # The pictures of one sample are closer to each other than to those of the next.
        self._pitch = self._parts * (self._side + GAP) + (2 * GAP if self._parts > 1 else 0)
        content = self._per_row * self._pitch - (self._pitch - self._room)
        self._width = max(content + 2 * MARGIN, MIN_WIDTH)
        first, *notes = sample_notes(result)
        self._title = self._wrapped(first, TITLE_SIZE, is_bold=True)
        self._notes = [line for note in notes for line in self._wrapped(note, NOTE_SIZE)]
        self._top = MARGIN + _lines(len(self._title), TITLE_SIZE) + GAP
        if self._parts > 1 and self._is_labelled:
            self._top += _lines(1, LABEL_SIZE) + 2
        labels = _lines(2, LABEL_SIZE) + 4 if self._is_labelled else 0
        self._row_height = self._side + labels + GAP
        self._bottom = self._top + math.ceil(number / self._per_row) * self._row_height
        self._height = self._bottom - GAP + MARGIN
        if self._notes:
            self._height += GAP + _lines(len(self._notes), NOTE_SIZE)

    @property
    def _room(self) -> int:
        """The width of the pictures of one sample."""
        return self._parts * (self._side + GAP) - GAP

    def drawn(self) -> "Image":
        """Return the complete grid."""
        from PIL import Image

        canvas = Image.new("RGB", (self._width, self._height), PAPER)
        self._draw_words(canvas)
        for number, sample in enumerate(self._result.samples):
            x, y = self._corner(number)
            self._draw_sample(canvas, sample, x, y)
        return canvas

    def _corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self._per_row)
        return MARGIN + column * self._pitch, self._top + row * self._row_height

    def _draw_words(self, canvas: "Image") -> None:
        for number, line in enumerate(self._title):
            y = MARGIN + _lines(number, TITLE_SIZE)
            self._write(canvas, MARGIN, y, line, TITLE_SIZE, INK, is_bold=True)
        for number, line in enumerate(self._notes):
            y = self._bottom + _lines(number, NOTE_SIZE)
            self._write(canvas, MARGIN, y, line, NOTE_SIZE, FAINT)
        if self._parts == 1 or not self._is_labelled:
            return
        for number in range(self._per_row):
            x, y = self._corner(number)
            for part, title in enumerate(self._result.stages):
                left = x + part * (self._side + GAP)
                text = cut_to_fit(title, self._side + GAP // 2)
                self._write(canvas, left, y - _lines(1, LABEL_SIZE) - 2, text, LABEL_SIZE, FAINT)

    def _draw_sample(self, canvas: "Image", sample: Sample, x: int, y: int) -> None:
        for part in range(self._parts):
            left = x + part * (self._side + GAP)
            if sample.pictures is None:
                canvas.paste(EMPTY, (left, y, left + self._side, y + self._side))
                continue
            image = fitted(sample.pictures[part], self._side, self._side)
            over = (self._side - image.height) // 2
            corner = left + (self._side - image.width) // 2, y + over
            end = corner[0] + image.width, corner[1] + image.height
            # A line around it, for a white image on white paper.
            canvas.paste(GRID, (corner[0] - 1, corner[1] - 1, end[0] + 1, end[1] + 1))
            canvas.paste(image.convert("RGB"), corner)
        if self._is_labelled:
            y += self._side + 4
            what = f"broken: {sample.reason}"
            if sample.reason is None:
                what = f"{sample.height}x{sample.width} {sample.mode}"
            pictures = sample.pictures or ()
            has_captions = any(picture.caption for picture in pictures)
            room = self._side if has_captions else self._room
            name = cut_to_fit(sample.label or "-", room)
            self._write(canvas, x, y, name, LABEL_SIZE, INK)
            text = cut_to_fit(f"{sample.index:,} · {what}", room)
            self._write(canvas, x, y + _lines(1, LABEL_SIZE), text, LABEL_SIZE, FAINT)
            for part, picture in enumerate(pictures):
                left = x + part * (self._side + GAP)
                for number, line in enumerate(picture.caption[:2]):
                    text = cut_to_fit(line, self._side)
                    below = y + _lines(number, LABEL_SIZE)
                    self._write(canvas, left, below, text, LABEL_SIZE, FAINT)

    def _write(
        self,
        canvas: "Image",
        x: int,
        y: int,
        text: str,
        size: int,
        color: str,
        is_bold: bool = False,
    ) -> None:
        from PIL import ImageDraw

        ImageDraw.Draw(canvas).text((x, y), text, fill=color, font=font(size, is_bold))

    def _wrapped(self, text: str, size: int, is_bold: bool = False) -> list[str]:
        letter = font(size, is_bold).getlength("abcdefghijklmnopqrstuvwxyz ") / 27
        return textwrap.wrap(
            visible(text), max(20, int((self._width - 2 * MARGIN) / letter * 0.97))
        )


@cache
def font(size: int, is_bold: bool = False) -> "FreeTypeFont":
    """Return a font for letters of so many pixels."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"  # matplotlib brings it
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def missing_glyphs(texts: Iterable[str]) -> str:
    """Return the characters of texts that the font of pictures has no glyph for, each once."""
    from matplotlib.ft2font import FT2Font

    shapes = FT2Font(str(font(LABEL_SIZE).path)).get_charmap()
    found = dict.fromkeys(one for text in texts for one in visible(text) if not one.isspace())
    return "".join(one for one in found if ord(one) not in shapes)


def cut_to_fit(text: str, room: int) -> str:
    """Return as much of a line as fits in so many pixels."""
    letters, text = font(LABEL_SIZE), visible(text)
    if letters.getlength(text) <= room:
        return text
    while text and letters.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"


def _per_row(number: int, parts: int) -> int:
    """Return the number of samples in a row: about a square, with few places empty."""
    least = math.ceil(0.9 * math.sqrt(number / parts))
    return min(range(least, round(1.5 * least) + 1), key=lambda one: -number % one)


def _cell_side(result: SampleList) -> int:
    """Return the side of the square that every picture gets."""
    number = max(1, len(result.samples) * len(result.stages))
    wanted = SINGLE_SIDE if number == 1 else FEW_SIDE if number <= FEW else CELL_SIDE
    wanted = max(1, min(wanted, math.isqrt(int(MAX_GRID_PIXELS) // number)))
    largest = max(
        (
            max(picture.width, picture.height)
            for sample in result.samples
            for picture in sample.pictures or ()
        ),
        default=wanted,
    )
    return wanted if largest > wanted else largest * round(wanted / largest)


def _lines(number: int, size: int) -> int:
    """Return the height of lines of letters of this size."""
    return round(number * size * LEADING)
