"""How good a network is: loss, accuracy with its interval, and every class."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnnkit.results.base import Result, to_plain
from cnnkit.results.table import Column, Table, format_value

TTA_SENTENCES = {
    "mirror": "logits: mean over each image and its mirror image",
    "shift": "logits: mean over each image, its mirror image, and both shifted by a pixel",
}
MAX_CONFUSION_CLASSES = 10  # a wider matrix no longer fits 80 columns
NUM_CONFUSED_PAIRS = 10


@dataclass(frozen=True)
class Metrics:
    """Loss and accuracy over a set of images.

    Attributes:
        loss: mean cross entropy an image, natural logarithm.
        accuracy: share of images whose class scored highest, a fraction.
        accuracy_low: lower end of its 95 % Wilson interval.
        accuracy_high: upper end of it.
        num_images: how many images were evaluated.
        top5_accuracy: share of images whose class is among the five highest; None with at most
            five classes.
    """

    loss: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    num_images: int
    top5_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures; `top5_accuracy` only where there are more than five classes."""
        names = ["loss", "accuracy", "accuracy_low", "accuracy_high", "num_images"]
        if self.top5_accuracy is not None:
            names.append("top5_accuracy")
        return {name: to_plain(getattr(self, name)) for name in names}

    def sentences(self) -> tuple[str, ...]:
        """Return the figures in lines for people."""
        accuracy, low, high = (
            f"{100 * x:.2f}" for x in (self.accuracy, self.accuracy_low, self.accuracy_high)
        )
        images = f"{self.num_images:,} image{'' if self.num_images == 1 else 's'}"
        if self.top5_accuracy is not None:
            images += f", top-5 accuracy {format_value('fraction', self.top5_accuracy)}"
        return (
            f"accuracy {accuracy} % (95 % interval {low} to {high}), "
            f"loss {format_value('loss', self.loss)}",
            images,
        )


def tta_sentences(tta: str) -> tuple[str, ...]:
    """Return what test-time augmentation did, in a line for people; none where it was none."""
    return (TTA_SENTENCES[tta],) if tta in TTA_SENTENCES else ()


@dataclass(frozen=True)
class ClassMetrics:
    """How well one class is told from the others.

    Attributes:
        name: of the class.
        num_images: how many images are of this class.
        precision: of those called so, the share that are; None where none was called so, or there
            is no image of the class, so that nothing called so could be right.
        recall: of those that are, the share called so; None where there is none.
        f1: harmonic mean of the two; None where one is None or both are 0.
    """

    name: str
    num_images: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class EvalResult(Result):
    """The answer of `eval`.

    Attributes:
        run: the run folder.
        checkpoint: which weights: `best` or `last`.
        epoch: the epoch that these weights come from.
        model: name of the network.
        dataset: name of the dataset.
        split: the part of it that was evaluated.
        device: where it was computed.
        metrics: loss and accuracy; its fields stand at the top of the dictionary.
        per_class: a row a class.
        confusion: number of images by true class (row) and predicted class (column).
        num_skipped: broken images that were left out.
        seconds: duration of the evaluation, without opening the data.
        images_per_second: its rate.
        tta: test-time augmentation: `none`, `mirror` or `shift`.
    """

    schema: ClassVar[str] = "cnnkit.eval/1"

    run: str
    checkpoint: str
    epoch: int
    model: str
    dataset: str
    split: str
    device: str
    metrics: Metrics
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    num_skipped: int
    seconds: float
    images_per_second: float
    tta: str = "none"

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result, the metrics at the top level."""
        plain: dict[str, Any] = {}
        for name, value in super().to_dict().items():
            plain |= value if name == "metrics" else {name: value}
        return plain

    def tables(self) -> tuple[Table, ...]:
        """Return the classes, and the confusion matrix or its largest entries."""
        per_class = Table(
            "per_class",
            f"{self.model} on {'all' if self.split == 'all' else f'the {self.split}'} images "
            f"of {self.dataset}",
            (
                Column("name", "class", "name"),
                Column("num_images", "images", "integer"),
                Column("precision", "precision", "fraction"),
                Column("recall", "recall", "fraction"),
                Column("f1", "F1", "fraction"),
            ),
            tuple((c.name, c.num_images, c.precision, c.recall, c.f1) for c in self.per_class),
            self._notes(),
        )
        return per_class, self._confusion_table()

    def _notes(self) -> tuple[str, ...]:
        skipped = (f"broken images left out: {self.num_skipped}",) if self.num_skipped else ()
        rate = format_value("rate", self.images_per_second)
        return (
            *self.metrics.sentences(),
            *tta_sentences(self.tta),
            f"{self.checkpoint} weights, after epoch {self.epoch}",
            f"{rate} images/s on {self.device}",
            *skipped,
        )

    def _confusion_table(self) -> Table:
        names = [c.name for c in self.per_class]
        if len(names) <= MAX_CONFUSION_CLASSES and sum(len(n) + 2 for n in names) <= 64:
            return Table(
                "confusion",
                "true class by row, predicted class by column",
                (
                    Column("class", "", "name"),
                    *(Column(name, name, "integer") for name in names),
                ),
                tuple((name, *row) for name, row in zip(names, self.confusion, strict=True)),
            )
        pairs = sorted(
            (
                (-count, true, predicted)
                for true, row in enumerate(self.confusion)
                for predicted, count in enumerate(row)
                if count and true != predicted
            ),
        )[:NUM_CONFUSED_PAIRS]
        return Table(
            "confusion",
            "most frequent confusions",
            (
                Column("true_class", "true class", "name"),
                Column("predicted_class", "taken for", "name"),
                Column("num_images", "images", "integer"),
            ),
            tuple((names[true], names[predicted], -count) for count, true, predicted in pairs),
            ("the whole matrix is in the JSON",),
        )
