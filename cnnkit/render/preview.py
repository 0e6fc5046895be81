"""Samples in a terminal with color, two pixels per character."""

from rich.console import Console
from rich.style import Style
from rich.text import Text

from cnnkit.render.plots.sample_grid import fitted
from cnnkit.render.safe_text import visible
from cnnkit.results.show import Picture, Sample, SampleList

UPPER_HALF = "▀"  # in the color of the pixel above, on that of the pixel below
GAP = 2
MAX_SIDE = 18  # columns of one picture among many
MAX_FEW_SIDE = 32
MAX_SINGLE_SIDE = 64
FEW = 4
MIN_LABEL = 8  # columns


def print_preview(console: Console, result: SampleList) -> None:
    """Print the pictures of samples as half blocks, with class and index below each.

    Args:
        console: one that shows color.
        result: the samples.
    """
    parts = len(result.stages)
    number = len(result.samples) * parts
    most = MAX_SINGLE_SIDE if number == 1 else MAX_FEW_SIDE if number <= FEW else MAX_SIDE
    pictures = [one for sample in result.samples for one in sample.pictures or ()]
    largest = max((max(picture.width, picture.height) for picture in pictures), default=1)
    side = max(1, min(most, largest, (console.width + GAP) // parts - GAP))
    width = max(parts * (side + GAP) - GAP, MIN_LABEL)
    per_row = max(1, (console.width + GAP) // (width + GAP))
    if parts > 1:
        console.print(Text(visible(" | ".join(result.stages)), style="dim"))
    for start in range(0, len(result.samples), per_row):
        row = result.samples[start : start + per_row]
        blocks = [_sample_lines(sample, side, width, parts) for sample in row]
        for number in range(max(map(len, blocks))):
            line = Text(" " * GAP).join(
                block[number] if number < len(block) else Text(" " * width) for block in blocks
            )
            console.print(line, no_wrap=True, overflow="crop", crop=True)


def _sample_lines(sample: Sample, side: int, width: int, parts: int) -> list[Text]:
    """Return the pictures of a sample side by side, and two lines of words, each `width` wide."""
    lines: list[Text] = []
    if sample.pictures is not None:
        columns = [_half_blocks(picture, side) for picture in sample.pictures]
        for number in range(max(map(len, columns))):
            lines.append(
                Text(" " * GAP).join(
                    column[number] if number < len(column) else Text(" " * side)
                    for column in columns
                )
            )
    what = f"{sample.index:,}" if sample.reason is None else f"{sample.index:,} {sample.reason}"
    lines += [Text(visible(sample.label or "-")), Text(visible(what), style="dim")]
    for line in lines:
        line.truncate(width, overflow="ellipsis", pad=True)
    return lines


def _half_blocks(picture: Picture, side: int) -> list[Text]:
    """Return a picture as lines of `side` characters."""
    image = fitted(picture, side, side) if max(picture.width, picture.height) > side else None
    image = (image or fitted(picture, picture.width, picture.height)).convert("RGB")
    pixels = image.tobytes()
    stride = 3 * image.width

    def color(x: int, y: int) -> str:
        red, green, blue = pixels[y * stride + 3 * x : y * stride + 3 * x + 3]
        return f"#{red:02x}{green:02x}{blue:02x}"

    lines = []
    for y in range(0, image.height, 2):
        line = Text(end="")
        for x in range(image.width):
            below = color(x, y + 1) if y + 1 < image.height else None
            line.append(UPPER_HALF, Style(color=color(x, y), bgcolor=below))
        line.append(" " * (side - image.width))
        lines.append(line)
    return lines
