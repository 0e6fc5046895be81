"""The lists of Stanford Cars, against scipy, and in forms that make scipy crash."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from cnnkit.data import open_dataset
from cnnkit.data.sources.stanford_cars import read_matrices
from cnnkit.errors import UnavailableError
from tests.data.sources.test_torchvision_layouts import BUILDERS

LISTED = "stanford_cars/devkit/cars_train_annos.mat"

VALUES: dict[str, Any] = {
    "cells": np.array(["AM General Hummer", "é", "漢字", ""], dtype=object),
    "bytes": np.arange(5, dtype=np.uint8),
    "small": np.array([7], dtype=np.int16),
    "doubles": np.array([[0.5, -1e300], [3.0, 4.0]]),
    "floats": np.array([0.25], dtype=np.float32),
    "long": np.array([2**40, -1], dtype=np.int64),
    "text": "one line",
    "nested": np.array([np.array(["a", "b"], dtype=object), 3], dtype=object),
}


def plain(value: Any) -> Any:
    """Return what scipy reads in the form of `read_matrices`."""
    if isinstance(value, str):
        return value
    value = np.asarray(value)
    if value.dtype.names:
        names = value.dtype.names
        return [{name: plain(row[name]) for name in names} for row in value.ravel("F")]
    if value.dtype == object:
        return [plain(item) for item in value.ravel("F")]
    if value.dtype.kind == "U":
        return str(value.ravel()[0]) if value.size else ""
    return tuple(value.ravel("F").tolist())


@pytest.mark.parametrize("compressed", [True, False])
def test_values_are_those_of_scipy(compressed: bool, tmp_path: Path) -> None:
    rows = np.zeros(300, dtype=[("box", "O"), ("class", "O"), ("fname", "O")])
    rows["class"] = [np.uint8(number % 196 + 1) for number in range(300)]
    rows["fname"] = [f"{number:05d}.jpg" for number in range(300)]
    rows["box"] = [np.uint16(number * 7) for number in range(300)]
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"annotations": rows, **VALUES}, do_compression=compressed)
    found = read_matrices(path)
    expected = {
        name: plain(value)
        for name, value in scipy.io.loadmat(path).items()
        if not name.startswith("__")
    }
    assert found == expected
    assert found["annotations"][299] == {"box": (2093,), "class": (104,), "fname": "00299.jpg"}


def mat_bytes(*elements: bytes, order: str = "<") -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0".ljust(124) + struct.pack(f"{order}H", 0x100) + mark + b"".join(elements)


def element(kind: int, body: bytes, order: str = "<") -> bytes:
    padding = b"" if kind == 15 else bytes(-len(body) % 8)
    return struct.pack(f"{order}II", kind, len(body)) + body + padding


def matrix(kind: int, sizes: tuple[int, ...], *content: bytes, order: str = "<") -> bytes:
    body = element(6, struct.pack(f"{order}II", kind, 0), order)
    body += element(5, struct.pack(f"{order}{len(sizes)}i", *sizes), order)
    return element(14, body + element(1, b"annotations", order) + b"".join(content), order)


def test_the_order_of_bytes_does_not_matter(tmp_path: Path) -> None:
    for order, coding in (("<", "utf-16-le"), (">", "utf-16-be")):
        text = matrix(4, (1, 3), element(4, "öäü".encode(coding), order), order=order)
        path = tmp_path / "a.mat"
        path.write_bytes(mat_bytes(text, order=order))
        assert read_matrices(path) == {"annotations": "öäü"}


def nested(depth: int) -> bytes:
    content = matrix(1, (1, 1))
    for _ in range(depth):
        content = matrix(1, (1, 1), content)
    return content


LENGTH = element(5, struct.pack("<i", 8))  # of the name of a field

BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: mat_bytes(element(15, zlib.compress(bytes(100 << 20), 1))),
    "many zeros": lambda: mat_bytes(*[element(15, zlib.compress(bytes(4 << 20), 1))] * 20),
    "cells": lambda: mat_bytes(matrix(1, (100_000, 100_000))),
    "structures": lambda: mat_bytes(matrix(2, (1 << 30, 1), LENGTH, element(1, b"x"))),
    "structures of nothing": lambda: mat_bytes(matrix(2, (1, 1), LENGTH, element(1, b""))),
    "objects": lambda: mat_bytes(matrix(3, (1 << 30, 1))),
    "unknown": lambda: mat_bytes(matrix(17, (1 << 30, 1))),
    "deep": lambda: mat_bytes(nested(3000)),
    "version 4": lambda: struct.pack("<5i", 0, 1 << 30, 1 << 30, 0, 2) + b"x\0" + bytes(200),
    "nothing": lambda: b"",
    "header": lambda: mat_bytes(),
    "cut short": lambda: mat_bytes(matrix(1, (1, 1))[:-5]),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUILDERS["stanford_cars"](tmp_path, monkeypatch)
    (tmp_path / LISTED).write_bytes(BOMBS[name]())
    with pytest.raises(UnavailableError) as caught:
        open_dataset("stanford_cars", "train", data_dir=tmp_path)
    assert LISTED in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_lists_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these make scipy 1.17 end the process."""
    BUILDERS["stanford_cars"](tmp_path, monkeypatch)
    random = np.random.default_rng(0)
    original = (tmp_path / LISTED).read_bytes()
    refused = 0
    for _ in range(400):
        content = bytearray(original[: random.integers(1, 2 * len(original))])
        for at in random.integers(0, len(content), 3):
            content[at] = random.integers(256)
        (tmp_path / LISTED).write_bytes(content)
        try:
            open_dataset("stanford_cars", "train", data_dir=tmp_path)
        except UnavailableError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 100


def test_a_list_cannot_name_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUILDERS["stanford_cars"](tmp_path, monkeypatch)
    rows = np.array(
        [(1, "../../etc/x.jpg"), (2, "/etc/y.jpg")], dtype=[("class", "u1"), ("fname", "O")]
    )
    scipy.io.savemat(tmp_path / LISTED, {"annotations": rows})
    files = open_dataset("stanford_cars", "train", data_dir=tmp_path).files  # type: ignore[union-attr]
    folder = tmp_path / "stanford_cars" / "cars_train"
    assert files.items == (str(folder / "x.jpg"), str(folder / "y.jpg"))


def test_scipy_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUILDERS["stanford_cars"](tmp_path, monkeypatch)
    monkeypatch.delattr(scipy.io, "loadmat")
    assert len(open_dataset("stanford_cars", "train", data_dir=tmp_path)) == 2
