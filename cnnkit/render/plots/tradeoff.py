"""Networks as a picture: accuracy against cost."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from cnnkit.render.format import format_count
from cnnkit.render.plots.style import (
    AXIS_SIZE,
    BLUE,
    FAINT,
    GREY,
    ORANGE,
    TICK_SIZE,
    as_file,
    draw_grid,
    house_style,
    label_axes,
    new_figure,
    shortened,
)
from cnnkit.render.safe_text import visible
from cnnkit.results import ComparisonResult

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_WIDTH, _HEIGHT = 1000, 660  # pixels, of a panel
_LARGEST_AREA = 900.0  # square points, of the dot of the network with the most parameters
_NAME_SIZE = TICK_SIZE
_MAX_NAME = 40  # characters; a panel has room for so many wide ones
_MANY = 30  # more networks than this in a panel get smaller names, and a larger picture
_MANY_SCALE = 1.5
# Where a name is tried around its dot: beside it, above and below, then between.
_ANGLES = (0, 180, 90, 270, 135, 315, 45, 225, 158, 338, 22, 202, 112, 292, 68, 248)


@dataclass(frozen=True)
class _Dot:
    """A network in the picture: its MACs per image, top-1 in percent, and area in square points."""

    name: str
    macs: float
    percent: float
    area: float
    is_on_front: bool

    @property
    def radius(self) -> float:
        """In points."""
        return math.sqrt(self.area / math.pi)


def draw_comparison(result: ComparisonResult, suffix: str) -> bytes:
    """Return a picture of top-1 accuracy against MACs, a panel for each dataset.

    The area of a dot grows with the parameters. Networks without a top-1 are named below.

    Args:
        result: at least one of its networks has a top-1.
        suffix: the kind of picture, one of `PICTURE_SUFFIXES`.
    """
    shown = [one for one in result.models if one.top1 is not None and one.totals.macs]
    most = max(one.totals.params for one in shown)
    by_dataset: dict[str | None, list[_Dot]] = {}
    for one in shown:
        assert one.top1 is not None
        area = _LARGEST_AREA * one.totals.params / most
        macs = one.totals.macs / result.batch_size
        dot = _Dot(shortened(one.name, _MAX_NAME), macs, 100 * one.top1, area, bool(one.pareto))
        by_dataset.setdefault(one.dataset, []).append(dot)
    with house_style():
        scale = _MANY_SCALE if max(map(len, by_dataset.values())) > _MANY else 1
        size = (round(scale * _WIDTH), round(scale * _HEIGHT) * len(by_dataset))
        figure = new_figure(*size)
        figure.set_layout_engine("constrained")
        panels = list(figure.subplots(len(by_dataset), squeeze=False)[:, 0])
        for panel, (dataset, dots) in zip(panels, by_dataset.items(), strict=True):
            _draw_dots(panel, dots)
            label_axes(panel, "", "", visible(f"top-1 on {dataset}, %"))
        panels[-1].set_xlabel("MACs per image", fontsize=AXIS_SIZE, color=FAINT)
        _draw_legend(figure, most)
        rest = [one.name for one in result.models if one not in shown]
        if rest:
            text = f"without a published top-1 here: {', '.join(rest)}"
            text = textwrap.fill(visible(text), 120, break_on_hyphens=False)
            figure.supxlabel(text, fontsize=_NAME_SIZE, color=GREY)
        figure.draw_without_rendering()  # from here on all positions are known
        figure.set_layout_engine("none")
        for panel, dots in zip(panels, by_dataset.values(), strict=True):
            _write_names(panel, dots)
        return as_file(figure, suffix)


def _draw_dots(panel: "Axes", dots: Sequence[_Dot]) -> None:
    """Draw the dots, the Pareto front, and the axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    front = _front(dots)
    xs, ys = [one.macs for one in front], [one.percent for one in front]
    panel.step(xs, ys, where="post", color=ORANGE, linewidth=1, zorder=1)
    # Large dots lie behind, so that none is hidden.
    for one in sorted(dots, key=lambda one: -one.area):
        color = ORANGE if one.is_on_front else BLUE
        at = (one.macs, one.percent)
        panel.scatter(*at, s=one.area, color=color, alpha=0.3, linewidths=0, zorder=2)
        panel.scatter(*at, s=5, color=color, linewidths=0, zorder=3)
    panel.set_xscale("log")
    panel.margins(x=0.12, y=0.12)
    costs, percents = [one.macs for one in dots], [one.percent for one in dots]
    if max(costs) < 1.5 * min(costs):  # one network, or networks that cost the same
        panel.set_xlim(min(costs) / 3, max(costs) * 3)
    if max(percents) - min(percents) < 1:
        panel.set_ylim(min(percents) - 5, max(percents) + 5)
    panel.set_ylim(top=min(100, panel.get_ylim()[1]))
    decades = math.log10(panel.get_xlim()[1] / panel.get_xlim()[0])
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3.5 else (1,)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value, 4, True)))
    panel.xaxis.set_minor_formatter(NullFormatter())
    draw_grid(panel)


