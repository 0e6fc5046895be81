"""A training that is settled, and carrying it out: from a run folder to its result."""

import platform
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from cnnkit import __version__
from cnnkit.checkpoints import TrainingCheckpoint
from cnnkit.data.augmentation import Augmentation
from cnnkit.data.image_set import DecodedSet
from cnnkit.devices import (
    AUTO,
    choose_precision,
    device_name,
    explained_out_of_memory,
    has_native_bf16,
    keep_freed_memory,
    memory_format,
)
from cnnkit.distributed import RankLostError, Ranks
from cnnkit.errors import CnnkitError, InterruptedRunError, ToldElsewhereError
from cnnkit.evaluation import Setup, predict_all
from cnnkit.events import Note, OnEvent, RunStarted, Warned
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder
from cnnkit.training.adapting import adapt_network
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.compiling import compiled
from cnnkit.training.data import Place, RunData
from cnnkit.training.first_look import initialize_from_images
from cnnkit.training.interrupt import terminated_as_interrupted
from cnnkit.training.loop import DivergedRunError, Trainer, tell_confusion
from cnnkit.training.network_check import check_network, forward_flops
from cnnkit.training.optimizers import make_optimizer
from cnnkit.training.pretrained import load_weights
from cnnkit.training.recipe import Recipe
from cnnkit.training.team import has_batch_norm

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """Everything that a training needs beside the folder it is kept in.

    Attributes:
        setup: network and data, put together.
        recipe: every setting, resolved.
        data: the splits.
        place: where batches are made.
        checkpointing: when the state is written.
        data_dir: where datasets are looked for.
        fit: one line that says what happens to an image on its way to the network.
        weights: file of the weights that it starts from; None for fresh ones.
        ranks: the processes that train together; None for this one alone.
    """

    setup: Setup
    recipe: Recipe
    data: RunData
    place: Place
    checkpointing: Checkpointing
    data_dir: Path
    fit: str
    weights: Path | None = None
    ranks: Ranks | None = None

    def build(self, is_new: bool = True) -> nn.Module:
        """Return the network with its first weights, on its device, tried on an input.

        Args:
            is_new: its weights will not be read from a checkpoint, so it may look at images.

        Raises:
            UsageError: it cannot be trained on this data, or by this optimizer.
            CheckFailedError: the file of its weights holds others.
            RunFailedError: an image that it looks at is broken.
        """
        device = self.place.device
        torch.manual_seed(self.recipe.seed)
        network = self.setup.build()
        if self.weights is not None:
            load_weights(network, self.weights)
        adapt_network(network, self.recipe, self.setup.model)
        network = network.to(device)
        network = network.to(memory_format=memory_format(device, self.setup.channels_last))
        self._check(network)
        make_optimizer(network, self.recipe)  # what it refuses is said before anything is made
        if is_new:
            initialize_from_images(
                network, self.data.train, self.place, self.setup, self.recipe.seed
            )
        return network

    def in_precision(self, network: nn.Module) -> "Job":
        """Return the job in the precision of its recipe, which may depend on the network.

        Raises:
            UsageError: the network cannot be trained in it.
            UnavailableError: the device cannot.
        """
        recipe, device, flops = self.recipe, self.place.device, 0
        if recipe.precision == AUTO and has_native_bf16(device):
            num_images = max(1, recipe.batch_size // recipe.accumulate)
            flops = num_images * forward_flops(network, self.setup)
        precision = choose_precision(recipe.precision, device, flops)
        job = replace(self, setup=replace(self.setup, precision=precision))
        if precision != "fp32":
            job._check(network)
        return job

    def _check(self, network: nn.Module) -> None:
        with own_randomness(self.place.device):  # dropout must not draw what training will
            num_images = min(2, self.recipe.batch_size, len(self.data.train))
            check_network(network, self.setup, num_images)

    def describe(self, run_id: str, num_params: int) -> dict[str, Any]:
        """Return what `run.json` holds."""
        return {
            "id": run_id,
            "created": now(),
            "setup": self.setup.to_dict(),
            "recipe": self.recipe.model_dump(),
            "num_params": num_params,
            **describe_machine(self.place.device),
            "nproc": 1 if self.ranks is None else self.ranks.size,
            "num_workers": self.place.num_workers,
            "skip_bad": self.place.skip_bad,
            "decoded_once": isinstance(self.data.train, DecodedSet),
            "data_dir": str(self.data_dir.resolve()),
            "checkpointing": asdict(self.checkpointing),
            "resumed": [],
        }


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


def from_first(ranks: Ranks | None, find: Callable[[], T]) -> T:
    """Return what rank 0 finds, which alone needs to see the run folder."""
    return find() if ranks is None else ranks.from_first(find)


def resume_hint(run: RunFolder) -> str:
    """Return the command that goes on with a run, as a sentence."""
    return f"`cnnkit train --resume {shlex.quote(str(run.path))}` goes on"


def now() -> str:
    """Return date and time, with the offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return the parts of `run.json` that tell where a run was computed."""
    return {
        "device": {
            "name": str(device),
            "hardware": device_name(device),
            "num_threads": torch.get_num_threads(),
        },
        "versions": {
            "cnnkit": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def say_plan(job: Job, network: nn.Module, num_params: int, on_event: OnEvent) -> None:
    """Say what will be done, and what about it the user must know."""
    on_event(Note(job.fit))
    device, setup = job.place.device, job.setup
    is_emulated = setup.precision == "bf16" and not has_native_bf16(device)
    slow = " (by way of fp32, and slow)" if is_emulated and device.type == "cpu" else ""
    how = [setup.precision + slow]
    if memory_format(device, setup.channels_last) == torch.channels_last:
        how.append("channels last")
    if job.ranks is not None:
        how.append(f"{job.ranks.size} processes{_threads_of_each(device)}")
    on_event(
        Note(f"{job.data.counts()}; {num_params:,} parameters; on {device} in {', '.join(how)}")
    )
    if job.ranks is not None and has_batch_norm(network):
        on_event(Note(_normalising(device)))
    augmentation = job.recipe.augmentation
    if augmentation != Augmentation():
        on_event(Note(f"augmentation: {augmentation.sentence()}"))
    if augmentation.mixes:
        on_event(
            Note(
                "train loss and accuracy are those of mixed images: one is right where the class "
                "of its larger part scores highest"
            )
        )
    if job.recipe.monitor == "test":
        on_event(
            Warned(
                "the test set is followed every epoch; choose nothing by it, or its figures no "
                "longer tell how good the network is"
            )
        )
    if job.data.test is None:
        on_event(Warned("there is no test set, so the result is not tested"))


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Return a context whose random numbers leave the caller's alone."""
    return torch.random.fork_rng(_devices(device))


def explained(recipe: Recipe) -> AbstractContextManager[None]:
    """Return a context that tells what helps where memory runs out."""
    return explained_out_of_memory(
        f"use a smaller -b/--batch-size than {recipe.batch_size}, or a smaller --input"
    )


def _devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _threads_of_each(device: torch.device) -> str:
    if device.type != "cpu":
        return ""
    number = torch.get_num_threads()
    return f" of {number} thread{'s' if number > 1 else ''} each"


def _normalising(device: torch.device) -> str:
    if device.type == "cuda":
        return "batch norm: over the whole batch, synchronised between the processes"
    return (
        "batch norm: each process normalises its own part of a batch, so the numbers depend on how "
        "many there are"
    )


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
