"""The one look of all charts: sizes, colors, axes, and how a figure becomes a file."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cnnkit.render.safe_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")

DPI = 100
TITLE_SIZE, HEADING_SIZE, AXIS_SIZE, TICK_SIZE = 12, 10, 9, 8  # points

PAPER = "#ffffff"
INK = "#1b1f24"
FAINT = "#6e7781"
FRAME = "#afb8c1"
GRID = "#d0d7de"
BLUE, ORANGE, GREEN, RED, GREY = "#0969da", "#bc4c00", "#1a7f37", "#d1242f", "#57606a"
SERIES_COLORS = (BLUE, ORANGE, GREEN, "#8250df", RED, GREY, "#9a6700", "#bf3989")

# Letters stay letters, so that a picture can be searched; it is the same each time; and a dollar in
# the name of a file begins no formula.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cnnkit",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_UNDATED: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw as all pictures are drawn.

    Names in scripts that the font lacks are boxes, without a warning for each character.
    """
    import matplotlib

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # the second is of matplotlib before 3.11
        words = r"Glyph .* missing from|Matplotlib currently does not support"
        warnings.filterwarnings("ignore", words, UserWarning)
        yield


def new_figure(width: int, height: int) -> "Figure":
    """Return an empty figure of this many pixels, apart from the state of pyplot.

    Pyplot would choose a window system; a figure of ours is only ever written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def write_title(figure: "Figure", title: str, y: float, **looks: Any) -> None:
    """Write the heading of a figure, its upper edge at `y` of the height."""
    figure.text(
        0.015, y, title, fontsize=TITLE_SIZE, fontweight="bold", color=INK, va="top", **looks
    )


def label_axes(axes: "Axes", title: str, x: str, y: str) -> None:
    """Give axes their heading and names, and the look that all charts have."""
    axes.set_title(title, fontsize=HEADING_SIZE, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=AXIS_SIZE, color=FAINT)
    axes.set_ylabel(y, fontsize=AXIS_SIZE, color=FAINT)
    axes.tick_params(labelsize=TICK_SIZE, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)


def draw_grid(axes: "Axes") -> None:
    """Draw thin lines behind all else, where values are read off a logarithmic scale."""
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)


def count_ticks(axis: Any) -> None:
    """Label an axis with integers, thousands apart."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def as_file(figure: "Figure", suffix: str = ".png") -> bytes:
    """Return a figure as a picture file of a kind, one of `PICTURE_SUFFIXES`."""
    stream = io.BytesIO()
    with house_style():
        figure.savefig(stream, format=suffix.removeprefix("."), metadata=_UNDATED[suffix])
    return stream.getvalue()


def shortened(text: str, length: int) -> str:
    """Return a text from data in at most so many characters."""
    text = visible(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"
