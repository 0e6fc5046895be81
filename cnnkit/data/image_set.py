"""A split of a dataset: cheap labels, and images in one of two forms."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Self

import torch
from torch import Tensor

from cnnkit.data.decode import read_image_file


@dataclass(frozen=True, eq=False)
class ImageSet(ABC):
    """What every split of every dataset knows without decoding an image.

    Attributes:
        dataset: the name that the dataset was opened under.
        split: `train`, `val`, `test`, or what else the dataset calls it.
        classes: the name of each class, in label order.
        labels: the label of each image, int64 of shape (N,), on the CPU.
        channels: 1 for grey, 3 for RGB.
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

    @abstractmethod
    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""

    @abstractmethod
    def _identity(self) -> bytes | memoryview:
        """Return what tells these images from others, without decoding them."""

    def fingerprint(self) -> str:
        """Return a SHA-256 over labels and images, or the names of their files.

        Splits that are made from the order of the images are the same as long as this is.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        digest.update(self._identity())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class TensorSet(ImageSet):
    """A split that lies in memory as one tensor.

    Attributes:
        images: uint8 of shape (N, C, H, W), on the CPU.
    """

    images: Tensor

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        return replace(self, labels=self.labels[indices], images=self.images[indices])

    def _identity(self) -> bytes | memoryview:
        return self.images.contiguous().numpy().data.cast("B")


@dataclass(frozen=True, eq=False)
class DecodedSet(TensorSet):
    """A split of encoded files that was decoded, as a network takes it but for the normalisation.

    Every image keeps its place: what is drawn at random depends on it.

    Attributes:
        is_whole: which images could be decoded, bool of shape (N,); the others are never used.
        broken: their names.
    """

    is_whole: Tensor
    broken: frozenset[str]

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        return replace(super().subset(indices), is_whole=self.is_whole[indices])


class EncodedImages(ABC):
    """Encoded image files by index; read by several threads at once."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int, allow_large: bool = False) -> bytes:
        """Return the bytes of a whole image file.

        Raises:
            BadImageError: it cannot be read, or is too long and `allow_large` is not given.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a user would call the image: its path, where it has one."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Self:
        """Return these images, in this order; `indices` is int64 of shape (M,)."""

    @abstractmethod
    def joined_with(self, other: Self) -> Self:
        """Return these images, and then the others."""


@dataclass(frozen=True, eq=False)
class ImageFiles(EncodedImages):
    """Image files on disk.

    Attributes:
        paths: one path an image.
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, allow_large: bool = False) -> bytes:
        """Return the bytes of the file."""
        return read_image_file(self.paths[index], allow_large)

    def name(self, index: int) -> str:
        """Return the path."""
        return self.paths[index]

    def subset(self, indices: Tensor) -> Self:
        """Return these files, in this order."""
        return replace(self, paths=tuple(self.paths[i] for i in indices.tolist()))

    def joined_with(self, other: Self) -> Self:
        """Return these files, and then the others."""
        return replace(self, paths=self.paths + other.paths)


@dataclass(frozen=True, eq=False)
class EncodedSet(ImageSet):
    """A split whose images are encoded files, decoded when they are needed.

    Attributes:
        files: the encoded images; `files.read(i)` belongs to `labels[i]`.
    """

    files: EncodedImages

    def subset(self, indices: Tensor) -> Self:
        """Return the set of these images, in this order; `indices` is int64 of shape (M,)."""
        return replace(self, labels=self.labels[indices], files=self.files.subset(indices))

    def _identity(self) -> bytes | memoryview:
        # The folder of the class and the name: a set that was moved as a whole is the same.
        names = (self.files.name(index) for index in range(len(self)))
        short = ("/".join(PurePath(name).parts[-2:]) for name in names)
        return "\n".join(short).encode("utf-8", "surrogateescape")


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Return the images of two splits of one set as one."""
    labels = torch.cat([first.labels, second.labels])
    if isinstance(first, TensorSet) and isinstance(second, TensorSet):
        return replace(first, labels=labels, images=torch.cat([first.images, second.images]))
    if isinstance(first, EncodedSet) and isinstance(second, EncodedSet):
        return replace(first, labels=labels, files=first.files.joined_with(second.files))
    raise TypeError("the two are of different kinds")
