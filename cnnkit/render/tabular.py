"""A table for people: values in rows and columns, with headings and notes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

from cnnkit.render.format import Kind, format_value
from cnnkit.results.base import Result, Value


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: the name of its values in the result.
        title: its heading.
        kind: what its values are; numbers are aligned to the right. A terminal shows a group
            that repeats once, dotted paths as a tree, and a fraction as a bar; a histogram is a
            line of blocks, which LaTeX goes without.
        rank: columns of the highest rank go first where there is no room; 0 stays.
        note: a line below the table, where the column is shown.
    """

    key: str
    title: str
    kind: Kind = "text"
    rank: int = 0
    note: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return self.kind not in ("text", "name", "path", "group", "bar", "histogram")


@dataclass(frozen=True)
class Table:
    """Values in rows and columns, with what a reader needs beside them.

    Attributes:
        name: short name, for an anchor or a label.
        title: heading, may be empty.
        columns: the columns.
        rows: one value per column; None where there is none.
        notes: lines below the table, and below the notes of its columns.
        has_total: the last row is the sum of the others.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    notes: tuple[str, ...] = ()
    has_total: bool = False

    def formatted(self) -> list[list[str]]:
        """Return every row as people read it."""
        return [
            [
                format_value(column.kind, value)
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]

    def all_notes(self, shown: Iterable[Column] | None = None) -> tuple[str, ...]:
        """Return the lines below the table.

        Args:
            shown: the columns that are shown; all by default.
        """
        columns = self.columns if shown is None else shown
        return (*(column.note for column in columns if column.note), *self.notes)


def attribute_rows(
    items: Iterable[object], columns: Iterable[Column]
) -> tuple[tuple[Value, ...], ...]:
    """Return a row for each item: its attributes of the columns' names."""
    keys = [column.key for column in columns]
    return tuple(tuple(getattr(item, key) for key in keys) for item in items)


@singledispatch
def build_tables(result: Result) -> tuple[Table, ...]:
    """Return a result as tables for people, the most important first.

    Each kind of result has a function of its own in `cnnkit.render.tables`, in the file of its
    verb, registered with `@build_tables.register`.

    Raises:
        TypeError: no function is registered for this kind of result.
    """
    raise TypeError(f"no function is registered that builds tables of {type(result).__name__}")
