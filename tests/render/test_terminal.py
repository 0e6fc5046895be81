"""Golden tables at 80 and 120 columns; `pytest --golden` writes them anew, to be looked at."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit.render import build_tables, print_result, terminal_console
from cnnkit.results import Records, Result
from cnnkit.results.inspection import Duplicates
from tests.results.examples import ALL, EVALUATED, MEASURED

GOLDEN = Path(__file__).parent / "golden"


def rendered(result: Result, width: int, color: bool = False) -> str:
    stream = io.StringIO()
    print_result(terminal_console(stream, color, width), result)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ALL)
def test_golden_tables(name: str, width: int, request: pytest.FixtureRequest) -> None:
    text = rendered(ALL[name], width)
    path = GOLDEN / f"{name}-{width}.txt"
    if request.config.getoption("--golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ALL)
def test_no_table_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert max(map(len, rendered(ALL[name], width).splitlines())) <= width


def test_data_is_no_markup() -> None:
    assert "[bold]cat|dog" in rendered(EVALUATED, 80)


def test_without_colour_there_is_no_escape_and_with_it_there_is() -> None:
    assert "\x1b" not in rendered(EVALUATED, 80, color=False)
    assert "\x1b[1m" in rendered(EVALUATED, 80, color=True)


def test_narrow_terminals_drop_the_least_important_columns() -> None:
    wide, narrow = rendered(ALL["models"], 120), rendered(ALL["models"], 60)
    assert "family" in wide
    assert "family" not in narrow
    assert re.search(r"vgg16 .*138\.4 M", narrow)


def test_a_note_on_a_column_goes_with_it() -> None:
    wide, narrow = rendered(ALL["compare_sets"], 120), rendered(ALL["compare_sets"], 80)
    assert "top-1/GMAC: percent" in wide
    assert "top-1/GMAC" not in narrow
    assert "Pareto: no other" in narrow


def test_a_table_without_rows_is_its_title_and_notes() -> None:
    nothing = Duplicates(num_images=2, num_plain=0, radius=8, groups=())
    measured = replace(MEASURED, duplicates=nothing)
    (found,) = (table for table in build_tables(measured) if table.name == "duplicates")
    lines = rendered(measured, 120).splitlines()
    start = lines.index("duplicates")
    assert lines[start : start + 3] == ["duplicates", *found.notes, ""]


def test_a_result_that_nobody_shows_says_so() -> None:
    class Unknown(Result):
        def records(self) -> Records:
            return Records((), ())

    with pytest.raises(TypeError, match="builds tables of Unknown"):
        rendered(Unknown(), 80)
