"""What a training run came to."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Result, to_plain
from cnnkit.results.evaluation import Metrics, tta_sentences
from cnnkit.results.table import Column, Table, format_value


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
        seconds: duration of the pass over the training set alone.
        images_per_second: training images over these seconds.
        test_loss: mean cross entropy on the test set, with `monitor = "test"` alone.
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
        """Return the figures; those of the test set only where it was monitored."""
        names = [f.name for f in fields(self)]
        if self.test_loss is None:
            names = names[:-2]
        return {name: to_plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class TrainResult(Result):
    """The answer of `train`.

    Attributes:
        run: the run folder.
        model: name of the network.
        dataset: name of the dataset.
        device: where it was trained.
        num_params: number of parameters of the network.
        num_train_images: images that it was trained on.
        num_val_images: images held out to choose the best epoch.
        epochs: the figures of each epoch.
        best_epoch: the epoch whose weights are kept as the best and were tested.
        test: the figures of these weights on the test set; None where the set has none.
        num_skipped: broken images that were left out.
        seconds: duration of the whole run, opening the data included.
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

    def tables(self) -> tuple[Table, ...]:
        """Return the epochs as one table, the test figures below it."""
        has_val = any(epoch.val_loss is not None for epoch in self.epochs)
        has_test = any(epoch.test_loss is not None for epoch in self.epochs)
        columns = [
            Column("epoch", "epoch", "integer"),
            Column("train_loss", "train loss", "loss"),
            Column("train_accuracy", "train acc", "fraction"),
        ]
        if has_val:
            columns += [
                Column("val_loss", "val loss", "loss"),
                Column("val_accuracy", "val acc", "fraction"),
            ]
        if has_test:
            columns += [
                Column("test_loss", "test loss", "loss"),
                Column("test_accuracy", "test acc", "fraction"),
            ]
        columns += [
            Column("learning_rate", "lr", "learning_rate", rank=2),
            Column("seconds", "time", "seconds", rank=1),
            Column("images_per_second", "images/s", "rate"),
        ]
        rows = tuple(
            tuple(getattr(epoch, column.key) for column in columns) for epoch in self.epochs
        )
        title = f"{self.model} on {self.dataset}"
        return (Table("epochs", title, tuple(columns), rows, self._notes()),)

    def _notes(self) -> tuple[str, ...]:
        chosen = (
            f"epoch {self.best_epoch}, best on the {self.num_val_images:,} validation images"
            if self.num_val_images
            else f"epoch {self.best_epoch}, the last; nothing was held out to choose by"
        )
        test = self.test.sentences() if self.test else ("there is none",)
        skipped = (f"broken images left out: {self.num_skipped}",) if self.num_skipped else ()
        return (
            f"test: {test[0]}",
            *test[1:],
            *tta_sentences(self.tta),
            f"weights: {chosen}",
            *skipped,
            f"{format_value('count', self.num_params)} parameters, "
            f"{format_value('seconds', self.seconds)} on {self.device}",
            f"run: {self.run}",
        )
