"""Results as text for other programs: json, csv, markdown, latex, html."""

import json
import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cnnkit.results import Kind, Result, Table

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

    JSON holds all of it, exact. CSV holds one table, exact. Markdown, LaTeX (booktabs) and
    HTML hold every table as people read it.

    Raises:
        ValueError: for `Format.TABLE`, which needs a console.
    """
    match form:
        case Format.JSON:
            return (
                json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            )
        case Format.CSV:
            return _exact_frame(result.exact_table()).to_csv(index=False, lineterminator="\n")
        case Format.MARKDOWN:
            return "\n".join(_markdown(table) for table in result.tables())
        case Format.LATEX:
            return "\n".join(_latex(table) for table in result.tables())
        case Format.HTML:
            return "\n".join(table.to_html() + "\n" for table in result.tables())
    raise ValueError(f"{form} is for a console")


def _exact_frame(table: Table) -> "pd.DataFrame":
    import pandas as pd

    # Columns of objects keep integers integers where a value is missing.
    return pd.DataFrame(list(table.rows), columns=[c.key for c in table.columns], dtype=object)


def _formatted_frame(table: Table) -> "pd.DataFrame":
    import pandas as pd

    titles = pd.Index([column.title for column in table.columns])
    return pd.DataFrame(table.formatted(), columns=titles, dtype=object)


def _markdown(table: Table) -> str:
    # A product such as 2*3 would else begin an emphasis.
    frame = _formatted_frame(table).map(lambda text: text.replace("|", "\\|").replace("*", "\\*"))
    aligned = tuple("right" if column.is_number else "left" for column in table.columns)
    text = frame.to_markdown(index=False, colalign=aligned, disable_numparse=True)
    title = f"**{table.title}**\n\n" if table.title else ""
    notes = "".join(f"\n{note}  ".replace("*", "\\*") for note in table.all_notes())
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
    style = _formatted_frame(table).style.hide(axis="index")
    style = style.format(escape="latex").format_index(escape="latex", axis="columns")
    text: str = style.to_latex(
        column_format="".join("r" if column.is_number else "l" for column in table.columns),
        hrules=True,
    )
    # At the start of a row a bracket would be taken for an argument of the row before it.
    text = re.sub(r"^\[", "{[}", text, flags=re.MULTILINE)
    return text + "".join(f"% {note}\n" for note in table.all_notes())
