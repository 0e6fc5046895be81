"""A network and the data it is given, put together once and kept in the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cnnkit.data import open_dataset
from cnnkit.data.preprocessing import Preprocessing
from cnnkit.data.splits import stratified_holdout
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import OnEvent, ignore
from cnnkit.models import build_model

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.data.image_set import ImageSet


@dataclass(frozen=True)
class Setup:
    """Which network, which data, and how an image of the one becomes the input of the other.

    Attributes:
        model: name of the network, or `file.py:factory`, or `timm:name`.
        model_arguments: what its builder was given beside these.
        in_channels: channels that the network was built for.
        image_size: height and width that it was built for.
        dataset: name of the dataset, or its folder.
        classes: names of the classes, in the order of the network's outputs.
        val_split: share of the training images held out for validation; None where the dataset
            brings its own validation set, or none is wanted.
        split_seed: seed of that choice.
        preprocessing: how an image becomes an input.
        eval_batch_size: images a batch in evaluation; the same everywhere, so that the rounding is.
    """

    model: str
    dataset: str
    classes: tuple[str, ...]
    in_channels: int
    image_size: tuple[int, int]
    val_split: float | None
    split_seed: int
    preprocessing: Preprocessing
    eval_batch_size: int
    model_arguments: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what `run.json` keeps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made a dictionary of.

        Raises:
            NotFoundError: the dictionary is not one of these.
        """
        try:
            return cls(
                **{
                    **plain,
                    "classes": tuple(plain["classes"]),
                    "image_size": tuple(plain["image_size"]),
                    "preprocessing": Preprocessing.from_dict(plain["preprocessing"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise NotFoundError(f"the description of the run is incomplete: {error}") from error

    def build(self) -> "nn.Module":
        """Return the network, freshly initialised, on the CPU."""
        return build_model(
            self.model,
            num_classes=len(self.classes),
            in_channels=self.in_channels,
            image_size=self.image_size,
            arguments=self.model_arguments,
        )

    def open_split(
        self, split: str, data_dir: Path, on_event: OnEvent = ignore, dataset: str | None = None
    ) -> "ImageSet":
        """Return a split as the run saw it: `train` without the images held out for `val`.

        Args:
            split: `train`, `val`, `test`, or another that the dataset has.
            data_dir: where datasets lie.
            on_event: told about downloads.
            dataset: another dataset to take it from; its classes must be the same.

        Raises:
            UsageError: there is no such split, or the classes differ.
        """
        chosen = dataset or self.dataset
        held_out = dataset is None and self.val_split is not None and split in ("train", "val")
        images: ImageSet = open_dataset(
            chosen, "train" if held_out else split, data_dir=data_dir, on_event=on_event
        )
        if images.classes != self.classes:
            raise UsageError(_class_difference(chosen, images.classes, self))
        if held_out:
            images = self.hold_out(images)[0 if split == "train" else 1]
        if len(images) == 0:
            raise UsageError(f"there are no {split} images in {chosen}")
        return images

    def hold_out(self, images: "ImageSet") -> "tuple[ImageSet, ImageSet]":
        """Return the training images without those for validation, and these."""
        train, val = stratified_holdout(images.labels, self.val_split or 0.0, self.split_seed)
        return images.subset(train), images.subset(val)


def _class_difference(dataset: str, classes: tuple[str, ...], setup: Setup) -> str:
    if len(classes) != len(setup.classes):
        return (
            f"{dataset} has {len(classes)} classes, and the network was trained for the "
            f"{len(setup.classes)} of {setup.dataset}"
        )
    number, here, there = next(
        (i, a, b) for i, (a, b) in enumerate(zip(classes, setup.classes, strict=True)) if a != b
    )
    return (
        f"the classes of {dataset} are not those the network was trained for: "
        f"class {number} is {here!r}, and was {there!r} in {setup.dataset}"
    )
