"""The progress of a training run, and the running metrics it depends on."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from cnnkit.results import EpochMetrics
from cnnkit.training.saved_state import SavedProgress, SavedRunning
from cnnkit.training.step import NotFiniteError, Step, are_right

STEPS_HELD = 64  # losses and logits of so many steps are kept before they are added up


class DivergedError(NotFiniteError):
    """`NotFiniteError`, and the step that it was found at.

    Attributes:
        step: number of the step in its epoch, from 1.
    """

    def __init__(self, loss: float, step: int) -> None:
        super().__init__(loss)
        self.step = step


@dataclass
class RunningMetrics:
    """Mean loss and accuracy of the steps so far, without waiting for the device every step.

    The losses are added one by one, in their order, so that the sum does not depend on when
    they were read.

    Attributes:
        num_images: images of the steps so far.
    """

    num_images: int = 0
    _loss_sum: float = 0.0
    _num_correct: int = 0
    _held: list[tuple[int, Step, Tensor]] = field(default_factory=list)

    def add(self, number: int, step: Step, labels: Tensor) -> None:
        """Add the results of a step.

        Args:
            number: of the step in the epoch, from 1.
            step: its metrics.
            labels: class indices of shape (B,), or class probabilities of shape (B, K). Of a mixed
                image the class with the largest share is the right one.
        """
        self.num_images += step.num_images
        self._held.append((number, step, labels))
        if len(self._held) >= STEPS_HELD:
            self.add_up()

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy an image.

        Raises:
            DivergedError: one of the steps since the last look was not finite.
        """
        self.add_up()
        return self._loss_sum / self.num_images, self._num_correct / self.num_images

    def add_up(self) -> None:
        """Read the sums from the device.

        Raises:
            DivergedError: one of the steps was not finite.
        """
        if not self._held:
            return
        steps = [step for _, step, _ in self._held]
        labels = [some for _, _, some in self._held]
        losses = torch.stack([one.loss for one in steps]).tolist()
        flags = torch.stack([one.found_inf for one in steps]).tolist()
        for (number, one, _), loss, is_bad in zip(self._held, losses, flags, strict=True):
            if is_bad:
                raise DivergedError(loss, number)
            self._loss_sum += loss * one.num_images
        added_up = [one.num_correct for one in steps if one.num_correct is not None]
        if added_up:  # by the processes that share the batches
            self._num_correct += int(torch.stack(added_up).sum())
        else:
            logits = torch.cat([one.logits for one in steps])
            self._num_correct += int(are_right(logits, torch.cat(labels)).sum())
        self._held.clear()

    def state(self) -> dict[str, float | int]:
        """Return the sums, for `of`."""
        self.add_up()
        return {
            "num_images": self.num_images,
            "loss_sum": self._loss_sum,
            "num_correct": self._num_correct,
        }

    @classmethod
    def of(cls, saved: SavedRunning) -> "RunningMetrics":
        """Return the object that `state` described."""
        return cls(saved.num_images, saved.loss_sum, saved.num_correct)


@dataclass
class Progress:
    """The position of a training run: (epoch, step), which by itself determines the next images.

    Attributes:
        epoch: the one that is worked on, from 1.
        step: how many of its steps are done.
        running: the metrics of these steps.
        train_seconds: how long they took.
        epochs: the metrics of the epochs that are over.
        best_epoch: the one whose weights are kept as the best; 0 where none is over.
        best_accuracy: its validation accuracy; 0 where there are no validation images.
        improved_epoch: the last one that was better than all before, and not only as good.
    """

    epoch: int = 1
    step: int = 0
    running: RunningMetrics = field(default_factory=RunningMetrics)
    train_seconds: float = 0.0
    epochs: list[EpochMetrics] = field(default_factory=list)
    best_epoch: int = 0
    best_accuracy: float = -math.inf
    improved_epoch: int = 0

    def take(self, metrics: EpochMetrics) -> bool:
        """Add the metrics of the finished epoch; return whether it is the best so far."""
        accuracy = 0.0 if metrics.val_accuracy is None else metrics.val_accuracy
        if accuracy > self.best_accuracy:
            self.improved_epoch = metrics.epoch
        is_best = accuracy >= self.best_accuracy  # of equal ones the later
        if is_best:
            self.best_epoch, self.best_accuracy = metrics.epoch, accuracy
        self.epochs.append(metrics)
        self.epoch, self.step = metrics.epoch + 1, 0
        self.running, self.train_seconds = RunningMetrics(), 0.0
        return is_best

    def state(self) -> dict[str, Any]:
        """Return all of it as numbers and lists of numbers, for `of`."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "running": self.running.state(),
            "train_seconds": self.train_seconds,
            "epochs": [asdict(metrics) for metrics in self.epochs],
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "improved_epoch": self.improved_epoch,
        }

    @classmethod
    def of(cls, saved: SavedProgress) -> "Progress":
        """Return the object that `state` described."""
        return cls(
            epoch=saved.epoch,
            step=saved.step,
            running=RunningMetrics.of(saved.running),
            train_seconds=saved.train_seconds,
            epochs=saved.metrics(),
            best_epoch=saved.best_epoch,
            best_accuracy=saved.best_accuracy,
            improved_epoch=saved.improved_epoch,
        )