def _front(dots: Sequence[_Dot]) -> list[_Dot]:
    return sorted((one for one in dots if one.is_on_front), key=lambda one: one.macs)


def _draw_legend(figure: "Figure", most: int) -> None:
    """Say above all panels what the line and the areas mean."""
    from matplotlib.lines import Line2D

    power = 10.0 ** math.floor(math.log10(most))
    sizes = [power / 100, power / 10, power]
    handles = [Line2D([], [], color=ORANGE, linewidth=1, label="Pareto front")]
    handles += [
        Line2D(
            [], [], marker="o", linestyle="", color=GREY, alpha=0.3, markeredgewidth=0,
            markersize=2 * math.sqrt(_LARGEST_AREA * size / most / math.pi),
            label=f"{format_count(size, 4, True)} parameters",
        )
        for size in sizes
        if size >= 1
    ]  # fmt: skip
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        frameon=False,
        fontsize=_NAME_SIZE,
        handlelength=2 * math.sqrt(_LARGEST_AREA / math.pi) / _NAME_SIZE,
        borderpad=1.5,
    )


def _write_names(panel: "Axes", dots: Sequence[_Dot]) -> None:
    """Write every name beside its dot, where it covers no other name, no dot and no line.

    One that finds no place near its dot is further off, with a line to it.
    """
    from matplotlib.transforms import Bbox

    point = panel.figure.dpi / 72  # pixels
    places = {one: panel.transData.transform((one.macs, one.percent)) for one in dots}

    def square(one: _Dot, half: float) -> Bbox:
        x, y = places[one]
        return Bbox.from_extents(x - half, y - half, x + half, y + half)

    taken = [square(one, point * max(2, min(one.radius, 4))) for one in dots]  # their middles
    for (x0, y0), (x1, y1) in pairwise(places[one] for one in _front(dots)):
        taken.append(Bbox.from_extents(x0, y0 - point, x1, y0 + point))
        taken.append(Bbox.from_extents(x1 - point, y0, x1 + point, y1))
    size = _NAME_SIZE if len(dots) <= _MANY else 0.75 * _NAME_SIZE
    for one in sorted(dots, key=lambda one: (not one.is_on_front, -one.percent)):
        name: Any = panel.annotate(
            one.name, (one.macs, one.percent), (0, 0), textcoords="offset pixels", fontsize=size,
            ha="center", va="center", zorder=4,
        )  # fmt: skip
        box = name.get_window_extent()
        gap = point * (one.radius + 1)
        # Where there is no other way, the rim of another dot is written upon.
        rims = [square(other, 0.8 * point * other.radius) for other in dots if other is not one]
        place, is_far = _free_place(
            places[one], gap, box.size, ([*taken, *rims], taken), panel.bbox, point
        )
        taken.append(place.padded(point))
        # All that follows is measured from the dot on.
        near = place.translated(*(-places[one]))
        name.set_position(((near.x0 + near.x1) / 2, (near.y0 + near.y1) / 2))
        if is_far:
            panel.annotate(
                "", (one.macs, one.percent),
                (min(max(0, near.x0), near.x1), min(max(0, near.y0), near.y1)),
                textcoords="offset pixels",
                arrowprops={
                    "arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0
                },
                zorder=3,
            )  # fmt: skip


def _free_place(
    dot: "np.ndarray[Any, Any]",
    gap: float,
    size: "np.ndarray[Any, Any]",
    avoided: tuple[Sequence["Bbox"], Sequence["Bbox"]],
    panel: "Bbox",
    point: float,
) -> tuple["Bbox", bool]:
    """Return where a name goes, and whether it is so far from its dot that it needs a line.

    Args:
        dot: middle of the dot; this and all else in pixels.
        gap: from there to the name.
        size: of the name.
        avoided: what it must not cover near its dot, and further off.
        panel: what it must lie in.
        point: pixels a point.
    """
    from matplotlib.transforms import Bbox

    width, height = size
    first = None
    for boxes, rings in zip(avoided, (8, 100), strict=True):
        for ring, angle in product(range(rings), _ANGLES):
            distance = gap + 3 * point * ring
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            x = dot[0] + cos * (distance + width / 2) - width / 2
            y = dot[1] + sin * (distance + height / 2) - height / 2
            place = Bbox.from_bounds(x, y, width, height)
            if x < panel.x0 or place.x1 > panel.x1 or y < panel.y0 or place.y1 > panel.y1:
                continue
            if not any(place.overlaps(other) for other in boxes):
                return place, ring > 1
            first = place if first is None else first
    assert first is not None, "a panel has room for a name"
    return first, False
