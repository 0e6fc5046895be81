"""Stanford Cars, with lists read without scipy, which damaged files can crash."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 16 * 10**6
"""Maximum unpacked size of a list; the published ones have 4 million bytes."""

HEADER_BYTES = 128
BYTE_ORDERS = {b"IM": "<", b"MI": ">"}

# Of "MAT-File Level 5 File Format": kinds of element, and classes of matrix.
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
TEXTS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
CELL, STRUCT, CHAR, NUMERIC = 1, 2, 4, range(6, 16)


class StanfordCars:
    """The images of a split, as torchvision's class of the name has them.

    Args:
        root: the data folder.
        split: `train` or `test`.

    Raises:
        FileNotFoundError: they do not exist.
        ValueError: a list is damaged, or not that of this set.
    """

    def __init__(self, root: str, split: str) -> None:
        folder = Path(root) / "stanford_cars"
        devkit = folder / "devkit"
        listed = folder / "cars_test_annos_withlabels.mat"
        if split == "train":
            listed = devkit / "cars_train_annos.mat"
        images = folder / f"cars_{split}"
        if not images.is_dir():
            raise FileNotFoundError(f"{images} is missing")
        meta = devkit / "cars_meta.mat"
        self.classes = _texts(read_matrices(meta).get("class_names"), meta)
        try:
            self._samples = [
                (str(images / Path(row["fname"]).name), int(row["class"][0]) - 1)
                for row in read_matrices(listed)["annotations"]
            ]
        except (TypeError, LookupError, ValueError) as error:
            raise ValueError(f"{listed} has no annotations with class and fname") from error


def _texts(values: Any, path: Path) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{path} has no class_names")
    return values


def read_matrices(path: Path) -> dict[str, Any]:
    """Return the matrices of a `.mat` file (version 5) by name.

    Texts come as str, numbers as a tuple in the order of the file, cells as a list, and structures
    as a list of dictionaries.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, of another kind, or unpacks to more than `MAX_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    order = BYTE_ORDERS.get(content[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None:
        raise ValueError(f"{path} is not a MATLAB file, version 5")
    try:
        return dict(
            _matrix(body, order) for body in _matrices(content[HEADER_BYTES:], order, MAX_BYTES)
        )
    except (zlib.error, struct.error, LookupError, StopIteration, RuntimeError) as error:
        raise ValueError(f"{path} is damaged") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _matrices(content: bytes, order: str, left: int) -> Iterator[memoryview]:
    """Return the matrices of a file, expanded."""
    left -= len(content)
    for kind, body in _elements(memoryview(content), order):
        if kind == COMPRESSED and left >= 0:
            expanded = zlib.decompressobj().decompress(body, left + 1)
            left -= len(expanded)
            kind, body = next(_elements(memoryview(expanded), order))
        if left < 0:
            raise ValueError(f"it unpacks to more than {MAX_BYTES:,} bytes")
        if kind == MATRIX:
            yield body


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Return the kind and the bytes of each element."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        at += 8
        if kind >> 16:  # of up to 4 bytes, stored in its header
            yield kind & 0xFFFF, content[at - 4 : at][: kind >> 16]
            continue
        if at + size > len(content):
            raise ValueError("it is truncated")
        yield kind, content[at : at + size]
        at += size if kind == COMPRESSED else size + -size % 8


def _matrix(body: memoryview, order: str) -> tuple[str, Any]:
    """Return the name of a matrix and what is in it."""
    elements = _elements(body, order)
    flags, _, name = (next(elements)[1] for _ in range(3))
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    return bytes(name).decode("latin-1"), _values(kind, elements, order)


def _values(kind: int, elements: Iterator[tuple[int, memoryview]], order: str) -> Any:
    if kind == CELL:
        return [_matrix(body, order)[1] for part, body in elements if part == MATRIX]
    if kind == STRUCT:
        length = max(1, struct.unpack_from(f"{order}i", next(elements)[1])[0])
        joined = bytes(next(elements)[1])
        fields = [
            joined[at : at + length].split(b"\0")[0].decode("latin-1")
            for at in range(0, len(joined), length)
        ]
        values = [_matrix(body, order)[1] for part, body in elements if part == MATRIX]
        rows = range(0, len(values), len(fields))
        return [dict(zip(fields, values[row : row + len(fields)], strict=True)) for row in rows]
    part, data = next(elements)
    if kind == CHAR:
        coding = TEXTS[part]
        if coding != "utf-8":
            coding += "-le" if order == "<" else "-be"
        return bytes(data).decode(coding)
    if kind not in NUMERIC:
        raise ValueError(f"a matrix of class {kind}")
    return tuple(value for (value,) in struct.iter_unpack(order + NUMBERS[part], data))
