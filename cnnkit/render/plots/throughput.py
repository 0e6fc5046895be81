"""Measurements of speed as a picture: images a second against the batch."""

from typing import TYPE_CHECKING, Any

from cnnkit.render.format import format_rate
from cnnkit.render.plots.style import (
    SERIES_COLORS,
    TICK_SIZE,
    as_file,
    draw_grid,
    house_style,
    label_axes,
    new_figure,
    shortened,
)
from cnnkit.render.safe_text import visible
from cnnkit.render.tables.bench import setting_texts
from cnnkit.results.bench import SETTINGS, BenchCell, BenchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 1000, 440  # pixels, of a panel
_MAX_NAME = 60  # characters
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv"


def draw_throughput(result: BenchResult, suffix: str) -> bytes:
    """Return a picture of images a second against images a batch, both on scales of doublings.

    A panel shows a network in one mode, and a line a device in one setting. A bar at each point is
    the 95 % confidence interval of its median.

    Args:
        result: what was measured; configurations without a time are left out.
        suffix: the kind of picture, one of `PICTURE_SUFFIXES`.
    """
    cells = [cell for cell in result.cells if cell.images_per_second is not None]
    panels: dict[tuple[str, ...], list[BenchCell]] = {}
    for cell in cells:
        panels.setdefault((cell.model, cell.input, cell.mode), []).append(cell)
    with house_style():
        figure = new_figure(_WIDTH, _HEIGHT * max(1, len(panels)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots(max(1, len(panels)), squeeze=False)[:, 0]
        for panel, (key, some) in zip(axes, panels.items(), strict=False):
            _draw_panel(panel, some)
            title = f"{shortened(key[0], _MAX_NAME)}, input {visible(key[1])}, {key[2]}"
            label_axes(panel, title, "images a batch", "images a second")
        if not panels:
            text = "no configuration was measured"
            axes[0].text(0.5, 0.5, text, ha="center", transform=axes[0].transAxes)
        return as_file(figure, suffix)


def _draw_panel(panel: "Axes", cells: list[BenchCell]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    names = [name for name in SETTINGS if name not in ("model", "input", "mode", "batch_size")]
    varying = [name for name in names if len({getattr(cell, name) for cell in cells}) > 1]
    named = ["device", *(name for name in varying if name != "device")]
    lines: dict[str, list[BenchCell]] = {}
    for cell in cells:
        label = visible(setting_texts(cell, named))
        lines.setdefault(label, []).append(cell)
    devices = list(dict.fromkeys(cell.device for cell in cells))
    for number, (label, some) in enumerate(lines.items()):
        some = sorted(some, key=lambda cell: cell.batch_size or 0)
        batches = [cell.batch_size or 0 for cell in some]
        rates = [cell.images_per_second or 0.0 for cell in some]
        errors: Any = [[], []]
        for cell, value in zip(some, rates, strict=True):
            high, low = cell.interval_high, cell.interval_low
            ends = (
                (value, value)
                if high is None or low is None
                else (1000 * (cell.batch_size or 0) / high, 1000 * (cell.batch_size or 0) / low)
            )
            errors[0].append(max(0.0, value - ends[0]))
            errors[1].append(max(0.0, ends[1] - value))
        panel.errorbar(
            batches, rates, errors, label=label, color=SERIES_COLORS[number % len(SERIES_COLORS)],
            linestyle=_DASHES[devices.index(some[0].device) % len(_DASHES)],
            marker=_MARKERS[number // len(SERIES_COLORS) % len(_MARKERS)],
            markersize=4, linewidth=1.2, capsize=3,
        )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    panel.set_xticks(sorted({cell.batch_size or 0 for cell in cells}))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_rate(value)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_locator(NullLocator())
    low, high = panel.get_ylim()
    if high / low < 4:  # at least two ticks of doublings
        middle = (low * high) ** 0.5
        panel.set_ylim(middle / 2.1, middle * 2.1)
    draw_grid(panel)
    panel.legend(frameon=False, fontsize=TICK_SIZE)
