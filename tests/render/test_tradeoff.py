"""The picture of a comparison: whole, readable, nothing written upon another."""

import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from PIL import Image

from cnnkit.render.plots.style import PICTURE_SUFFIXES
from cnnkit.render.plots.tradeoff import draw_comparison
from cnnkit.results import ComparisonResult
from tests.results.examples import COMPARED, COMPARED_OWN, COMPARED_SETS, compared_model


def comparison(points: list[tuple[float, int]]) -> ComparisonResult:
    models = tuple(
        compared_model(f"network_{i}", top1=top1, macs=macs, pareto=i % 3 == 0)
        for i, (top1, macs) in enumerate(points)
    )
    return replace(COMPARED, models=models, differences=None, baseline=None)


def drawn(result: ComparisonResult, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """Return the figure that is written."""
    figures: list[Figure] = []
    write = Figure.savefig
    with monkeypatch.context() as patch:
        patch.setattr(
            Figure, "savefig", lambda self, *a, **k: (figures.append(self), write(self, *a, **k))
        )
        draw_comparison(result, ".png")
    return figures[0]


def names_of(figure: Figure) -> list[tuple[str, Bbox, int]]:
    """Return the names that are written, where, and in which panel."""
    return [
        (one.get_text(), one.get_window_extent(), number)
        for number, panel in enumerate(figure.axes)
        for one in panel.texts
        if isinstance(one, Annotation) and one.get_text()
    ]


def test_a_png_can_be_opened() -> None:
    image = Image.open(io.BytesIO(draw_comparison(COMPARED, ".png")))
    image.load()
    assert image.size == (1000, 660)
    assert len(image.convert("RGB").getcolors(10**6)) > 20


def test_an_svg_holds_the_names_as_text_and_a_pdf_is_one() -> None:
    root = ET.fromstring(draw_comparison(COMPARED, ".svg"))
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"resnet50", "wide_resnet101_2", "Pareto front", "MACs per image"} <= texts
    assert "without a published top-1 here: googlenet_plain" in texts
    assert draw_comparison(COMPARED, ".pdf").startswith(b"%PDF-")


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_the_same_comparison_gives_the_same_picture(suffix: str) -> None:
    assert draw_comparison(COMPARED, suffix) == draw_comparison(COMPARED, suffix)


def test_a_dataset_has_a_panel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(COMPARED_SETS, monkeypatch)
    assert [panel.get_ylabel() for panel in figure.axes] == [
        "top-1 on ImageNet-1K, %", "top-1 on CIFAR-10, %"
    ]  # fmt: skip
    assert [(name, panel) for name, _, panel in names_of(figure)] == [
        ("resnet50", 0), ("resnet20", 1)
    ]  # fmt: skip


def test_macs_are_those_of_an_image_and_areas_tell_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = compared_model("small", macs=8 * 10**9, top1=0.5)
    models = (small, replace(small, name="large", totals=replace(small.totals, params=10**8)))
    figure = drawn(replace(COMPARED_OWN, batch_size=8, models=models), monkeypatch)
    # Each network is two dots, one for its parameters and one for its place.
    areas = [dot.get_sizes()[0] for dot in figure.axes[0].collections if dot.get_alpha()]
    assert max(areas) / min(areas) == pytest.approx(10**8 / small.totals.params)
    for dot in figure.axes[0].collections:
        assert dot.get_offsets().tolist() == [[10**9, 50]]


def test_a_dollar_in_a_name_begins_no_formula() -> None:
    own = compared_model("a$b_{$.py:make", macs=10**6, year=None)
    root = ET.fromstring(draw_comparison(replace(COMPARED, models=(*COMPARED.models, own)), ".svg"))
    assert any("a$b_{$.py:make" in (element.text or "") for element in root.iter())


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 0.9), st.integers(10**8, 10**10)), min_size=1, max_size=25)
)
def test_no_name_covers_another_or_a_dot(points: list[tuple[float, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        figure = drawn(comparison(points), patch)
    names = names_of(figure)
    assert sorted(name for name, _, _ in names) == sorted(
        f"network_{i}" for i in range(len(points))
    )
    (panel,) = figure.axes
    for (one, box, _), (other, other_box, _) in combinations(names, 2):
        assert not box.overlaps(other_box), (one, other)
    for (name, box, _), (top1, macs) in product(names, points):
        assert not box.contains(*panel.transData.transform((macs, 100 * top1))), name
        assert panel.bbox.padded(1).containsx(box.x0)
        assert panel.bbox.padded(1).containsx(box.x1)
        assert panel.bbox.padded(1).containsy(box.y0)
        assert panel.bbox.padded(1).containsy(box.y1)
