"""The training loop: epochs of steps, each judged, the best one kept, all of it resumable."""

import time
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from cnnkit.data.loading.batches import Batches
from cnnkit.errors import DivergedRunError, RunFailedError, setting
from cnnkit.evaluation import Predictions, predict_all
from cnnkit.events import (
    ConfusionCounted,
    EpochEnded,
    Note,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
    TrainingImages,
    emit,
)
from cnnkit.results import EpochMetrics
from cnnkit.runs.recipe import Recipe
from cnnkit.system.device import synchronize
from cnnkit.system.distributed import ONE, ProcessGroup
from cnnkit.training.interrupt import DeferredInterrupt
from cnnkit.training.network import set_training_mode
from cnnkit.training.record import Record
from cnnkit.training.step import NotFiniteError, Stepper, WholeBatch
from cnnkit.training.training_progress import DivergedError, Progress

REPORT_EVERY_SECONDS = 0.25
NUM_TOLD_IMAGES = 32  # of the first batch, in `TrainingImages`
MAX_TOLD_CLASSES = 1000  # a larger matrix is not readable


class _StopRequestedError(Exception):
    """Ctrl-C was pressed, the step is over, and all is kept."""


@dataclass(frozen=True)
class Fitted:
    """The result of the training loop.

    Attributes:
        epochs: the metrics of each finished epoch.
        best_epoch: the one whose weights are kept as the best; 0 where none was finished.
        is_interrupted: whether it was stopped by Ctrl-C.
    """

    epochs: tuple[EpochMetrics, ...]
    best_epoch: int
    is_interrupted: bool


