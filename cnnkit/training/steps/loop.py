"""The training loop: epochs of steps, each judged, the best one kept, all of it resumable."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnkit.checkpoints import Checkpoint, TrainingCheckpoint
from cnnkit.data.loading.batches import Batches
from cnnkit.data.loading.sharing import Share
from cnnkit.devices import synchronize
from cnnkit.distributed import Ranks
from cnnkit.errors import CheckFailedError, DivergedRunError, RunFailedError
from cnnkit.evaluation import Predictions, predict_all
from cnnkit.events import (
    ConfusionCounted,
    EpochEnded,
    Note,
    OnEvent,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
    TrainingImages,
)
from cnnkit.results import EpochMetrics
from cnnkit.runs import RunFolder
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.network.adapting import set_training_mode
from cnnkit.training.recipe import Recipe
from cnnkit.training.steps.compiling import Compiled
from cnnkit.training.steps.interrupt import DeferredInterrupt
from cnnkit.training.steps.progress import DivergedError, Progress
from cnnkit.training.steps.stepping import NotFiniteError, Stepper
from cnnkit.training.steps.team import Team, WholeBatch

REPORT_EVERY_SECONDS = 0.25
NUM_TOLD_IMAGES = 32  # of the first batch
MAX_TOLD_CLASSES = 1000  # the matrix of more is too large to be looked at


class _StopRequestedError(Exception):
    """Ctrl-C was pressed, the step is over, and all is kept."""


@dataclass(frozen=True)
class Fitted:
    """What the loop came to.

    Attributes:
        epochs: the figures of each epoch that was finished.
        best_epoch: the one whose weights are kept as the best; 0 where none was finished.
        is_interrupted: whether it was stopped by Ctrl-C.
    """

    epochs: tuple[EpochMetrics, ...]
    best_epoch: int
    is_interrupted: bool


class Trainer:
    """Trains a network and keeps its state in a run folder.

    Args:
        model: the network, on its device.
        num_classes: number of its logits.
        recipe: every setting, resolved.
        train: the images to train on.
        val: the images that choose the best epoch; None to take the last.
        test: the images to follow every epoch; None, as it should be, not to.
        device: where the network is.
        run: where weights and metrics are kept.
        run_id: tells the checkpoints of the run from those of others.
        checkpointing: when to write the state, beside the end of every epoch.
        begun: when the work began, by `time.perf_counter`.
        on_event: told about the progress.
        precision: in which the network computes.
        compiled: the network compiled for training; None to take it as it is.
        ranks: the processes that train together; None for this one alone.

    Attributes:
        progress: how far it is.
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
        run_id: str,
        checkpointing: Checkpointing,
        begun: float,
        on_event: OnEvent,
        precision: str = "fp32",
        compiled: Compiled | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.model = model
        self.num_classes = num_classes
        self.recipe = recipe
        self.train = train
        self.val = val
        self.test = test
        self.device = device
        self.run = run
        self.run_id = run_id
        self.checkpointing = checkpointing
        self.on_event = on_event
        self.progress = Progress()
        self._precision = precision
        self._has_told_images = False
        self._ranks = ranks
        self._share = None if ranks is None else Share(ranks.rank, ranks.size)
        self._batch_sizes = train.batch_sizes()
        team = None if ranks is None else Team(model, ranks, device)
        self.stepper = Stepper(
            model, recipe, train.num_batches, device, on_event, precision, compiled, team
        )
        self._begun = begun
        self._last_saved = time.perf_counter()
        self._earlier_seconds = 0.0

    def restore(self, checkpoint: TrainingCheckpoint) -> None:
        """Go on from a checkpoint of this run.

        Raises:
            CheckFailedError: it belongs to another run, or to another network.
        """
        state = checkpoint.state
        if state.get("run_id") != self.run_id:
            raise CheckFailedError(
                f"the checkpoint in {self.run.path} is of another run",
                "put back the one that the run wrote",
            )
        raw = checkpoint.weights if checkpoint.raw_weights is None else checkpoint.raw_weights
        try:
            self.model.load_state_dict(dict(raw))
            self.stepper.evaluated.load_state_dict(dict(checkpoint.weights))
            random = state["stepper"]["random"]
            if self._ranks is not None:
                random = state["random"][self._ranks.rank]
            self.stepper.restore({**state["stepper"], "random": random})
            self.progress = Progress.of(state["progress"])
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise CheckFailedError(
                f"the checkpoint in {self.run.path} does not fit the network and recipe of its "
                f"run: {' '.join(str(error).split())[:200]}",
                "put back the one that the run wrote",
            ) from error
        self._earlier_seconds = float(state["seconds"])
        self._skip(state["skipped"])

    def seconds(self) -> float:
        """Return how long it has taken, the time before it was resumed included."""
        return self._earlier_seconds + time.perf_counter() - self._begun

    def fit(self) -> Fitted:
        """Train all epochs that are left, or until Ctrl-C, which keeps the state of the moment.

        Raises:
            RunFailedError: loss or gradient are not finite, or an image is broken.
            UnavailableError: the run folder cannot be written.
        """
        progress = self.progress
        is_interrupted = False
        if progress.epochs:  # the file may lack what the checkpoint has, or have more
            self._write_metrics()
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
        self.on_event(TaskStarted(task, self.train.num_images, "images"))
        start = last_report = time.perf_counter()
        set_training_mode(self.model, self.recipe)
        try:
            for number, images, labels in self.train.shuffled(
                self.recipe.seed, epoch, progress.step, self._share
            ):
                if not self._has_told_images:
                    self._tell_images(images, labels)
                step = self.stepper.take(images, labels, self._whole_batch(number, labels))
                progress.step = number + 1
                running.add(progress.step, step, labels)
                now = time.perf_counter()
                must_stop, must_save = self._agreed(interrupt.requested, self._is_time_to_save(now))
                if must_stop or must_save:
                    progress.train_seconds = earlier_seconds + now - start
                    self._check_weights()
                    self._save()
                    if must_stop:
                        raise _StopRequestedError
                    start += time.perf_counter() - now  # writing is no training
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
                    self.on_event(TaskAdvanced(task, running.num_images, values))
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
            self.on_event(TaskEnded(task))
        synchronize(self.device)
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

    def _tell_images(self, images: Tensor, labels: Tensor) -> None:
        """Tell what the first batch looks like, whoever wants to see it."""
        self._has_told_images = True
        some = self.train.as_bytes(images[:NUM_TOLD_IMAGES]).permute(0, 2, 3, 1).cpu().contiguous()
        _, height, width, channels = some.shape
        pixels = tuple(image.numpy().tobytes() for image in some)
        their_labels = tuple(labels[: len(some)].tolist())
        self.on_event(
            TrainingImages(self.progress.epoch, width, height, channels, pixels, their_labels)
        )

    def _judge(self, metrics: EpochMetrics) -> EpochMetrics:
        """Add the figures of the sets that are followed."""
        model = self.stepper.evaluated
        if self.val is not None:
            val = self._predict(model, self.val, "validate")
            tell_confusion(val, "val", metrics.epoch, self.on_event)
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
            return predict_all(
                model, batches, self.num_classes, task, self.on_event, tta, precision, self._ranks
            )
        except DivergedRunError as error:
            raise self._diverged(f"{error.message} after", self.progress.step) from error

    def _end_epoch(self, metrics: EpochMetrics) -> None:
        """Keep the figures of an epoch, its weights, and where the training is."""
        is_best = self.progress.take(metrics)
        if is_best and self._writes:  # first: a state that says so must find them
            weights = self.stepper.evaluated.state_dict()
            self.run.checkpoints.save(Checkpoint("best", metrics.epoch, weights))
        self._save()
        self._write_metrics()
        judged = None if self.val is None else is_best
        self.on_event(EpochEnded(metrics.epoch, self.recipe.epochs, metrics.to_dict(), judged))

    def _is_patience_over(self) -> bool:
        patience, progress = self.recipe.patience, self.progress
        done = len(progress.epochs)
        if patience is None or done - progress.improved_epoch < patience:
            return False
        self.on_event(
            Note(f"stopped after epoch {done}: no better one since epoch {progress.improved_epoch}")
        )
        return True

    def _is_time_to_save(self, now: float) -> bool:
        minutes, steps = self.checkpointing.minutes, self.checkpointing.steps
        if minutes and now - self._last_saved > 60 * minutes:
            return True
        if steps is None:
            return False
        done = (self.progress.epoch - 1) * self.train.num_batches + self.progress.step
        return done % steps == 0

    @property
    def _writes(self) -> bool:
        """Whether this process writes the run folder."""
        return self._ranks is None or self._ranks.rank == 0

    def _agreed(self, *flags: bool) -> tuple[bool, ...]:
        """Return the flags, each set where another process has it set, or is left without us."""
        if self._ranks is None:
            return flags
        must_stop, *others = flags
        return self._ranks.any_of(must_stop or self._ranks.is_orphaned(), *others)

    def _whole_batch(self, number: int, labels: Tensor) -> WholeBatch | None:
        """Return of which batch the images of a step are a part, where there are processes."""
        if self._ranks is None or self._share is None:
            return None
        self._check_in_step(number)
        num_images = self._batch_sizes[number]
        counts = self._share.counts(num_images)
        if self.train.skip_bad:  # nobody knows how many there are before they are read
            there = np.array([len(labels) * counts], np.int64)
            num_images = int(self._ranks.add_up(there)[0])
        return WholeBatch(num_images, counts)

    def _check_in_step(self, number: int) -> None:
        """Refuse a part of a batch of which nothing is left: the other processes have theirs.

        Args:
            number: of the batch that comes next.
        """
        if self._ranks is not None and number != self.progress.step:
            raise RunFailedError(
                f"all images of a part of batch {self.progress.step + 1:,} are broken",
                "use a larger -b/--batch-size, or remove them",
            )

    def _save(self) -> None:
        """Write everything that the next step depends on."""
        stepper, progress = self.stepper, self.progress
        state: dict[str, Any] = {
            "run_id": self.run_id,
            "progress": progress.state(),
            "stepper": stepper.state(),
            "seconds": self.seconds(),
        }
        if self._ranks is not None:
            found = self._ranks.gather((state["stepper"]["random"], self._skipped()))
            state["random"] = [random for random, _ in found]
            for _, skipped in found:
                self._skip(skipped)
        if self._writes:
            self._write_state({**state, "skipped": self._skipped()})
        if self._ranks is not None:
            self._ranks.wait()  # nobody ends before it is written
        self._last_saved = time.perf_counter()

    def _write_state(self, state: dict[str, Any]) -> None:
        stepper, progress = self.stepper, self.progress
        checkpoint = TrainingCheckpoint(
            name="last",
            epoch=progress.epoch - 1,
            weights=stepper.evaluated.state_dict(),
            state=state,
            raw_weights=None if stepper.average is None else self.model.state_dict(),
            step=progress.step,
        )
        self.run.checkpoints.save(checkpoint)

    def _write_metrics(self) -> None:
        if self._writes:
            self.run.write_metrics([metrics.to_dict() for metrics in self.progress.epochs])

    def _all_batches(self) -> list[Batches]:
        return [batches for batches in (self.train, self.val, self.test) if batches is not None]

    def _skipped(self) -> list[list[str]]:
        """Return the broken images that were left out of each set."""
        return [sorted(batches.skipped) for batches in self._all_batches()]

    def _skip(self, names: list[list[str]]) -> None:
        for batches, some in zip(self._all_batches(), names, strict=True):
            batches.skipped.update(some)

    def _check_weights(self) -> None:
        """Refuse weights that the last step has made too large to be numbers."""
        if not self.stepper.has_finite_weights():
            raise self._diverged("a weight is not finite after", self.progress.step)
        if not self.stepper.has_scale():
            raise self._diverged("no gradient has been finite in fp16 until", self.progress.step)

    def _diverged(self, what: str, step: int) -> DivergedRunError:
        kept = self.run.checkpoints.find("last")
        return DivergedRunError(
            f"{what} step {step} of epoch {self.progress.epoch}: the training has diverged",
            f"try a smaller --lr than {self.recipe.lr:g}, or --clip-grad 1"
            + (f"; the last good checkpoint is {kept}" if kept is not None else ""),
        )


def tell_confusion(predictions: Predictions, split: str, epoch: int, on_event: OnEvent) -> None:
    """Tell what the network after an epoch took for what, unless there are too many classes."""
    if predictions.num_classes <= MAX_TOLD_CLASSES:
        on_event(ConfusionCounted(split, epoch, predictions.confusion_counts()))
