"""Resuming a run that was stopped."""

import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cnnkit.data import as_data_dir, find_dataset
from cnnkit.data.loading.preprocessing import say_decoding
from cnnkit.errors import (
    CheckFailedError,
    CnnkitError,
    NotFoundError,
    UnavailableError,
    UsageError,
    setting,
)
from cnnkit.events import Note, OnEvent, Warned, emit, handled_by, ignore, takes_on_event
from cnnkit.models import ModelDescription, find_model
from cnnkit.results import TrainResult
from cnnkit.runs.checkpoints import Checkpoint, TrainingCheckpoint
from cnnkit.runs.code import Trusted, described_by, network_of
from cnnkit.runs.folder import RunFolder, locked_run, open_run
from cnnkit.runs.model_and_data import ModelAndData, check_fits
from cnnkit.runs.pretrained import find_weights
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.resolve import open_on_all
from cnnkit.runs.resolved import ResolvedRun, computed_on, now
from cnnkit.runs.resume_settings import data_dir_of, settle
from cnnkit.runs.run_data import LoaderConfig, with_decoded
from cnnkit.runs.weights_file import WeightsFile, weights_file
from cnnkit.system.device import choose_device, computing_with, num_usable_cores
from cnnkit.system.distributed import ProcessGroup, joined_processes
from cnnkit.system.randomness import own_randomness
from cnnkit.training.network import build_network, explained
from cnnkit.training.plan import say_plan
from cnnkit.training.saved_state import SavedProgress
from cnnkit.training.train_and_test import carry_out

MOST_THREADS = 256  # that any machine is given


@takes_on_event
def resume(
    run: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    network: str | None = None,
    trust_code: bool = False,
    on_event: OnEvent | None = None,
) -> TrainResult:
    """Resume a run that was stopped, to the same metrics and weights as one that was not.

    Bit for bit, on the same machine with the same versions; where these changed, a warning says
    so. A run that was stopped before its first checkpoint starts from the beginning.

    Args:
        run: the folder of the run, or its name in `runs_dir`.
        settings: settings to change, by the names of the options; see `settle`.
        data_dir: where datasets are; by default where they were.
        runs_dir: where runs are kept.
        network: `FILE.py:FACTORY`, the user's file of the network, to be taken instead of the copy
            in the run folder; it must not have changed.
        trust_code: let the code run that the run folder brings, though this user has not trained
            with it.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such run.
        UsageError: the run is complete, or a setting was changed that would break it.
        CheckFailedError: the training images, the network's code or the checkpoint are not those
            of the run, `run.json` is damaged, or the user does not trust the code.
        UnavailableError: another process trains the run, or device, data, memory or disk is
            unavailable.
        RunFailedError: loss or gradient are not finite, or an image is broken.
        InterruptedRunError: Ctrl-C or SIGTERM, and the run can be resumed again.
    """
    start = time.perf_counter()
    with joined_processes() as group:
        trusted = Trusted(network, trust_code)
        where = None if data_dir is None else Path(data_dir)
        return go_on(run, settings or {}, where, Path(runs_dir), trusted, group, start)


