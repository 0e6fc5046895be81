"""Limits on what torchvision reads whole without a checksum, from files that may be anybody's."""

import bz2
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

from cnnkit.data.entry import TorchvisionSource

MEGABYTE = 10**6
CHUNK_BYTES = 1 << 18

# By class of torchvision: how many megabytes a file may come to in memory, and the files. The
# largest published ones are EMNIST byclass (547), QMNIST nist (316) and the scenes of CLEVR.
LIMITS: dict[str, tuple[int, tuple[str, ...]]] = {
    "MNIST": (64, ("MNIST/raw/*-ubyte", "MNIST/processed/*.pt")),
    "FashionMNIST": (64, ("FashionMNIST/raw/*-ubyte", "FashionMNIST/processed/*.pt")),
    "KMNIST": (64, ("KMNIST/raw/*-ubyte", "KMNIST/processed/*.pt")),
    "QMNIST": (400, ("QMNIST/raw/*-ubyte", "QMNIST/raw/*-int", "QMNIST/processed/*.pt")),
    "EMNIST": (600, ("EMNIST/raw/*-ubyte", "EMNIST/processed/*.pt")),
    "USPS": (64, ("usps*.bz2",)),
    "StanfordCars": (64, ("stanford_cars/*.mat", "stanford_cars/devkit/*.mat")),
    "ImageNet": (64, ("meta.bin",)),
    "Food101": (64, ("food-101/meta/*.json",)),
    "OxfordIIITPet": (64, ("oxford-iiit-pet/annotations/*.txt",)),
    "DTD": (64, ("dtd/dtd/labels/*.txt",)),
    "GTSRB": (64, ("gtsrb/*.csv",)),
    "FGVCAircraft": (64, ("fgvc-aircraft-2013b/data/*.txt",)),
    "SUN397": (64, ("SUN397/*.txt",)),
    "CLEVRClassification": (1_000, ("clevr/CLEVR_v1.0/scenes/*.json",)),
}

MAT_HEADER_BYTES = 128
MAT_ORDERS = {b"IM": "<", b"MI": ">"}
MAT_NAMES, MAT_MATRIX, MAT_COMPRESSED = 1, 14, 15  # kinds of element
MAT_NUMBERS = range(4, 16)  # classes of matrix that hold no other matrices


def check_unverified(source: TorchvisionSource, root: Path) -> None:
    """Refuse files that would hang or fill the memory; files that are missing are none.

    Args:
        source: of the set.
        root: the folder that its class of torchvision gets.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is none, or comes to too much.
    """
    megabytes, patterns = LIMITS.get(source.class_name, (0, ()))
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError(f"{path} is no file")
            if _num_bytes(path, megabytes * MEGABYTE) > megabytes * MEGABYTE:
                raise ValueError(
                    f"{path} comes to more than {megabytes:,} MB, which the published file does not"
                )


def _num_bytes(path: Path, limit: int) -> int:
    """Return how much of the memory a file takes, or some number above the limit.

    Raises:
        ValueError: it is damaged.
    """
    stored = path.stat().st_size
    if stored > limit:
        return stored
    try:
        if path.suffix == ".bz2":
            return _expanded(path, limit)
        if path.suffix == ".mat":
            return _mat_bytes(path.read_bytes(), limit)
        if path.suffix in (".pt", ".bin") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
    except (zlib.error, struct.error, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged") from error
    return stored


def _expanded(path: Path, limit: int) -> int:
    num_bytes = 0
    with bz2.open(path) as file:
        while num_bytes <= limit and (chunk := file.read(CHUNK_BYTES)):
            num_bytes += len(chunk)
    return num_bytes


def _mat_bytes(content: bytes, limit: int) -> int:
    """Return what a file of MATLAB (its version 5) comes to: its bytes, and 8 for each cell."""
    order = MAT_ORDERS.get(content[MAT_HEADER_BYTES - 2 : MAT_HEADER_BYTES])
    if order is None:
        return len(content)  # version 4, which holds numbers only
    return _matrices_bytes(content[MAT_HEADER_BYTES:], order, limit)


def _matrices_bytes(content: bytes, order: str, limit: int) -> int:
    num_bytes = len(content)
    for kind, body in _elements(content, order):
        if kind == MAT_COMPRESSED:
            expanded = zlib.decompressobj().decompress(body, limit + 1)
            num_bytes += _matrices_bytes(expanded, order, limit)
        elif kind == MAT_MATRIX and body:
            num_bytes += _cells_bytes(body, order, limit)
        if num_bytes > limit:
            break
    return num_bytes


def _cells_bytes(body: bytes, order: str, limit: int) -> int:
    """Return what the cells of a matrix take that hold other matrices, and what those do."""
    parts = list(_elements(body, order))
    flags, sizes = parts[0][1], parts[1][1]
    (kind,) = struct.unpack(f"{order}I", flags[:4])
    if kind & 0xFF in MAT_NUMBERS:
        return 0  # scipy reads as many numbers as there are
    cells: int = prod(struct.unpack(f"{order}{len(sizes) // 4}I", sizes))
    fields = max((len(names) for part, names in parts[2:6] if part == MAT_NAMES), default=0)
    num_bytes: int = 8 * cells * max(fields, 1)
    return num_bytes if num_bytes > limit else num_bytes + _matrices_bytes(body, order, limit)


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Return the kind and the bytes of each element."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # of up to 4 bytes, which stand in its head
            yield kind & 0xFFFF, content[at + 4 : at + 4 + min(kind >> 16, 4)]
            at += 8
        else:
            yield kind, content[at + 8 : at + 8 + size]
            at += 8 + size + (-size % 8 if kind != MAT_COMPRESSED else 0)
