"""The result of `show`: images of a dataset."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnnkit.results.base import Records, Result, to_plain


@dataclass(frozen=True)
class Picture:
    """Pixels to be shown.

    Attributes:
        width: in pixels.
        height: in pixels.
        channels: 1 for grayscale, 3 for RGB.
        pixels: one byte per value, row by row, the channels of a pixel together.
        caption: lines of its own; none for most.
    """

    width: int
    height: int
    channels: int
    pixels: bytes
    caption: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """An image of a dataset.

    Attributes:
        index: its place in the split, from 0.
        label: the name of its class; None where it has none.
        width: in pixels, as stored; None where it is broken.
        height: in pixels, likewise.
        mode: of its file, such as `RGB`; None where it is broken.
        path: of its file; None for images in memory.
        reason: why it is broken; None if it is not.
        pictures: what is shown of it, as `SampleList.stages` says; not in the JSON. None where it
            is broken.
    """

    index: int
    label: str | None
    width: int | None
    height: int | None
    mode: str | None
    path: str | None
    reason: str | None
    pictures: tuple[Picture, ...] | None

    @property
    def size(self) -> str | None:
        """Height and width, `HxW`; None where it is broken."""
        return None if self.width is None else f"{self.height}x{self.width}"

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pixels."""
        fields = {name: to_plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return {name: value for name, value in fields.items() if name != "pictures"}


@dataclass(frozen=True)
class Normalization:
    """How images were normalized, (pixel / 255 - mean) / std, and the range of the results.

    Attributes:
        mean: by channel, on the scale 0..1.
        std: by channel.
        source: where these come from.
        min: the smallest value of the images shown.
        max: the largest.
        below: share of the values below 0, which a picture shows as black.
        above: share above 1, which it shows as white.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    min: float
    max: float
    below: float
    above: float


@dataclass(frozen=True)
class SampleList(Result):
    """The result of `show`.

    Attributes:
        dataset: what it was called.
        split: the part of it that the images are from; `all` for every image.
        num_images: how many images that has.
        num_candidates: how many of these are of the classes that were asked for.
        seed: what chose the images; None where they were named.
        input: the input of a network that they were brought to, as `CxHxW`; None for none.
        normalization: how they were normalized; None where they were not.
        stages: what was done to an image before each of its pictures; not in the JSON.
        samples: the images.
        augmentation: how training would change them, in words; None where that is not shown.
    """

    schema: ClassVar[str] = "cnnkit.show/1"

    dataset: str
    split: str
    num_images: int
    num_candidates: int
    seed: int | None
    input: str | None
    normalization: Normalization | None
    stages: tuple[str, ...]
    samples: tuple[Sample, ...]
    augmentation: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all but the pictures."""
        return {name: value for name, value in super().to_dict().items() if name != "stages"}

    def records(self) -> Records:
        """Return one row per image; paths and reasons where any has one."""
        names = ["index", "label", "size", "mode"]
        names += [
            name
            for name in ("path", "reason")
            if any(getattr(sample, name) is not None for sample in self.samples)
        ]
        return Records.of(self.samples, names)
