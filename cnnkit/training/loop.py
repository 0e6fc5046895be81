"""The training loop: epochs of steps, each judged, the best one kept."""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.data.batches import Batches
from cnnkit.devices import synchronize
from cnnkit.errors import RunFailedError
from cnnkit.evaluation import predict_all
from cnnkit.events import (
    EpochEnded,
    OnEvent,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
)
from cnnkit.results import EpochMetrics
from cnnkit.runs import RunFolder
from cnnkit.training.interrupt import DeferredInterrupt
from cnnkit.training.optimizers import make_optimizer, make_schedule
from cnnkit.training.recipe import Recipe

REPORT_EVERY_SECONDS = 0.25
STEPS_HELD = 64  # losses and logits of so many steps are kept before they are added up


class _StopRequestedError(Exception):
    """Ctrl-C was pressed, and the step is over."""


@dataclass(frozen=True)
class Fitted:
    """What the loop came to.

    Attributes:
        epochs: the figures of each epoch that was finished.
        best_epoch: the one whose weights are kept as the best; 0 where none was finished.
        interrupted: whether it was stopped by Ctrl-C.
    """

    epochs: tuple[EpochMetrics, ...]
    best_epoch: int
    interrupted: bool


class Trainer:
    """Trains a network and keeps its weights in a run folder.

    Args:
        model: the network, on its device.
        num_classes: number of its logits.
        recipe: every setting, resolved.
        train: the images to train on.
        val: the images that choose the best epoch; None to take the last.
        test: the images to follow every epoch; None, as it should be, not to.
        device: where the network is.
        run: where weights and metrics are kept.
        on_event: told about the progress.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        recipe: Recipe,
        train: Batches,
        val: Batches | None,
        test: Batches | None,
        device: torch.device,
        run: RunFolder,
        on_event: OnEvent,
    ) -> None:
        self.model = model
        self.num_classes = num_classes
        self.recipe = recipe
        self.train = train
        self.val = val
        self.test = test
        self.device = device
        self.run = run
        self.on_event = on_event
        self.optimizer = make_optimizer(model, recipe)
        self.schedule = make_schedule(self.optimizer, recipe, train.num_batches)

    def fit(self) -> Fitted:
        """Train all epochs, or until Ctrl-C.

        That keeps the weights of the last whole epoch; where there is none, those of the moment.

        Raises:
            RunFailedError: the loss is not finite, or an image is broken.
            UnavailableError: the run folder cannot be written.
        """
        epochs: list[EpochMetrics] = []
        best_epoch, best_key = 0, -math.inf
        with DeferredInterrupt() as interrupt:
            for epoch in range(1, self.recipe.epochs + 1):
                try:
                    metrics = self._judge(self._train_epoch(epoch, interrupt))
                except _StopRequestedError:
                    if not self.run.checkpoint_names():  # else the last whole epoch stands there
                        self.run.save_checkpoint(["last"], self.model.state_dict(), epoch - 1)
                    return Fitted(tuple(epochs), best_epoch, interrupted=True)
                key = 0.0 if metrics.val_accuracy is None else metrics.val_accuracy
                is_best = key >= best_key  # of equals the one that was trained longer
                if is_best:
                    best_epoch, best_key = epoch, key
                names = ["best", "last"] if is_best else ["last"]
                self.run.save_checkpoint(names, self.model.state_dict(), epoch)
                self.run.append_metrics(metrics.to_dict())
                epochs.append(metrics)
                judged = None if self.val is None else is_best
                self.on_event(EpochEnded(epoch, self.recipe.epochs, metrics.to_dict(), judged))
                if interrupt.requested and epoch < self.recipe.epochs:
                    return Fitted(tuple(epochs), best_epoch, interrupted=True)
        return Fitted(tuple(epochs), best_epoch, interrupted=False)

    def _train_epoch(self, epoch: int, interrupt: DeferredInterrupt) -> EpochMetrics:
        """Make one pass over the training set."""
        model, optimizer, schedule = self.model, self.optimizer, self.schedule
        smoothing = self.recipe.label_smoothing
        parameters = list(model.parameters())
        running = _RunningMetrics()
        task = f"epoch {epoch}/{self.recipe.epochs}"
        self.on_event(TaskStarted(task, self.train.num_images, "images"))
        start = last_report = time.perf_counter()
        model.train()
        try:
            for images, labels in self.train.shuffled(self.recipe.seed, epoch):
                logits = model(images)
                loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
                for parameter in parameters:  # as zero_grad does, in a tenth of its time
                    parameter.grad = None
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                learning_rate = optimizer.param_groups[0]["lr"]
                if schedule is not None:
                    schedule.step()
                running.add(loss.detach(), logits.detach(), labels)
                if interrupt.requested:
                    raise _StopRequestedError
                now = time.perf_counter()
                if now - last_report > REPORT_EVERY_SECONDS:
                    last_report = now
                    loss_now, accuracy_now = running.means()
                    self._check_finite(loss_now, epoch)
                    values = {"loss": loss_now, "accuracy": accuracy_now}
                    self.on_event(TaskAdvanced(task, running.num_images, values))
        finally:
            self.on_event(TaskEnded(task))
        if running.num_images == 0:
            raise RunFailedError("every training image is broken", "repair them")
        mean_loss, accuracy = running.means()
        self._check_finite(mean_loss, epoch)
        synchronize(self.device)
        seconds = time.perf_counter() - start
        return EpochMetrics(
            epoch=epoch,
            train_loss=mean_loss,
            train_accuracy=accuracy,
            val_loss=None,
            val_accuracy=None,
            learning_rate=learning_rate,
            seconds=seconds,
            images_per_second=running.num_images / seconds,
        )

    def _judge(self, metrics: EpochMetrics) -> EpochMetrics:
        """Add the figures of the sets that are followed."""
        if self.val is not None:
            val = predict_all(self.model, self.val, self.num_classes, "validate", self.on_event)
            judged = val.metrics()
            metrics = replace(metrics, val_loss=judged.loss, val_accuracy=judged.accuracy)
        if self.test is not None:
            test = predict_all(self.model, self.test, self.num_classes, "test", self.on_event)
            judged = test.metrics()
            metrics = replace(metrics, test_loss=judged.loss, test_accuracy=judged.accuracy)
        return metrics

    def _check_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise RunFailedError(
                f"the loss is {loss} in epoch {epoch}: the training has diverged",
                f"try a smaller --lr than {self.recipe.lr:g}",
            )


class _RunningMetrics:
    """Mean loss and accuracy of the steps so far, without waiting for the device every step."""

    def __init__(self) -> None:
        self.num_images = 0
        self._loss_sum = 0.0
        self._num_correct = 0
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take the mean loss (), logits (B, K) and labels (B,) of a step."""
        self.num_images += len(labels)
        self._held.append((loss, logits, labels))
        if len(self._held) >= STEPS_HELD:
            self._add_up()

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy an image."""
        self._add_up()
        return self._loss_sum / self.num_images, self._num_correct / self.num_images

    def _add_up(self) -> None:
        if not self._held:
            return
        losses, logits, labels = zip(*self._held, strict=True)
        sizes = torch.tensor([len(part) for part in labels], dtype=torch.float64)
        self._loss_sum += float((torch.stack(losses).cpu().double() * sizes).sum())
        self._num_correct += int((torch.cat(logits).argmax(1) == torch.cat(labels)).sum())
        self._held.clear()
