"""Encoded images one after another, with their classes: from folders, archives and shards.

A stream needs no index of what it holds, so that an archive is read in place, from its beginning to
its end. Its images come in the same order every time.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from cnnkit.data.decode import read_image_file

Chooser = Callable[[int], bool]
"""Tells of each unit, by its number from 0 on in ascending order, whether it is wanted."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file from an earlier or later one of the same name."""

    key: bytes
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file of a stream.

    Attributes:
        name: its path, or archive and member.
        class_name: its class; empty without one.
        path: the file to read, where `content` is None.
        content: its bytes, where they are at hand.
        reason: why it cannot be had at all; empty if it can.
        archive: the stamp of the archive that it was read from.
        split: the split that it is in, where a stream of several knows; else empty.
    """

    name: str
    class_name: str
    path: str = ""
    content: bytes | None = None
    reason: str = ""
    archive: Stamp | None = None
    split: str = ""

    def stamp(self) -> Stamp | None:
        """Return what tells whether it has changed since; None where that is not known."""
        if self.archive is None:
            return file_stamp(self.path) if self.path else None
        member = self.name.encode("utf-8", "surrogateescape")
        return replace(self.archive, key=self.archive.key + b"\0" + member)

    def read(self, allow_large: bool = False) -> bytes:
        """Return its bytes.

        Raises:
            BadImageError: the file cannot be read, is no regular file, or is too long.
        """
        if self.content is not None:
            return self.content
        return read_image_file(self.path, allow_large)


class ImageStream(ABC):
    """The images of a split, one after another.

    Attributes:
        dataset: the name that it was opened under.
        split: the split, or `all`.
        claim_size: how many units are best claimed at once, where several processes share them.
    """

    dataset: str
    split: str
    claim_size: int = 64

    @abstractmethod
    def images(
        self, is_wanted: Chooser, chosen: frozenset[int] | None = None
    ) -> Iterator[EncodedImage]:
        """Return the images of the wanted units.

        A unit is an image, or a shard. What is not wanted is not read, where that can be.

        Args:
            is_wanted: asked for every unit in ascending order.
            chosen: only the images of these numbers, counted through all units; then all units
                must be wanted.
        """

    @abstractmethod
    def count(self) -> int | None:
        """Return how many images there are, where that is known without reading them all."""

    def count_all(self) -> int:
        """Return how many images there are, if need be by reading them all."""
        known = self.count()
        if known is not None:
            return known
        return sum(not image.reason for image in self.images(lambda unit: True))

    @abstractmethod
    def classes(self) -> Sequence[str]:
        """Return the classes in their order; those known so far, before all was read."""

    def class_counts(self) -> Mapping[str, int]:
        """Return the images of each class, without decoding any."""
        counts: dict[str, int] = {}
        for image in self.images(lambda unit: True):
            if not image.reason:
                counts[image.class_name] = counts.get(image.class_name, 0) + 1
        return {name: counts.get(name, 0) for name in dict.fromkeys((*self.classes(), *counts))}

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what tells this set of images from others, without reading them all."""

    def remarks(self) -> Sequence[str]:
        """Return what should be said about the stream once it was read."""
        return ()


class FileStream(ImageStream):
    """Image files on disk.

    Args:
        dataset: the name that it was opened under.
        split: the split, or `all`.
        files: paths by class, in the order of the classes.
        bad: what cannot be read at all, as (path, reason).
    """

    def __init__(
        self,
        dataset: str,
        split: str,
        files: Mapping[str, Sequence[str]],
        bad: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.dataset, self.split = dataset, split
        self._files = files
        self._bad = bad

    def images(
        self, is_wanted: Chooser, chosen: frozenset[int] | None = None
    ) -> Iterator[EncodedImage]:
        """Return the images of the wanted numbers."""
        for number, (path, reason) in enumerate(self._bad):
            if chosen is None and is_wanted(number):
                yield EncodedImage(path, "", reason=reason)
        number = 0
        for class_name, paths in self._files.items():
            for path in paths:
                if (chosen is None or number in chosen) and is_wanted(number + len(self._bad)):
                    yield EncodedImage(path, class_name, path)
                number += 1

    def count(self) -> int:
        """Return how many files there are."""
        return sum(map(len, self._files.values()))

    def classes(self) -> Sequence[str]:
        """Return the classes, those without images included."""
        return [name for name in self._files if name]

    def class_counts(self) -> Mapping[str, int]:
        """Return the images of each class."""
        return {name: len(paths) for name, paths in self._files.items() if name or paths}

    def fingerprint(self) -> str:
        """Return a SHA-256 over classes and file names."""
        # The folder of the class and the name: a set that was moved as a whole is the same.
        lines = (
            f"{class_name}/{'/'.join(PurePath(path).parts[-2:])}"
            for class_name, paths in self._files.items()
            for path in paths
        )
        return digest(lines)


def file_stamp(path: str) -> Stamp | None:
    """Return what tells whether a file has changed; None where it cannot be looked at."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None  # reading it will tell why
    return Stamp(os.fsencode(os.path.abspath(path)), status.st_size, status.st_mtime_ns)  # noqa: PTH100


def digest(lines: Iterator[str]) -> str:
    """Return the SHA-256 of some lines."""
    whole = hashlib.sha256()
    for line in lines:
        whole.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return whole.hexdigest()
