"""The result of `train`, or of a search for its learning rate."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Records, Result, to_plain
from cnnkit.results.eval import Metrics


@dataclass(frozen=True)
class EpochMetrics:
    """One pass over the training set.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean loss over the pass, while the weights change; with label smoothing if any.
        train_accuracy: share of training images classified right, while the weights change; of
            images that are mixed, the class of the larger part counts as right.
        val_loss: mean cross entropy on the validation set after the pass; None without one.
        val_accuracy: accuracy there; None without one.
        learning_rate: that of the last step.
        seconds: duration of the pass over the training set only.
        images_per_second: training images over these seconds.
        test_loss: mean cross entropy on the test set, only with `monitor = "test"`.
        test_accuracy: accuracy there, likewise.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float
    test_loss: float | None = None
    test_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics; those of the test set only where it was monitored."""
        names = [f.name for f in fields(self)]
        if self.test_loss is None:
            names = names[:-2]
        return {name: to_plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class TrainResult(Result):
    """The result of `train`.

    Attributes:
        run: the run folder.
        model: name of the network.
        dataset: name of the dataset.
        device: where it was trained.
        num_params: number of parameters of the network.
        num_train_images: images that it was trained on.
        num_val_images: held-out images that the best epoch was chosen on.
        epochs: the metrics of each epoch.
        best_epoch: the epoch whose weights are kept as the best and were tested.
        test: the metrics of these weights on the test set; None where the set has none.
        num_skipped: broken images that were left out.
        seconds: duration of the run, opening the data included.
        tta: test-time augmentation of validation and test: `none`, `mirror` or `shift`.
    """

    schema: ClassVar[str] = "cnnkit.train/1"

    run: str
    model: str
    dataset: str
    device: str
    num_params: int
    num_train_images: int
    num_val_images: int
    epochs: tuple[EpochMetrics, ...]
    best_epoch: int
    test: Metrics | None
    num_skipped: int
    seconds: float
    tta: str = "none"

    def records(self) -> Records:
        """Return one row per epoch; without the metrics of a set that was not evaluated."""
        names = ["epoch", "train_loss", "train_accuracy"]
        for split in ("val", "test"):
            if any(getattr(epoch, f"{split}_loss") is not None for epoch in self.epochs):
                names += [f"{split}_loss", f"{split}_accuracy"]
        return Records.of(self.epochs, (*names, "learning_rate", "seconds", "images_per_second"))


@dataclass(frozen=True)
class LearningRatePoint:
    """A step of the search.

    Attributes:
        step: its number, from 1.
        learning_rate: that it was taken with.
        loss: of its batch, before the step.
        smoothed_loss: running mean of the losses so far, those long past weighing less.
    """

    step: int
    learning_rate: float
    loss: float
    smoothed_loss: float


@dataclass(frozen=True)
class LearningRateSearch(Result):
    """What a search for a learning rate found.

    Attributes:
        model: name of the network.
        dataset: name of the dataset.
        device: where it was computed.
        optimizer: whose learning rate is searched.
        batch_size: images per step.
        seed: of weights, order and dropout.
        recipe_lr: the learning rate that the recipe has without the search.
        points: the steps, the learning rate rising.
        diverged_at: the learning rate at which the search ended; None where it came to its end.
        lowest_at: that of the lowest smoothed loss.
        suggestion: that at which the smoothed loss falls most steeply; None where it did not fall.
    """

    schema: ClassVar[str] = "cnnkit.lr-find/1"

    model: str
    dataset: str
    device: str
    optimizer: str
    batch_size: int
    seed: int
    recipe_lr: float
    points: tuple[LearningRatePoint, ...]
    diverged_at: float | None
    lowest_at: float
    suggestion: float | None

    def records(self) -> Records:
        """Return one row per step."""
        return Records.of(self.points, [one.name for one in fields(LearningRatePoint)])
