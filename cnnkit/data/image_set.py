"""A split of a dataset: labels in memory, and images as a tensor or as encoded files."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Self

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.decode import decode, to_8_bits
from cnnkit.data.encoded import Chooser, EncodedFiles, EncodedImage, name_of
from cnnkit.data.image_limits import BadImageError
from cnnkit.errors import BrokenImageError


@dataclass(frozen=True, eq=False)
class ImageSet(ABC):
    """A split of a dataset: what is known of it without decoding an image.

    Attributes:
        dataset: the name that the dataset was opened under.
        split: `train`, `val`, `test`, or another name that the dataset uses.
        classes: the name of each class, in label order.
        labels: the label of each image, int64 of shape (N,), on the CPU.
        channels: 1 for grayscale, 3 for RGB.
        size: height and width, or None where they differ from image to image.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    labels: Tensor
    channels: int
    size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, uint8 of shape (C, H, W), upright and at its own size, and its label.

        Raises:
            IndexError: there is no such image.
            BrokenImageError: it cannot be decoded.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"index {index} is out of range: {self.dataset} has {len(self):,} {self.split} "
                f"images"
            )
        return self._image(index % len(self)), int(self.labels[index])

    @abstractmethod
    def _image(self, index: int) -> Tensor:
        """Return the pixels of an image."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""

    @abstractmethod
    def _identity(self) -> bytes | memoryview:
        """Return the fingerprint of these images, without decoding them."""

    def fingerprint(self) -> str:
        """Return a SHA-256 over labels and images, or the names of their files.

        Splits that are made from the order of the images are the same as long as this is.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        digest.update(self._identity())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class TensorSet(ImageSet):
    """A split in memory, as one tensor.

    Attributes:
        images: uint8 of shape (N, C, H, W), on the CPU.
    """

    images: Tensor

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        return replace(self, labels=self.labels[indices], images=self.images[indices])

    def _image(self, index: int) -> Tensor:
        return self.images[index]

    def _identity(self) -> bytes | memoryview:
        return self.images.contiguous().numpy().data.cast("B")


@dataclass(frozen=True, eq=False)
class DecodedSet(TensorSet):
    """A split of decoded files at the network's input size, not yet normalized.

    Every image keeps its place: random draws depend on it.

    Attributes:
        is_whole: which images could be decoded, bool of shape (N,); the others are never used.
        broken: their names.
    """

    is_whole: Tensor
    broken: frozenset[str]

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        return replace(super().subset(indices), is_whole=self.is_whole[indices])


@dataclass(frozen=True, eq=False)
class EncodedSet(ImageSet):
    """A split of encoded image files, decoded when they are needed.

    Attributes:
        files: the encoded images; `files.read(i)` belongs to `labels[i]`, which is -1 for an image
            without a class.
        of_splits: the split of each image, where several are joined.
        problems: what cannot be read at all, with the reason: a folder, the end of an archive.
    """

    files: EncodedFiles
    of_splits: tuple[str, ...] | None = None
    problems: tuple[tuple[str, str], ...] = ()

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        chosen = indices.tolist()
        of_splits = self.of_splits and tuple(self.of_splits[index] for index in chosen)
        files = self.files.subset(chosen)
        return replace(self, labels=self.labels[indices], files=files, of_splits=of_splits)

    def with_headers(self, channels: int, size: tuple[int, int] | None) -> Self:
        """Return the set with what the headers of its files say."""
        return replace(self, channels=channels, size=size)

    def images(
        self, is_wanted: Chooser, chosen: frozenset[int] | None = None
    ) -> Iterator[EncodedImage]:
        """Return the wanted images in order, behind what cannot be read at all.

        Args:
            is_wanted: asked for every one of them, by its number.
            chosen: only the images of these numbers, counted without what cannot be read.
        """
        if chosen is None:
            for number, (name, reason) in enumerate(self.problems):
                if is_wanted(number):
                    yield EncodedImage(name, "", self.split, None, reason)
        names = [*self.classes, ""]
        for index, label in enumerate(self.labels.tolist()):
            if (chosen is None or index in chosen) and is_wanted(index + len(self.problems)):
                split = self.split if self.of_splits is None else self.of_splits[index]
                item = self.files.items[index]
                yield EncodedImage(name_of(item), names[label], split, item)

    def _image(self, index: int) -> Tensor:
        try:
            image = to_8_bits(decode(self.files.read(index)).pixels)
        except BadImageError as error:
            raise BrokenImageError(
                f"broken image {self.files.name(index)}: {error}", "repair or remove it"
            ) from error
        pixels = torch.from_numpy(np.array(image))
        return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)

    def _identity(self) -> bytes | memoryview:
        # The folder of the class and the name: a complete set that was moved is the same.
        names = (self.files.name(index) for index in range(len(self)))
        short = ("/".join(PurePath(name).parts[-2:]) for name in names)
        return "\n".join(short).encode("utf-8", "surrogateescape")


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Return the images of two splits of one set as one."""
    labels = torch.cat([first.labels, second.labels])
    if isinstance(first, TensorSet) and isinstance(second, TensorSet):
        return replace(first, labels=labels, images=torch.cat([first.images, second.images]))
    if isinstance(first, EncodedSet) and isinstance(second, EncodedSet):
        of_splits = tuple(
            split
            for part in (first, second)
            for split in part.of_splits or (part.split,) * len(part)
        )
        files = first.files.joined_with(second.files)
        return replace(first, labels=labels, files=files, of_splits=of_splits)
    raise TypeError("image sets of different types cannot be joined")
