"""How an image becomes the input of a network; kept in the run, so that it is always the same."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from cnnkit.data.decode import BadImageError, check_resized, opened_image
from cnnkit.data.loading.jpeg import decode_plain_jpeg
from cnnkit.errors import UsageError

MAX_UNCROPPED_PIXELS = 2**24  # an image that is resized to more is cropped while it is resized
RESIZE_CHUNK = 1024  # images resized at once; bounds the memory for the float copies


@dataclass(frozen=True)
class Preprocessing:
    """Channels, size and normalisation that a network is given.

    An image is brought to `channels`, resized with an antialiased bilinear filter until it covers
    (`height`, `width`), cropped at its centre, and normalised: (pixel / 255 - mean) / std.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        height: in pixels.
        width: in pixels.
        mean: subtracted from each channel, on the scale 0..1.
        std: divides each channel, on the scale 0..1.
        allow_large: decode images above the limits of `cnnkit.data.decode` as well.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    allow_large: bool = False

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """Return what `dataclasses.asdict` made a dictionary of."""
        return cls(**plain | {"mean": tuple(plain["mean"]), "std": tuple(plain["std"])})

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def decode(self, content: bytes) -> Tensor:
        """Decode an image file, whole.

        Alpha is dropped, a palette expanded, 16 bits become 8, the EXIF orientation is ignored,
        and of several frames the first is taken.

        Returns:
            uint8 of shape (channels, height, width).

        Raises:
            BadImageError: the file is no image, is broken, or is too large.
        """
        image = self._decoded(content, "L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = self._resized_and_cropped(image)
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
        return pixels[None] if self.channels == 1 else pixels.permute(2, 0, 1).contiguous()

    def _decoded(self, content: bytes, mode: str) -> Image.Image:
        # Larger ones may be worth to be decoded at 1/2, 1/4 or 1/8 where that still covers.
        plain = decode_plain_jpeg(content, 4 * self.width * self.height - 1)
        if plain is not None:
            return plain if plain.mode == mode else plain.convert(mode)
        with opened_image(content, self.allow_large, (self.width, self.height)) as opened:
            return _to_mode(opened, mode)

    def _resized_and_cropped(self, image: Image.Image) -> Image.Image:
        width, height = _covering(image.width, image.height, self.width, self.height)
        check_resized(image.size, (width, height), self.allow_large)
        left, top = (width - self.width) // 2, (height - self.height) // 2
        if width * height > MAX_UNCROPPED_PIXELS:  # only the part that stays is computed
            across, down = image.width / width, image.height / height
            right, bottom = left + self.width, top + self.height
            box = left * across, top * down, right * across, bottom * down
            return image.resize((self.width, self.height), Image.Resampling.BILINEAR, box)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        return image.crop((left, top, left + self.width, top + self.height))

    def resize(self, images: Tensor) -> Tensor:
        """Bring images to the size, on the device where they are.

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
        new_width, new_height = _covering(width, height, self.width, self.height)
        try:
            check_resized((width, height), (new_width, new_height), self.allow_large)
        except BadImageError as error:
            raise UsageError(f"the images cannot be resized: {error}") from error
        top, left = (new_height - self.height) // 2, (new_width - self.width) // 2
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
        """Return images as the network takes them.

        Args:
            images: uint8 of shape (N, C, height, width), C = `channels` or 1; a grey image fills
                every channel.

        Returns:
            float32 of shape (N, channels, height, width).
        """
        scale, shift = self._affine(images.device)
        # addcmul reads the bytes once: shift + pixel * scale.
        return torch.addcmul(shift, images.to(torch.float32), scale)

    def denormalize(self, images: Tensor) -> Tensor:
        """Return what `normalize` was given, or comes nearest to it where images were changed.

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


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Bring images to a number of channels.

    RGB becomes grey by ITU-R 601 luma in Pillow's integers, (19595 R + 38470 G + 7471 B + 32768)
    >> 16; grey stays one channel, which `Preprocessing.normalize` spreads.

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


def _covering(width: int, height: int, wanted_width: int, wanted_height: int) -> tuple[int, int]:
    """Return the size of the same shape that just covers the wanted one, as (width, height)."""
    # Compared as products, so that equal shapes give exactly the wanted size.
    if width * wanted_height >= height * wanted_width:
        return max(wanted_width, round(width * wanted_height / height)), wanted_height
    return wanted_width, max(wanted_height, round(height * wanted_width / width))


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    image.load()
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip 16 bits at 255 instead of scaling them.
        image = Image.fromarray(_upper_bytes(image))
    if image.mode == "P":  # Pillow warns of transparency; the pixels keep the palette's colour
        image.info.pop("transparency", None)
    return image if image.mode == mode else image.convert(mode)


def _upper_bytes(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the upper bytes of 16-bit grey values, row by row: wider copies are large."""
    pixels = np.empty((image.height, image.width), dtype=np.uint8)
    rows = max(1, RESIZE_CHUNK**2 // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(strip).astype(np.int64).clip(0, 65535) >> 8
    return pixels
