"""The structure view against the printed tables, cell by cell."""

import csv
import io
from importlib.resources import files
from pathlib import Path

import pytest
from torch import nn

from cnnkit.architecture.lecture_tables import read_errata, read_printed_table
from cnnkit.render import Format, ShownSummary, SummaryView, build_tables, export
from tests.architecture.looking import look

PRINTED = {
    "alexnet_2012": "alexnet_structure.csv",
    "vgg16": "vgg16_structure.csv",
    "resnet18_table": "resnet18_structure.csv",
}
# Row from 0 and column of what is printed wrong; the README of the published figures says why.
ERRATA = {
    "alexnet_2012": {},
    "vgg16": {(5, "params"): ("65664", "0"), (21, "params"): ("138423208", "138357544")},
    "resnet18_table": {},
}
SHARED = Path(__file__).parents[3] / "shared" / "published"

by_network = pytest.mark.parametrize("name", PRINTED)


def printed_file(name: str) -> str:
    return (files("cnnkit.architecture") / "published" / f"{name}_structure.csv").read_text("utf-8")


def structure(name: str, *shape: int) -> ShownSummary:
    return SummaryView(view="structure").of(look(name, *shape))


def exported_rows(result: ShownSummary) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export(result, Format.CSV))))


@by_network
def test_every_cell_is_the_printed_one_but_for_the_errata(name: str) -> None:
    printed = list(csv.DictReader(io.StringIO(printed_file(name))))
    ours = exported_rows(structure(name))
    assert len(ours) == len(printed)
    assert list(ours[0]) == list(printed[0])
    different = {
        (number, column): (cell, row[column])
        for number, (row, print_row) in enumerate(zip(ours, printed, strict=True))
        for column, cell in print_row.items()
        if cell not in ("", row[column])
    }
    assert different == ERRATA[name]
    assert set(read_errata(name)) == set(ERRATA[name])


@by_network
def test_the_copies_are_those_of_the_lectures(name: str) -> None:
    path = SHARED / PRINTED[name]
    if not path.exists():
        pytest.skip("the published figures are not beside the project")
    assert printed_file(name) == path.read_text("utf-8")


@by_network
def test_the_note_says_how_many_cells_agree_and_names_the_others(name: str) -> None:
    cells = sum(bool(cell) for row in read_printed_table(name) or [] for cell in row.values())
    (table,) = build_tables(structure(name))
    wrong = len(ERRATA[name])
    if not wrong:
        assert table.notes == (
            f"equal to the table printed in the lectures in all of its {cells} cells",
        )
        return
    assert (
        table.notes[0]
        == f"equal to the table printed in the lectures in {cells - wrong} of {cells} cells"
    )
    assert len(table.notes) == 1 + wrong
    assert "maxpool, params: printed 65,664, here 0: pooling has no parameters" in table.notes
    assert "total, params: printed 138,423,208, here 138,357,544" in table.notes[2]


@by_network
def test_the_total_is_the_sum_of_the_rows(name: str) -> None:
    result = structure(name)
    *rows, total = exported_rows(result)
    assert sum(int(row["params"]) for row in rows) == int(total["params"])
    assert int(total["params"]) == result.summary.totals.params


@pytest.mark.parametrize("options", [{"batch_size": 2}, {"num_classes": 10}])
def test_only_the_network_as_printed_is_compared(options: dict[str, int]) -> None:
    result = look("vgg16", **options)
    remarks = " ".join(result.print_remarks)
    assert "all of its" not in remarks
    if "num_classes" in options:
        assert "here 40,970: reason unknown" in remarks


def test_networks_without_a_printed_table_are_not_compared() -> None:
    assert look("lenet5").print_remarks == ()


def test_layers_before_which_there_is_padding_are_told_with_it() -> None:
    network = nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)),
        nn.Conv2d(3, 4, 3, stride=2),
        nn.ConvTranspose2d(4, 2, (2, 3), stride=2),
        nn.PReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.MaxPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    result = SummaryView(view="structure").of(look(network, 3, 13, 29))
    (table,) = build_tables(result)
    assert [[*row[:3], *row[4:7], row[-1]] for row in table.rows] == [
        [1, "29x13x3", "15x7x4", "2", "1.5", "3x3", 112],
        [2, "15x7x4", "31x14x2", "2", "0", "3x2", 4 * 2 * 6 + 2],
        [None, "31x14x2", "31x14x2", None, None, None, 1],
        [None, "31x14x2", "4x4x2", None, None, None, 0],
        [3, "1x1x32", "1x1x5", None, None, "1x1", 165],
        [None, None, None, None, None, None, 112 + 50 + 1 + 165],
    ]


def test_every_network_of_the_zoo_has_a_structure_that_adds_up() -> None:
    for name in ("lenet5", "resnet20", "googlenet", "vit_b_32", "swin_t", "mobilenet_v3_small"):
        result = structure(name)
        *rows, total = exported_rows(result)
        assert sum(int(row["params"]) for row in rows) == int(total["params"])
        assert int(total["params"]) == result.summary.totals.params
