"""Training a network on a dataset, from two names to a run; and going on with a run."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit.checkpoints import TrainingCheckpoint
from cnnkit.data import default_data_dir
from cnnkit.devices import check_processes, choose_device, num_usable_cores
from cnnkit.distributed import Ranks, joined_ranks, several, telling_once
from cnnkit.errors import CheckFailedError, CnnkitError, NotFoundError, UsageError
from cnnkit.evaluation import Setup, check_views, file_sha256, lasting_name
from cnnkit.events import Note, OnEvent, Warned, ignore
from cnnkit.models import find_model
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder, create_run, open_run
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import (
    Place,
    RunData,
    cached,
    checked_workers,
    open_data,
    with_decoded,
)
from cnnkit.training.fitting import (
    choose_input,
    choose_preprocessing,
    describe_fit,
    not_normalized,
)
from cnnkit.training.job import (
    Job,
    carry_out,
    describe_machine,
    explained,
    from_first,
    now,
    own_randomness,
    say_plan,
)
from cnnkit.training.pretrained import PretrainedWeights, find_weights
from cnnkit.training.recipe import Recipe
from cnnkit.training.resuming import data_dir_of, settle
from cnnkit.training.team import check_batch_size

MAX_EVAL_BATCH = 1000
EVAL_BATCH_PIXELS = 2**20  # about so many input values make an evaluation batch


def train(
    model: str,
    dataset: str = "digits",
    recipe: Recipe | None = None,
    *,
    recipe_name: str | None = None,
    model_arguments: Mapping[str, str] | None = None,
    input_shape: tuple[int | None, int, int] | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    num_workers: int | None = None,
    skip_bad: bool = False,
    checkpoint_minutes: float = Checkpointing.minutes,
    checkpoint_steps: int | None = None,
    on_event: OnEvent = ignore,
) -> TrainResult:
    """Train a network, choose its best epoch on held-out images, and test that once.

    Args:
        model: name of the network, `file.py:factory`, or `timm:name`.
        dataset: name of the dataset, or a folder of class folders.
        recipe: the settings; the defaults of `Recipe` where left out.
        recipe_name: what `run.json` calls the recipe; see `find_recipe`.
        model_arguments: what the network's builder is given beside classes and channels.
        input_shape: channels (None for the network's own), height and width to train at; chosen
            to suit both where left out.
        device: see `choose_device`.
        data_dir: where datasets lie; the user's cache folder by default.
        runs_dir: where the run folder is made.
        num_workers: threads that read files; one a core by default.
        skip_bad: leave broken images out, and count them.
        checkpoint_minutes: write the state so often, beside the end of every epoch; 0 for never.
        checkpoint_steps: write it after so many steps as well; None for never.
        on_event: told about notes, progress, and each epoch.

    Raises:
        NotFoundError: there is no such network or dataset.
        UsageError: a setting makes no sense, or network and data do not fit.
        UnavailableError: device, data, pretrained weights, memory or disk cannot be had.
        CheckFailedError: the file of pretrained weights is another one.
        RunFailedError: loss or gradient are not finite, or an image is broken.
        InterruptedRunError: Ctrl-C or SIGTERM; `resume` goes on from the step that was reached.
    """
    start = time.perf_counter()
    recipe = (recipe or Recipe()).resolved()
    choose_device(device)
    if num_workers is not None:
        checked_workers(num_workers)
    checkpointing = Checkpointing.of(checkpoint_minutes, checkpoint_steps)
    with _joined() as joined:
        begun = _begun(joined, on_event)
        if begun is not None:  # by the processes before these
            return _go_on(begun, {}, data_dir, runs_dir, joined, start, on_event)
        ranks = several(joined)
        told = on_event if ranks is None else ranks.silenced(on_event)
        with _threads(_num_threads(ranks, told)):
            job = prepare(
                model,
                dataset,
                recipe,
                model_arguments=model_arguments,
                input_shape=input_shape,
                device=device,
                data_dir=data_dir,
                num_workers=num_workers,
                skip_bad=skip_bad,
                checkpointing=checkpointing,
                on_event=told,
                ranks=ranks,
            )
            return _begin(job, recipe_name, runs_dir, joined, start, on_event)


def prepare(
    model: str,
    dataset: str,
    recipe: Recipe,
    *,
    model_arguments: Mapping[str, str] | None,
    input_shape: tuple[int | None, int, int] | None,
    device: str,
    data_dir: Path | None,
    num_workers: int | None,
    skip_bad: bool,
    checkpointing: Checkpointing,
    on_event: OnEvent,
    ranks: Ranks | None = None,
) -> Job:
    """Open the data and put it together with the network; nothing is built or written.

    Arguments and errors are those of `train`; the recipe is resolved, and `ranks` are the processes
    that train together, None for this one alone.
    """
    description = find_model(model)
    target = _device_of(ranks, device)
    check_batch_size(recipe.batch_size, 1 if ranks is None else ranks.size)
    if ranks is not None and recipe.compile:
        raise UsageError("--compile is for one process", "leave it or --nproc out")
    data_dir = data_dir or default_data_dir()
    cores = num_usable_cores() if ranks is None else ranks.num_cores()
    workers = checked_workers(cores if num_workers is None else num_workers)
    place = Place(target, workers, skip_bad)
    weights = find_weights(description) if recipe.pretrained else None
    data = _opened(dataset, recipe, data_dir, ranks, on_event)
    if weights is not None and input_shape is None:
        input_shape = (None, *weights.size)
    shape = choose_input(description, data.train, input_shape)
    recipe.augmentation.check(shape.height, shape.width)
    check_views(recipe.tta, shape.height, shape.width)
    original = data.train
    if ranks is None:  # each of several would decode all, and keep it
        data = cached(data, recipe, not_normalized(shape), place, on_event)
    preprocessing, normalization = from_first(
        ranks,
        lambda: choose_preprocessing(
            shape, data.entry, data.train, recipe.normalize, workers, skip_bad, weights
        ),
    )
    setup = Setup(
        model=description.spec,
        dataset=lasting_name(dataset),
        classes=data.train.classes,
        in_channels=shape.channels,
        image_size=(shape.height, shape.width),
        val_split=recipe.val_split if recipe.val_split and "val" not in data.entry.splits else None,
        split_seed=recipe.seed,
        preprocessing=preprocessing,
        eval_batch_size=max(
            recipe.batch_size,
            min(MAX_EVAL_BATCH, EVAL_BATCH_PIXELS // (shape.channels * shape.height * shape.width)),
        ),
        # A network that nobody has tried so may rely on the order of memory, as `view` does.
        channels_last=(
            description.entry is not None if recipe.channels_last is None else recipe.channels_last
        ),
        fingerprint=data.fingerprint,
        model_sha256=file_sha256(description.spec),
        model_arguments=dict(model_arguments or {}),
        tta=recipe.tta,
    )
    fit = describe_fit(original, shape, normalization)
    file = None
    if weights is not None:
        on_event(Note(f"begins with {weights.name} of torchvision, and a new last layer"))
        file = _obtained(weights, ranks, on_event)
    return Job(setup, recipe, data, place, checkpointing, data_dir, fit, file, ranks)


def _obtained(weights: PretrainedWeights, ranks: Ranks | None, on_event: OnEvent) -> Path:
    """Return the file of weights, which one process of each machine may have to download."""
    if ranks is None:
        return weights.obtain(on_event)
    return ranks.in_turn(lambda: weights.obtain(on_event))


def resume(
    run: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    on_event: OnEvent = ignore,
) -> TrainResult:
    """Go on with a run that was stopped, to the figures and weights of one that was not.

    Bit for bit, on the same machine with the same versions; where these changed, a warning says
    so. A run that was stopped before its first checkpoint begins anew.

    Args:
        run: the folder of the run, or its name in `runs_dir`.
        settings: settings to change, by the names of the options; see `settle`.
        data_dir: where datasets lie; where they lay by default.
        runs_dir: where runs are kept.
        on_event: told about notes, progress, and each epoch.

    Raises:
        NotFoundError: there is no such run.
        UsageError: the run is complete, or a setting was changed that would break it.
        CheckFailedError: the training images, the network's file or the checkpoint are not those
            of the run.
        UnavailableError: another process trains the run, or device, data, memory or disk cannot
            be had.
        RunFailedError: loss or gradient are not finite, or an image is broken.
        InterruptedRunError: Ctrl-C or SIGTERM, and the run can be resumed again.
    """
    start = time.perf_counter()
    with _joined() as joined:
        return _go_on(run, settings or {}, data_dir, runs_dir, joined, start, on_event)


def _begin(
    job: Job,
    recipe_name: str | None,
    runs_dir: Path,
    joined: Ranks | None,
    start: float,
    on_event: OnEvent,
) -> TrainResult:
    """Make the run folder, and train."""
    told = on_event if job.ranks is None else job.ranks.silenced(on_event)
    recipe, model = job.recipe, find_model(job.setup.model)
    with own_randomness(job.place.device), explained(recipe):
        network = job.build()
        job = job.in_precision(network)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        say_plan(job, network, num_params, told)
        if recipe.freeze:
            told(Note(f"{_num_trained(network):,} parameters are trained, the others stay"))
        run = from_first(
            job.ranks, lambda: create_run(runs_dir, model.name, Path(job.setup.dataset).name)
        )
        writes = job.ranks is None or job.ranks.rank == 0
        try:
            with _held(run, told) if writes else nullcontext():
                plain = from_first(
                    job.ranks,
                    lambda: {
                        **job.describe(uuid.uuid4().hex, num_params),
                        "recipe_name": recipe_name,
                        "weights": find_weights(model).name if recipe.pretrained else None,
                    },
                )
                if writes:
                    run.write_description(plain)
                if writes and joined is not None:
                    joined.remember("run", str(run.path))
                return carry_out(job, network, run, plain, None, start, on_event)
        except BaseException:
            if writes and not run.checkpoints.names():
                run.remove()  # nothing of it could be used
            raise


def _go_on(
    run: str | Path,
    settings: Mapping[str, Any],
    data_dir: Path | None,
    runs_dir: Path,
    joined: Ranks | None,
    start: float,
    on_event: OnEvent,
) -> TrainResult:
    """Go on with a run; see `resume`."""
    ranks = several(joined)
    writes = ranks is None or ranks.rank == 0
    told = on_event if ranks is None else ranks.silenced(on_event)
    folder = from_first(ranks, lambda: open_run(str(run), runs_dir))
    from_first(ranks, folder.read_description)  # a folder that is no run is not locked
    with _held(folder, told) if writes else nullcontext():
        description = from_first(ranks, folder.read_description)
        is_complete = from_first(ranks, lambda: folder.is_complete)
        settled = settle(description, settings)
        _check_processes(description, ranks)
        if writes and joined is not None:
            joined.remember("run", str(folder.path))
        setup = Setup.from_dict(description["setup"])
        if is_complete and "epochs" not in settled.changes:
            raise _complete(folder, settled.recipe)
        if setup.model_sha256 != file_sha256(setup.model):
            raise CheckFailedError(
                f"the file of {setup.model} has changed since the run began",
                "restore it, or begin a new run",
            )
        device = _device_of(ranks, str(description["device"]["name"]))
        place = Place(device, settled.num_workers, bool(description["skip_bad"]))
        where = data_dir or data_dir_of(description) or default_data_dir()
        data = _opened(setup.dataset, settled.recipe, where, ranks, told)
        if data.fingerprint != setup.fingerprint or data.train.classes != setup.classes:
            raise CheckFailedError(
                f"the training images of {setup.dataset} are not those that the run began with",
                "restore them, or begin a new run",
            )
        if description.get("decoded_once"):
            data = with_decoded(data, settled.recipe, setup.preprocessing, place, told)
        checkpoint = from_first(ranks, lambda: _newest(folder, told))
        fit = f"goes on with {folder.path}: {setup.model} on {setup.dataset}"
        file = None
        if settled.recipe.pretrained and checkpoint is None:
            file = _obtained(find_weights(find_model(setup.model)), ranks, told)
        job = Job(
            setup, settled.recipe, data, place, settled.checkpointing, where, fit, file, ranks
        )
        machine = describe_machine(device)
        with (
            own_randomness(device),
            explained(job.recipe),
            _threads(int(description["device"]["num_threads"])),
        ):
            network = job.build(is_new=checkpoint is None)
            say_plan(job, network, int(description["num_params"]), told)
            _warn_of_changes(description, machine, told)
            if is_complete:
                told(
                    Warned(
                        "the run was tested already; if its test figure is why it goes on, the "
                        "next one is too good"
                    )
                )
            description = _recorded(description, settled.changes, checkpoint, job, machine)
            if writes:
                folder.remove_result()
                folder.write_description(description)
            return carry_out(job, network, folder, description, checkpoint, start, on_event)


@contextmanager
def _joined() -> Iterator[Ranks | None]:
    """Join the processes that were started together; None where there is only this one."""
    with (
        joined_ranks("cuda" if torch.cuda.is_available() else "cpu") as ranks,
        telling_once(ranks),
    ):
        yield ranks


def _begun(joined: Ranks | None, on_event: OnEvent) -> str | None:
    """Return the run that processes began which these replace; None where there is none."""
    if joined is None or joined.num_restarts == 0:
        return None
    loss = joined.recall("loss") or "a process was lost"
    joined.silenced(on_event)(
        Warned(f"{loss}; restart {joined.num_restarts} of {joined.max_restarts}")
    )
    run = joined.recall("run")
    is_there = joined.from_first(lambda: run is not None and RunFolder(Path(run)).is_described)
    return run if is_there else None


def _device_of(ranks: Ranks | None, name: str) -> torch.device:
    """Return the device of this name; of several GPUs each process takes its own.

    Raises:
        UsageError, UnavailableError: there is no such device, or not one for every process.
    """
    device = choose_device(name)
    if ranks is not None:
        check_processes(device, ranks.local_size)
        if device.type == "cuda":  # then "cuda" is that one
            torch.cuda.set_device(ranks.local_rank)
    return device


def _num_threads(ranks: Ranks | None, on_event: OnEvent) -> int:
    """Return how many threads to compute with: the cores are shared out."""
    said = torch.get_num_threads()
    if ranks is None:
        return said
    cores = num_usable_cores()
    if ranks.local_size > cores:
        on_event(Warned(f"{ranks.local_size} processes on {cores} cores: they wait for each other"))
    # Unless told otherwise, torch takes all cores, and torchrun tells each of several to take one.
    is_by_torchrun = said == 1 and not ranks.is_launched_here
    if is_by_torchrun or said * ranks.local_size > cores:
        return ranks.num_cores()
    return said


def _opened(
    dataset: str, recipe: Recipe, data_dir: Path, ranks: Ranks | None, on_event: OnEvent
) -> RunData:
    """Open the data, on one process of each machine first: it may have to be downloaded.

    Raises:
        CheckFailedError: the machines have different images.
    """
    if ranks is None:
        return open_data(dataset, recipe, data_dir, on_event)
    data = ranks.in_turn(lambda: open_data(dataset, recipe, data_dir, on_event))
    if len(set(ranks.gather(data.fingerprint))) > 1:
        raise CheckFailedError(
            f"the training images of {dataset} are not the same on all machines",
            "give each the same --data-dir, or copy them",
        )
    return data


def _check_processes(description: Mapping[str, Any], ranks: Ranks | None) -> None:
    """Refuse to go on with another number of processes: the numbers depend on it.

    Raises:
        UsageError: it is another.
    """
    wanted, there = int(description.get("nproc", 1)), 1 if ranks is None else ranks.size
    if wanted != there:
        raise UsageError(
            f"the run is of {wanted} process{'es' if wanted > 1 else ''}, and there "
            f"{'are' if there > 1 else 'is'} {there}",
            "`cnnkit train --resume` starts as many as it needs",
        )


def _num_trained(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters() if one.requires_grad)


@contextmanager
def _held(run: RunFolder, on_event: OnEvent) -> Iterator[None]:
    """Hold the lock of a run."""
    with run.lock() as is_held:
        if not is_held:
            on_event(
                Warned(f"the disk of {run.path} has no locks: let no other process train this run")
            )
        yield


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with so many threads: sums are added in another order with more or fewer."""
    earlier = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)


