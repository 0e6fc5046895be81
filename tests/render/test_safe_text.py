"""Text from data is text in every output: strict readers of each find what was written."""

import csv
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from cnnkit.events import Note, TaskAdvanced, TaskEnded, TaskStarted, Warned
from cnnkit.render import (
    Column,
    Format,
    ProgressRenderer,
    Table,
    build_tables,
    export,
    plain_text,
    progress_bars,
    terminal_console,
    visible,
)
from cnnkit.render.plots.confusion_matrix import confusion_picture
from cnnkit.render.plots.curves import training_curves
from cnnkit.render.plots.overview import overview_picture
from cnnkit.render.plots.sample_grid import labelled_grid, missing_glyphs, samples_picture
from cnnkit.render.plots.throughput import draw_throughput
from cnnkit.render.plots.tradeoff import draw_comparison
from cnnkit.results import Records, Result
from cnnkit.results.show import Picture
from tests.hostile import NAMES, TEXTS, commands_in
from tests.results.bench_examples import BENCHED
from tests.results.examples import COMPARED, SHOWN, TRAINED, compared_model

ALL = (*NAMES, *TEXTS, "", "\udcff\ud800")

# Letters of any script, and often a sign that means something somewhere.
texts = st.text(
    st.one_of(
        st.sampled_from("\\|`<>&[](){}*_#$%^~-+=@'\"!?,:./ \t\n\r\x1b\x9b\u202e\u200b\u200d\udcff"),
        st.characters(),
        st.characters(categories=("Cc", "Cf", "Zl", "Zp")),
    ),
    max_size=30,
)


@dataclass(frozen=True)
class Named(Result):
    """A result with text from data wherever a table has text."""

    schema: ClassVar[str] = "cnnkit.test/1"

    names: tuple[str, ...]

    def records(self) -> Records:
        rows = tuple((name, -index, name) for index, name in enumerate(self.names))
        return Records(("name", "x", "y"), rows)


@build_tables.register
def named_tables(named: Named) -> tuple[Table, ...]:
    columns = (
        Column("name", named.names[0] or "t", "name"),
        Column("x", "x", "integer"),
        Column("y", "y"),
    )
    return (Table("t", named.names[0], columns, named.records().rows, named.names),)


def tried(function: Callable[[str], None]) -> Callable[[], None]:
    """Give a test every hostile text, and many made up."""
    for text in ALL:
        function = example(text)(function)
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=150,
        suppress_health_check=[HealthCheck.too_slow],
    )(given(texts)(function))


@tried
def test_what_is_shown_commands_nothing_and_can_be_written(text: str) -> None:
    shown = visible(text)
    assert not commands_in(shown)
    assert "\n" not in shown
    shown.encode()
    assert visible(shown) == shown
    if not commands_in(text) and "\n" not in text and shown != text:
        # what Unicode counts among letters and marks, but nobody sees
        assert set(text) & set(
            "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufff0\ufffe\uffff"
        ) or any("\ufff0" <= sign <= "\ufff8" or sign >= "\U000e0000" for sign in text)


@pytest.mark.parametrize("text", TEXTS)
def test_names_of_all_scripts_stay_as_they_are(text: str) -> None:
    assert visible(text) == text


def test_escapes_are_those_of_python() -> None:
    assert visible("\x1b\n\t\r\x9b\u202e\U000e0041") == r"\x1b\n\t\r\x9b\u202e\U000e0041"
    assert visible("caf\udce9.png") == r"caf\xe9.png"  # the byte that the name has on disk
    assert visible("a\n\tb\r\x1b", kept="\n\t") == "a\n\tb" + r"\r\x1b"


@tried
def test_json_is_exact_and_ascii(text: str) -> None:
    written = export(Named((text,)), Format.JSON)
    assert written.isascii()
    assert not commands_in(written)
    assert json.loads(written)["names"] == [text]


@tried
def test_csv_holds_no_formula_and_reads_back(text: str) -> None:
    written = export(Named((text,)), Format.CSV)
    assert not commands_in(written)
    header, row = csv.reader(io.StringIO(written, newline=""))
    assert header == ["name", "x", "y"]
    for cell in re.split("[;\n]", row[0]):  # a spreadsheet may take these for ends of cells
        assert not re.match(r"\s*[-+=@\uff1d\uff0b\uff0d\uff20]", cell)
    # Whoever knows the rule has the text again.
    restored = re.sub(r"(^|[;\n])'((?:[^\S\n]|')*[-+=@\uff1d\uff0b\uff0d\uff20])", r"\1\2", row[0])
    assert restored == visible(text, kept="\n")


