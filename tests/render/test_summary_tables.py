"""Printed summaries, added up again from their text."""

import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from cnnkit.errors import UsageError
from cnnkit.render import SummaryView
from cnnkit.render.tables.summary import window_text
from cnnkit.results.summary import SummaryResult
from tests.architecture.looking import look
from tests.render.test_terminal import rendered
from tests.results.summary_examples import COMPLETE, SUMMARY
from tests.results.test_layer_tree import layer

UNITS = {"": 1, "B": 1, "k": 10**3, "M": 10**6, "G": 10**9, "KiB": 2**10, "MiB": 2**20}
FIGURES = {
    "params": "params",
    "trained": "trainable_params",
    "MACs": "macs",
    "FLOPs": "flops",
    "other FLOPs": "other_flops",
    "activation": "activation_bytes",
}
CELL = r"[\d.,]+(?: (?:k|M|G|B|KiB|MiB))?$"
ALL_FIGURES = SummaryView(columns=("params", "macs", "flops", "activation"))


def printed_columns(text: str) -> dict[str, list[str]]:
    """Return the cells of the layer table below each title of a figure; titles end as cells do."""
    lines = text.splitlines()
    heading = lines[1]
    end = next(number for number, line in enumerate(lines) if line.startswith("total "))
    body = [line for line in lines[3 : end + 1] if line]
    found = {}
    for title in re.finditer(r"\S+(?: \S+)*", heading):
        if title[0] in FIGURES:
            cells = [re.search(CELL, line[: title.end()].ljust(title.end())) for line in body]
            found[title[0]] = [cell[0] if cell else "" for cell in cells]
    return found


def read(cell: str) -> tuple[Decimal, Decimal]:
    """Return a printed figure, and by how much it may have been rounded."""
    number, _, unit = cell.partition(" ")
    digits = Decimal(number or "0")
    places = digits.as_tuple().exponent
    assert isinstance(places, int)
    half = Decimal(5).scaleb(places - 1) if unit not in ("", "B") else Decimal(0)
    return digits * UNITS[unit], half * UNITS[unit]


def add_up(text: str, result: SummaryResult) -> set[str]:
    """Check every column of figures against its total, and that against the exact one."""
    columns = printed_columns(text)
    for title, cells in columns.items():
        *rows, (total, slack) = map(read, cells)
        room = sum(half for _, half in rows) + slack
        assert abs(sum(value for value, _ in rows) - total) <= room, title
        assert abs(total - getattr(result.totals, FIGURES[title])) <= slack, title
        assert any(value for value, _ in rows), title
    return set(columns)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("result", [SUMMARY, COMPLETE], ids=["summary", "complete"])
def test_printed_columns_add_up_to_their_totals(result: SummaryResult, width: int) -> None:
    found = add_up(rendered(result, width), result)
    assert found >= {"params", "MACs"} | ({"activation"} if width > 80 else set())
    found = add_up(rendered(ALL_FIGURES.of(result), width), result)
    assert found == {"params", "MACs", "FLOPs", "activation"}
    rest = SummaryView(columns=("trainable", "other", "params"))
    assert add_up(rendered(rest.of(result), width), result) == {
        "trained", "other FLOPs", "params"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["resnet50", "vit_b_32", "alexnet_2012"])
def test_tables_of_networks_add_up_however_they_are_shown(name: str) -> None:
    result = look(name)
    for fold in (True, False):
        for depth in (1, 2, 99):
            view = SummaryView(fold=fold, depth=depth, columns=ALL_FIGURES.columns)
            text = rendered(view.of(result), 120)
            assert add_up(text, result) == {"params", "MACs", "FLOPs", "activation"}
        for width in (80, 120):
            text = rendered(SummaryView(fold=fold).of(result), width)
            assert "params" in add_up(text, result)


def test_wider_terminals_show_more_columns() -> None:
    headings = [rendered(SUMMARY, width).splitlines()[1] for width in (60, 80, 120, 200)]
    titles = [set(re.split(r"\s{2,}", heading)) for heading in headings]
    assert all(narrow <= wide for narrow, wide in pairwise(titles))
    assert {"layer", "type", "output", "params", "MACs"} <= titles[0]
    assert titles[3] >= {
        "runs", "input", "kernel", "trained", "activation", "field", "jump", "share of MACs"
    }  # fmt: skip


def test_shares_add_up_to_all() -> None:
    view = SummaryView(columns=("share",))
    text = rendered(view.of(look("resnet18")), 80)
    shares = [Decimal(one) for one in re.findall(r"([\d.]+) %", text)]
    assert shares[-1] == 100
    assert abs(sum(shares[:-1]) - 100) <= Decimal("0.005") * len(shares)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, None),
        ({"padding": (1, 1)}, "p1"),
        ({"padding": (0.5, 1.5)}, "p0.5x1.5"),
        ({"kernel_size": (3, 3)}, "3x3"),
        (
            {
                "kernel_size": (3, 5),
                "stride": (2, 2),
                "padding": (1, 2),
                "dilation": (1, 1),
                "groups": 32,
            },
            "3x5 /2 p1x2 g32",
        ),
        (
            {"kernel_size": (7,), "stride": (1,), "padding": (0,), "dilation": (4,), "groups": 1},
            "7 d4",
        ),
    ],
)
def test_windows_in_short(values: dict[str, object], text: str | None) -> None:
    assert window_text(layer("x", **values)) == text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "depth is 0; it is 1 or more"),
        ({"top": -1}, "top is -1; it is 1 or more"),
        ({"view": "flat"}, "view: there is no 'flat'; there are tree, structure"),
        ({"sort": "size"}, "sort: there is no 'size'; there are params, macs, activation"),
        ({"columns": ("params", "x")}, "columns: there is no 'x'; there are type, count, "),
        ({"view": "structure", "depth": 2}, "depth and view structure contradict each other"),
        ({"sort": "macs", "fold": True}, "fold and sort contradict each other"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        SummaryView(**settings)
    assert str(error.value).startswith(message)


def test_a_view_selects_the_rows_of_the_csv_file_and_the_json_has_all() -> None:
    shown = SummaryView(sort="params", top=2).of(SUMMARY)
    params = [row.params for row in SUMMARY.layers]
    assert list(shown.to_pandas()["params"]) == sorted(params, reverse=True)[:2]
    assert list(SUMMARY.to_pandas()["params"]) == params
    assert shown.to_dict() == SUMMARY.to_dict()
    assert len(SUMMARY.to_dict()["layers"]) == len(params)
