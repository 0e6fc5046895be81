"""Pictures of an image: its pixels as stored, as network input, and normalized."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.loading.preprocessing import Preprocessing, to_channels
from cnnkit.errors import UsageError, setting
from cnnkit.results.show import Normalization, Picture

MAX_PICTURE_PIXELS = 2**26
"""All pictures together have at most about so many pixels; larger images are reduced."""

MIN_PICTURE_SIDE = 32
MAX_KEPT_PIXELS = 2**24  # of images that are augmented, all together


@dataclass(frozen=True)
class Figures:
    """Mean and std to normalize with, and where they come from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass
class _Range:
    """The range of the values of normalized images so far."""

    number: int = 0
    below: int = 0
    above: int = 0
    min: float = math.inf
    max: float = -math.inf

    def add(self, values: Tensor, counts: Tensor) -> None:
        """Add values with their counts."""
        self.number += int(counts.sum())
        self.below += int(counts[values < 0].sum())
        self.above += int(counts[values > 1].sum())
        self.min = min(self.min, float(values[counts > 0].min()))
        self.max = max(self.max, float(values[counts > 0].max()))


@dataclass
class ImageTreatment:
    """The processing of images for display, and its results.

    Attributes:
        shape: channels (None for the image's own), height and width to bring them to; None to leave
            them as they are.
        figures: mean and std to normalize with; None not to.
        max_side: larger pictures are reduced to this.
        treated: the pixels of each image before normalization, uint8 of shape (C, H, W);
            kept where `keeps`.
        keeps: whether to keep them.
        allow_large: treat images above the limits as well.
    """

    shape: tuple[int | None, int, int] | None
    figures: Figures | None
    max_side: int
    keeps: bool = False
    allow_large: bool = False
    treated: list[Tensor] = field(default_factory=list)
    _seen: _Range = field(default_factory=_Range)
    _num_kept: int = 0

    def titles(self) -> tuple[str, ...]:
        """Return the captions of the pictures of each image."""
        found = ["as stored"]
        if self.shape is not None:
            found.append(f"brought to {shape_text(self.shape)}")
        if self.figures is not None:
            found += ["normalized, clipped", "normalized, stretched"]
        return tuple(found)

    def pictures(self, pixels: Tensor) -> tuple[Picture, ...]:
        """Return the pictures of an image in memory, uint8 of shape (C, H, W)."""
        stored = self.picture(to_image(pixels))
        channels = self._channels(len(pixels))
        treat = self._treat(channels, *pixels.shape[1:])
        treated = treat.resize(to_channels(pixels[None], channels))[0]
        return (stored, *self.further(to_image(treated), len(pixels)))

    def brought(self, content: bytes, own: int) -> Image.Image:
        """Return the image of a file brought to the shape, as training does: while it is decoded.

        Args:
            content: the bytes of the file.
            own: its own number of channels.

        Raises:
            BadImageError: it would be resized to too many pixels.
        """
        return to_image(self._treat(self._channels(own), 1, 1).decode(content))

    def further(self, image: Image.Image, own: int) -> list[Picture]:
        """Return the pictures beside that of the stored image.

        Args:
            image: of mode `L` or `RGB`, brought to the shape if there is one.
            own: number of channels of the stored image.

        Raises:
            UsageError: the images are too large to be kept.
        """
        found = [self.picture(image)] if self.shape is not None else []
        treat = self._treat(self._channels(own), image.height, image.width)
        if treat.channels == 1 and image.mode != "L":
            image = image.convert("L")
        if self.keeps:
            self._keep(image)
        if self.figures is None:
            return found
        if treat.channels == 3 and image.mode != "RGB":
            image = image.convert("RGB")
        # Normalization is a table of 256 values for each channel, whatever the image has of pixels.
        every = torch.arange(256, dtype=torch.uint8).expand(1, treat.channels, 1, 256)
        table = treat.normalize(every)[0, :, 0].double()
        counts = torch.tensor(image.histogram()).reshape(-1, 256)
        self._seen.add(table, counts)
        low, high = table[counts > 0].min(), table[counts > 0].max()
        stretched = (table - low) / max(float(high - low), 1e-12)
        for one in (table, stretched):
            found.append(self.picture(image.point(to_bytes(one).flatten().tolist())))
        return found

    def _keep(self, image: Image.Image) -> None:
        self._num_kept += image.width * image.height
        if self._num_kept > MAX_KEPT_PIXELS and not self.allow_large:
            raise UsageError(
                f"images of more than {MAX_KEPT_PIXELS:,} pixels together cannot be augmented at "
                "full size",
                f"choose a size with {setting('input')}, fewer with {setting('num')}, or "
                f"{setting('allow_large')}",
            )
        self.treated.append(_to_tensor(image))

    def _channels(self, own: int) -> int:
        if self.figures is not None:
            return len(self.figures.mean)
        return (self.shape[0] if self.shape else None) or own

    def _treat(self, channels: int, height: int, width: int) -> Preprocessing:
        if self.shape is not None:
            height, width = self.shape[1:]
        figures = self.figures or Figures((0.0,) * channels, (1.0,) * channels, "")
        return Preprocessing(
            channels, height, width, figures.mean, figures.std, allow_large=self.allow_large
        )

    def normalization(self) -> Normalization | None:
        """Return the normalization and its range of values; None if not normalized."""
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
