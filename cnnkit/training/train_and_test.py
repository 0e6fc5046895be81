"""Training and testing a resolved run, from its folder to its result."""

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cnnkit.data.loading.batches import Batches
from cnnkit.errors import (
    BrokenImageError,
    CheckFailedError,
    CnnkitError,
    DivergedRunError,
    InterruptedRunError,
    ToldElsewhereError,
    setting,
)
from cnnkit.evaluation import predict_all
from cnnkit.events import Note, RunStarted, emit
from cnnkit.results import TrainResult
from cnnkit.runs.checkpoints import TrainingCheckpoint
from cnnkit.runs.folder import RunFolder
from cnnkit.runs.resolved import ResolvedRun
from cnnkit.runs.seen_images import keep_all_seen
from cnnkit.runs.timm_config import timm_config
from cnnkit.system.determinism import deterministic_operations
from cnnkit.system.distributed import RankLostError
from cnnkit.system.memory import keep_freed_memory
from cnnkit.system.torch_files import in_a_line
from cnnkit.training.distributed_step import DistributedStepper
from cnnkit.training.interrupt import terminated_as_interrupted
from cnnkit.training.network import Built, compiled, explained
from cnnkit.training.record import Record
from cnnkit.training.saved_state import load_weights
from cnnkit.training.step import Stepper
from cnnkit.training.trainer import Trainer, tell_confusion


def carry_out(
    resolved: ResolvedRun,
    built: Built,
    run: RunFolder,
    description: Mapping[str, Any],
    checkpoint: TrainingCheckpoint | None,
    start: float,
) -> TrainResult:
    """Train, test, and write the result; the caller holds the lock of the run.

    Args:
        resolved: the resolved run.
        built: what `build_network` returned.
        run: the folder.
        description: what `run.json` holds.
        checkpoint: where to resume; None from the beginning.
        start: start time, by `time.perf_counter`.

    Raises:
        RunFailedError: the loss is not finite, or an image is broken.
        UnavailableError: memory or disk ran out, or `deterministic` is not possible.
        InterruptedRunError: Ctrl-C, and the run can be resumed.
    """
    try:
        with (
            terminated_as_interrupted(),
            explained(resolved.recipe),
            deterministic_operations(resolved.setup.deterministic),
        ):
            return _train_and_test(resolved, built, run, description, checkpoint, start)
    except BaseException as caught:
        error = resolved.group.settled(caught)
        if isinstance(error, KeyboardInterrupt) and run.checkpoints.find("last") is not None:
            error = InterruptedRunError(
                "interrupted; the last checkpoint is kept", resume_hint(run)
            )
        if (
            isinstance(error, CnnkitError)
            and not isinstance(error, InterruptedRunError | DivergedRunError | ToldElsewhereError)
            and run.checkpoints.find("last") is not None  # else nothing of it could be used
        ):
            error.hint = _way_on(error, run)
        if error is caught:
            raise
        raise error from caught


def _way_on(error: CnnkitError, run: RunFolder) -> str:
    """Return the hint of an error that a run with a checkpoint has come to."""
    if isinstance(error, RankLostError):
        return resume_hint(run)
    if isinstance(error, BrokenImageError):  # the run is of these images, and of no fewer
        return f"restore it, and {resume_hint(run)}; or begin a new run with {setting('skip_bad')}"
    return f"{error.hint}; {resume_hint(run)}" if error.hint else resume_hint(run)


def resume_hint(run: RunFolder) -> str:
    """Return the command that resumes a run, as a sentence."""
    return f"`cnnkit train --resume {shlex.quote(str(run.path))}` resumes the run"


