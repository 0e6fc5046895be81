"""The result of `eval`: loss, accuracy with its confidence interval, and metrics per class."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Records, Result, to_plain


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
        """Return the metrics; `top5_accuracy` only where there are more than five classes."""
        names = ["loss", "accuracy", "accuracy_low", "accuracy_high", "num_images"]
        if self.top5_accuracy is not None:
            names.append("top5_accuracy")
        return {name: to_plain(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class ClassMetrics:
    """How well one class is recognized.

    Attributes:
        name: of the class.
        num_images: how many images are of this class.
        precision: of those predicted as it, the share that are; None where none was predicted as
            it, or there is no image of the class, so that none could be right.
        recall: of those that are, the share predicted as it; None where there is none.
        f1: harmonic mean of the two; None where one is None or both are 0.
    """

    name: str
    num_images: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class EvalResult(Result):
    """The result of `eval`.

    Attributes:
        run: the run folder.
        checkpoint: which weights: `best` or `last`.
        epoch: the epoch that these weights come from.
        model: name of the network.
        dataset: name of the dataset.
        split: the part of it that was evaluated.
        device: where it was computed.
        metrics: loss and accuracy; its fields are at the top of the dictionary.
        per_class: one row per class.
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
        """Return the complete result, the metrics at the top level."""
        plain: dict[str, Any] = {}
        for name, value in super().to_dict().items():
            plain |= value if name == "metrics" else {name: value}
        return plain

    def records(self) -> Records:
        """Return one row per class."""
        return Records.of(self.per_class, [one.name for one in fields(ClassMetrics)])