def test_csv_leaves_numbers_alone() -> None:
    lines = export(Named(("a", "-1", "b; =1")), Format.CSV).splitlines()
    assert lines == ["name,x,y", "a,0,a", "'-1,-1,'-1", "b;' =1,-2,b;' =1"]


def read_markdown(text: str) -> tuple[list[list[str]], list[str]]:
    """Return the rows of the tables, and the lines around them; anything but text is a failure."""
    rows: list[list[str]] = []
    around: list[str] = []
    in_cell = False
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        match token.type:
            case "tr_open":
                rows.append([])
            case "th_open" | "td_open":
                in_cell = True
            case "th_close" | "td_close":
                in_cell = False
            case "inline":
                parts = token.children or []
                kinds = {part.type for part in parts}
                if in_cell:
                    assert kinds <= {"text", "text_special"}, kinds
                    rows[-1].append("".join(part.content for part in parts))
                else:
                    assert kinds <= {
                        "text",
                        "text_special",
                        "strong_open",
                        "strong_close",
                        "hardbreak",
                        "softbreak",
                    }
                    lines = "".join(
                        "\n" if part.type.endswith("break") else part.content for part in parts
                    )
                    around += lines.split("\n")
            case kind:
                assert re.match(r"(table|thead|tbody|tr|paragraph)_(open|close)", kind), kind
    return rows, around


@tried
def test_markdown_shows_the_text(text: str) -> None:
    written = export(Named((text, "b")), Format.MARKDOWN)
    assert not commands_in(written)
    (header, first, second), around = read_markdown(written)
    shown = visible(text).strip()
    assert header == [shown or "t", "x", "y"]
    assert first == [shown, "0", shown]
    assert second == ["b", "-1", "b"]
    assert [line.strip() for line in around] == [line for line in (shown, shown, "b") if line]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attributes} <= {"id", "style"}
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


@tried
def test_html_shows_the_text(text: str) -> None:
    written = export(Named((text,)), Format.HTML)
    assert not commands_in(written)
    reader = _Reader()
    reader.feed(written)
    assert reader.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    shown = visible(text)
    found = [one for one in reader.texts if one.strip("\n")]
    title = [shown] if shown.strip("\n") else []
    assert found == [*title, shown or "t", "x", "y", *title, "0", *title, *title]
    assert Named((text,))._repr_html_() == written


LATEX = {
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~",
    r"\textless{}": "<", r"\textgreater{}": ">", r"\textbar{}": "|",
    **{f"\\{sign}": sign for sign in "{}$&#%_"}, "{[}": "[", "{*}": "*", "{}": "",
}  # fmt: skip
LATEX_PART = re.compile(
    "|".join(map(re.escape, LATEX)) + r"|\\otherscript\{([^{}]+)\}\{[U+0-9A-F ]+\}|(.)"
)


def read_latex(text: str) -> str:
    """Return what LaTeX prints for a cell; a special sign that stands for itself is a failure."""
    assert not re.search(r"--|``|''|,,|[?!]`", text)

    def read(found: re.Match[str]) -> str:
        if found[1] or found[2]:
            assert not set(found[1] or found[2]) & set("\\{}$&#%^_~<>|[*")
            return found[1] or found[2]
        return LATEX[found[0]]

    return LATEX_PART.sub(read, text)


@tried
def test_latex_prints_the_text_and_comments_stay_comments(text: str) -> None:
    written = export(Named((text, "b")), Format.LATEX)
    assert not commands_in(written)
    lines = [line for line in written.splitlines() if not line.startswith(r"\ifdefined\Umathchar")]
    *table, first_note, second_note = lines
    shown = visible(text)
    assert first_note == f"% {shown}"
    assert second_note == "% b"
    assert [line for line in table if line.startswith("\\") and "&" not in line] == [
        r"\begin{tabular}{lrl}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"
    ]  # fmt: skip
    _, _, header, _, first, second, _, _ = table
    for line, cells in (
        (header, [shown or "t", "x", "y"]), (first, [shown, "0", shown]), (second, ["b", "-1", "b"])
    ):  # fmt: skip
        assert line.endswith(r" \\")
        assert [read_latex(cell) for cell in re.split(r"(?<!\\) & ", line[:-3])] == cells