def _complete(run: RunFolder, recipe: Recipe) -> UsageError:
    way_on = (
        "give more --epochs to go on"
        if recipe.schedule == "constant"
        else f"its learning rate ({recipe.schedule}) has come to its end; begin a new run for more"
    )
    return UsageError(f"{run.path} is complete", way_on)


def _newest(run: RunFolder, on_event: OnEvent) -> TrainingCheckpoint | None:
    """Return the newest checkpoint that is whole; None where none was ever written.

    One that is damaged is set aside.

    Raises:
        CheckFailedError, NotFoundError: there are some, and all are damaged.
    """
    first_error: CnnkitError | None = None
    for name in run.checkpoints.training_names():
        try:
            checkpoint = _usable(run, name)
        except (CheckFailedError, NotFoundError) as error:
            first_error = first_error or error
            continue
        if first_error is not None:
            on_event(
                Warned(
                    f"{first_error.message}; the checkpoint before it is used, and no work is lost "
                    "but the steps since"
                )
            )
            run.checkpoints.set_last_aside()
        return checkpoint
    if first_error is not None:
        raise first_error
    on_event(Note("it was stopped before its first checkpoint, and begins anew"))
    return None


def _usable(run: RunFolder, name: str) -> TrainingCheckpoint:
    """Return a checkpoint if all is there that a training needs to go on from it."""
    checkpoint = run.checkpoints.load_training(name)
    try:
        best = int(checkpoint.state["progress"]["best_epoch"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckFailedError(
            f"{run.checkpoints.path / name} holds no state of a training",
            "put back the one that the run wrote",
        ) from error
    if best and not run.checkpoints.best_stands(best, checkpoint.epoch):
        raise CheckFailedError(
            f"{run.checkpoints.path / 'best'} is damaged or missing: the weights of epoch {best}",
            "restore them, or begin a new run",
        )
    return checkpoint


def _warn_of_changes(
    description: Mapping[str, Any], machine: Mapping[str, Any], on_event: OnEvent
) -> None:
    """Say what of the machine is no longer what the run began on."""
    pairs = [
        ("hardware", description["device"]["hardware"], machine["device"]["hardware"]),
        ("torch", description["versions"]["torch"], machine["versions"]["torch"]),
        ("cnnkit", description["versions"]["cnnkit"], machine["versions"]["cnnkit"]),
    ]
    changed = [f"{name} {now} for {then}" for name, then, now in pairs if then != now]
    if changed:
        on_event(
            Warned(
                f"the machine is not what it was ({', '.join(changed)}), so the numbers may differ "
                "from those of a run that was not stopped"
            )
        )


def _recorded(
    description: Mapping[str, Any],
    changes: Mapping[str, list[Any]],
    checkpoint: TrainingCheckpoint | None,
    job: Job,
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
        "recipe": job.recipe.model_dump(),
        "num_workers": job.place.num_workers,
        "data_dir": str(job.data_dir.resolve()),
        "checkpointing": asdict(job.checkpointing),
        "resumed": [*description.get("resumed", []), entry],
    }
