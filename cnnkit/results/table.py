"""A table of exact values, and how a value of each kind is written for people."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "text",
    "name",
    "path",
    "group",
    "right",
    "integer",
    "count",
    "number",
    "bytes",
    "fraction",
    "bar",
    "decimal",
    "histogram",
    "loss",
    "rate",
    "learning_rate",
    "seconds",
]
Value = str | int | float | bool | None

ABSENT = "-"  # what stands where there is no value


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        key: its name in exports, that of the JSON field.
        title: its heading for people.
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
    """Exact values in rows and columns, with what a reader needs beside them.

    Attributes:
        name: short name, for an anchor or a label.
        title: heading, may be empty.
        columns: the columns.
        rows: a value a column; None where there is none.
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


def format_value(kind: Kind, value: Value) -> str:
    """Return a value as people read it; the exact one stands in the JSON.

    Raises:
        TypeError: a number was expected.
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return str(value)
    match kind:
        case "count":
            return format_count(value)
        case "number":
            return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        case "bytes":
            return format_bytes(value)
        case "fraction" | "bar":
            return f"{100 * value:.2f} %"
        case "loss":
            return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.2e}"
        case "decimal":
            return f"{value:.4f}"
        case "rate":
            return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        case "learning_rate":
            return f"{value:.3g}"
        case "seconds":
            return format_seconds(value)
        case _:
            return f"{value:,}"


def format_count(value: float) -> str:
    """Return a count in at most four digits: `138.4 M`, `61.71 k`, `842`."""
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.99995:
            return f"{value / size:#.4g}".rstrip(".") + f" {sign}"
    return f"{value:.4g}"


def format_bytes(value: float) -> str:
    """Return a number of bytes in units of 1,024: `527.8 MiB`, `842 B`."""
    for size, sign in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= size * 0.99995:
            return f"{value / size:#.4g}".rstrip(".") + f" {sign}"
    return f"{value:.4g} B"


def format_seconds(value: float) -> str:
    """Return a time: `3.2 s`, `1 min 12 s`, `2 h 05 min`."""
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