@pytest.mark.parametrize("compiler", ["pdflatex", "lualatex"])
def test_latex_of_any_name_compiles(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    text = export(Named(ALL), Format.LATEX)
    document = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{text}\end{{document}}"
    )
    (tmp_path / "x.tex").write_text(document)
    done = subprocess.run(
        [compiler, "-halt-on-error", "-interaction=nonstopmode", "x.tex"],
        cwd=tmp_path, check=False, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@tried
def test_a_terminal_shows_the_text(text: str) -> None:
    lines = plain_text(Named((text, "b"))).splitlines()
    assert not commands_in("\n".join(lines))
    shown = visible(text)
    body = [line.split() for line in lines]
    assert [*shown.split(), "0", *shown.split()] in body
    assert str(Named((text, "b"))) == "\n".join(lines)


def test_columns_stay_under_each_other_beside_wide_letters() -> None:
    from rich.cells import cell_len

    _, rule, *rows, _, _ = plain_text(Named(("日本語", "e\u0301", "ab"))).splitlines()[1:-1]
    assert len({cell_len(row[: row.rindex(row.split()[-1])]) for row in rows}) == 1
    assert cell_len(rule) >= max(map(cell_len, rows))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("stream_class", [io.StringIO, _Terminal])
def test_events_command_nothing(
    text: str, stream_class: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bars, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(progress_bars, "LINE_EVERY_SECONDS", -1.0)
    stream = stream_class()
    renderer = ProgressRenderer(terminal_console(stream, True, 400))
    renderer(Note(text))
    renderer(Warned(text))
    renderer(TaskStarted(text, 10, "images"))
    renderer(TaskAdvanced(text, 5))
    if stream.isatty():
        renderer._bars.refresh()
    renderer(TaskEnded(text))
    renderer.close()
    # What Rich itself writes: colours, and what moves the cursor to draw a bar anew.
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", stream.getvalue())
    assert not commands_in(plain)
    assert " ".join(visible(text).split()) in " ".join(plain.split())


PICTURED = tuple(text for text in ALL if text)


def test_pictures_take_any_name() -> None:
    grey = Picture(4, 4, 1, bytes(16))
    sample = SHOWN.samples[0]
    samples = tuple(replace(sample, label=name, reason=name) for name in PICTURED)
    counts = [[1] * len(PICTURED)] * len(PICTURED)
    several = [(name, index) for index, name in enumerate(PICTURED)]
    pictures = [
        overview_picture("all", [], several, {}),
        samples_picture(replace(SHOWN, samples=samples)),
        labelled_grid([grey] * len(PICTURED), PICTURED),
        confusion_picture(PICTURED, counts),
        overview_picture("some", [("grey", [1] * 256)], several[:25], {(8, 8): 4}),
        overview_picture("others", [], several[25:], {(8, 8): 4}),
    ]
    for name in ("\x1b[31m\n\udcff", "$\\frac{", "n" * 255):
        pictures.append(training_curves(name, TRAINED.epochs, 1))
        pictures.append(overview_picture(name, [], [], {}))
        pictures.append(samples_picture(replace(SHOWN, dataset=name)))
    for content in pictures:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert not image.info.keys() - {"dpi", "Software"}
    assert "\x1b" not in missing_glyphs(PICTURED)


def words_of(svg: bytes) -> str:
    """Return all that is written in a picture, and check that nothing of it is a command."""
    texts = (one for one in ET.fromstring(svg).iter() if one.tag.endswith("text"))
    words = " ".join(" ".join("".join(one.itertext()) for one in texts).split())
    assert not commands_in(words)
    return words


def test_names_in_the_picture_of_a_comparison_are_literal() -> None:
    models = tuple(
        compared_model(name, top1=0.3 + index * 7 % 50 / 100, macs=int(10 ** (6 + index / 10)))
        for index, name in enumerate(PICTURED)
    )
    words = words_of(draw_comparison(replace(COMPARED, models=models), ".svg"))
    for name in PICTURED:
        assert " ".join(visible(name)[:39].split()) in words


@pytest.mark.parametrize("name", ["\x1b[31m\n\udcff", "$\\frac{", "$x^2$", "n" * 255, "日本語"])
def test_names_in_the_picture_of_a_benchmark_are_literal(name: str) -> None:
    cells = tuple(replace(cell, model=name) for cell in BENCHED.cells)
    words = words_of(draw_throughput(replace(BENCHED, cells=cells), ".svg"))
    assert visible(name)[:59] in words
