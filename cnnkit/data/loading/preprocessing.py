"""Preprocessing of images into network inputs; stored in the run, so that it never changes."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cnnkit.data.decode import OF_16_BITS, UPPER_OF_16, decode, to_8_bits
from cnnkit.data.image_limits import BadImageError, check_resized
from cnnkit.data.image_set import EncodedSet, ImageSet
from cnnkit.errors import UsageError
from cnnkit.events import Note, emit

MAX_UNCROPPED_PIXELS = 2**24  # an image that is resized to more is cropped while it is resized
RESIZE_CHUNK = 1024  # images resized at once; bounds the memory for the float copies

Decoding = Literal["full", "fast", "before"]
DECODED_AS_BEFORE = (
    "the run is from an earlier version, so its image files are decoded as then: the EXIF "
    "orientation is ignored, and large JPEG files are decoded at a fraction of their size"
)


@dataclass(frozen=True)
class Preprocessing:
    """Channels, size and normalization of a network's input.

    An image is brought to `channels`, resized with an antialiased bilinear filter until it covers
    (`height`, `width`), center-cropped, and normalized: (pixel / 255 - mean) / std.

    Attributes:
        channels: 1 (grayscale) or 3 (RGB).
        height: in pixels.
        width: in pixels.
        mean: subtracted from each channel, on the scale 0..1.
        std: divides each channel, on the scale 0..1.
        allow_large: decode images above the limits of `cnnkit.data.image_limits` as well.
        decoding: `full` decodes every pixel; `fast` decodes large JPEG files at 1/2, 1/4 or 1/8 of
            their size where that still covers (`height`, `width`); `before` does so too, ignores
            the EXIF orientation, and takes the upper byte of 16 bits, as earlier versions did.
        sizes: `torchvision` computes the resized side and the margins of the crop as its `Resize`
            and `CenterCrop` do; `rounded` as they were in runs that do not say it.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    allow_large: bool = False
    decoding: Decoding = "full"
    sizes: Literal["torchvision", "rounded"] = "torchvision"

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Return the object from its `dataclasses.asdict`, of this version or an earlier one."""
        numbers = {"mean": tuple(plain["mean"]), "std": tuple(plain["std"])}
        return cls(**{"decoding": "before", "sizes": "rounded"} | plain | numbers)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def decode(self, content: bytes) -> Tensor:
        """Return the image of a file, decoded and converted to 8 bits, channels and size.

        Returns:
            uint8 of shape (channels, height, width).

        Raises:
            BadImageError: the file is no image, is broken, is too large, or does not state the
                range of its values.
        """
        image = self._decoded(content, "L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = self._resized_and_cropped(image)
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
        return pixels[None] if self.channels == 1 else pixels.permute(2, 0, 1).contiguous()

    def _decoded(self, content: bytes, mode: str) -> Image.Image:
        found = decode(
            content,
            self.allow_large,
            covering=None if self.decoding == "full" else (self.width, self.height),
            upright=self.decoding != "before",
        )
        image = to_8_bits(found.pixels, UPPER_OF_16 if self.decoding == "before" else OF_16_BITS)
        return image if image.mode == mode else image.convert(mode)

    def _resized_and_cropped(self, image: Image.Image) -> Image.Image:
        width, height, left, top = self._covering(image.width, image.height)
        check_resized(image.size, (width, height), self.allow_large)
        if width * height > MAX_UNCROPPED_PIXELS:  # only the part that stays is computed
            across, down = image.width / width, image.height / height
            right, bottom = left + self.width, top + self.height
            box = left * across, top * down, right * across, bottom * down
            return image.resize((self.width, self.height), Image.Resampling.BILINEAR, box)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        return image.crop((left, top, left + self.width, top + self.height))

    def _covering(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return width and height that just cover the size, and where the crop begins in them."""
        is_old = self.sizes == "rounded"
        new_width, new_height = self.width, self.height
        # Compared as products, so that equal shapes give exactly the wanted size.
        if width * self.height >= height * self.width:
            side = round(width * self.height / height) if is_old else 0
            new_width = max(self.width, side or covering_side(width, self.height, height))
        else:
            side = round(height * self.width / width) if is_old else 0
            new_height = max(self.height, side or covering_side(height, self.width, width))
        if is_old:
            left, top = (new_width - self.width) // 2, (new_height - self.height) // 2
        else:
            left, top = centre_margin(new_width, self.width), centre_margin(new_height, self.height)
        return new_width, new_height, left, top

    def resize(self, images: Tensor) -> Tensor:
        """Return images resized and center-cropped, on their device.

        Args:
            images: uint8 of shape (N, C, h, w).

        Returns:
            uint8 of shape (N, C, height, width); the same tensor where nothing is to be done.

        Raises:
            UsageError: each would have very many pixels before it is cropped.
        """
        height, width = images.shape[-2:]
        if (height, width) == self.size:
            return images
        new_width, new_height, left, top = self._covering(width, height)
        try:
            check_resized((width, height), (new_width, new_height), self.allow_large)
        except BadImageError as error:
            raise UsageError(f"the images cannot be resized: {error}") from error
        resized = torch.empty(
            (*images.shape[:2], *self.size), dtype=torch.uint8, device=images.device
        )
        for start in range(0, len(images), RESIZE_CHUNK):
            chunk = images[start : start + RESIZE_CHUNK].float()
            chunk = functional.interpolate(
                chunk, (new_height, new_width), mode="bilinear", antialias=True
            )
            chunk = chunk[..., top : top + self.height, left : left + self.width]
            resized[start : start + RESIZE_CHUNK] = chunk.round_().clamp_(0, 255)
        return resized

    def normalize(self, images: Tensor) -> Tensor:
        """Return normalized images.

        Args:
            images: uint8 of shape (N, C, height, width), C = `channels` or 1; a grayscale image
                fills every channel.

        Returns:
            float32 of shape (N, channels, height, width).
        """
        scale, shift = self._affine(images.device)
        # addcmul reads the bytes once: shift + pixel * scale.
        return torch.addcmul(shift, images.to(torch.float32), scale)

    def denormalize(self, images: Tensor) -> Tensor:
        """Return images with `normalize` undone, rounded to the nearest value.

        Args:
            images: float of shape (N, channels, height, width).

        Returns:
            uint8 of the same shape.
        """
        scale, shift = self._affine(images.device)
        return ((images.float() - shift) / scale).round_().clamp_(0, 255).to(torch.uint8)

    def _affine(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.mean, dtype=torch.float64)
        std = torch.tensor(self.std, dtype=torch.float64)
        shape = (1, self.channels, 1, 1)
        scale = (1 / (255 * std)).to(torch.float32).reshape(shape).to(device)
        shift = (-mean / std).to(torch.float32).reshape(shape).to(device)
        return scale, shift


