"""Images that are there twice: copies, near copies, and where they do harm."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from cnnkit.results.base import to_plain
from cnnkit.results.table import Column, Table

Match = Literal["first", "bytes", "pixels", "near"]
"""How an image of a group is known from an earlier one of it; the first of a group from none."""

NUM_SHOWN_GROUPS = 10


@dataclass(frozen=True)
class DuplicateImage:
    """One image of a group.

    Attributes:
        path: its file, or what else it is called.
        label: the name of its class; None where it has none.
        split: the split that it is in.
        match: `bytes` if an earlier image of the group is the same file, `pixels` if it has the
            same pixels, `near` if it is like one; `first` for the first.
    """

    path: str
    label: str | None
    split: str
    match: Match


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are one and the same, or nearly so.

    Attributes:
        images: two or more; training images first, each split by name.
        distance: bits of the difference hash in which near ones differ, at most; 0 for copies.
        difference: root mean square difference of near ones over their contrast, at most; 0 for
            copies.
    """

    images: tuple[DuplicateImage, ...]
    distance: int
    difference: float

    @property
    def kind(self) -> Match:
        """The weakest match in the group: `bytes`, `pixels` or `near`."""
        found = {image.match for image in self.images}
        return "near" if "near" in found else "pixels" if "pixels" in found else "bytes"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that its images are in, each once."""
        return _each_once(image.label for image in self.images if image.label is not None)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that its images are in, each once."""
        return _each_once(image.split for image in self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return the group, and what follows from its images."""
        return {
            "kind": self.kind,
            "distance": self.distance,
            "difference": to_plain(self.difference),
            "labels": list(self.labels),
            "splits": list(self.splits),
            "images": to_plain(self.images),
        }


@dataclass(frozen=True)
class Duplicates:
    """What a search for duplicates found.

    Attributes:
        num_images: images that were compared.
        num_plain: of these, images with too little contrast or too few pixels to be called like
            another; they were compared for equality alone.
        radius: bits of the difference hash in which near ones may differ.
        groups: an image is in one group at most; those across splits first, then those with
            several labels.
    """

    num_images: int
    num_plain: int
    radius: int
    groups: tuple[DuplicateGroup, ...]

    def count(self, match: Match) -> int:
        """Return how many images match an earlier one in this way."""
        return sum(image.match == match for group in self.groups for image in group.images)

    @property
    def across_splits(self) -> tuple[DuplicateGroup, ...]:
        """Groups with images of several splits: what leaks from training to test."""
        return tuple(group for group in self.groups if len(group.splits) > 1)

    @property
    def across_labels(self) -> tuple[DuplicateGroup, ...]:
        """Groups with images of several classes: at least one label is wrong, or both are right."""
        return tuple(group for group in self.groups if len(group.labels) > 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, and every group."""
        return {
            "num_images": self.num_images,
            "num_plain": self.num_plain,
            "radius": self.radius,
            "num_byte_copies": self.count("bytes"),
            "num_pixel_copies": self.count("pixels"),
            "num_near_copies": self.count("near"),
            "num_groups": len(self.groups),
            "num_groups_across_splits": len(self.across_splits),
            "num_groups_across_labels": len(self.across_labels),
            "groups": to_plain(self.groups),
        }

    def table(self) -> Table:
        """Return the first groups, an image a row, with the counts as notes."""
        shown = self.groups[:NUM_SHOWN_GROUPS]
        folder = _common_folder([image.path for group in shown for image in group.images])
        rows = tuple(
            (
                f"{number} {group.kind}",
                image.match,
                image.split,
                image.label,
                image.path.removeprefix(folder),
            )
            for number, group in enumerate(shown, 1)
            for image in group.images
        )
        columns = (
            Column("group", "group", "group"),
            Column("match", "match", "name"),
            Column("split", "split", "name"),
            Column("label", "class", "name"),
            Column("path", "image"),
        )
        title = f"duplicates in {folder}" if folder else "duplicates"
        return Table("duplicates", title, columns, rows, self._notes())

    def _notes(self) -> tuple[str, ...]:
        notes = [
            f"{self.num_images:,} images compared: {self.count('bytes'):,} copies of a file, "
            f"{self.count('pixels'):,} more with the same pixels, {self.count('near'):,} near "
            "copies"
        ]
        if self.across_splits:
            notes.append(f"groups across splits: {len(self.across_splits):,}; these images leak")
        if self.across_labels:
            notes.append(f"groups under several labels: {len(self.across_labels):,}")
        if self.num_plain:
            notes.append(f"too flat or too small to be called like another: {self.num_plain:,}")
        if len(self.groups) > NUM_SHOWN_GROUPS:
            notes.append(f"all {len(self.groups):,} groups are in the JSON")
        return tuple(notes)


def _common_folder(paths: list[str]) -> str:
    """Return the folder that all files are in, with a slash at its end; empty for none."""
    if not paths or not all(path.startswith("/") for path in paths):
        return ""
    folder = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    return "" if folder == "/" else f"{folder}/"


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
