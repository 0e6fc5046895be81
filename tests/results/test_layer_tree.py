"""Folding and cutting a tree of layers: no figure is lost, and no two different blocks are one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.render.tables.summary import type_text
from cnnkit.results.layer_tree import LayerRow, folded, limited, total_of

FIGURES = (
    *("params", "trainable_params", "macs", "flops", "other_flops", "activation_bytes", "count"),
)


def layer(name: str, **values: object) -> LayerRow:
    """Return a row of which little is known."""
    nothing = dict.fromkeys(LayerRow.__dataclass_fields__)
    figures = dict.fromkeys(FIGURES, 0)
    texts = {"name": name, "type": "Block", "shared": False, "num_folded": 1}
    depth = name.count(".") + 1 if name else 0
    return LayerRow(**(nothing | figures | texts | {"depth": depth} | values))  # type: ignore[arg-type]


def sums(rows: tuple[LayerRow, ...]) -> dict[str, int]:
    return {figure: sum(getattr(row, figure) for row in rows) for figure in FIGURES}


@st.composite
def trees(draw: st.DrawFn) -> tuple[LayerRow, ...]:
    """A tree of few kinds of blocks, so that many are equal."""

    def children(name: str, depth: int) -> list[LayerRow]:
        rows = []
        for number in range(draw(st.integers(0, 4)) if depth < 4 else 0):
            word = draw(st.sampled_from(["", "conv", "relu_"]))
            child = f"{name}.{word}{number}".lstrip(".")
            size = draw(st.integers(0, 2))
            figures = {figure: size * (place + 1) for place, figure in enumerate(FIGURES)}
            trainable = draw(st.sampled_from([None, True, False]))
            field = draw(st.integers(1, 3))
            rows.append(layer(child, trainable=trainable, receptive_field=field, **figures))
            rows += children(child, depth + 1)
        return rows

    return (layer("", params=draw(st.integers(0, 2))), *children("", 1))


@given(trees())
def test_folding_keeps_every_sum(rows: tuple[LayerRow, ...]) -> None:
    assert sums(folded(rows)) == sums(rows)
    assert len(folded(rows)) <= len(rows)
    assert folded(folded(rows)) == folded(rows)


@given(trees(), st.integers(1, 5))
def test_cutting_keeps_every_sum_but_that_of_runs(rows: tuple[LayerRow, ...], depth: int) -> None:
    cut = limited(rows, depth)
    assert sums(cut) | {"count": 0} == sums(rows) | {"count": 0}
    kept = [row for row in rows if row.depth <= depth]
    assert [row.name for row in cut] == [row.name for row in kept]
    assert [row.count for row in cut] == [row.count for row in kept]
    assert sums(folded(cut)) == sums(cut)


@given(trees())
def test_a_total_is_the_sum(rows: tuple[LayerRow, ...]) -> None:
    total = total_of(rows)
    assert {figure: getattr(total, figure) for figure in FIGURES} == sums(rows)
    assert (total.receptive_field, total.trainable, total.input_shape) == (None, None, None)


@given(trees())
def test_rows_stand_for_as_many_blocks_as_were_folded(rows: tuple[LayerRow, ...]) -> None:
    leaves = [row for row in folded(rows) if row.depth == 1]
    assert sum(row.num_folded for row in leaves) == sum(row.depth == 1 for row in rows)


def block(name: str, field: int, macs: int = 10) -> list[LayerRow]:
    return [
        layer(name, receptive_field=field),
        layer(f"{name}.conv", type="Conv2d", params=3, macs=macs, flops=2 * macs, count=1),
        layer(f"{name}.relu", type="ReLU", count=1),
    ]


def test_equal_neighbours_fold_and_tell_what_the_last_sees() -> None:
    rows = (layer(""), *block("a.0", 3), *block("a.1", 5), *block("a.2", 7))
    root, first, conv, relu = folded(rows)
    assert root == rows[0]
    assert (first.name, type_text(first)) == ("a.0-2", "Block x 3")
    assert (first.receptive_field, first.num_folded) == (7, 3)
    assert (conv.name, conv.params, conv.macs, conv.count) == ("a.0-2.conv", 9, 30, 3)
    assert type_text(conv) == "Conv2d"
    assert relu.name == "a.0-2.relu"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Other"},
        {"output_shape": (1, 2)},
        {"macs": 11},
        {"kernel_size": (3, 3)},
        {"trainable": False},
        {"count": 2},
        {"shared": True},
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_blocks_that_differ_do_not_fold(change: dict[str, object], place: int) -> None:
    second = block("a.1", 5)
    second[place] = replace(second[place], **change)  # type: ignore[arg-type]
    rows = (*block("a.0", 3), *second)
    assert folded(rows) == rows


@pytest.mark.parametrize("names", [("0", "2"), ("x", "y"), ("a1", "b2"), ("1", "0"), ("1", "1a")])
def test_names_that_do_not_count_up_do_not_fold(names: tuple[str, str]) -> None:
    rows = (*block(names[0], 3), *block(names[1], 3))
    assert folded(rows) == rows


def test_nested_runs_fold_from_within() -> None:
    rows = tuple(
        row
        for stage in range(2)
        for row in (layer(f"s{stage}"), *block(f"s{stage}.0", 3), *block(f"s{stage}.1", 5))
    )
    assert [(row.name, row.num_folded) for row in folded(rows)] == [
        ("s0-1", 2),
        ("s0-1.0-1", 2),  # in each of the two
        ("s0-1.0-1.conv", 1),
        ("s0-1.0-1.relu", 1),
    ]
    assert [row.params for row in folded(rows)] == [0, 0, 12, 0]


def test_what_is_cut_is_trainable_if_all_of_it_is() -> None:
    rows = (
        layer("a", trainable=None),
        layer("a.x", trainable=True),
        layer("b", trainable=True),
        layer("b.x", trainable=False),
        layer("c"),
        layer("c.x"),
    )
    assert [row.trainable for row in limited(rows, 1)] == [True, False, None]


def test_an_empty_tree() -> None:
    assert folded(()) == limited((), 3) == ()