def say_decoding(images: ImageSet, preprocessing: Preprocessing) -> None:
    """Emit a note if the files of a set are decoded as by earlier versions."""
    if isinstance(images, EncodedSet) and preprocessing.decoding == "before":
        emit(Note(DECODED_AS_BEFORE))


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Return images converted to a number of channels.

    RGB becomes grayscale by ITU-R 601 luma in Pillow's integers,
    (19595 R + 38470 G + 7471 B + 32768) >> 16; grayscale stays
    one channel, which `Preprocessing.normalize` expands.

    Args:
        images: uint8 of shape (N, C, H, W).
        channels: 1 or 3.

    Returns:
        uint8 of shape (N, C or 1, H, W).
    """
    if images.shape[1] == channels or images.shape[1] == 1:
        return images
    grey = torch.empty((len(images), 1, *images.shape[2:]), dtype=torch.uint8)
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).reshape(1, 3, 1, 1)
    for start in range(0, len(images), RESIZE_CHUNK):
        chunk = images[start : start + RESIZE_CHUNK].to(torch.int32)
        luma = ((chunk * weights).sum(1, keepdim=True) + 32768) >> 16
        grey[start : start + RESIZE_CHUNK] = luma.to(torch.uint8)
    return grey


def covering_side(size: int, wanted: int, other: int) -> int:
    """Return how long a side becomes when another one of `other` pixels becomes `wanted`.

    As torchvision's `Resize` computes it: rounded down.
    """
    return max(1, int(wanted * size / other))


def centre_margin(size: int, wanted: int) -> int:
    """Return the offset of a center crop along a side, as torchvision's `CenterCrop` does."""
    return round((size - wanted) / 2)
