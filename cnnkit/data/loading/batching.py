"""Batches of a set, in memory or in files."""

import torch

from cnnkit.data.content_hashes import ContentHashes
from cnnkit.data.image_set import EncodedSet, ImageSet, TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.file_batches import FileBatches
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.loading.tensor_batches import TensorBatches


def make_batches(
    images: ImageSet,
    preprocessing: Preprocessing,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    num_workers: int = 0,
    skip_bad: bool = False,
    augmentation: Augmentation | None = None,
    hashes: ContentHashes | None = None,
) -> Batches:
    """Return the batches of a set of either type; see `Batches` and `FileBatches`."""
    if isinstance(images, TensorSet):
        return TensorBatches(images, preprocessing, batch_size, device, memory_format, augmentation)
    if isinstance(images, EncodedSet):
        return FileBatches(
            images,
            preprocessing,
            batch_size,
            device,
            memory_format,
            num_workers,
            skip_bad,
            augmentation,
            hashes,
        )
    raise TypeError(f"unknown type of image set: {type(images).__name__}")