class Trainer:
    """Trains a network and keeps its state in a run folder.

    Args:
        num_classes: number of logits.
        recipe: every setting, resolved.
        train: the images to train on.
        val: the images that choose the best epoch; None to take the last.
        test: images to evaluate every epoch; None, the default, for no monitoring.
        stepper: the stepper of the network and optimizer.
        record: saves the state.
        precision: in which the network is evaluated.
        group: the processes that train together.

    Attributes:
        progress: position of the training.
    """

    def __init__(
        self,
        num_classes: int,
        recipe: Recipe,
        train: Batches,
        val: Batches | None,
        test: Batches | None,
        stepper: Stepper,
        record: Record,
        precision: str = "fp32",
        group: ProcessGroup = ONE,
    ) -> None:
        self.num_classes = num_classes
        self.recipe = recipe
        self.train = train
        self.val = val
        self.test = test
        self.stepper = stepper
        self.record = record
        self.progress = Progress()
        self._precision = precision
        self._has_told_images = False
        self._group = group
        self._batch_sizes = train.batch_sizes()

    @property
    def _num_steps(self) -> int:
        """How many steps were taken in all epochs."""
        return (self.progress.epoch - 1) * self.train.num_batches + self.progress.step

    def fit(self) -> Fitted:
        """Train all epochs that are left, or until Ctrl-C, which keeps the state of the moment.

        Raises:
            RunFailedError: loss or gradient are not finite, or an image is broken.
            UnavailableError: the run folder cannot be written.
        """
        progress = self.progress
        is_interrupted = False
        if progress.epochs:  # the file may have fewer or more epochs than the checkpoint
            self.record.write_metrics(progress)
        with DeferredInterrupt() as interrupt:
            try:
                while progress.epoch <= self.recipe.epochs and not self._is_patience_over():
                    self._end_epoch(self._judge(self._train_epoch(interrupt)))
                    (must_stop,) = self._agreed(interrupt.requested)
                    if must_stop:
                        raise _StopRequestedError
            except _StopRequestedError:
                is_interrupted = True
        return Fitted(tuple(progress.epochs), progress.best_epoch, is_interrupted)

    def _train_epoch(self, interrupt: DeferredInterrupt) -> EpochMetrics:
        """Make one pass over the training set, or what is left of it."""
        progress, running = self.progress, self.progress.running
        epoch, earlier_seconds = progress.epoch, progress.train_seconds
        task = f"epoch {epoch}/{self.recipe.epochs}"
        emit(TaskStarted(task, self.train.num_images, "images"))
        start = last_report = time.perf_counter()
        set_training_mode(self.stepper.model, self.recipe)
        try:
            for number, images, labels in self.train.shuffled(
                self.recipe.seed, epoch, progress.step, self._group.shard
            ):
                if not self._has_told_images:
                    self._emit_images(images, labels)
                step = self.stepper.take(images, labels, self._whole_batch(number, labels))
                progress.step = number + 1
                running.add(progress.step, step, labels)
                now = time.perf_counter()
                must_stop, must_save = self._agreed(
                    interrupt.requested, self.record.is_due(self._num_steps)
                )
                if must_stop or must_save:
                    progress.train_seconds = earlier_seconds + now - start
                    self._check_weights()
                    self.record.save(progress)
                    if must_stop:
                        raise _StopRequestedError
                    start += time.perf_counter() - now  # writing is not training time
                if now - last_report > REPORT_EVERY_SECONDS:
                    last_report = now
                    loss, accuracy = running.means()
                    values = {
                        "step": progress.step,
                        "num_steps": self.train.num_batches,
                        "loss": loss,
                        "accuracy": accuracy,
                        "learning_rate": self.stepper.learning_rate,
                    }
                    emit(TaskAdvanced(task, running.num_images, values))
            self._check_in_step(len(self._batch_sizes))
            if running.num_images == 0:
                raise RunFailedError("every training image is broken", "repair them")
            mean_loss, accuracy = running.means()
            self._check_weights()
        except DivergedError as error:
            raise self._diverged(f"{error.what} at", error.step) from error
        except NotFiniteError as error:
            raise self._diverged(f"{error.what} at", number + 1) from error
        finally:
            emit(TaskEnded(task))
        synchronize(self.stepper.device)
        seconds = earlier_seconds + time.perf_counter() - start
        return EpochMetrics(
            epoch=epoch,
            train_loss=mean_loss,
            train_accuracy=accuracy,
            val_loss=None,
            val_accuracy=None,
            learning_rate=self.stepper.learning_rate,
            seconds=seconds,
            images_per_second=running.num_images / seconds,
        )

    def _emit_images(self, images: Tensor, labels: Tensor) -> None:
        """Emit the images of the first batch, if a handler is installed."""
        self._has_told_images = True
        some = self.train.as_bytes(images[:NUM_TOLD_IMAGES]).permute(0, 2, 3, 1).cpu().contiguous()
        _, height, width, channels = some.shape
        pixels = tuple(image.numpy().tobytes() for image in some)
        their_labels = tuple(labels[: len(some)].tolist())
        emit(TrainingImages(self.progress.epoch, width, height, channels, pixels, their_labels))

    def _judge(self, metrics: EpochMetrics) -> EpochMetrics:
        """Add the metrics of the evaluated sets."""
        model = self.stepper.evaluated
        if self.val is not None:
            val = self._predict(model, self.val, "validate")
            tell_confusion(val, "val", metrics.epoch)
            judged = val.metrics()
            metrics = replace(metrics, val_loss=judged.loss, val_accuracy=judged.accuracy)
        if self.test is not None:
            test = self._predict(model, self.test, "test")
            judged = test.metrics()
            metrics = replace(metrics, test_loss=judged.loss, test_accuracy=judged.accuracy)
        return metrics

    def _predict(self, model: nn.Module, batches: Batches, task: str) -> Predictions:
        tta, precision = self.recipe.tta, self._precision
        try:
            return predict_all(model, batches, self.num_classes, task, tta, precision, self._group)
        except DivergedRunError as error:
            raise self._diverged(f"{error.message} after", self.progress.step) from error

    def _end_epoch(self, metrics: EpochMetrics) -> None:
        """Save the metrics of an epoch, its weights, and the position of the training."""
        is_best = self.progress.take(metrics)
        if is_best:  # first: a state that says so must find them
            self.record.save_best(metrics.epoch)
        self.record.save(self.progress)
        self.record.write_metrics(self.progress)
        judged = None if self.val is None else is_best
        emit(EpochEnded(metrics.epoch, self.recipe.epochs, metrics.to_dict(), judged))

    def _is_patience_over(self) -> bool:
        patience, progress = self.recipe.patience, self.progress
        done = len(progress.epochs)
        if patience is None or done - progress.improved_epoch < patience:
            return False
        emit(
            Note(f"stopped after epoch {done}: no better one since epoch {progress.improved_epoch}")
        )
        return True

    def _agreed(self, *flags: bool) -> tuple[bool, ...]:
        """Return the flags, each set where another process has it set, or is left without us."""
        must_stop, *others = flags
        return self._group.any_of(must_stop or self._group.is_orphaned(), *others)

    def _whole_batch(self, number: int, labels: Tensor) -> WholeBatch:
        """Return of which batch the images of a step are a part."""
        self._check_in_step(number)
        num_images = self._batch_sizes[number]
        counts = self._group.shard.counts(num_images)
        if self.train.skip_bad:  # their number is unknown before they are read
            there = np.array([len(labels) * counts], np.int64)
            num_images = int(self._group.add_up(there)[0])
        return WholeBatch(num_images, counts)

    def _check_in_step(self, number: int) -> None:
        """Refuse a part of a batch of which nothing is left: the other processes have theirs.

        Args:
            number: number of the next batch.
        """
        if not self._group.is_in_step(number, self.progress.step):
            raise RunFailedError(
                f"all images of a part of batch {self.progress.step + 1:,} are broken",
                f"use a larger {setting('batch_size')}, or remove them",
            )

    def _check_weights(self) -> None:
        """Refuse weights that the last step has made too large to be numbers."""
        if not self.stepper.has_finite_weights():
            raise self._diverged("a weight is not finite after", self.progress.step)
        if not self.stepper.has_scale():
            raise self._diverged("no gradient has been finite in fp16 until", self.progress.step)

    def _diverged(self, what: str, step: int) -> DivergedRunError:
        kept = self.record.run.checkpoints.find("last")
        return DivergedRunError(
            f"{what} step {step} of epoch {self.progress.epoch}: the training has diverged",
            f"try a smaller {setting('lr')} than {self.recipe.lr:g}, or {setting('clip_grad')} 1"
            + (f"; the last good checkpoint is {kept}" if kept is not None else ""),
        )


def tell_confusion(predictions: Predictions, split: str, epoch: int) -> None:
    """Emit the confusion matrix after an epoch, unless there are too many classes."""
    if predictions.num_classes <= MAX_TOLD_CLASSES:
        emit(ConfusionCounted(split, epoch, predictions.confusion_counts()))
