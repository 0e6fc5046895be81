"""Measurements of speed as a picture: images a second against the batch."""

import io
from typing import TYPE_CHECKING, Any

from cnnkit.render.charts import PICTURE_STYLE, UNDATED
from cnnkit.render.pictures import missing_glyphs_as_boxes, shortened
from cnnkit.render.safe_text import visible
from cnnkit.results import format_value
from cnnkit.results.bench import BenchCell, BenchResult
from cnnkit.results.bench.cell import SETTINGS, setting_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (8.0, 4.5)  # inches, of a panel
_DPI = 150
_MAX_NAME = 60  # characters
_COLORS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#cf222e", "#57606a", "#9a6700", "#bf3989")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv"


def draw_throughput(result: BenchResult, suffix: str) -> bytes:
    """Return a picture of images a second against images a batch, both on scales of doublings.

    A panel shows a network in one mode, and a line a device in one setting. A bar at each point is
    the 95 % interval of its median.

    Args:
        result: what was measured; cells without a time are left out.
        suffix: the kind of picture, one of `PICTURE_SUFFIXES`.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = [cell for cell in result.cells if cell.images_per_second is not None]
    panels: dict[tuple[str, ...], list[BenchCell]] = {}
    for cell in cells:
        panels.setdefault((cell.model, cell.input, cell.mode), []).append(cell)
    with matplotlib.rc_context(PICTURE_STYLE), missing_glyphs_as_boxes():
        size = (_SIZE[0], _SIZE[1] * max(1, len(panels)))
        figure = Figure(size, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(max(1, len(panels)), squeeze=False)[:, 0]
        for panel, (key, some) in zip(axes, panels.items(), strict=False):
            _draw_panel(panel, some)
            title = f"{shortened(key[0], _MAX_NAME)}, input {visible(key[1])}, {key[2]}"
            panel.set_title(title, fontsize=10, loc="left")
        if not panels:
            axes[0].text(0.5, 0.5, "no cell was measured", ha="center", transform=axes[0].transAxes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=UNDATED[suffix])
    return buffer.getvalue()


def _draw_panel(panel: "Axes", cells: list[BenchCell]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    names = [name for name in SETTINGS if name not in ("model", "input", "mode", "batch_size")]
    varying = [name for name in names if len({getattr(cell, name) for cell in cells}) > 1]
    told = ["device", *(name for name in varying if name != "device")]
    lines: dict[str, list[BenchCell]] = {}
    for cell in cells:
        label = visible(" ".join(setting_text(cell, name) for name in told))
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
            batches, rates, errors, label=label, color=_COLORS[number % len(_COLORS)],
            linestyle=_DASHES[devices.index(some[0].device) % len(_DASHES)],
            marker=_MARKERS[number // len(_COLORS) % len(_MARKERS)],
            markersize=4, linewidth=1.2, capsize=3,
        )  # fmt: skip
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    panel.set_xticks(sorted({cell.batch_size or 0 for cell in cells}))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value("rate", value)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_locator(NullLocator())
    low, high = panel.get_ylim()
    if high / low < 4:  # at least two ticks of doublings
        middle = (low * high) ** 0.5
        panel.set_ylim(middle / 2.1, middle * 2.1)
    panel.grid(True, alpha=0.3)
    panel.set_xlabel("images a batch")
    panel.set_ylabel("images a second")
    panel.legend(frameon=False, fontsize=8)
