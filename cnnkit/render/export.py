"""Results as text for other programs: json, csv, markdown, latex, html."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cnnkit.render.format import Kind
from cnnkit.render.safe_text import (
    LATEX_DEFINITION,
    LATEX_OTHER_SCRIPT,
    csv_text,
    html_text,
    latex_text,
    markdown_line,
    markdown_text,
    visible,
)
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results import Records, Result

if TYPE_CHECKING:
    import pandas as pd


class Format(StrEnum):
    """What a result can be written as."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"


def export(result: Result, form: Format) -> str:
    """Return a result as text that ends with a newline.

    JSON holds all of it, exact and in ASCII. CSV holds one table, with exact numbers. Markdown,
    LaTeX (booktabs) and HTML hold every table as people read it. Text is what it was in JSON, and
    made safe in the others: see `cnnkit.render.safe_text`.

    Raises:
        ValueError: for `Format.TABLE`, which needs a console.
    """
    match form:
        case Format.JSON:
            return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"
        case Format.CSV:
            return _exact_frame(result.records()).to_csv(index=False, lineterminator="\n")
        case Format.MARKDOWN:
            return "\n".join(_markdown(table) for table in build_tables(result))
        case Format.LATEX:
            text = "\n".join(_latex(table) for table in build_tables(result))
            return f"{LATEX_DEFINITION}\n{text}" if LATEX_OTHER_SCRIPT in text else text
        case Format.HTML:
            return "\n".join(_html(table) for table in build_tables(result))
    raise ValueError(f"{form} is for a console")


def _exact_frame(records: Records) -> "pd.DataFrame":
    import pandas as pd

    rows = [
        [csv_text(value) if isinstance(value, str) else value for value in row]
        for row in records.rows
    ]
    # Columns of objects keep integers integers where a value is missing.
    return pd.DataFrame(rows, columns=[csv_text(name) for name in records.columns], dtype=object)


def _formatted_frame(table: Table, safe: Callable[[str], str]) -> "pd.DataFrame":
    """Return a table as people read it, with each text as `safe` returns it."""
    import pandas as pd

    titles = pd.Index([safe(column.title) for column in table.columns])
    rows = [[safe(text) for text in row] for row in table.formatted()]
    return pd.DataFrame(rows, columns=titles, dtype=object)


def _markdown(table: Table) -> str:
    frame = _formatted_frame(table, markdown_text)
    aligned = tuple("right" if column.is_number else "left" for column in table.columns)
    text = frame.to_markdown(index=False, colalign=aligned, disable_numparse=True)
    title = f"**{markdown_text(table.title).strip()}**\n\n" if table.title else ""
    notes = "".join(f"\n{markdown_line(note)}  " for note in table.all_notes())
    return f"{title}{text}\n{notes}".rstrip() + "\n"


def _without(table: Table, kind: Kind) -> Table:
    """Return a table without the columns of a kind."""
    shown = [index for index, column in enumerate(table.columns) if column.kind != kind]
    return replace(
        table,
        columns=tuple(table.columns[index] for index in shown),
        rows=tuple(tuple(row[index] for index in shown) for row in table.rows),
    )


def _latex(table: Table) -> str:
    table = _without(table, "histogram")  # LaTeX's fonts have no blocks
    text: str = (
        _formatted_frame(table, latex_text)
        .style.hide(axis="index")
        .to_latex(
            column_format="".join("r" if column.is_number else "l" for column in table.columns),
            hrules=True,
        )
    )
    return text + "".join(f"% {visible(note)}\n" for note in table.all_notes())


def _html(table: Table) -> str:
    def cell(tag: str, column: Column, text: str) -> str:
        align = "right" if column.is_number else "left"
        return f'<{tag} style="text-align: {align}">{html_text(text)}</{tag}>'

    def line(tag: str, texts: Sequence[str]) -> str:
        cells = (cell(tag, c, text) for c, text in zip(table.columns, texts, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    caption = f"<caption>{html_text(table.title)}</caption>\n" if table.title else ""
    body = "\n".join(line("td", row) for row in table.formatted())
    notes = "".join(f"\n<p>{html_text(note)}</p>" for note in table.all_notes())
    return (
        f'<table id="{html_text(table.name)}">\n{caption}'
        f"<thead>\n{line('th', [c.title for c in table.columns])}\n</thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>{notes}\n"
    )
