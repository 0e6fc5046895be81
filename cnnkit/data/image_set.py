"""A split of a dataset: cheap labels, and images in one of two forms."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor


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


class EncodedImages(ABC):
    """Encoded image files by index; must be picklable, for it travels to worker processes."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> bytes:
        """Return the bytes of a whole image file."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a user would call the image: its path, where it has one."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Self:
        """Return these images, in this order; `indices` is int64 of shape (M,)."""


@dataclass(frozen=True, eq=False)
class ImageFiles(EncodedImages):
    """Image files on disk.

    Attributes:
        paths: one path an image.
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        """Return the bytes of the file."""
        with open(self.paths[index], "rb") as file:  # noqa: PTH123  (no Path a sample)
            return file.read()

    def name(self, index: int) -> str:
        """Return the path."""
        return self.paths[index]

    def subset(self, indices: Tensor) -> Self:
        """Return these files, in this order."""
        return replace(self, paths=tuple(self.paths[i] for i in indices.tolist()))


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