def go_on(
    run: str | Path,
    settings: Mapping[str, Any],
    data_dir: Path | None,
    runs_dir: Path,
    trusted: Trusted,
    group: ProcessGroup,
    start: float,
) -> TrainResult:
    """Resume a run; see `resume`."""
    folder = group.from_first(lambda: open_run(str(run), runs_dir))
    with handled_by(ignore):  # a folder that is no run is not locked
        group.from_first(folder.read_description)
    with locked_run(folder) if group.is_first else nullcontext():
        description = group.from_first(folder.read_description)
        is_complete = group.from_first(lambda: folder.is_complete)
        settled = settle(description, settings, folder.path)
        _check_processes(description, group)
        if group.is_first:
            group.remember("run", str(folder.path))
        if is_complete and "epochs" not in settled.changes:
            raise _complete(folder, settled.recipe)
        setup = ModelAndData.from_dict(
            description["setup"], _network(folder, description, trusted, group)
        )
        model = find_model(setup.spec)
        device = group.place_on(choose_device(str(description["device"]["name"])))
        place = LoaderConfig(device, settled.num_workers, bool(description["skip_bad"]))
        where = as_data_dir(data_dir or data_dir_of(description))
        data = open_on_all(find_dataset(setup.dataset), settled.recipe, where, group)
        if data.fingerprint != setup.fingerprint or data.train.classes != setup.classes:
            raise CheckFailedError(
                f"the training images of {setup.dataset} are not those that the run began with",
                "restore them, or begin a new run",
            )
        if data.val_fingerprint != description.get("val_fingerprint", data.val_fingerprint):
            raise CheckFailedError(
                f"the validation images of {setup.dataset} are not those that the run began with",
                "restore them, or begin a new run",
            )
        say_decoding(data.train, setup.preprocessing)
        if description.get("decoded_once"):
            data = with_decoded(data, settled.recipe, setup.preprocessing, place, group)
        checkpoint = group.from_first(lambda: _newest(folder))
        fit = f"resumes {folder.path}: {setup.model} on {setup.dataset}"
        file = None
        if checkpoint is None:
            file = _first_weights(model, description, settled.recipe, group)
        resolved = ResolvedRun(
            model,
            setup,
            settled.recipe,
            data,
            place,
            settled.checkpointing,
            where,
            fit,
            file,
            group,
        )
        machine = computed_on(device)
        with (
            own_randomness(device),
            explained(resolved.recipe),
            computing_with(_num_threads(description)),
        ):
            if checkpoint is not None:
                check_fits(setup, checkpoint.weights, folder)
            with described_by(folder, setup.spec):
                built = build_network(resolved, is_new=checkpoint is None)
            say_plan(resolved, built.network, int(description["num_params"]))
            _warn_of_changes(description, machine)
            if is_complete:
                emit(
                    Warned(
                        "the run was already tested; if its test accuracy is why you resume it, "
                        "the next one is too optimistic"
                    )
                )
            description = _recorded(description, settled.changes, checkpoint, resolved, machine)
            if group.is_first:
                folder.remove_result()
                folder.write_description(description)
            return carry_out(resolved, built, folder, description, checkpoint, start)


def _network(
    run: RunFolder,
    description: Mapping[str, Any],
    trusted: Trusted,
    group: ProcessGroup,
) -> str:
    """Return how `build_model` finds the network of the run; rank 0 decides whether it may run.

    Raises:
        CheckFailedError: the user does not trust its code, or it has changed.
        UsageError: the network that is named instead is no file of code.
    """
    found = group.from_first(lambda: network_of(run, description, trusted, is_resumed=True))
    if not group.is_first:  # another machine may have another file there
        network_of(run, description, replace(trusted, code=True), is_resumed=True)
    return found


def _num_threads(description: Mapping[str, Any]) -> int:
    """Return how many threads the run computes with; the rounding depends on it.

    Raises:
        UnavailableError: they are far more than this machine is for.
    """
    wanted, cores = int(description["device"]["num_threads"]), num_usable_cores()
    if wanted > max(MOST_THREADS, 4 * cores):
        raise UnavailableError(
            f"the run uses {wanted} threads, and this machine has {cores} cores",
            "resume it on a machine like the one it began on",
        )
    return wanted


def _first_weights(
    model: ModelDescription,
    description: Mapping[str, Any],
    recipe: Recipe,
    group: ProcessGroup,
) -> WeightsFile | None:
    """Return the file of weights that a run began with; None for fresh ones.

    Raises:
        NotFoundError, UnavailableError: it is no longer available.
        CheckFailedError: its content has changed.
    """
    if recipe.pretrained:
        return group.in_turn(find_weights(model).obtain)
    if recipe.weights is None:
        return None
    file = weights_file(Path(str(description["weights"])))
    if file.sha256 != description["weights_sha256"]:
        raise CheckFailedError(
            f"{file.path} has changed since the run began with its weights",
            "restore it, or begin a new run",
        )
    return file


def _check_processes(description: Mapping[str, Any], group: ProcessGroup) -> None:
    """Raise for another number of processes: the results depend on it.

    Raises:
        UsageError: it is another.
    """
    wanted, there = int(description.get("nproc", 1)), group.size
    if wanted != there:
        raise UsageError(
            f"the run uses {wanted} process{'es' if wanted > 1 else ''}, and there "
            f"{'are' if there > 1 else 'is'} {there}",
            "`cnnkit train --resume` starts as many as it needs",
        )


