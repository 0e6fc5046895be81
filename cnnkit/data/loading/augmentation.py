"""Which random changes training images get; `augmenting` makes them."""

from dataclasses import dataclass
from typing import Literal

from cnnkit.errors import UsageError, setting

Flip = Literal["none", "random", "alternating"]

MAX_RANDAUGMENT = 30


@dataclass(frozen=True)
class Augmentation:
    """The random changes of training images, in the order in which they are made.

    Attributes:
        crop: shift each image by up to so many pixels up, down, left and right; what it uncovers
            is filled by reflection at the edge.
        flip: `random` mirrors each image left to right in half of the epochs, by chance;
            `alternating` in every other epoch, and chance chooses the first.
        randaugment: magnitude, 0 to 30, of two operations drawn for each image; None for none.
        cutout: side in pixels of a square, placed anywhere in each image, that is set to 0 after
            the normalization; 0 for none.
        mixup: alpha of the Beta distribution of the shares in which two images are blended; 0 for
            none.
        cutmix: alpha of the Beta distribution of the area that two images swap; 0 for none. With
            both, each batch gets one of the two, by chance.
    """

    crop: int = 0
    flip: Flip = "none"
    randaugment: int | None = None
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images of two classes become one, so that their labels are shares."""
        return self.mixup > 0 or self.cutmix > 0

    def check(self, height: int, width: int) -> None:
        """Refuse what images of a size cannot take.

        Raises:
            UsageError: `crop` or `cutout` is too large.
        """
        side = min(height, width)
        if self.crop >= side:
            raise UsageError(
                f"crop {self.crop} is too large for images of {height}x{width}: its reflection "
                f"takes at most {side - 1} pixels",
                f"use a smaller crop, or a larger {setting('input')}",
            )
        if self.cutout > side:
            raise UsageError(
                f"cutout {self.cutout} is larger than images of {height}x{width}",
                f"use a smaller cutout, or a larger {setting('input')}",
            )

    def sentence(self) -> str:
        """Return what is done, in words; empty where nothing is."""
        parts = []
        if self.crop:
            parts.append(f"shifted by up to {_pixels(self.crop)}")
        if self.flip != "none":
            when = "by chance" if self.flip == "random" else "in every other epoch"
            parts.append(f"mirrored {when}")
        if self.randaugment is not None:
            parts.append(f"RandAugment of magnitude {self.randaugment}")
        if self.cutout:
            parts.append(f"a square of {_pixels(self.cutout)} cut out")
        mixing = []
        if self.mixup:
            mixing.append(f"mixup {self.mixup:g}")
        if self.cutmix:
            mixing.append(f"cutmix {self.cutmix:g}")
        if mixing:
            parts.append(" or ".join(mixing))
        return ", ".join(parts)


def _pixels(number: int) -> str:
    return f"{number} pixel{'' if number == 1 else 's'}"
