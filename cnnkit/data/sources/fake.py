"""Synthetic sets from a fixed seed, of any shape: `fake:CxHxW:classes:images`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cnnkit.data.entry import DatasetEntry, FakeSource, Split
from cnnkit.errors import UnavailableError, UsageError
from cnnkit.system.shapes import parse_sizes

if TYPE_CHECKING:  # the description of a fake set must not cost the import of torch
    from cnnkit.data.image_set import TensorSet

FORM = "fake:CxHxW:classes:images, such as fake:3x32x32:10:1000"
PATTERN = re.compile(r"fake:([^:-]+):([0-9]{1,12}):([0-9]{1,12})")
PATTERN_CELLS = 4
NOISE = 96
CHUNK_IMAGES = 256
MOST_CLASSES = 100_000


def is_fake(spec: str) -> bool:
    """Return whether a name is that of a fake set, valid or not."""
    return spec == "fake" or spec.startswith("fake:")


def describe_fake(spec: str) -> DatasetEntry:
    """Return the description of a fake set.

    Raises:
        UsageError: the form is wrong, or a number is invalid.
    """
    match = PATTERN.fullmatch(spec)
    shape = parse_sizes(match[1]) if match is not None else ()
    if match is None or len(shape) != 3:
        raise UsageError(f"{spec!r} is not a fake set", f"the form is {FORM}")
    channels, height, width = shape
    num_classes, num_images = int(match[2]), int(match[3])
    if channels not in (1, 3):
        raise UsageError(f"{spec!r} asks for {channels} channels", "1 is grayscale, 3 is RGB")
    if height < 1 or width < 1:
        raise UsageError(f"{spec!r} asks for images of {height}x{width}", f"the form is {FORM}")
    if num_classes < 2:
        raise UsageError(
            f"{spec!r} asks for {num_classes} class{'' if num_classes == 1 else 'es'}",
            "there must be at least two",
        )
    if num_classes > MOST_CLASSES:
        raise UsageError(
            f"{spec!r} asks for {num_classes} classes", f"the maximum is {MOST_CLASSES:,}"
        )
    if num_images < num_classes:
        raise UsageError(
            f"{spec!r} asks for {num_images} images of {num_classes} classes",
            "there must be at least one of each class",
        )
    num_test = max(num_images // 5, num_classes)
    return DatasetEntry(
        name=f"fake:{channels}x{height}x{width}:{num_classes}:{num_images}",
        title=f"{num_images:,} synthetic images",
        task="patterns under noise",
        channels=channels,
        size=(height, width),
        num_classes=num_classes,
        classes=tuple(f"class {label}" for label in range(num_classes)),
        splits={"train": Split(num_images), "test": Split(num_test)},
        source=FakeSource((channels, height, width), num_classes, num_images),
        note="each class is a fixed pattern of coarse cells, with noise on every pixel",
    )


def open_fake(entry: DatasetEntry, source: FakeSource, split: str) -> TensorSet:
    """Make a split of a fake set; the same on every platform.

    Raises:
        UnavailableError: it does not fit in memory.
    """
    import numpy as np
    import torch

    from cnnkit.data.image_set import TensorSet

    channels, height, width = source.shape
    num_images = entry.splits[split].num_images
    assert num_images is not None
    try:
        images = np.empty((num_images, channels, height, width), dtype=np.uint8)
        labels = np.arange(num_images, dtype=np.int64) % source.num_classes
        # RandomState, and integers only: its stream is promised never to change.
        cells = np.random.RandomState(0).randint(
            0, 256, (source.num_classes, channels, PATTERN_CELLS, PATTERN_CELLS), dtype=np.int16
        )
        rows = np.arange(height) * PATTERN_CELLS // height
        columns = np.arange(width) * PATTERN_CELLS // width
        random = np.random.RandomState(1 if split == "train" else 2)
        for start in range(0, num_images, CHUNK_IMAGES):
            chunk = cells[labels[start : start + CHUNK_IMAGES]][:, :, rows][:, :, :, columns]
            noise = random.randint(-NOISE, NOISE + 1, chunk.shape, dtype=np.int16)
            np.clip(
                chunk + noise, 0, 255, out=images[start : start + CHUNK_IMAGES], casting="unsafe"
            )
    except (MemoryError, ValueError) as error:  # NumPy refuses the largest with a ValueError
        raise UnavailableError(
            f"{entry.name!r} does not fit in memory", "ask for fewer or smaller images"
        ) from error
    return TensorSet(
        dataset=entry.name,
        split=split,
        classes=entry.classes,
        labels=torch.from_numpy(labels),
        channels=channels,
        size=(height, width),
        images=torch.from_numpy(images),
    )
