"""A table of paths and labels: `labels.csv` with a line an image, beside the images."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from cnnkit.registry import did_you_mean

TABLE_SUFFIXES = (".csv", ".tsv")
MAX_BYTES = 2**30
DELIMITERS = (",", ";", "\t")

PATH_NAMES = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "img")
LABEL_NAMES = ("label", "class", "class_name", "category", "target", "species", "diagnosis")
SPLIT_NAMES = ("split", "subset", "set", "partition", "fold")
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip

FORM = "a line is path,label or path,label,split, with a header or without"


@dataclass(frozen=True)
class LabelTable:
    """The images that a table lists.

    Attributes:
        path: of the table.
        files: paths by split and class, in the order of the lines; without a column of splits the
            split is `""`.
        remarks: what should be said of the table.
    """

    path: Path
    files: Mapping[str, Mapping[str, Sequence[str]]]
    remarks: tuple[str, ...] = ()


def is_table(spec: str) -> bool:
    """Return whether a name ends as those of tables do."""
    return spec.lower().endswith(TABLE_SUFFIXES)


def read_table(spec: str) -> LabelTable:
    """Return the images that a table lists; none of them is opened.

    The columns are found by their names (`path` or `file`, `label` or `class`, `split`), or are
    path, label and split in this order where there is no header. Paths are relative to the table.

    Args:
        spec: the path of the table; separated by commas, semicolons or tabs, in UTF-8.

    Raises:
        NotFoundError: there is no such table, or an image that it lists is not there.
        UsageError: a line lacks a path or a label, a file is there twice with two labels, a split
            is unknown, or it is no text in UTF-8.
        UnavailableError: it cannot be read, or is larger than `MAX_BYTES`.
    """
    path = Path(spec).expanduser()
    lines = list(_lines(spec, path))
    if not lines:
        raise UsageError(f"{spec} is empty", FORM)
    columns, has_header = _columns(spec, lines[0][1])
    reader = _Reader(spec, path.parent, columns)
    for number, cells in lines[has_header:]:
        reader.add(number, cells)
    if not reader.labels:
        raise UsageError(f"{spec} lists no images", FORM)
    reader.check_files()
    remarks = []
    if reader.num_repeated:
        remarks.append(f"{spec}: lines that repeat another are left out: {reader.num_repeated:,}")
    return LabelTable(path, reader.files, tuple(remarks))


def _lines(spec: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not empty, and its cells."""
    try:
        if not path.is_file():
            what = "is no file" if os.path.lexists(path) else "is not there"
            raise NotFoundError(f"the table {spec!r} {what}", "check the path")
        if path.stat().st_size > MAX_BYTES:
            raise UnavailableError(
                f"{spec} has {path.stat().st_size:,} bytes, more than the {MAX_BYTES:,} of a table",
                "divide it",
            )
        content = path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"{spec} cannot be read: {(error.strerror or str(error)).lower()}",
            "check its permissions",
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"line {line:,} of {spec} is no text in UTF-8", "save the table as CSV in UTF-8"
        ) from error
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield rows.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(
            f"line {rows.line_num:,} of {spec} is no line of a table: {error}", FORM
        ) from error


@dataclass(frozen=True)
class _Columns:
    """Places of the columns; None for no column of splits."""

    path: int
    label: int
    split: int | None


def _columns(spec: str, first: Sequence[str]) -> tuple[_Columns, bool]:
    """Return where the columns are, and whether the first line is a header."""
    names = [cell.lower() for cell in first]

    def place(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    path, label, split = place(PATH_NAMES), place(LABEL_NAMES), place(SPLIT_NAMES)
    if path is not None and label is not None:
        return _Columns(path, label, split), True
    if path is not None or label is not None:
        lacks, known = ("path", PATH_NAMES) if path is None else ("label", LABEL_NAMES)
        raise UsageError(
            f"the header of {spec} has no column {lacks!r}: {', '.join(first)}",
            f"call it one of {', '.join(known)}",
        )
    if len(first) not in (2, 3):
        raise UsageError(f"line 1 of {spec} has {len(first)} cells and is no header", FORM)
    return _Columns(0, 1, 2 if len(first) == 3 else None), False


@dataclass
class _Reader:
    """Takes one line after another."""

    spec: str
    folder: Path
    columns: _Columns
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    labels: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    num_repeated: int = 0

    def add(self, number: int, cells: Sequence[str]) -> None:
        where = f"line {number:,} of {self.spec}"
        columns = self.columns
        wanted = max(columns.path, columns.label, columns.split or 0)
        if len(cells) <= wanted:
            raise UsageError(f"{where} has {len(cells)} cells, not {wanted + 1}", FORM)
        name, label = cells[columns.path], cells[columns.label]
        if not name or not label:
            raise UsageError(f"{where} has an empty {'path' if not name else 'label'}", FORM)
        split = "" if columns.split is None else _split(where, cells[columns.split])
        if "\0" in name:
            raise UsageError(f"{where} has a path with a zero byte", "mend it")
        path = os.path.normpath(self.folder / name)
        earlier = self.labels.setdefault(path, (number, label, split))
        if earlier[1:] != (label, split):
            what, one, other = (
                ("label", earlier[1], label)
                if earlier[1] != label
                else ("split", earlier[2], split)
            )
            raise UsageError(
                f"{where} gives {name!r} the {what} {other!r}, and line {earlier[0]:,} {one!r}",
                "give each image once",
            )
        if earlier[0] != number:
            self.num_repeated += 1
            return
        self.files.setdefault(split, {}).setdefault(label, []).append(path)

    def check_files(self) -> None:
        missing = [
            (number, path)
            for path, (number, *_) in self.labels.items()
            if not os.path.exists(path)  # noqa: PTH110
        ]
        if missing:
            number, path = missing[0]
            more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
            raise NotFoundError(
                f"line {number:,} of {self.spec}: there is no file {path!r}{more}",
                "paths are relative to the table",
            )


def _split(where: str, text: str) -> str:
    split = SPLITS.get(text.lower())
    if split is None:
        raise UsageError(
            f"{where} has an unknown split {text!r}",
            did_you_mean(text, SPLITS) or "use train, val or test",
        )
    return split
