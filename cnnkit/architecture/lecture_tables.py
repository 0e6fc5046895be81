"""The printed tables of lectures, compared with the computed counts."""

import csv
import tomllib
from importlib.resources import files

from cnnkit.results.structure import structure_records
from cnnkit.results.summary import SummaryResult

_FOLDER = files("cnnkit.architecture") / "published"


def read_printed_table(model: str) -> list[dict[str, str]] | None:
    """Return the rows of a printed structure table by column; None where there is none.

    Sizes are width, height, channels; a cell that is empty in print is empty.
    """
    path = _FOLDER / f"{model}_structure.csv"
    if not path.is_file():
        return None
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def read_errata(model: str) -> dict[tuple[int, str], str]:
    """Return the errors in a printed table, by row from 0 and column."""
    errata = tomllib.loads((_FOLDER / "errata.toml").read_text("utf-8"))
    return {(one["row"], one["column"]): one["why"] for one in errata.get(model, [])}


def compare_with_print(summary: SummaryResult) -> tuple[str, ...]:
    """Return how a network's structure compares with its printed table; nothing without one.

    Cells that are empty in print say nothing and are not compared.
    """
    printed = read_printed_table(summary.model)
    if printed is None or summary.batch_size != 1:
        return ()
    errata = read_errata(summary.model)
    table = structure_records(summary.layers)
    ours = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    if len(ours) != len(printed):
        rows = len(printed) - 1
        return (f"not the network of the table printed in the lectures, which has {rows} rows",)
    compared = wrong = 0
    differences = []
    for number, (row, print_row) in enumerate(zip(ours, printed, strict=True)):
        for column, cell in print_row.items():
            if not cell:
                continue
            compared += 1
            value = row[column]
            if str("" if value is None else value) == cell:
                continue
            wrong += 1
            why = errata.get((number, column), "reason unknown")
            differences.append(
                f"{print_row['layer']}, {column}: printed {_readable(cell)}, here "
                f"{_readable(value)}: {why}"
            )
    equal = "equal to the table printed in the lectures in"
    if not wrong:
        return (f"{equal} all of its {compared} cells",)
    return (f"{equal} {compared - wrong} of {compared} cells", *differences)


def _readable(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return f"{int(text):,}" if text.isdecimal() else text
