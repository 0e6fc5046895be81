"""Leaving out of an evaluation what the network was trained on, by content and not by name."""

from pathlib import Path

import numpy as np
import torch

from cnnkit.data import find_dataset, open_dataset
from cnnkit.data.content_hashes import HASH, ContentHashes, Hashes, pixel_hashes
from cnnkit.data.image_set import EncodedSet, ImageSet, TensorSet
from cnnkit.errors import CnnkitError, UsageError, setting
from cnnkit.events import Warned, emit
from cnnkit.runs.folder import RunFolder
from cnnkit.runs.model_and_data import ModelAndData

SEEN = "trained on, or chose the best epoch"
TOO_GOOD = "the accuracy is too good for what the network has not seen"


def without_seen(
    images: ImageSet,
    dataset: str,
    setup: ModelAndData,
    run: RunFolder,
    data_dir: Path,
    num_workers: int,
) -> ImageSet:
    """Return the images of another dataset without those that the run has used, and say so.

    An image was used if its file, or its pixels where it is in memory, are the same to the last
    bit. Of `train` nothing is left out: it was asked for by name.

    Args:
        images: a split, or all images, of the dataset.
        dataset: its name, as the user gave it.
        setup: model plus data of the run.
        run: the run folder, which holds the hashes of image files.
        data_dir: where the dataset of the run is, if that is in memory.
        num_workers: threads that read files.

    Raises:
        UsageError: no image would be left.
        CheckFailedError: what the run wrote about its images is damaged.
    """
    known = _of_run(images, setup, run, data_dir)
    if isinstance(known, str):
        emit(Warned(f"unknown whether images of {dataset} were trained on: {known}"))
        return images
    if isinstance(images, EncodedSet):
        hashes = ContentHashes(len(images))
        hashes.read_missing(images.files, num_workers, setup.preprocessing.allow_large)
        is_seen = hashes.is_among(known)
    else:
        assert isinstance(images, TensorSet)
        is_seen = np.isin(pixel_hashes(images), known)
    number = int(is_seen.sum())
    if not number:
        return images
    split = "" if images.split == "all" else f"{images.split} "
    of_all = f"{number:,} of the {len(images):,} {split}images of {dataset} were {SEEN}"
    if images.split == "train":
        emit(Warned(f"{of_all}: {TOO_GOOD}"))
        return images
    if number == len(images):
        raise UsageError(
            f"every image of {dataset} was {SEEN}",
            f"name held-out images; {setting('split')} train evaluates images that were trained on",
        )
    emit(Warned(f"{of_all}, and are left out"))
    return images.subset(torch.from_numpy(np.flatnonzero(~is_seen)))


def _of_run(images: ImageSet, setup: ModelAndData, run: RunFolder, data_dir: Path) -> Hashes | str:
    """Return the sorted hashes of what a run has used; or why they are unknown."""
    kept = run.read_seen_images()
    if isinstance(images, EncodedSet):
        if kept is None:
            return "the run has kept no hashes of image files"
        return np.frombuffer(kept, dtype=HASH)
    if kept is not None:
        return "the run is of image files, and these images are in memory"
    # A set in memory is its own record: its fingerprint is that of every pixel.
    found = []
    try:
        splits = find_dataset(setup.dataset).splits
        names = [name for name in ("train", "val") if name in splits]
        for name in names:
            part = open_dataset(setup.dataset, name, data_dir=data_dir, download=False)
            if not isinstance(part, TensorSet):
                return "the run has kept no hashes of image files"
            if name == "train" and part.fingerprint() != setup.fingerprint:
                return f"the images of {setup.dataset} are no longer those of the run"
            found.append(pixel_hashes(part))
    except CnnkitError as error:
        return f"the images of the run cannot be opened: {error.message}"
    return np.unique(np.concatenate(found))
