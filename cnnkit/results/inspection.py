"""Images to check before training: duplicates, and images with quality issues."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cnnkit.results.base import to_plain

Match = Literal["first", "bytes", "pixels", "near"]
"""How an image of a group is known from an earlier one of it; the first of a group from none."""


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
            another; they were only compared for equality.
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


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


Issue = Literal["blank", "very dark", "very bright", "blurred"]
ISSUES: tuple[Issue, ...] = get_args(Issue)


@dataclass(frozen=True)
class ImageQuality:
    """The quality of an image, measured in grayscale.

    Attributes:
        brightness: mean of its pixels, on the scale 0..1.
        contrast: their standard deviation, on the same scale.
        dark: the 1st percentile: all but a hundredth of the pixels are at least this.
        bright: the 99th percentile: all but a hundredth of the pixels are at most this.
        sharpness: variance of the Laplacian over that of the pixels, at most 256 pixels a side;
            None where the image is blank or too small.
    """

    brightness: float
    contrast: float
    dark: float
    bright: float
    sharpness: float | None


@dataclass(frozen=True)
class ImageIssue:
    """An image with at least one issue.

    Attributes:
        path: its file, or what else it is called.
        issues: what is the matter, one or more.
        quality: the measurements that say so.
    """

    path: str
    issues: tuple[Issue, ...]
    quality: ImageQuality

    def to_dict(self) -> dict[str, Any]:
        """Return path, issues and measurements at one level."""
        plain: dict[str, Any] = {"path": self.path, "issues": list(self.issues)}
        plain |= to_plain(self.quality)
        return plain


@dataclass(frozen=True)
class ImageIssues:
    """The images with quality issues.

    Attributes:
        num_images: images that were looked at.
        images: those with something the matter, by path.
    """

    num_images: int
    images: tuple[ImageIssue, ...]

    def count(self, issue: Issue) -> int:
        """Return how many images have this."""
        return sum(issue in image.issues for image in self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts, and every image with an issue."""
        counts = {f"num_{issue.replace(' ', '_')}": self.count(issue) for issue in ISSUES}
        return {"num_images": self.num_images, **counts, "images": to_plain(self.images)}
