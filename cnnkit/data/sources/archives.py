"""A split that lies in an archive with class folders, such as `photos.zip` or `photos.tar.xz`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cnnkit.data.decode import os_reason
from cnnkit.data.sources.folder import SPLIT_OF_FOLDER, is_image, is_visible
from cnnkit.data.sources.members import BrokenArchiveError, Member, Members
from cnnkit.data.sources.streams import (
    Chooser,
    EncodedImage,
    ImageStream,
    Stamp,
    digest,
    file_stamp,
)
from cnnkit.errors import UsageError
from cnnkit.files import open_regular

DEEPEST_SPLIT = 2  # a folder of a split is the first or the second of a path


class ArchiveStream(ImageStream):
    """The images of an archive.

    The class of an image is the folder below that of its split, `train/cat/1.jpg`; without folders
    of splits it is the first, `cat/1.jpg`, or the second where all images share the first,
    `photos/cat/1.jpg`. That is known only at the end, so until then a class is the whole folder;
    `final_classes` translates.

    Args:
        dataset: the name that it was opened under.
        path: the archive.
        split: a split, or `all`; None for `train` where there are folders of splits, else all.
        allow_large: read what is above the limits of `Members` as well.
    """

    def __init__(
        self, dataset: str, path: Path, split: str | None, allow_large: bool = False
    ) -> None:
        self.dataset = dataset
        self.split = split or "all"
        self._wanted_split = split
        self._path = path
        self._members = Members(path, allow_large)
        self._folders: dict[str, None] = {}
        self._seen_splits: dict[str, None] = {}
        self._others = 0

    def images(
        self, is_wanted: Chooser, chosen: frozenset[int] | None = None
    ) -> Iterator[EncodedImage]:
        """Return the images of the wanted numbers, and at its end the archive if it is broken."""
        number = 0
        stamp = file_stamp(str(self._path))
        self._others = 0
        try:
            for member in self._members.read():
                folder = self._folder(member.name)
                if folder is None:
                    continue
                self._folders[folder] = None
                if (chosen is None or number in chosen) and is_wanted(number):
                    yield self._image(member.read(), folder, stamp)
                number += 1
        except BrokenArchiveError as error:
            told = f"{error}; {number:,} images before that were read" if number else str(error)
            if chosen is None and is_wanted(number):
                yield EncodedImage(str(self._path), "", reason=told)
        except OSError as error:
            reason = os_reason(error)
            if chosen is None and is_wanted(number):
                yield EncodedImage(str(self._path), "", reason=reason)
        if self._wanted_split is None and "train" in self._seen_splits:
            self.split = "train"
        if not number and self._seen_splits:
            raise UsageError(
                f"{self.dataset} has no split {self._wanted_split or 'train'!r}",
                f"it has {', '.join(self._seen_splits)}",
            )

    def _image(self, found: Member, folder: str, stamp: Stamp | None) -> EncodedImage:
        return EncodedImage(
            f"{self._path}/{found.name}",
            folder,
            content=found.content,
            reason=found.reason,
            archive=stamp,
            split=_split_of(folder.split("/")),
        )

    def count(self) -> int | None:
        """Return how many images there are, where the archive has an index."""
        try:
            names = self._members.names()
        except (BrokenArchiveError, OSError):
            return None  # reading it will tell why
        return None if names is None else sum(self._folder(name) is not None for name in names)

    def classes(self) -> Sequence[str]:
        """Return nothing: the classes are known once all was read."""
        return ()

    def class_counts(self) -> dict[str, int]:
        """Return the images of each class; they are read, but not decoded."""
        counts = super().class_counts()
        final = self.final_classes()
        named: dict[str, int] = {}
        for folder, number in counts.items():
            named[final[folder]] = named.get(final[folder], 0) + number
        return dict(sorted(named.items()))

    def final_classes(self) -> dict[str, str]:
        """Return the class of each folder, now that all of them are known."""
        parts = {folder: [part for part in folder.split("/") if part] for folder in self._folders}
        named = {}
        without_split = {}
        for folder, names in parts.items():
            depth = _split_depth(names)
            if depth is None:
                without_split[folder] = names
            else:
                named[folder] = names[depth + 1] if len(names) > depth + 1 else ""
        if without_split:
            first = {names[0] if names else "" for names in without_split.values()}
            below = any(len(names) > 1 for names in without_split.values())
            depth = 1 if len(first) == 1 and below else 0
            for folder, names in without_split.items():
                named[folder] = names[depth] if len(names) > depth else ""
        return named

    def seen_splits(self) -> list[str]:
        """Return the splits that were met so far, whether wanted or not."""
        return list(self._seen_splits)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the size of the archive and its last bytes."""
        return digest(iter([file_identity(self._path)]))

    def remarks(self) -> Sequence[str]:
        """Return what was left out."""
        if not self._others:
            return ()
        return (f"{self._path}: files that are no images by their name left out: {self._others:,}",)

    def _folder(self, name: str) -> str | None:
        """Return the folder of an image, at most three deep, or None for what is not wanted."""
        path = PurePosixPath(name)
        if not all(is_visible(part) for part in path.parts if part != "."):
            return None
        if not is_image(path.name):
            self._others += 1
            return None
        names = [part for part in path.parent.parts if part not in ("/", "..")]
        split = _split_of(names)
        if split:
            self._seen_splits[split] = None
        if self._wanted_split not in ("all", split) and not (
            self._wanted_split is None and split in ("", "train")
        ):
            return None
        return "/".join(names[: DEEPEST_SPLIT + 1])


def _split_depth(names: Sequence[str]) -> int | None:
    """Return which folder of a path is that of a split; it has a class folder below it."""
    for depth, name in enumerate(names[:-1][:DEEPEST_SPLIT]):
        if name.lower() in SPLIT_OF_FOLDER:
            return depth
    return None


def _split_of(names: Sequence[str]) -> str:
    """Return the split of an image in these folders; empty where it is in none."""
    depth = _split_depth(names)
    return "" if depth is None else SPLIT_OF_FOLDER[names[depth].lower()]


def file_identity(path: Path) -> str:
    """Return what tells a large file from others without reading it: its length and both ends."""
    try:
        handle = open_regular(path)
    except OSError as error:  # reading it will tell why, for the list of bad files
        return os_reason(error)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        start = file.read(4096)
        file.seek(max(0, size - 4096))
        return f"{size} {start.hex()} {file.read(4096).hex()}"
