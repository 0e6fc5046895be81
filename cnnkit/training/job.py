"""A training that is settled, and carrying it out: from a run folder to its result."""

import platform
import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from cnnkit import __version__
from cnnkit.checkpoints import TrainingCheckpoint
from cnnkit.devices import device_name, explained_out_of_memory, memory_format
from cnnkit.distributed import RankLostError, Ranks
from cnnkit.errors import CnnkitError, InterruptedRunError, ToldElsewhereError
from cnnkit.evaluation import Setup, predict_all
from cnnkit.events import Note, OnEvent, Warned
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import Place, RunData
from cnnkit.training.interrupt import terminated_as_interrupted
from cnnkit.training.loop import DivergedRunError, Trainer
from cnnkit.training.network_check import check_network
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
        ranks: the processes that train together; None for this one alone.
    """

    setup: Setup
    recipe: Recipe
    data: RunData
    place: Place
    checkpointing: Checkpointing
    data_dir: Path
    fit: str
    ranks: Ranks | None = None

    def build(self) -> nn.Module:
        """Return the network with its first weights, on its device, tried on an input.

        Raises:
            UsageError: it cannot be trained on this data.
        """
        device = self.place.device
        torch.manual_seed(self.recipe.seed)
        network = self.setup.build().to(device)
        network = network.to(memory_format=memory_format(device, self.setup.channels_last))
        with torch.random.fork_rng(_devices(device)):  # dropout must not draw what training will
            num_images = min(2, self.recipe.batch_size, len(self.data.train))
            check_network(network, self.setup, num_images)
        return network

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
    where = str(job.place.device)
    if job.ranks is not None:
        where += f", {job.ranks.size} processes{_threads_of_each(job.place.device)}"
    on_event(Note(f"{job.data.counts()}; {num_params:,} parameters; on {where}"))
    if job.ranks is not None and has_batch_norm(network):
        on_event(Note(_normalising(job.place.device)))
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
    told = on_event if job.ranks is None else job.ranks.silenced(on_event)
    train_batches = place.batches(data.train, setup, recipe.batch_size)
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
        job.ranks,
    )
    if checkpoint is not None:
        trainer.restore(checkpoint)
        progress = trainer.progress
        if progress.epoch <= recipe.epochs:
            after = f", after step {progress.step:,}" if progress.step else ""
            told(Note(f"goes on in epoch {progress.epoch} of {recipe.epochs}{after}"))
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
        predictions = predict_all(
            network, test_batches, len(setup.classes), "test", told, job.ranks
        )
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
    )
    if job.ranks is None or job.ranks.rank == 0:
        run.write_result(result.to_dict())
    return result
