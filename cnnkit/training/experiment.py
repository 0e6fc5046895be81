"""Training a network on a dataset, from two names to a run; and going on with a run."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit.checkpoints import TrainingCheckpoint
from cnnkit.data import default_data_dir
from cnnkit.devices import choose_device, num_usable_cores
from cnnkit.errors import CheckFailedError, CnnkitError, NotFoundError, UsageError
from cnnkit.evaluation import Setup, check_views, file_sha256, lasting_name
from cnnkit.events import Note, OnEvent, Warned, ignore
from cnnkit.models import find_model
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder, create_run, open_run
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import Place, cached, checked_workers, open_data, with_decoded
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
    now,
    own_randomness,
    say_plan,
)
from cnnkit.training.pretrained import find_weights
from cnnkit.training.recipe import Recipe
from cnnkit.training.resuming import data_dir_of, settle

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
        checkpointing=Checkpointing.of(checkpoint_minutes, checkpoint_steps),
        on_event=on_event,
    )
    with own_randomness(job.place.device), explained(recipe):
        network = job.build()
        job = job.in_precision(network)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        say_plan(job, num_params, on_event)
        if recipe.freeze:
            on_event(Note(f"{_num_trained(network):,} parameters are trained, the others stay"))
        run = create_run(runs_dir, find_model(model).name, Path(job.setup.dataset).name)
        try:
            with _held(run, on_event):
                plain = {
                    **job.describe(uuid.uuid4().hex, num_params),
                    "recipe_name": recipe_name,
                    "weights": find_weights(find_model(model)).name if recipe.pretrained else None,
                }
                run.write_description(plain)
                return carry_out(job, network, run, plain, None, start, on_event)
        except BaseException:
            if not run.checkpoints.names():
                run.remove()  # nothing of it could be used
            raise


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
) -> Job:
    """Open the data and put it together with the network; nothing is built or written.

    Arguments and errors are those of `train`; the recipe is resolved.
    """
    description = find_model(model)
    target = choose_device(device)
    data_dir = data_dir or default_data_dir()
    workers = checked_workers(num_usable_cores() if num_workers is None else num_workers)
    place = Place(target, workers, skip_bad)
    weights = find_weights(description) if recipe.pretrained else None
    data = open_data(dataset, recipe, data_dir, on_event)
    if weights is not None and input_shape is None:
        input_shape = (None, *weights.size)
    shape = choose_input(description, data.train, input_shape)
    recipe.augmentation.check(shape.height, shape.width)
    check_views(recipe.tta, shape.height, shape.width)
    original = data.train
    data = cached(data, recipe, not_normalized(shape), place, on_event)
    preprocessing, normalization = choose_preprocessing(
        shape, data.entry, data.train, recipe.normalize, workers, skip_bad, weights
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
        file = weights.obtain(on_event)
    return Job(setup, recipe, data, place, checkpointing, data_dir, fit, file)


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
    folder = open_run(str(run), runs_dir)
    folder.read_description()  # a folder that is no run is not locked
    with _held(folder, on_event):
        description = folder.read_description()
        settled = settle(description, settings or {})
        setup = Setup.from_dict(description["setup"])
        if folder.is_complete and "epochs" not in settled.changes:
            raise _complete(folder, settled.recipe)
        if setup.model_sha256 != file_sha256(setup.model):
            raise CheckFailedError(
                f"the file of {setup.model} has changed since the run began",
                "restore it, or begin a new run",
            )
        device = choose_device(str(description["device"]["name"]))
        place = Place(device, settled.num_workers, bool(description["skip_bad"]))
        where = data_dir or data_dir_of(description) or default_data_dir()
        data = open_data(setup.dataset, settled.recipe, where, on_event)
        if data.fingerprint != setup.fingerprint or data.train.classes != setup.classes:
            raise CheckFailedError(
                f"the training images of {setup.dataset} are not those that the run began with",
                "restore them, or begin a new run",
            )
        if description.get("decoded_once"):
            data = with_decoded(data, settled.recipe, setup.preprocessing, place, on_event)
        checkpoint = _newest(folder, on_event)
        fit = f"goes on with {folder.path}: {setup.model} on {setup.dataset}"
        file = None
        if settled.recipe.pretrained and checkpoint is None:
            file = find_weights(find_model(setup.model)).obtain(on_event)
        job = Job(setup, settled.recipe, data, place, settled.checkpointing, where, fit, file)
        machine = describe_machine(device)
        with (
            own_randomness(device),
            explained(job.recipe),
            _threads(int(description["device"]["num_threads"])),
        ):
            network = job.build(is_new=checkpoint is None)
            say_plan(job, int(description["num_params"]), on_event)
            _warn_of_changes(description, machine, on_event)
            if folder.is_complete:
                on_event(
                    Warned(
                        "the run was tested already; if its test figure is why it goes on, the "
                        "next one is too good"
                    )
                )
                folder.remove_result()
            description = _recorded(description, settled.changes, checkpoint, job, machine)
            folder.write_description(description)
            return carry_out(job, network, folder, description, checkpoint, start, on_event)


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
