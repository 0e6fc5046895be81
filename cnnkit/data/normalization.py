"""Channel mean and standard deviation of a split, to normalize with.

Every verb that normalizes measures here, so that they report the same numbers of the same images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.content_hashes import ContentHashes
from cnnkit.data.histogram import Counts, Moments, count_values
from cnnkit.data.image_set import DecodedSet, EncodedSet, ImageSet, TensorSet
from cnnkit.data.loading.file_batches import DECODED_AT_ONCE, FileBatches
from cnnkit.data.loading.preprocessing import Preprocessing, to_channels
from cnnkit.errors import RunFailedError
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.system.randomness import permutation

MAX_MEASURED_FILES = (
    100_000  # beyond that a sample is measured, with an error of the mean of about 0.001
)
SAMPLE_SEED = 0
TASK = "measure images"


@dataclass(frozen=True)
class MeasuredChannels:
    """Measured mean and standard deviation of the images of a split.

    Attributes:
        mean: of each channel, on the scale 0..1.
        std: population standard deviation of each channel; 1 if all pixels are the same.
        num_images: how many images were measured, without those that are broken.
        num_sampled: how many images the sample had; None where all images were to be measured.
        num_total: how many images the split has.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_images: int
    num_sampled: int | None
    num_total: int

    def origin(self) -> str:
        """Return a description of the images that were measured."""
        if self.num_sampled is not None:
            return f"measured on a sample of {self.num_images:,} of {self.num_total:,} images"
        if self.num_images < self.num_total:
            return f"measured on {self.num_images:,} of the {self.num_total:,} training images"
        return "measured on the training images"


def measure_channels(
    split: Sequence[ImageSet],
    preprocessing: Preprocessing,
    num_workers: int,
    skip_bad: bool,
    *,
    order: Tensor | None = None,
    hashes: Sequence[ContentHashes | None] = (),
    most_files: int = MAX_MEASURED_FILES,
) -> MeasuredChannels:
    """Return the exact mean and std of the channels of a split; every pixel counts the same.

    Images in memory are measured as they are stored, as published values are; image files at the
    size that the network sees, as they are decoded for it. Both are converted to its channels.
    Of more than `most_files` files a sample is measured, chosen by their number and a fixed seed.

    Args:
        split: the images, in one set or in several.
        preprocessing: brings files to channels and size.
        num_workers: threads that decode files.
        skip_bad: leave broken images out.
        order: the place of each image in the split, int64 of shape (N,), sets one after another;
            None where they are in order.
        hashes: keep the hash of each file that is decoded, one object a set; None for no one.
        most_files: see above.

    Raises:
        RunFailedError: an image is broken, and is not to be skipped; or all are.
    """
    total = sum(map(len, split))
    is_sampled = total > most_files and any(
        isinstance(images, EncodedSet | DecodedSet) for images in split
    )
    rows: list[Tensor | None] = [None] * len(split)
    if is_sampled:
        is_chosen = torch.zeros(total, dtype=torch.bool)
        is_chosen[torch.from_numpy(permutation(total, SAMPLE_SEED)[:most_files])] = True
        chosen = is_chosen if order is None else is_chosen[order]
        sizes = [len(images) for images in split]
        rows = [torch.nonzero(part).flatten() for part in chosen.split_with_sizes(sizes)]
    counts = np.zeros((1, 256), dtype=np.int64)
    number = 0
    for place, images in enumerate(split):
        keeper = hashes[place] if hashes and not is_sampled else None
        chosen_rows = rows[place]
        if chosen_rows is not None:
            images = images.subset(chosen_rows)
        if isinstance(images, EncodedSet):
            files = FileBatches(
                images, preprocessing, DECODED_AT_ONCE, torch.device("cpu"),
                num_workers=num_workers, skip_bad=skip_bad, hashes=keeper,
            )  # fmt: skip
            own, num_counted = _count_files(files)
        else:
            own, num_counted = _count_tensor(images, preprocessing.channels)
        counts = counts + own  # of no image there is one channel, which fits any number of them
        number += num_counted
    if number == 0:
        raise RunFailedError("every image to be measured is broken", "repair them")
    mean, std = _mean_and_std(counts)
    repeat = preprocessing.channels // len(mean)
    std = tuple(value or 1.0 for value in std)
    sampled = min(most_files, total) if is_sampled else None
    return MeasuredChannels(mean * repeat, std * repeat, number, sampled, total)


def _mean_and_std(counts: Counts) -> tuple[tuple[float, ...], tuple[float, ...]]:
    moments = [Moments.of(one) for one in counts]
    return tuple(one.mean for one in moments), tuple(one.std for one in moments)


def _count_tensor(images: ImageSet, channels: int) -> tuple[Counts, int]:
    """Return the histograms of the images in memory, int64 of shape (C, 256), and their number."""
    if not isinstance(images, TensorSet):
        raise TypeError(f"unknown type of image set: {type(images).__name__}")
    pixels = images.images
    if isinstance(images, DecodedSet) and not images.is_whole.all():
        pixels = pixels[images.is_whole]
    return count_values(to_channels(pixels, channels)), len(pixels)


def _count_files(files: FileBatches) -> tuple[Counts, int]:
    """Return the histograms of files, int64 of shape (C, 256), and how many could be decoded."""
    counts = np.zeros((1, 256), dtype=np.int64)
    done = 0
    emit(TaskStarted(TASK, files.num_images, "images"))
    try:
        for pixels, rows in files.raw():
            counts = counts + count_values(pixels)
            done += len(rows)
            emit(TaskAdvanced(TASK, done + len(files.skipped)))
    finally:
        emit(TaskEnded(TASK))
    return counts, done
