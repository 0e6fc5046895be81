"""The transform of an image before it is counted: resize, and crop at the center."""

import re
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnnkit.data.decode import DecodedImage
from cnnkit.data.image_limits import check_resized
from cnnkit.data.loading.preprocessing import centre_margin, covering_side
from cnnkit.errors import UsageError, setting
from cnnkit.system.shapes import parse_sizes

FORM = "write resize=256,crop=224; a size is S or HxW"
STEP = re.compile(r"(resize|crop)=(.+)")
LARGEST_SIDE = 65_500
PADDED = "padded with 0 because smaller than the crop"


@dataclass(frozen=True)
class Transform:
    """Resize and crop, as the lectures' pipelines do, with Pillow's antialiased bilinear filter.

    Attributes:
        steps: (`resize` or `crop`, height, width); the width of a resize is None where the
            shorter side becomes the height and the shape is kept.
    """

    steps: tuple[tuple[str, int, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the transform that a text such as `resize=256,crop=224` describes.

        Raises:
            UsageError: the text has another form, or a size is below 1 or very large.
        """
        steps: list[tuple[str, int, int | None]] = []
        for part in text.replace(" ", "").split(","):
            match = STEP.fullmatch(part)
            if part in ("resize", "crop"):
                raise UsageError(
                    f"{setting('transform')} {text!r}: the size of {part} is missing", FORM
                )
            sizes = parse_sizes(match[2]) if match is not None else ()
            if match is None or len(sizes) not in (1, 2):
                raise UsageError(
                    f"{setting('transform')} {text!r} has an unknown step {part!r}", FORM
                )
            kind, height, width = match[1], sizes[0], sizes[1] if len(sizes) == 2 else None
            if not all(1 <= size <= LARGEST_SIDE for size in sizes):
                raise UsageError(
                    f"{setting('transform')} {part!r}: sizes are 1 to {LARGEST_SIDE:,}", FORM
                )
            if kind == "crop" and width is None:
                width = height
            steps.append((kind, height, width))
        return cls(tuple(steps))

    def __str__(self) -> str:
        return ",".join(
            f"{kind}={height}" if width in (None, height) else f"{kind}={height}x{width}"
            for kind, height, width in self.steps
        )

    def apply(self, decoded: DecodedImage, allow_large: bool = False) -> DecodedImage:
        """Return a decoded image after every step; its width and height stay as they were.

        Raises:
            BadImageError: a step would make it larger than an image may be, and `allow_large` is
                not given.
        """
        if not self.steps:
            return decoded
        weight = 1 if decoded.planes is None else 2  # 16 bits are resized as 32
        self.check(decoded.width, decoded.height, allow_large, weight)
        changes = decoded.changes + self.changes(decoded.width, decoded.height)
        if decoded.image is not None:
            image = self.apply_to_image(decoded.image)
            return replace(decoded, image=image, changes=changes)
        assert decoded.planes is not None
        planes = self._apply_to_planes(decoded.planes)
        return replace(decoded, planes=planes, changes=changes)

    def changes(self, width: int, height: int) -> tuple[str, ...]:
        """Return the changes to an image of this size beside resizing and cropping."""
        for kind, high, wide in self.steps:
            if kind == "resize":
                width, height = _resized(width, height, high, wide)
                continue
            assert wide is not None
            if wide > width or high > height:
                return (PADDED,)
            width, height = wide, high
        return ()

    def check(self, width: int, height: int, allow_large: bool, weight: int = 1) -> None:
        """Raise if a step would exceed the maximum image size; see `check_resized`.

        Raises:
            BadImageError: it would.
        """
        for kind, high, wide in self.steps:
            size = width, height
            width, height = (
                _resized(width, height, high, wide) if kind == "resize" else (wide or high, high)
            )
            check_resized(size, (width, height), allow_large, weight)

    def apply_to_image(self, image: Image.Image) -> Image.Image:
        """Return an image of mode `L`, `RGB` or `F` after every step."""
        for kind, height, width in self.steps:
            if kind == "resize":
                size = _resized(image.width, image.height, height, width)
                image = image.resize(size, Image.Resampling.BILINEAR)
            else:
                assert width is not None
                left, top = _margin(image.width, width), _margin(image.height, height)
                # Beyond its edges an image is black, as in torchvision's CenterCrop.
                image = image.crop((left, top, left + width, top + height))
        return image

    def _apply_to_planes(self, planes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        # Pillow has no bilinear filter for 16-bit integers; a float32 holds them exactly.
        changed = []
        for plane in planes:
            image = self.apply_to_image(Image.fromarray(plane.astype(np.float32)))
            changed.append(np.asarray(image).round().clip(0, 65535).astype(np.uint16))
        return np.stack(changed)


def _resized(width: int, height: int, size: int, other: int | None) -> tuple[int, int]:
    """Return the new (width, height) as in torchvision's Resize."""
    if other is not None:
        return other, size
    if width <= height:
        return size, covering_side(height, size, width)
    return covering_side(width, size, height), size


def _margin(size: int, wanted: int) -> int:
    """Return the offset of a center crop along a side; negative if it is larger than the side."""
    return centre_margin(size, wanted) if size >= wanted else -((wanted - size) // 2)
