"""Results as pictures: accuracy against cost."""

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.results import ComparedModel, ComparisonResult
from cnnkit.results.table import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")

_WIDTH = 8.0  # inches, of a panel
_HEIGHT = 5.5
_DPI = 150
_LARGEST_DOT = 1200.0  # area in square points
_NAME_SIZE = 8.0  # points
_GREY = "#57606a"
_BLUE = "#0969da"
_ORANGE = "#bc4c00"
# Settings that make a picture readable as text and the same each time.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "cnnkit", "pdf.fonttype": 42}


def draw_comparison(result: ComparisonResult, suffix: str) -> bytes:
    """Return a picture of top-1 accuracy against MACs, a panel for each dataset.

    The area of a dot tells the parameters. Networks without a top-1 are named below.

    Args:
        result: at least one of its networks has a top-1.
        suffix: the kind of picture, one of `PICTURE_SUFFIXES`.
    """
    # Without pyplot, which would choose a window system: a figure that is only ever written.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [one for one in result.models if one.top1 is not None and one.totals.macs]
    datasets = list(dict.fromkeys(one.dataset for one in shown))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT * len(datasets)), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(datasets), squeeze=False)[:, 0]
        largest = max(one.totals.params for one in shown)
        for panel, dataset in zip(panels, datasets, strict=True):
            models = [one for one in shown if one.dataset == dataset]
            _draw_dots(panel, models, largest, result.batch_size)
            panel.set_ylabel(f"top-1 on {dataset}, %")
        panels[-1].set_xlabel("MACs an image")
        rest = [one.name for one in result.models if one not in shown]
        if rest:
            text = f"without a published top-1 here: {', '.join(rest)}"
            figure.supxlabel(
                textwrap.fill(text, 120, break_on_hyphens=False), fontsize=_NAME_SIZE, color=_GREY
            )
        figure.draw_without_rendering()  # from here on it is known where everything lies
        figure.set_layout_engine("none")
        for panel, dataset in zip(panels, datasets, strict=True):
            _write_names(
                panel, [one for one in shown if one.dataset == dataset], largest, result.batch_size
            )
        buffer = io.BytesIO()
        # Pictures say when they were made, unless told not to.
        undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=undated[suffix])
    return buffer.getvalue()


def _macs(model: ComparedModel, batch_size: int) -> float:
    return model.totals.macs / batch_size


def _percent(model: ComparedModel) -> float:
    assert model.top1 is not None
    return 100 * model.top1


def _area(params: float, largest: int) -> float:
    return _LARGEST_DOT * params / largest


