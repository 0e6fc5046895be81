"""Channel mean and standard deviation of a set, for its normalisation."""

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.histogram import Moments, count_values
from cnnkit.data.image_set import DecodedSet, EncodedSet, ImageSet, TensorSet
from cnnkit.data.loading.file_batches import FileBatches
from cnnkit.data.loading.preprocessing import Preprocessing, to_channels
from cnnkit.errors import RunFailedError

SAMPLE_SIZE = 2048  # files are decoded for this, so a sample of a large set has to do
SAMPLE_SEED = 0


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure mean and standard deviation of each channel over all pixels, exactly.

    The pixels are counted by value, so nothing is rounded before the last division.

    Args:
        images: uint8 of shape (N, C, H, W).

    Returns:
        Means and (population) standard deviations, one a channel, on the scale 0..1.
    """
    moments = [Moments.of(counts) for counts in count_values(images)]
    return tuple(one.mean for one in moments), tuple(one.std for one in moments)


def measure_statistics(
    images: ImageSet, preprocessing: Preprocessing, num_workers: int, skip_bad: bool
) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Measure the channel statistics of a set after its channels were brought to the network's.

    A set in memory is measured whole, before any resizing. Of files, at most `SAMPLE_SIZE` are
    measured as the network will see them, chosen by a fixed seed; they are decoded for that unless
    all were.

    Returns:
        Means and standard deviations a channel, scale 0..1, and the number of images measured.

    Raises:
        RunFailedError: an image is broken, and is not to be skipped.
    """
    is_of_files = isinstance(images, EncodedSet | DecodedSet)
    if is_of_files and len(images) > SAMPLE_SIZE:
        order = np.random.Generator(np.random.PCG64(SAMPLE_SEED)).permutation(len(images))
        images = images.subset(torch.from_numpy(np.sort(order[:SAMPLE_SIZE])))
    if isinstance(images, DecodedSet):
        pixels = images.images[images.is_whole]
    elif isinstance(images, TensorSet):
        pixels = to_channels(images.images, preprocessing.channels)
    elif isinstance(images, EncodedSet):
        files = FileBatches(
            images,
            preprocessing,
            64,
            torch.device("cpu"),
            num_workers=num_workers,
            skip_bad=skip_bad,
        )
        pixels = torch.cat([torch.empty(0, dtype=torch.uint8), *(part for part, _ in files.raw())])
    else:
        raise TypeError(f"unknown kind of image set: {type(images).__name__}")
    number = len(pixels)
    if number == 0:
        raise RunFailedError("every image of the sample is broken", "repair them")
    mean, std = channel_statistics(pixels)
    if len(mean) < preprocessing.channels:
        mean, std = mean * preprocessing.channels, std * preprocessing.channels
    # A channel of one single value has no spread to divide by.
    return mean, tuple(value or 1.0 for value in std), number
