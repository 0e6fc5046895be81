"""Predictions of a network for every image of a set, and the metrics computed from them."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.views import mean_logits
from cnnkit.errors import DivergedRunError, RunFailedError, setting
from cnnkit.events import TaskAdvanced, TaskEnded, TaskStarted, emit
from cnnkit.results import ClassMetrics, Metrics
from cnnkit.system.device import autocast
from cnnkit.system.distributed import ONE, ProcessGroup

REPORT_EVERY_SECONDS = 0.2
NORMAL_QUANTILE_95 = 1.959963984540054  # of the standard normal distribution at 0.975


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row an image, on the CPU.

    Attributes:
        labels: the true class, int64 of shape (N,).
        predicted: the class with the highest score, int64 of shape (N,).
        in_top5: whether the true class is among the five highest scores, bool of shape (N,).
        losses: cross entropy, float64 of shape (N,), natural logarithm.
        num_classes: number of classes.
        seconds: duration.
    """

    labels: Tensor
    predicted: Tensor
    in_top5: Tensor
    losses: Tensor
    num_classes: int
    seconds: float

    def metrics(self) -> Metrics:
        """Return loss and accuracy."""
        number = len(self.labels)
        correct = int((self.predicted == self.labels).sum())
        low, high = wilson_interval(correct, number)
        return Metrics(
            loss=self.losses.mean().item(),
            accuracy=correct / number,
            accuracy_low=low,
            accuracy_high=high,
            num_images=number,
            top5_accuracy=int(self.in_top5.sum()) / number if self.num_classes > 5 else None,
        )

    def confusion(self) -> Tensor:
        """Return the number of images by true and predicted class, int64 of shape (K, K)."""
        cells = self.labels * self.num_classes + self.predicted
        counts = torch.bincount(cells, minlength=self.num_classes**2)
        return counts.reshape(self.num_classes, self.num_classes)

    def confusion_counts(self) -> tuple[tuple[int, ...], ...]:
        """Return `confusion` as rows of numbers."""
        return tuple(tuple(row) for row in self.confusion().tolist())

    def per_class(self, names: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
        """Return precision, recall and F1 of each class; None for a class without an image."""
        # Not by sklearn.metrics, whose import takes 1.2 s of CPU time: `cnnkit eval` of 80
        # small photos takes 2.6 s in all. A test compares the two.
        confusion = self.confusion()
        right = confusion.diagonal().tolist()
        actual, called = confusion.sum(1).tolist(), confusion.sum(0).tolist()
        rows = []
        for index, name in enumerate(names):
            precision = right[index] / called[index] if called[index] and actual[index] else None
            recall = right[index] / actual[index] if actual[index] else None
            defined = precision is not None and recall is not None and right[index] > 0
            f1 = 2 * right[index] / (actual[index] + called[index]) if defined else None
            rows.append(ClassMetrics(name, actual[index], precision, recall, f1))
        return tuple(rows)


def predict_all(
    model: nn.Module,
    batches: Batches,
    num_classes: int,
    task: str = "evaluate",
    tta: str = "none",
    precision: str = "fp32",
    group: ProcessGroup = ONE,
) -> Predictions:
    """Run a network over every image of a set, in its evaluation mode.

    The modes of its submodules are put back afterwards. Several processes share the batches out,
    and each returns the predictions for all images.

    Args:
        model: takes (B, C, H, W), returns logits of shape (B, num_classes).
        batches: the set.
        num_classes: number of logits.
        task: name of the task in the events.
        tta: test-time augmentation; see `mean_logits`.
        precision: `fp32`, `bf16` or `fp16`; see `autocast`.
        group: the processes that share the work.

    Raises:
        RunFailedError: an image is broken, or all are and none is left, or a loss is not finite.
    """
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    labels: list[Tensor] = []
    predicted: list[Tensor] = []
    in_top5: list[Tensor] = []
    losses: list[Tensor] = []
    start = last_report = time.perf_counter()
    done = 0
    emit(TaskStarted(task, batches.num_images, "images"))
    try:
        model.eval()
        with torch.inference_mode(), autocast(device, precision):
            for images, truth in batches.ordered(group.shard):
                logits = mean_logits(model, images, tta)
                highest = logits.topk(min(5, num_classes)).indices
                labels.append(truth)
                predicted.append(highest[:, 0])
                in_top5.append((highest == truth[:, None]).any(1))
                losses.append(functional.cross_entropy(logits, truth, reduction="none"))
                done += len(truth)
                now = time.perf_counter()
                if now - last_report > REPORT_EVERY_SECONDS:
                    last_report = now
                    emit(TaskAdvanced(task, done * group.size))
            # The copies to the CPU wait for the device.
            columns: tuple[Tensor, ...] = ()
            if done:
                columns = tuple(
                    torch.cat(parts).cpu() for parts in (labels, predicted, in_top5, losses)
                )
            columns = group.combined(columns, lambda own: _of_all_ranks(own, batches, group))
    finally:
        for module, mode in modes:
            module.training = mode
        emit(TaskEnded(task))
    seconds = time.perf_counter() - start
    if not columns:
        raise RunFailedError(f"every image to {task} is broken", "repair them, or replace the set")
    truths, highest, hits, entropies = columns
    if not entropies.isfinite().all():
        number = int((~entropies.isfinite()).sum())
        raise DivergedRunError(
            f"the loss of {number:,} of {len(truths):,} images to {task} is not finite",
            f"the network has diverged: train with a smaller {setting('lr')}",
        )
    return Predictions(truths, highest, hits, entropies.double(), num_classes, seconds)


def _of_all_ranks(
    columns: tuple[Tensor, ...], batches: Batches, group: ProcessGroup
) -> tuple[Tensor, ...]:
    """Return the columns of every rank, one below the other: each image once, in its order."""
    found = group.gather((columns, batches.skipped))
    batches.skipped.update(*(skipped for _, skipped in found))
    # A rank that had no batch, or none that could be read, has nothing.
    there = [its_columns for its_columns, _ in found if its_columns]
    return tuple(torch.cat(parts) for parts in zip(*there, strict=True))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927).

    Args:
        successes: from 0 to `trials`.
        trials: at least 1.
    """
    # Not by scipy.stats.binomtest, whose import takes 0.7 s of CPU time: `cnnkit eval` of 80 small
    # photos takes 2.6 s in all. A test compares the two.
    z2 = NORMAL_QUANTILE_95**2
    share = successes / trials
    center = share + z2 / (2 * trials)
    spread = NORMAL_QUANTILE_95 * math.sqrt(
        share * (1 - share) / trials + z2 / (4 * trials * trials)
    )
    scale = 1 + z2 / trials
    # The ends are exact where all or none succeeded; rounding must not move them past.
    low = 0.0 if successes == 0 else (center - spread) / scale
    high = 1.0 if successes == trials else (center + spread) / scale
    return low, high
