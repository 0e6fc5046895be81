"""What is shown of an image: its pixels as stored, as a network gets them, and normalised."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.loading.preprocessing import Preprocessing, to_channels
from cnnkit.results.samples import Normalization, Picture

MAX_PICTURE_PIXELS = 2**26
"""All pictures together have at most about so many pixels; larger images are reduced."""

MIN_PICTURE_SIDE = 32


@dataclass(frozen=True)
class Figures:
    """Mean and deviation to normalise with, and where they come from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass
class _Range:
    """The values of normalised images, as far as they were seen."""

    number: int = 0
    below: int = 0
    above: int = 0
    min: float = math.inf
    max: float = -math.inf

    def add(self, values: Tensor) -> None:
        self.number += values.numel()
        self.below += int((values < 0).sum())
        self.above += int((values > 1).sum())
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))


@dataclass
class ImageTreatment:
    """What is done to images, and what came of it.

    Attributes:
        shape: channels (None for the image's own), height and width to bring them to; None to leave
            them as they are.
        figures: to normalise them with; None not to.
        max_side: larger pictures are reduced to this.
        treated: the pixels of each image before any normalisation, uint8 of shape (C, H, W);
            kept where `keeps`.
        keeps: whether to keep them.
    """

    shape: tuple[int | None, int, int] | None
    figures: Figures | None
    max_side: int
    keeps: bool = False
    treated: list[Tensor] = field(default_factory=list)
    _seen: _Range = field(default_factory=_Range)

    def titles(self) -> tuple[str, ...]:
        """Return what the pictures of each image show."""
        found = ["as stored"]
        if self.shape is not None:
            found.append(f"brought to {shape_text(self.shape)}")
        if self.figures is not None:
            found += ["normalised, clipped", "normalised, stretched"]
        return tuple(found)

    def pictures(self, image: Image.Image, content: bytes | None) -> tuple[Picture, ...]:
        """Return the pictures of an image.

        Args:
            image: of mode `L` or `RGB`.
            content: the bytes of its file; None for an image in memory.
        """
        found = [self.picture(image)]
        own = 1 if image.mode == "L" else 3
        channels = (self.shape[0] if self.shape else None) or own
        if self.figures is not None:
            channels = len(self.figures.mean)
        pixels = to_channels(_to_tensor(image)[None], channels)
        height, width = self.shape[1:] if self.shape else (image.height, image.width)
        figures = self.figures or Figures((0.0,) * channels, (1.0,) * channels, "")
        treat = Preprocessing(channels, height, width, figures.mean, figures.std)
        if self.shape is not None:
            # As training does: files are resized while they are decoded, sets in memory as tensors.
            pixels = treat.resize(pixels) if content is None else treat.decode(content)[None]
            found.append(self.picture(to_image(pixels[0])))
        if self.keeps:
            self.treated.append(pixels[0])
        if self.figures is not None:
            values = treat.normalize(pixels)[0].double()
            self._seen.add(values)
            low, high = values.min(), values.max()
            stretched = (values - low) / max(float(high - low), 1e-12)
            found += [self.picture(to_image(to_bytes(one))) for one in (values, stretched)]
        return tuple(found)

    def normalization(self) -> Normalization | None:
        """Return how images were normalised, and what came of it; None where none was."""
        figures, seen = self.figures, self._seen
        if figures is None or seen.number == 0:
            return None
        return Normalization(
            mean=figures.mean,
            std=figures.std,
            source=figures.source,
            min=seen.min,
            max=seen.max,
            below=seen.below / seen.number,
            above=seen.above / seen.number,
        )

    def picture(self, image: Image.Image) -> Picture:
        """Return an image of mode `L` or `RGB` as a picture, reduced if it is too large."""
        if max(image.size) > self.max_side:
            image = image.copy()
            image.thumbnail((self.max_side, self.max_side), Image.Resampling.LANCZOS)
        return Picture(image.width, image.height, len(image.getbands()), image.tobytes())


def shape_text(shape: tuple[int | None, int, int]) -> str:
    """Return `CxHxW`, or `HxW` without channels."""
    return "x".join(str(size) for size in shape if size is not None)


def max_picture_side(number: int) -> int:
    """Return the side of the largest picture, where there are so many of them."""
    return max(MIN_PICTURE_SIDE, math.isqrt(MAX_PICTURE_PIXELS // max(number, 1)))


def _to_tensor(image: Image.Image) -> Tensor:
    """Return an image as uint8 of shape (C, H, W)."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def to_image(pixels: Tensor) -> Image.Image:
    """Return uint8 of shape (1 or 3, H, W) as an image."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def to_bytes(values: Tensor) -> Tensor:
    """Return values as bytes, as they are shown: 0 is black, 1 is white, what is beyond is cut."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)
