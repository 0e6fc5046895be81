"""Sets that come with scikit-learn."""

from typing import Literal

import torch
from torch import Tensor

from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_set import TensorSet
from cnnkit.data.sources.derived import derived_split


def open_embedded(entry: DatasetEntry, name: Literal["digits", "iris"], split: str) -> TensorSet:
    """Return a split of a set that needs no download."""
    images, labels = _digits() if name == "digits" else _iris()
    whole = TensorSet(
        dataset=entry.name,
        split=split,
        classes=entry.classes,
        labels=labels,
        channels=1,
        size=entry.size,
        images=images,
    )
    return derived_split(whole, split)


def _digits() -> tuple[Tensor, Tensor]:
    """Return uint8 images of shape (1797, 1, 8, 8), their 0..16 scaled to 0..255, and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    counts = torch.from_numpy(data.images).to(torch.int64)
    # Rounded to the nearest in integers: halves go up, on every machine.
    images = ((counts * 255 + 8) // 16).to(torch.uint8).unsqueeze(1)
    return images, torch.from_numpy(data.target).to(torch.int64)


def _iris() -> tuple[Tensor, Tensor]:
    """Return uint8 images of shape (150, 1, 1, 4), the lengths in millimetres, and labels."""
    from sklearn.datasets import load_iris

    data = load_iris()
    # The table has centimetres with one digit, so millimetres are exact once rounded.
    images = torch.from_numpy(data.data * 10).round().to(torch.uint8).view(-1, 1, 1, 4)
    return images, torch.from_numpy(data.target).to(torch.int64)