def _draw_dots(
    panel: "Axes", models: Sequence[ComparedModel], largest: int, batch_size: int
) -> None:
    """Draw a dot a network, the Pareto front, and what an area means."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    front = sorted((one for one in models if one.pareto), key=lambda one: one.totals.macs)
    panel.step(
        [_macs(one, batch_size) for one in front],
        [_percent(one) for one in front],
        where="post",
        color=_ORANGE,
        linewidth=1,
        zorder=1,
        label="Pareto front",
    )
    # Large dots lie behind, so that none is hidden.
    for one in sorted(models, key=lambda one: -one.totals.params):
        color = _ORANGE if one.pareto else _BLUE
        place = (_macs(one, batch_size), _percent(one))
        area = _area(one.totals.params, largest)
        panel.scatter(*place, s=area, color=color, alpha=0.3, linewidths=0, zorder=2)
        panel.scatter(*place, s=5, color=color, linewidths=0, zorder=3)
    for params in _round_sizes(largest):
        panel.scatter(
            [], [], s=_area(params, largest), color=_GREY, alpha=0.3, linewidths=0,
            label=f"{format_count(params)} parameters",
        )  # fmt: skip
    panel.set_xscale("log")
    panel.margins(x=0.12, y=0.14)
    costs = [_macs(one, batch_size) for one in models]
    if max(costs) / min(costs) < 1.5:  # a single network, or nearly
        panel.set_xlim(min(costs) / 3, max(costs) * 3)
    decades = math.log10(panel.get_xlim()[1] / panel.get_xlim()[0])
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 4 else (1,)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(color="#d0d7de", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="lower right", fontsize=_NAME_SIZE, frameon=True, labelspacing=1.2)


def _round_sizes(largest: int) -> list[float]:
    """Return two or three round numbers of parameters, the largest near that of the networks."""
    top = 10.0 ** math.floor(math.log10(largest))
    return [top / 10, top] if largest < 3 * top else [top / 10, top, 3 * top]


def _write_names(
    panel: "Axes", models: Sequence[ComparedModel], largest: int, batch_size: int
) -> None:
    """Write every name beside its dot, where it covers neither another name nor a dot.

    One that finds no place near its dot stands further off, with a line to it.
    """
    from matplotlib.transforms import Bbox

    points = panel.figure.dpi / 72  # pixels a point
    legend = panel.get_legend()
    taken: list[Bbox] = [] if legend is None else [legend.get_window_extent()]
    dots = []
    for one in models:
        x, y = panel.transData.transform((_macs(one, batch_size), _percent(one)))
        radius = math.sqrt(_area(one.totals.params, largest) / math.pi) * points
        dots.append((x, y, radius))
        heart = max(2 * points, min(radius, 4 * points))  # large dots may be written upon
        taken.append(Bbox.from_extents(x - heart, y - heart, x + heart, y + heart))
    size = _NAME_SIZE if len(models) <= 30 else 0.75 * _NAME_SIZE
    for one, (x, y, radius) in sorted(
        zip(models, dots, strict=True), key=lambda pair: (not pair[0].pareto, -pair[1][1])
    ):
        text: Any = panel.annotate(
            one.name,
            (_macs(one, batch_size), _percent(one)),
            xytext=(0, 0),
            textcoords="offset pixels",
            fontsize=size,
            ha="center",
            va="center",
            zorder=4,
        )
        box = text.get_window_extent()
        dx, dy, distance = _free_place(x, y, radius, box, taken, panel.bbox, points)
        text.set_position((dx, dy))
        taken.append(
            Bbox.from_bounds(x + dx - box.width / 2, y + dy - box.height / 2, box.width, box.height)
        )
        if distance > 1:
            text.arrow_patch = None
            panel.annotate(
                "",
                (_macs(one, batch_size), _percent(one)),
                xytext=(
                    dx - math.copysign(box.width / 2, dx) if abs(dx) > box.width / 2 else dx,
                    dy,
                ),
                textcoords="offset pixels",
                arrowprops={"arrowstyle": "-", "color": _GREY, "linewidth": 0.4, "shrinkB": 0},
                zorder=3,
            )


def _free_place(
    x: float,
    y: float,
    radius: float,
    box: "Bbox",
    taken: Iterable["Bbox"],
    inside: "Bbox",
    points: float,
) -> tuple[float, float, int]:
    """Return where the middle of a name goes, from its dot, and how many rings off it lies."""
    from matplotlib.transforms import Bbox

    taken = list(taken)
    best = (0.0, 0.0, 0)
    for ring in range(40):
        gap = min(radius, 12 * points) + 2 * points + ring * 4 * points
        for angle in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 68, 292, 112, 248):
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            dx = cos * gap + cos * box.width / 2
            dy = sin * gap + sin * box.height / 2
            place = Bbox.from_bounds(
                x + dx - box.width / 2, y + dy - box.height / 2, box.width, box.height
            )
            fits = inside.x0 <= place.x0 and place.x1 <= inside.x1
            fits = fits and inside.y0 <= place.y0 and place.y1 <= inside.y1
            if not fits:
                continue
            if not any(place.overlaps(other) for other in taken):
                return dx, dy, ring
            best = best if best != (0.0, 0.0, 0) else (dx, dy, ring)
    return best
