import csv
import io
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cnnkit.render import Format, build_tables, export
from cnnkit.results import Result
from tests.results.examples import ALL, EVALUATED, TRAINED


@pytest.mark.parametrize("name", ALL)
def test_json_reads_back_to_the_same(name: str) -> None:
    result: Result = ALL[name]
    assert json.loads(export(result, Format.JSON)) == result.to_dict()


@pytest.mark.parametrize("name", ALL)
def test_csv_reads_back_to_the_same_numbers(name: str) -> None:
    records = ALL[name].records()
    lines = list(csv.reader(io.StringIO(export(ALL[name], Format.CSV))))
    assert lines[0] == list(records.columns)
    assert len(lines) == len(records.rows) + 1
    for line, row in zip(lines[1:], records.rows, strict=True):
        for text, value in zip(line, row, strict=True):
            if value is None:
                assert text == ""
            elif isinstance(value, bool):
                assert text == str(value)
            else:
                assert type(value)(text) == value


def test_csv_keeps_integers_beside_missing_ones() -> None:
    text = export(ALL["datasets"], Format.CSV)
    assert "1281167" in text
    assert "50000," in text
    assert ".0" not in text


@pytest.mark.parametrize("name", ALL)
def test_markdown_has_a_row_a_line_and_escapes_bars(name: str) -> None:
    text = export(ALL[name], Format.MARKDOWN)
    for table in build_tables(ALL[name]):
        widths = {len(table.columns)}
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert rows
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= len(
            build_tables(ALL[name])
        )
        assert widths
    if name == "eval":
        assert "\\[bold\\]cat\\|dog" in text
    if name == "conv_shown":
        assert "floor((5 + 2\\*1 - 3) / 1) + 1 = 5" in text
        assert "60\\*5 + 113\\*(-1)" in text


@pytest.mark.parametrize("name", ALL)
def test_latex_is_a_booktabs_tabular_with_everything_escaped(name: str, tmp_path: Path) -> None:
    text = export(ALL[name], Format.LATEX)
    assert text.count(r"\toprule") == len(build_tables(ALL[name]))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}")
    for line in text.splitlines():
        if not line.startswith("%"):
            assert "%" not in line.replace(r"\%", "")
            assert "_" not in line.replace(r"\_", "")
    compiler = shutil.which("tectonic") or shutil.which("pdflatex")
    if compiler:
        document = (
            r"\documentclass{article}\usepackage{booktabs}\usepackage[utf8]{inputenc}"
            rf"\begin{{document}}{text}\end{{document}}"
        )
        (tmp_path / "x.tex").write_text(document)
        subprocess.run([compiler, "x.tex"], cwd=tmp_path, check=True, capture_output=True)


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self._inside = tag == "td"
        if self._inside:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


@pytest.mark.parametrize("name", ALL)
def test_html_holds_every_cell(name: str) -> None:
    parser = _Cells()
    parser.feed(export(ALL[name], Format.HTML))
    expected = [cell for t in build_tables(ALL[name]) for row in t.formatted() for cell in row]
    assert parser.cells == expected


def test_table_is_no_export() -> None:
    with pytest.raises(ValueError, match="console"):
        export(TRAINED, Format.TABLE)


def test_the_name_of_a_class_is_no_markup() -> None:
    assert "[bold]cat" in export(EVALUATED, Format.HTML)
