"""Counting the pixels of sets that lie in memory as one tensor."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data.histogram import CHUNK_IMAGES, count_values
from cnnkit.data.image_set import TensorSet
from cnnkit.data.streams import Chooser
from cnnkit.events import OnEvent, TaskAdvanced, TaskEnded, TaskStarted
from cnnkit.stats.measuring import TASK, count_image
from cnnkit.stats.tally import ImageRecord, SampledImage, Tally, sums_over_images
from cnnkit.stats.transform import Transform

CLAIM_IMAGES = 4096  # chosen at once, where several processes share a set
MODE_OF_CHANNELS = {1: "L", 3: "RGB"}


def measure_tensors(
    images: TensorSet, tally: Tally, transform: Transform, is_wanted: Chooser, on_event: OnEvent
) -> None:
    """Count the pixels of a set in memory.

    Args:
        images: the set.
        tally: what it is added to.
        transform: resizes and crops.
        is_wanted: tells of each image, by its number, whether it is counted.
        on_event: told how far the work is.
    """
    on_event(TaskStarted(TASK, len(images), "images"))
    try:
        for start in range(0, len(images), CLAIM_IMAGES):
            numbers = range(start, min(start + CLAIM_IMAGES, len(images)))
            rows = torch.tensor(
                [number for number in numbers if is_wanted(number)], dtype=torch.int64
            )
            _count(images, rows, tally, transform)
            on_event(TaskAdvanced(TASK, numbers[-1] + 1))
    finally:
        on_event(TaskEnded(TASK))


def _count(images: TensorSet, rows: Tensor, tally: Tally, transform: Transform) -> None:
    labels = images.labels[rows]
    for label in sorted(set(labels.tolist())):
        members = rows[labels == label]
        for start in range(0, len(members), CHUNK_IMAGES):
            pixels = images.images[members[start : start + CHUNK_IMAGES]]
            if transform.steps:
                tally.add_records(_transformed(pixels, images.classes[label], transform))
            else:
                _count_chunk(pixels, images.classes[label], tally)


def _count_chunk(pixels: Tensor, class_name: str, tally: Tally) -> None:
    """Count images of one class; uint8 of shape (N, C, H, W)."""
    number_of_images, channels, height, width = pixels.shape
    tally.add_histogram(class_name, count_values(pixels))
    flat = pixels.reshape(number_of_images, channels, -1)
    wide = flat.to(torch.int32)
    totals = flat.sum(-1, dtype=torch.int64).numpy()
    squares = (wide * wide).sum(-1, dtype=torch.int64).numpy()
    numbers = np.full(number_of_images, height * width, dtype=np.int64)
    tally.num_pixels += number_of_images * height * width
    tally.sizes[width, height] += number_of_images
    tally.modes[MODE_OF_CHANNELS[channels]] += number_of_images
    tally.add_sums(class_name, channels, sums_over_images(numbers, totals, squares, 255))
    if tally.sample is not None:
        for total, square in zip(totals.tolist(), squares.tolist(), strict=True):
            tally.sample.append(
                SampledImage(
                    height * width,
                    tuple(value * 257 for value in total),
                    tuple(value * 257**2 for value in square),
                )
            )


def _transformed(pixels: Tensor, class_name: str, transform: Transform) -> Iterator[ImageRecord]:
    for one in pixels:
        image = to_pillow(one)
        yield ImageRecord(
            name="",
            class_name=class_name,
            counts=count_image(transform.apply_to_image(image)),
            width=image.width,
            height=image.height,
            mode=image.mode,
        )


def to_pillow(pixels: Tensor) -> Image.Image:
    """Return an image in memory, uint8 of shape (C, H, W), as a Pillow image `L` or `RGB`."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