def _complete(run: RunFolder, recipe: Recipe) -> UsageError:
    way_on = (
        f"give more {setting('epochs')} to continue"
        if recipe.schedule == "constant"
        else f"its learning rate schedule ({recipe.schedule}) has ended; begin a new run for more"
    )
    return UsageError(f"{run.path} is complete", way_on)


def _newest(run: RunFolder) -> TrainingCheckpoint | None:
    """Return the newest valid checkpoint; None where none was ever written.

    One that is damaged is set aside. Best weights that are damaged are written again where a
    checkpoint has them.

    Raises:
        CheckFailedError, NotFoundError, UnavailableError: there are some, and all are damaged.
    """
    first_error: CnnkitError | None = None
    newest_best = 0  # by the states that can be read
    for name in run.checkpoints.training_names():
        try:
            checkpoint, best = _read(run, name)
            newest_best = max(newest_best, best)
            _check_best(run, checkpoint, best, newest_best)
        except (CheckFailedError, NotFoundError, UnavailableError) as error:
            first_error = first_error or error
            continue
        if first_error is not None:
            emit(
                Warned(
                    f"{first_error.message}; the previous checkpoint is used, and only the "
                    "steps since then are lost"
                )
            )
            run.checkpoints.set_last_aside()
        return checkpoint
    if first_error is not None:
        raise first_error
    emit(Note("it was stopped before its first checkpoint, and starts from the beginning"))
    return None


def _read(run: RunFolder, name: str) -> tuple[TrainingCheckpoint, int]:
    """Return a checkpoint and the epoch whose weights were the best by then.

    Raises:
        CheckFailedError, NotFoundError, UnavailableError: it is damaged, or cannot be read.
    """
    checkpoint = run.checkpoints.load_training(name)
    try:
        progress = SavedProgress.from_plain(checkpoint.state.get("progress"))
    except ValueError as error:
        raise CheckFailedError(
            f"{run.checkpoints.path / name} holds no training state: {error}",
            "put back the one that the run wrote",
        ) from error
    return checkpoint, progress.best_epoch


def _check_best(
    run: RunFolder,
    checkpoint: TrainingCheckpoint,
    best: int,
    newest_best: int,
) -> None:
    """Refuse a checkpoint whose best weights are neither there, nor in it, nor come again.

    Raises:
        CheckFailedError: it is one.
        UnavailableError: the best weights cannot be written again.
    """
    where = run.checkpoints.path / "best"
    if (
        not best
        or newest_best > checkpoint.epoch
        or run.checkpoints.best_stands(best, checkpoint.epoch)
    ):
        return
    lost = f"{where} is damaged or missing: the weights of epoch {best}"
    for name in run.checkpoints.training_names():
        with suppress(CnnkitError):
            found = run.checkpoints.load_training(name)
            if (found.epoch, found.step) == (best, 0):
                run.checkpoints.save(Checkpoint("best", best, found.weights, found.config))
                emit(Warned(f"{lost}; they are written again from {where.with_name(name)}"))
                return
    raise CheckFailedError(lost, "restore them, or begin a new run")


def _warn_of_changes(description: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Warn of what has changed on the machine since the run began."""
    pairs = [
        ("hardware", description["device"]["hardware"], machine["device"]["hardware"]),
        ("torch", description["versions"]["torch"], machine["versions"]["torch"]),
        ("cnnkit", description["versions"]["cnnkit"], machine["versions"]["cnnkit"]),
    ]
    changed = [f"{name} {now} for {then}" for name, then, now in pairs if then != now]
    if changed:
        emit(
            Warned(
                f"the machine has changed ({', '.join(changed)}), so the numbers may differ "
                "from those of a run that was not stopped"
            )
        )


def _recorded(
    description: Mapping[str, Any],
    changes: Mapping[str, list[Any]],
    checkpoint: TrainingCheckpoint | None,
    resolved: ResolvedRun,
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the description with what is changed now, and a line about it."""
    entry = {
        "at": now(),
        "epoch": 0 if checkpoint is None else checkpoint.epoch,
        "step": 0 if checkpoint is None else checkpoint.step,
        "changes": dict(changes),
        **machine,
    }
    return {
        **description,
        "recipe": resolved.recipe.model_dump(),
        "num_workers": resolved.place.num_workers,
        "data_dir": str(resolved.data_dir.resolve()),
        "checkpointing": asdict(resolved.checkpointing),
        "resumed": [*description.get("resumed", []), entry],
    }
