"""Images that one should look at before training on them."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from cnnkit.results.base import to_plain
from cnnkit.results.table import Column, Table

Issue = Literal["blank", "very dark", "very bright", "blurred"]
ISSUES: tuple[Issue, ...] = get_args(Issue)

NUM_SHOWN_IMAGES = 20


@dataclass(frozen=True)
class ImageQuality:
    """What an image looks like as a whole, in grey.

    Attributes:
        brightness: mean of its pixels, on the scale 0..1.
        contrast: their standard deviation, on the same scale.
        dark: the 1st percentile: all but a hundredth of the pixels are at least this.
        bright: the 99th percentile: all but a hundredth of the pixels are at most this.
        sharpness: variance of the Laplacian over that of the pixels, at most 256 pixels a side;
            None where the image is blank, or too small to tell.
    """

    brightness: float
    contrast: float
    dark: float
    bright: float
    sharpness: float | None


@dataclass(frozen=True)
class ImageIssue:
    """An image with something the matter.

    Attributes:
        path: its file, or what else it is called.
        issues: what is the matter, one or more.
        quality: the figures that tell so.
    """

    path: str
    issues: tuple[Issue, ...]
    quality: ImageQuality

    def to_dict(self) -> dict[str, Any]:
        """Return path, issues and figures at one level."""
        plain: dict[str, Any] = {"path": self.path, "issues": list(self.issues)}
        plain |= to_plain(self.quality)
        return plain


@dataclass(frozen=True)
class ImageIssues:
    """What a look at every image found.

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
        """Return the counts, and every image with something the matter."""
        counts = {f"num_{issue.replace(' ', '_')}": self.count(issue) for issue in ISSUES}
        return {"num_images": self.num_images, **counts, "images": to_plain(self.images)}

    def table(self) -> Table:
        """Return the first such images, with the counts as notes."""
        columns = (
            Column("issues", "issue", "name"),
            Column("brightness", "brightness", "fraction"),
            Column("contrast", "contrast", "fraction"),
            Column("sharpness", "sharpness", "loss"),
            Column("path", "image"),
        )
        rows = tuple(
            (
                ", ".join(image.issues),
                image.quality.brightness,
                image.quality.contrast,
                image.quality.sharpness,
                image.path,
            )
            for image in self.images[:NUM_SHOWN_IMAGES]
        )
        found = ", ".join(f"{self.count(issue):,} {issue}" for issue in ISSUES)
        notes = [f"{self.num_images:,} images looked at: {found}"]
        if len(self.images) > NUM_SHOWN_IMAGES:
            notes.append(f"all {len(self.images):,} are in the JSON")
        return Table("issues", "images to look at", columns, rows, tuple(notes))
