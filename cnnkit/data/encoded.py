"""Encoded image files by index, on disk or in an archive."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from cnnkit.data.image_files import header_of, read_header, read_image_file
from cnnkit.data.sources.archives import Archive, Place

Chooser = Callable[[int], bool]
"""Returns whether an image is wanted; called with indices from 0 in ascending order."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Identity key of a file: differs from that of another version with the same name."""

    key: bytes
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class PackedFile:
    """An image file in an archive."""

    archive: Archive
    place: Place

    @property
    def name(self) -> str:
        """The archive, and the path in it."""
        return f"{self.archive.path}/{self.place.name}"


Item = str | PackedFile
"""An image file: its path, or its place in an archive."""


def name_of(item: Item) -> str:
    """Return the display name of an image file."""
    return item if isinstance(item, str) else item.name


def read_item(item: Item, allow_large: bool = False) -> bytes:
    """Return the bytes of an image file.

    Raises:
        BadImageError: it cannot be read, is no regular file, or is too long.
    """
    if isinstance(item, str):
        return read_image_file(item, allow_large)
    return item.archive.read(item.place, allow_large)


def stamp_of(item: Item) -> Stamp | None:
    """Return the identity key of a file; None if its status cannot be read."""
    path = item if isinstance(item, str) else str(item.archive.path)
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None  # reading it will say why
    key = os.fsencode(os.path.abspath(path))  # noqa: PTH100
    if not isinstance(item, str):
        key += b"\0" + item.place.name.encode("utf-8", "surrogateescape")
    return Stamp(key, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, eq=False)
class EncodedFiles:
    """Image files by index; may be read from several threads.

    Attributes:
        items: one an image.
    """

    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    def read(self, index: int, allow_large: bool = False) -> bytes:
        """Return the bytes of an image file.

        Raises:
            BadImageError: it cannot be read, or is too long and `allow_large` is not given.
        """
        return read_item(self.items[index], allow_large)

    def name(self, index: int) -> str:
        """Return the display name of an image: its path."""
        return name_of(self.items[index])

    def header(self, index: int, allow_large: bool = False) -> tuple[str, tuple[int, int]]:
        """Return mode and (height, width) of an image, upright, without decoding it.

        Raises:
            BadImageError: its header cannot be read.
        """
        item = self.items[index]
        if isinstance(item, str):
            return read_header(item, allow_large)
        return header_of(read_item(item, allow_large), allow_large)

    def subset(self, indices: Iterable[int]) -> Self:
        """Return these files, in this order."""
        return replace(self, items=tuple(self.items[index] for index in indices))

    def joined_with(self, other: Self) -> Self:
        """Return these files, and then the others."""
        return replace(self, items=self.items + other.items)


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file of a set, or something else in it that cannot be read.

    Attributes:
        name: its display name.
        class_name: its class; empty without one.
        split: the split that it is in.
        item: where its bytes are; None where `reason` says why they cannot be had.
        reason: empty for images.
    """

    name: str
    class_name: str
    split: str
    item: Item | None
    reason: str = ""

    def stamp(self) -> Stamp | None:
        """Return its identity key; None if unknown."""
        return None if self.item is None else stamp_of(self.item)

    def read(self, allow_large: bool = False) -> bytes:
        """Return its bytes.

        Raises:
            BadImageError: the file cannot be read, is no regular file, or is too long.
        """
        assert self.item is not None
        return read_item(self.item, allow_large)


def sorted_items(items: Iterable[Item]) -> Sequence[Item]:
    """Return files in the order of torchvision's ImageFolder, the same in folders and archives."""
    return sorted(items, key=lambda item: os.path.split(name_of(item)))
