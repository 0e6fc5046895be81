"""Results as tables in a terminal, or in a pipe."""

import io
import textwrap
from collections.abc import Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from cnnkit.render.format import ABSENT
from cnnkit.render.preview import print_preview
from cnnkit.render.safe_text import visible
from cnnkit.render.tables.show import sample_notes
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results import Result, SampleList

COLUMN_GAP = 2
BAR_WIDTH = 8  # for 100 %
AS_NEEDED = 100_000  # columns, more than any table has
MIN_TEXT_WIDTH = 24  # required prose is wrapped, but not below this width


class _Console(Console):
    """A console that ignores a closed pipe; Rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def terminal_console(
    stream: TextIO, color: bool | None, width: int | None = None, system: str | None = None
) -> Console:
    """Return a console that writes to a stream.

    Args:
        stream: where it writes.
        color: True and False are obeyed; None colors where the stream is a terminal.
        width: in columns; None for that of the terminal, or 80 where there is none.
        system: the available colors, as `Console.color_system` of another console names
            them; None to find out.
    """
    use_color = stream.isatty() if color is None else color
    # Without a color system Rich writes no escape at all; its `no_color` would still write bold.
    # A pipe that is to be colored gets the colors, but is not treated as a terminal.
    found = "auto" if stream.isatty() else "truecolor"
    return _Console(
        file=stream,
        color_system=(system or found) if use_color else None,  # type: ignore[arg-type]  # a literal of its own
        force_terminal=stream.isatty(),
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def plain_text(
    result: Result,
    width: int = AS_NEEDED,
    color_system: str | None = None,
    without_rows: frozenset[str] = frozenset(),
) -> str:
    """Return what `print_result` prints, without spaces at the ends of lines.

    Args:
        result: what.
        width: in columns; as wide as it needs to be by default.
        color_system: the available colors, as `terminal_console` takes them; None for none.
        without_rows: as in `print_result`.
    """
    buffer = io.StringIO()
    console = terminal_console(buffer, color_system is not None, width, color_system)
    print_result(console, result, without_rows)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def print_result(
    console: Console, result: Result, without_rows: frozenset[str] = frozenset()
) -> None:
    """Print every table of a result, a blank line between two; of samples a preview, if in color.

    Args:
        console: where to.
        result: what.
        without_rows: names of tables of which only the notes are printed.
    """
    if isinstance(result, SampleList) and console.color_system is not None:
        print_preview(console, result)
        for note in sample_notes(result):
            print_prose(console, note)
        return
    for number, table in enumerate(build_tables(result)):
        if number:
            console.print()
        shown = _print_rows(console, table) if table.name not in without_rows else table.columns
        for note in table.all_notes(shown):
            print_prose(console, note)


def print_prose(console: Console, text: str, style: str = "") -> None:
    """Print a line, wrapped only between words, so that paths and commands are not split."""
    for line in textwrap.wrap(
        visible(text), console.width, break_long_words=False, break_on_hyphens=False
    ) or [""]:
        console.print(Text(line, style=style), soft_wrap=True)


def _print_rows(console: Console, table: Table) -> Sequence[Column]:
    """Print a table as wide as it needs to be and the console allows.

    A table without rows is only its title. Where there is no room, complete columns are left out,
    those of the highest rank first, and then prose is wrapped.

    Returns:
        The columns that are shown.
    """
    if table.title:
        console.print(Text(visible(table.title), style="bold"))
    if not table.rows:
        return table.columns
    cells = _drawn(table)
    shown = _fitting_columns(table.columns, cells, console.width)
    rich_table = RichTable(
        box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1, 0, 0)
    )
    for index in shown:
        column = table.columns[index]
        rich_table.add_column(
            Text(visible(column.title)),
            justify="right" if column.is_number else "left",
            no_wrap=column.kind != "text",
            overflow="fold",
        )
    for number, row in enumerate(cells, start=1):
        if table.has_total and number == len(cells):
            rich_table.add_section()
        rich_table.add_row(*(Text(row[index]) for index in shown))
    # Required columns are never cut: a number without its end would be another number.
    needed = _needed_width(table.columns, cells, shown)
    width, console.width = console.width, max(console.width, needed)
    console.print(rich_table)
    console.width = width
    return [table.columns[index] for index in shown]


def _drawn(table: Table) -> list[list[str]]:
    """Return the rows as people read them: groups once, paths as a tree, fractions as bars."""
    rows = table.formatted()
    if any(column.kind == "path" for column in table.columns):  # most of a tree has no numbers
        rows = [["" if text == ABSENT else text for text in row] for row in rows]
    for index, column in enumerate(table.columns):
        texts = [row[index] for row in rows]
        values = [row[index] for row in table.rows]
        match column.kind:
            case "group":
                texts = _without_repeats(texts)
            case "path":
                texts = _as_tree(texts)
            case "bar":
                texts = [
                    _bar(value, text) if isinstance(value, float) else text
                    for value, text in zip(values, texts, strict=True)
                ]
        for row, text in zip(rows, texts, strict=True):
            row[index] = visible(text)
    return rows


def _without_repeats(names: list[str]) -> list[str]:
    """Return names, each only where it first occurs."""
    pairs = zip(names, ["", *names], strict=False)
    return [
        "" if number and name == before else name for number, (name, before) in enumerate(pairs)
    ]


def _as_tree(paths: list[str]) -> list[str]:
    """Return dotted paths, each without what the rows above it have said, and indented for it."""
    drawn, above = [], list[str]()
    for path in paths:
        while above and not path.startswith(f"{above[-1]}."):
            above.pop()
        shown = path.removeprefix(f"{above[-1]}.") if above else path
        drawn.append("  " * len(above) + shown)
        above.append(path)
    return drawn


def _bar(share: float, text: str) -> str:
    """Return a fraction as a bar with its percentage behind."""
    eighths = round(share * BAR_WIDTH * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
    return f"{bar:<{BAR_WIDTH}}{text:>9}"


def _fitting_columns(columns: tuple[Column, ...], cells: list[list[str]], width: int) -> list[int]:
    """Return the indices of the columns that fit; prose that must stay may be wrapped."""
    shown = list(range(len(columns)))
    while _needed_width(columns, cells, shown) > width:
        last_rank = max(columns[index].rank for index in shown)
        if last_rank == 0:
            break
        shown = [index for index in shown if columns[index].rank != last_rank]
    return shown


def _needed_width(columns: tuple[Column, ...], cells: list[list[str]], shown: list[int]) -> int:
    """Return the width that some columns need, prose that must stay being wrapped."""

    def needed(index: int) -> int:
        column = columns[index]
        widest = max([cell_len(visible(column.title)), *(cell_len(row[index]) for row in cells)])
        if column.kind == "text" and column.rank == 0:
            widest = min(widest, max(MIN_TEXT_WIDTH, cell_len(visible(column.title))))
        return widest + COLUMN_GAP

    return sum(map(needed, shown)) - COLUMN_GAP
