"""Carrying out a job: from a run folder to its result."""

import shlex
from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnkit.checkpoints import TrainingCheckpoint
from cnnkit.devices import (
    keep_freed_memory,
)
from cnnkit.distributed import RankLostError
from cnnkit.errors import CnnkitError, InterruptedRunError, ToldElsewhereError
from cnnkit.evaluation import predict_all
from cnnkit.events import Note, OnEvent, RunStarted
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder
from cnnkit.training.compiling import compiled
from cnnkit.training.interrupt import terminated_as_interrupted
from cnnkit.training.job import Job, explained
from cnnkit.training.loop import DivergedRunError, Trainer, tell_confusion
from cnnkit.training.processes import from_first


def carry_out(
    job: Job,
    network: nn.Module,
    run: RunFolder,
    description: Mapping[str, Any],
    checkpoint: TrainingCheckpoint | None,
    start: float,
    on_event: OnEvent,
) -> TrainResult:
    """Train, test, and write the result; the caller holds the lock of the run.

    Args:
        job: what to do.
        network: the one that `job.build` returned.
        run: the folder.
        description: what `run.json` holds.
        checkpoint: where to go on; None from the beginning.
        start: when the work began, by `time.perf_counter`.
        on_event: told about the progress.

    Raises:
        RunFailedError: the loss is not finite, or an image is broken.
        UnavailableError: memory or disk ran out.
        InterruptedRunError: Ctrl-C, and the run can be resumed.
    """
    try:
        with terminated_as_interrupted(), explained(job.recipe):
            return _train_and_test(job, network, run, description, checkpoint, start, on_event)
    except BaseException as caught:
        error = caught if job.ranks is None else job.ranks.settled(caught)
        if isinstance(error, KeyboardInterrupt) and run.checkpoints.find("last") is not None:
            error = InterruptedRunError(
                "interrupted; the last checkpoint is kept", resume_hint(run)
            )
        if (
            isinstance(error, CnnkitError)
            and not isinstance(error, InterruptedRunError | DivergedRunError | ToldElsewhereError)
            and run.checkpoints.find("last") is not None  # else nothing of it could be used
        ):
            if isinstance(error, RankLostError):
                error.hint = resume_hint(run)
                raise error from caught
            on_event(Note(f"the last checkpoint is kept: {resume_hint(run)}"))
        if error is caught:
            raise
        raise error from caught


def resume_hint(run: RunFolder) -> str:
    """Return the command that goes on with a run, as a sentence."""
    return f"`cnnkit train --resume {shlex.quote(str(run.path))}` goes on"


def _train_and_test(
    job: Job,
    network: nn.Module,
    run: RunFolder,
    description: Mapping[str, Any],
    checkpoint: TrainingCheckpoint | None,
    start: float,
    on_event: OnEvent,
) -> TrainResult:
    setup, recipe, data, place = job.setup, job.recipe, job.data, job.place
    keep_freed_memory()
    told = on_event if job.ranks is None else job.ranks.silenced(on_event)
    train_batches = place.batches(data.train, setup, recipe.batch_size, recipe.augmentation)
    val_batches = test_batches = None
    if data.val is not None:
        val_batches = place.batches(data.val, setup, setup.eval_batch_size)
    if data.test is not None:
        test_batches = place.batches(data.test, setup, setup.eval_batch_size)
    trainer = Trainer(
        network,
        len(setup.classes),
        recipe,
        train_batches,
        val_batches,
        test_batches if recipe.monitor == "test" else None,
        place.device,
        run,
        str(description["id"]),
        job.checkpointing,
        start,
        told,
        setup.precision,
        compiled(network, setup, recipe, len(data.train), on_event) if recipe.compile else None,
        job.ranks,
    )
    if checkpoint is not None:
        trainer.restore(checkpoint)
        progress = trainer.progress
        if progress.epoch <= recipe.epochs:
            after = f", after step {progress.step:,}" if progress.step else ""
            told(Note(f"goes on in epoch {progress.epoch} of {recipe.epochs}{after}"))
    has_best = val_batches is not None and trainer.progress.best_epoch > 0
    told(
        RunStarted(
            path=str(run.path),
            model=setup.model,
            dataset=setup.dataset,
            classes=setup.classes,
            num_epochs=recipe.epochs,
            epochs=tuple(metrics.to_dict() for metrics in trainer.progress.epochs),
            best_epoch=trainer.progress.best_epoch if has_best else None,
        )
    )
    fitted = trainer.fit()
    if fitted.is_interrupted:
        progress = trainer.progress
        where = f"epoch {progress.epoch - 1}"
        if progress.step:
            where = f"step {progress.step:,} of epoch {progress.epoch}"
        raise InterruptedRunError(
            f"interrupted after {where} of {recipe.epochs}; all is kept", resume_hint(run)
        )
    network.load_state_dict(
        dict(from_first(job.ranks, lambda: run.load_checkpoint("best").weights))
    )
    metrics = None
    if test_batches is not None:
        num_classes = len(setup.classes)
        predictions = predict_all(
            network, test_batches, num_classes, "test", told, setup.tta, setup.precision, job.ranks
        )
        tell_confusion(predictions, "test", fitted.best_epoch, told)
        metrics = predictions.metrics()
    result = TrainResult(
        run=str(run.path),
        model=setup.model,
        dataset=setup.dataset,
        device=str(place.device),
        num_params=int(description["num_params"]),
        num_train_images=train_batches.num_images - len(train_batches.skipped),
        num_val_images=val_batches.num_images - len(val_batches.skipped) if val_batches else 0,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        test=metrics,
        num_skipped=place.num_skipped(),
        seconds=trainer.seconds(),
        tta=setup.tta,
    )
    if job.ranks is None or job.ranks.rank == 0:
        run.write_result(result.to_dict())
    return result
