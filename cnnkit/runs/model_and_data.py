"""Model plus data: which network, which dataset, and the preprocessing between them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cnnkit.data import find_dataset, open_dataset
from cnnkit.data.image_set import ImageSet, joined
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.splits import stratified_holdout
from cnnkit.errors import CheckFailedError, UsageError
from cnnkit.models import ModelDescription, build_model, find_model
from cnnkit.registry import did_you_mean
from cnnkit.runs.code import described_by
from cnnkit.runs.folder import RunFolder
from cnnkit.system.trust import names_code

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ModelAndData:
    """Which network, which data, and how an image of the one becomes the input of the other.

    Attributes:
        model: name of the network, or `file.py:factory`, or `timm:name`.
        model_arguments: what its builder was given beside these.
        in_channels: channels that the network was built for.
        image_size: height and width that it was built for.
        dataset: name of the dataset, or its folder.
        classes: names of the classes, in the order of the network's outputs.
        val_split: share of the training images that is held-out for validation; None where the
            dataset brings its own validation set, or none is wanted.
        split_seed: seed of that choice.
        preprocessing: how an image becomes an input.
        eval_batch_size: images per evaluation batch; the same everywhere, so that the rounding is.
        channels_last: whether weights and images are laid out channels last, where the device can.
        fingerprint: of the training images before any were held out; see `ImageSet.fingerprint`.
        model_sha256: of the user's file that makes the network; None for other networks.
        tta: test-time augmentation of every evaluation of the run; see `mean_logits`.
        precision: in which the network computes, in training and evaluation; see `autocast`.
        deterministic: whether it computes only with operations that give the same numbers every
            time; see `deterministic_operations`.
        built_from: where `build_model` finds the network, if not by `model`: the copy of the user's
            file in the run folder, or a file that the user names instead.
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
    channels_last: bool
    fingerprint: str
    model_sha256: str | None = None
    model_arguments: Mapping[str, str] = field(default_factory=dict)
    tta: str = "none"
    precision: str = "fp32"
    deterministic: bool = False
    built_from: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `run.json` keeps."""
        plain = asdict(self)
        del plain["built_from"]  # an option of the call
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], built_from: str | None = None) -> Self:
        """Return what `to_dict` made a dictionary of.

        Args:
            plain: the dictionary, as `RunFolder.read_description` has checked it.
            built_from: as in the class.
        """
        return cls(
            **{
                **plain,
                "classes": tuple(plain["classes"]),
                "image_size": tuple(plain["image_size"]),
                "preprocessing": Preprocessing.from_dict(plain["preprocessing"]),
                "built_from": built_from,
            }
        )

    @property
    def spec(self) -> str:
        """How `build_model` finds the network."""
        return self.built_from or self.model

    def build(self, model: ModelDescription | None = None) -> "nn.Module":
        """Return the network, freshly initialized, on the CPU.

        Args:
            model: what is known of it, where it was looked up already.
        """
        return build_model(
            model or self.spec,
            num_classes=len(self.classes),
            in_channels=self.in_channels,
            image_size=self.image_size,
            arguments=self.model_arguments,
        )

    def open_split(self, split: str, data_dir: Path) -> ImageSet:
        """Return a split as the run saw it: `train` without the images held out for `val`.

        Args:
            split: `train`, `val`, `test`, or another that the dataset has.
            data_dir: where datasets are.

        Raises:
            UsageError: there is no such split, or it has no images.
            CheckFailedError: the training images are others than they were, and the split is made
                from them: it could hold images that the network was trained on; or the classes are
                others.
        """
        held_out = self.val_split is not None and split in ("train", "val")
        if not held_out and split not in find_dataset(self.dataset).splits:
            names = self._split_names()
            raise UsageError(
                f"the run has no split {split!r}",
                did_you_mean(split, names) or f"it has {', '.join(names)} and all",
            )
        images: ImageSet = open_dataset(
            self.dataset, "train" if held_out else split, data_dir=data_dir
        )
        if images.classes != self.classes:
            raise CheckFailedError(_class_difference(images.classes, self))
        self._check_unchanged(split, images, data_dir)
        if held_out:
            train, val = stratified_holdout(images.labels, self.val_split or 0.0, self.split_seed)
            images = images.subset(train if split == "train" else val)
        if len(images) == 0:
            raise UsageError(f"there are no {split} images in {self.dataset}")
        return images

    def open_all(self, data_dir: Path) -> ImageSet:
        """Return the training, validation and test images of the run, in this order.

        Raises:
            CheckFailedError: the training images, or the classes, are others than they were.
        """
        usual = [name for name in ("train", "val", "test") if name in self._split_names()]
        parts = [self.open_split(name, data_dir) for name in usual]
        return reduce(joined, parts)

    def _split_names(self) -> list[str]:
        """Return the splits that the run saw, and what others its dataset has."""
        own = ["train"] if self.val_split is None else ["train", "val"]
        return list(dict.fromkeys([*own, *find_dataset(self.dataset).splits]))

    def _check_unchanged(self, split: str, images: ImageSet, data_dir: Path) -> None:
        """Refuse a split that is made from training images which have changed since."""
        if split == "train" or (split == "val" and self.val_split is not None):
            train = images
        elif find_dataset(self.dataset).splits[split].derived:
            train = open_dataset(self.dataset, "train", data_dir=data_dir)
        else:
            return
        if train.fingerprint() != self.fingerprint:
            raise CheckFailedError(
                f"the images of {self.dataset} are not those of the run, so its {split} split may "
                "hold images that the network was trained on",
                "restore the folder, or evaluate on held-out images",
            )


def check_fits(setup: ModelAndData, weights: "Mapping[str, Tensor]", run: RunFolder) -> None:
    """Raise for weights of other shapes before the network takes memory.

    Only networks of the zoo that are built for a size are looked at: for them a wrong size can
    mean any number of weights.

    Args:
        setup: model plus data of the run.
        weights: the tensors by name.
        run: the folder.

    Raises:
        CheckFailedError: they have other shapes, or `run.json` describes no network.
    """
    import torch

    if setup.spec != setup.model or names_code(setup.model):
        return
    with described_by(run, setup.spec):
        if not find_model(setup.spec).takes_size:
            return
        with torch.device("meta"):
            own = setup.build().state_dict()
    if {name: value.shape for name, value in own.items()} != {
        name: value.shape for name, value in weights.items()
    }:
        raise CheckFailedError(
            f"the weights of {run.path} do not fit the network {setup.model}", "train again"
        )


def _class_difference(classes: tuple[str, ...], setup: ModelAndData) -> str:
    dataset = setup.dataset
    if len(classes) != len(setup.classes):
        return (
            f"{dataset} has {len(classes)} classes, and had {len(setup.classes)} when the network "
            "was trained"
        )
    number, here, there = next(
        (i, a, b) for i, (a, b) in enumerate(zip(classes, setup.classes, strict=True)) if a != b
    )
    return (
        f"the classes of {dataset} are not those the network was trained for: "
        f"class {number} is {here!r}, and was {there!r}"
    )
