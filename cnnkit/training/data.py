"""The data of a run: its splits, and the batches that are made of them."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from cnnkit.data import find_dataset, open_dataset
from cnnkit.data.augmentation import Augmentation
from cnnkit.data.batches import Batches, make_batches
from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_set import ImageSet
from cnnkit.data.splits import stratified_holdout
from cnnkit.devices import memory_format
from cnnkit.errors import UsageError
from cnnkit.evaluation import Setup
from cnnkit.events import OnEvent
from cnnkit.training.recipe import Recipe


@dataclass(frozen=True)
class RunData:
    """The splits of a run.

    Attributes:
        entry: what the catalogue says of the dataset.
        train: without the images that were held out.
        val: None where there are none.
        test: None where there are none.
        fingerprint: of the training images before any were held out.
    """

    entry: DatasetEntry
    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    fingerprint: str

    def counts(self) -> str:
        """Return how many images are there for what, as a sentence says it."""
        counts = [f"{len(self.train):,} to train on"]
        if self.val is not None:
            counts.append(f"{len(self.val):,} to choose the best epoch by")
        if self.test is not None:
            counts.append(f"{len(self.test):,} to test")
        return ", ".join(counts)


def open_data(dataset: str, recipe: Recipe, data_dir: Path, on_event: OnEvent) -> RunData:
    """Open every split that a recipe needs.

    Raises:
        UsageError: the dataset lacks a split that the recipe asks for.
        NotFoundError, UnavailableError: the images cannot be had.
    """
    entry = find_dataset(dataset)
    images: ImageSet = open_dataset(dataset, "train", data_dir=data_dir, on_event=on_event)
    fingerprint = images.fingerprint()
    val: ImageSet | None = None
    if recipe.val_split and "val" in entry.splits:
        val = open_dataset(dataset, "val", data_dir=data_dir, on_event=on_event)
    elif recipe.val_split:
        stay, held_out = stratified_holdout(images.labels, recipe.val_split, recipe.seed)
        if len(held_out) == 0:
            raise UsageError(
                f"{dataset} has too few training images to hold some out", "use --val-split 0"
            )
        images, val = images.subset(stay), images.subset(held_out)
    if recipe.patience is not None and val is None:
        raise UsageError(
            "--patience waits for a better epoch, and nothing is held out to tell by",
            "use a --val-split above 0",
        )
    test: ImageSet | None = None
    if "test" in entry.splits:
        test = open_dataset(dataset, "test", data_dir=data_dir, on_event=on_event)
    if recipe.monitor == "test" and test is None:
        raise UsageError(f"{dataset} has no test set to monitor", "use --monitor val")
    return RunData(entry, images, val, test, fingerprint)


def checked_workers(num_workers: int) -> int:
    """Return the number of threads that read files.

    Raises:
        UsageError: it is below 0.
    """
    if num_workers < 0:
        raise UsageError(f"--workers must be at least 0, not {num_workers}")
    return num_workers


@dataclass(frozen=True)
class Place:
    """Where and how batches are made.

    Attributes:
        device: where they are wanted.
        num_workers: threads that read files.
        skip_bad: leave broken images out.
    """

    device: torch.device
    num_workers: int
    skip_bad: bool
    _made: list[Batches] = field(default_factory=list)

    def batches(
        self,
        images: ImageSet,
        setup: Setup,
        batch_size: int,
        augmentation: Augmentation | None = None,
    ) -> Batches:
        """Return the batches of a set, and remember them for their skipped images."""
        batches = make_batches(
            images,
            setup.preprocessing,
            batch_size,
            self.device,
            memory_format(self.device, setup.channels_last),
            self.num_workers,
            self.skip_bad,
            augmentation,
        )
        self._made.append(batches)
        return batches

    def num_skipped(self) -> int:
        """Return how many broken images were left out, each counted once."""
        return len(set().union(*(batches.skipped for batches in self._made)))
