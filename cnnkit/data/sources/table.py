"""A table of paths and labels: `labels.csv` with a line an image, beside the images."""

import csv
import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.data.layout import EVALUATION, split_of
from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from cnnkit.registry import did_you_mean

TABLE_SUFFIXES = (".csv", ".tsv")
MAX_BYTES = 2**30
DELIMITERS = (",", ";", "\t")

# Names of columns, whatever their case and punctuation, in the singular or the plural; the first
# that is there counts.
PATH_NAMES = (
    "path", "file", "filename", "filepath", "image", "img", "image path", "img path",
    "image file", "image name", "img name", "image id", "fname", "relative path",
)  # fmt: skip
LABEL_NAMES = (
    "label", "class", "class name", "category", "target", "species", "diagnosis", "breed",
    "label name", "image label", "classes", "categories", "class id", "label id",
)  # fmt: skip
SPLIT_NAMES = ("split", "subset", "set", "partition", "data set")
MOST_NAMED = 6

FORM = "a line is path,label or path,label,split, with or without a header"


@dataclass(frozen=True)
class LabelTable:
    """The images that a table lists.

    Attributes:
        path: of the table.
        files: paths by split and class, in the order of the lines; without a column of splits the
            split is `""`.
        remarks: notes on the table.
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
        NotFoundError: there is no such table, or an image that it lists does not exist.
        UsageError: a line lacks a path or a label, a file is listed twice with two labels, a split
            is unknown, or it is not UTF-8 text.
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
    reader.check_files(has_header)
    reader.name_evaluation_split()
    remarks = []
    if reader.num_repeated:
        remarks.append(f"{spec}: lines that repeat another are left out: {reader.num_repeated:,}")
    return LabelTable(path, reader.files, tuple(remarks))


def _lines(spec: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not empty, and its fields."""
    try:
        if not path.is_file():
            what = "is not a file" if os.path.lexists(path) else "does not exist"
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
            f"line {line:,} of {spec} is not UTF-8 text", "save the table as CSV in UTF-8"
        ) from error
    unquoted = re.sub('"[^"]*"', "", text.partition("\n")[0])
    delimiter = max(DELIMITERS, key=unquoted.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield rows.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(
            f"line {rows.line_num:,} of {spec} is not a line of a table: {error}", FORM
        ) from error


@dataclass(frozen=True)
class _Columns:
    """Places of the columns; None for no column of splits."""

    path: int
    label: int
    split: int | None


def _columns(spec: str, first: Sequence[str]) -> tuple[_Columns, bool]:
    """Return where the columns are, and whether the first line is a header."""
    names = list(map(_plain, first))

    def place(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in map(_plain, known) if name in names), None)

    path, label, split = place(PATH_NAMES), place(LABEL_NAMES), place(SPLIT_NAMES)
    if path is not None and label is not None:
        return _Columns(path, label, split), True
    if path is not None or label is not None:
        lacks, known = ("path", PATH_NAMES) if path is None else ("label", LABEL_NAMES)
        raise UsageError(
            f"the header of {spec} has no column {lacks!r}: {', '.join(first)}",
            f"name it one of {', '.join(known[:MOST_NAMED])}",
        )
    if len(first) not in (2, 3):
        raise UsageError(f"line 1 of {spec} has {len(first)} fields and is not a header", FORM)
    return _Columns(0, 1, 2 if len(first) == 3 else None), False


def _plain(name: str) -> str:
    """Return the name of a column without case, punctuation and the ending of a plural."""
    return re.sub("[^a-z]", "", name.lower()).removesuffix("s")


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
            raise UsageError(f"{where} has {len(cells)} fields, not {wanted + 1}", FORM)
        name = cells[columns.path]
        label = unicodedata.normalize("NFC", cells[columns.label])
        if not name or not label:
            raise UsageError(f"{where} has an empty {'path' if not name else 'label'}", FORM)
        split = "" if columns.split is None else _split(where, cells[columns.split])
        if "\0" in name:
            raise UsageError(f"{where} has a path with a zero byte", "fix it")
        path = self._path(name)
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

    def _path(self, name: str) -> str:
        """Return where an image is, also if it was named on Windows or in another Unicode form."""
        path = os.path.normpath(self.folder / name)
        if (name.isascii() and "\\" not in name) or os.path.lexists(path):
            return path
        others = (
            os.path.normpath(self.folder / unicodedata.normalize(form, one))
            for one in (name, name.replace("\\", "/"))
            for form in ("NFC", "NFD")
        )
        return next(filter(os.path.lexists, others), path)

    def check_files(self, has_header: bool) -> None:
        """Raise if a listed image is not a file."""
        missing = [
            (number, what)
            for path, (number, *_) in self.labels.items()
            if (what := _lack(path)) is not None
        ]
        if missing:
            number, what = missing[0]
            more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
            hint = "paths are relative to the table"
            if not has_header and number == 1:
                hint += "; if the line is a header, call its columns path and label"
            raise NotFoundError(f"line {number:,} of {self.spec}: {what}{more}", hint)

    def name_evaluation_split(self) -> None:
        """Name an evaluation split `test`, or `val` beside a test split, as `arrange` does."""
        if EVALUATION in self.files:
            split = "val" if "test" in self.files else "test"
            if split in self.files:
                raise UsageError(
                    f"{self.spec} has two splits named like {split}",
                    "use train, val and test",
                )
            self.files[split] = self.files.pop(EVALUATION)


def _lack(path: str) -> str | None:
    """Return why a path is not a file; None if it may be one."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return f"there is no file {path!r}"
    return f"{path!r} is a folder, not a file" if is_folder else None


def _split(where: str, text: str) -> str:
    split = split_of(text)
    if split is None:
        raise UsageError(
            f"{where} has an unknown split {text!r}",
            did_you_mean(text, ("train", "validation", "test")) or "use train, val or test",
        )
    return split