def _train_and_test(
    resolved: ResolvedRun,
    built: Built,
    run: RunFolder,
    description: Mapping[str, Any],
    checkpoint: TrainingCheckpoint | None,
    start: float,
) -> TrainResult:
    keep_freed_memory()
    setup, place, group = resolved.setup, resolved.place, resolved.group
    test = None
    if resolved.data.test is not None:
        test = place.batches(resolved.data.test, setup, setup.eval_batch_size)
    trainer = _trainer(resolved, built, test, run, str(description["id"]), start)
    if checkpoint is not None:
        trainer.progress = trainer.record.restore(checkpoint)
        _say_where(trainer)
    emit(_started(resolved, run, trainer))
    fitted = trainer.fit()
    if fitted.is_interrupted:
        raise _interrupted(trainer, run)
    keep_all_seen(resolved, run)
    best = group.from_first(lambda: run.load_checkpoint("best").weights)
    try:
        load_weights(built.network, best)
    except (ValueError, RuntimeError) as error:
        raise CheckFailedError(
            f"{run.checkpoints.path / 'best'} does not hold the weights of the network: "
            f"{in_a_line(error)}",
            "put back those that the run wrote",
        ) from error
    metrics = None
    if test is not None:
        predictions = predict_all(
            built.network, test, len(setup.classes), "test", setup.tta, setup.precision, group
        )
        tell_confusion(predictions, "test", fitted.best_epoch)
        metrics = predictions.metrics()
    train, val = trainer.train, trainer.val
    result = TrainResult(
        run=str(run.path),
        model=setup.model,
        dataset=setup.dataset,
        device=str(place.device),
        num_params=int(description["num_params"]),
        num_train_images=train.num_images - len(train.skipped),
        num_val_images=0 if val is None else val.num_images - len(val.skipped),
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        test=metrics,
        num_skipped=place.num_skipped(),
        seconds=trainer.record.seconds(),
        tta=setup.tta,
    )
    if group.is_first:
        run.write_result(result.to_dict())
    return result


def _trainer(
    resolved: ResolvedRun,
    built: Built,
    test: Batches | None,
    run: RunFolder,
    run_id: str,
    start: float,
) -> Trainer:
    """Return what trains the network, with what takes its steps and what keeps its state."""
    setup, recipe, data, place, group = (
        resolved.setup,
        resolved.recipe,
        resolved.data,
        resolved.place,
        resolved.group,
    )
    train = place.batches(
        data.train, setup, recipe.batch_size, recipe.augmentation, data.train_hashes
    )
    val = None
    if data.val is not None:
        val = place.batches(data.val, setup, setup.eval_batch_size, hashes=data.val_hashes)
    followed = test if recipe.monitor == "test" else None
    makers: list[Callable[..., Stepper]] = [Stepper, partial(DistributedStepper, group=group)]
    stepper = group.select(*makers)(
        built.network, recipe, train.num_batches, place.device, setup.precision,
        compiled(built.network, resolved), built.optimizer,
    )  # fmt: skip
    batches = [one for one in (train, val, followed) if one is not None]
    record = Record(
        run, run_id, resolved.asked(), timm_config(resolved.model, setup),
        resolved.checkpointing, stepper, batches, start, group,
    )  # fmt: skip
    num_classes = len(setup.classes)
    return Trainer(
        num_classes, recipe, train, val, followed, stepper, record, setup.precision, group
    )


def _say_where(trainer: Trainer) -> None:
    """Emit a note with the epoch that is resumed."""
    progress, num_epochs = trainer.progress, trainer.recipe.epochs
    if progress.epoch <= num_epochs:
        after = f", after step {progress.step:,}" if progress.step else ""
        emit(Note(f"resumes in epoch {progress.epoch} of {num_epochs}{after}"))


def _started(resolved: ResolvedRun, run: RunFolder, trainer: Trainer) -> RunStarted:
    progress = trainer.progress
    has_best = trainer.val is not None and progress.best_epoch > 0
    return RunStarted(
        path=str(run.path),
        model=resolved.setup.model,
        dataset=resolved.setup.dataset,
        classes=resolved.setup.classes,
        num_epochs=resolved.recipe.epochs,
        epochs=tuple(metrics.to_dict() for metrics in progress.epochs),
        best_epoch=progress.best_epoch if has_best else None,
    )


def _interrupted(trainer: Trainer, run: RunFolder) -> InterruptedRunError:
    progress = trainer.progress
    where = f"epoch {progress.epoch - 1:,}"
    if progress.step:
        where = f"step {progress.step:,} of epoch {progress.epoch:,}"
    return InterruptedRunError(
        f"interrupted after {where} of {trainer.recipe.epochs:,}; all is kept", resume_hint(run)
    )
