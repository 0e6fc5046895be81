"""Training a network on a dataset, from two names to a run."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit import __version__
from cnnkit.data import default_data_dir, find_dataset, open_dataset
from cnnkit.data.batches import Batches, make_batches
from cnnkit.data.entry import DatasetEntry
from cnnkit.data.image_set import ImageSet
from cnnkit.data.splits import stratified_holdout
from cnnkit.devices import (
    choose_device,
    device_name,
    explained_out_of_memory,
    memory_format,
    num_usable_cores,
)
from cnnkit.errors import (
    CnnkitError,
    InterruptedRunError,
    UsageError,
)
from cnnkit.evaluation import Setup, file_sha256, lasting_name, predict_all
from cnnkit.events import Note, OnEvent, Warned, ignore
from cnnkit.models import find_model
from cnnkit.results import TrainResult
from cnnkit.runs import RunFolder, create_run
from cnnkit.training.fitting import choose_input, choose_preprocessing, describe_fit
from cnnkit.training.loop import Trainer
from cnnkit.training.network_check import check_network
from cnnkit.training.recipe import Recipe

MAX_EVAL_BATCH = 1000
EVAL_BATCH_PIXELS = 2**20  # about so many input values make an evaluation batch


@dataclass(frozen=True)
class _Data:
    """The splits of a run; val and test are None where there are none.

    The fingerprint is that of the training images before any were held out.
    """

    entry: DatasetEntry
    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    fingerprint: str


@dataclass(frozen=True)
class _Place:
    """Where and how batches are made."""

    device: torch.device
    num_workers: int
    skip_bad: bool
    made: list[Batches] = field(default_factory=list)

    def batches(self, images: ImageSet, setup: Setup, batch_size: int) -> Batches:
        """Return the batches of a set, and remember them for their skipped images."""
        batches = make_batches(
            images,
            setup.preprocessing,
            batch_size,
            self.device,
            memory_format(self.device, setup.channels_last),
            self.num_workers,
            self.skip_bad,
        )
        self.made.append(batches)
        return batches

    def num_skipped(self) -> int:
        """Return how many broken images were left out, each counted once."""
        return len(set().union(*(batches.skipped for batches in self.made)))


def train(
    model: str,
    dataset: str = "digits",
    recipe: Recipe | None = None,
    *,
    model_arguments: Mapping[str, str] | None = None,
    input_shape: tuple[int | None, int, int] | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    num_workers: int | None = None,
    skip_bad: bool = False,
    on_event: OnEvent = ignore,
) -> TrainResult:
    """Train a network, choose its best epoch on held-out images, and test that once.

    Args:
        model: name of the network, `file.py:factory`, or `timm:name`.
        dataset: name of the dataset, or a folder of class folders.
        recipe: the settings; the defaults of `Recipe` where left out.
        model_arguments: what the network's builder is given beside classes and channels.
        input_shape: channels (None for the network's own), height and width to train at; chosen
            to suit both where left out.
        device: see `choose_device`.
        data_dir: where datasets lie; the user's cache folder by default.
        runs_dir: where the run folder is made.
        num_workers: threads that read files; one a core by default.
        skip_bad: leave broken images out, and count them.
        on_event: told about notes, progress, and each epoch.

    Raises:
        NotFoundError: there is no such network or dataset.
        UsageError: a setting makes no sense, or network and data do not fit.
        UnavailableError: device, data, memory or disk cannot be had.
        RunFailedError: the loss is not finite, or an image is broken.
        InterruptedRunError: Ctrl-C; the run folder holds the weights of the last whole epoch, or
            those of the moment where none was over.
    """
    start = time.perf_counter()
    recipe = (recipe or Recipe()).resolved()
    description = find_model(model)
    target = choose_device(device)
    data_dir = data_dir or default_data_dir()
    workers = num_usable_cores() if num_workers is None else num_workers
    if workers < 0:
        raise UsageError(f"--workers must be at least 0, not {workers}")
    place = _Place(target, workers, skip_bad)
    data = _open_data(dataset, recipe, data_dir, on_event)
    shape = choose_input(description, data.train, input_shape)
    preprocessing, normalization = choose_preprocessing(
        shape, data.entry, data.train, recipe.normalize, workers, skip_bad
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
        channels_last=description.entry is not None,
        fingerprint=data.fingerprint,
        model_sha256=file_sha256(description.spec),
        model_arguments=dict(model_arguments or {}),
    )
    devices = [target] if target.type == "cuda" else []
    hint = f"use a smaller -b/--batch-size than {recipe.batch_size}, or a smaller --input"
    with torch.random.fork_rng(devices), explained_out_of_memory(hint):
        torch.manual_seed(recipe.seed)
        network = setup.build().to(target)
        network = network.to(memory_format=memory_format(target, setup.channels_last))
        with torch.random.fork_rng(devices):  # dropout must not draw what the training will
            check_network(network, setup, min(2, recipe.batch_size, len(data.train)))
        num_params = sum(parameter.numel() for parameter in network.parameters())
        on_event(Note(describe_fit(data.train, shape, normalization)))
        on_event(Note(_plan(data, num_params, target)))
        _warn(recipe, data, on_event)
        run = create_run(runs_dir, description.name, Path(setup.dataset).name)
        try:
            run.write_description(_describe(setup, recipe, num_params, place))
            result = _train_and_test(
                network, setup, recipe, data, place, run, num_params, start, on_event
            )
        except BaseException as error:
            if not run.checkpoint_names():
                run.remove()  # nothing of it could be used
            elif isinstance(error, KeyboardInterrupt):
                raise InterruptedRunError(
                    "interrupted; the weights of the last whole epoch are kept",
                    f"`cnnkit eval {run.path}` evaluates them",
                ) from error
            elif isinstance(error, CnnkitError) and not isinstance(error, InterruptedRunError):
                on_event(Note(f"the weights so far are in {run.path}"))
            raise
    return result


def _train_and_test(
    network: nn.Module,
    setup: Setup,
    recipe: Recipe,
    data: _Data,
    place: _Place,
    run: RunFolder,
    num_params: int,
    start: float,
    on_event: OnEvent,
) -> TrainResult:
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
        on_event,
    )
    fitted = trainer.fit()
    if fitted.interrupted:
        done = len(fitted.epochs)
        raise InterruptedRunError(
            f"interrupted after epoch {done} of {recipe.epochs}; its weights are kept"
            if done
            else f"interrupted in the first of {recipe.epochs} epochs; its weights are kept",
            f"`cnnkit eval {run.path}` evaluates them",
        )
    network.load_state_dict(run.load_checkpoint("best").weights)
    metrics = None
    if test_batches is not None:
        predictions = predict_all(network, test_batches, len(setup.classes), "test", on_event)
        metrics = predictions.metrics()
    result = TrainResult(
        run=str(run.path),
        model=setup.model,
        dataset=setup.dataset,
        device=str(place.device),
        num_params=num_params,
        num_train_images=train_batches.num_images - len(train_batches.skipped),
        num_val_images=val_batches.num_images - len(val_batches.skipped) if val_batches else 0,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        test=metrics,
        num_skipped=place.num_skipped(),
        seconds=time.perf_counter() - start,
    )
    run.write_result(result.to_dict())
    return result


def _open_data(dataset: str, recipe: Recipe, data_dir: Path, on_event: OnEvent) -> _Data:
    entry = find_dataset(dataset)
    images: ImageSet = open_dataset(dataset, "train", data_dir=data_dir, on_event=on_event)
    fingerprint = images.fingerprint()
    val: ImageSet | None = None
    if recipe.val_split and "val" in entry.splits:
        val = open_dataset(dataset, "val", data_dir=data_dir, on_event=on_event)
    elif recipe.val_split:
        stay, held_out = stratified_holdout(images.labels, recipe.val_split, recipe.seed)
        if len(held_out) == 0:
            raise UsageError(
                f"{dataset} has too few training images to hold some out", "use --val-split 0"
            )
        images, val = images.subset(stay), images.subset(held_out)
    test: ImageSet | None = None
    if "test" in entry.splits:
        test = open_dataset(dataset, "test", data_dir=data_dir, on_event=on_event)
    if recipe.monitor == "test" and test is None:
        raise UsageError(f"{dataset} has no test set to monitor", "use --monitor val")
    return _Data(entry, images, val, test, fingerprint)


def _plan(data: _Data, num_params: int, device: torch.device) -> str:
    counts = [f"{len(data.train):,} to train on"]
    if data.val is not None:
        counts.append(f"{len(data.val):,} to choose the best epoch by")
    if data.test is not None:
        counts.append(f"{len(data.test):,} to test")
    return f"{', '.join(counts)}; {num_params:,} parameters; on {device}"


def _warn(recipe: Recipe, data: _Data, on_event: OnEvent) -> None:
    if recipe.monitor == "test":
        on_event(
            Warned(
                "the test set is followed every epoch; choose nothing by it, or its figures no "
                "longer tell how good the network is"
            )
        )
    if data.test is None:
        on_event(Warned("there is no test set, so the result is not tested"))


def _describe(setup: Setup, recipe: Recipe, num_params: int, place: _Place) -> dict[str, Any]:
    return {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "setup": setup.to_dict(),
        "recipe": recipe.model_dump(),
        "num_params": num_params,
        "device": {
            "name": str(place.device),
            "hardware": device_name(place.device),
            "num_threads": torch.get_num_threads(),
        },
        "num_workers": place.num_workers,
        "skip_bad": place.skip_bad,
        "versions": {
            "cnnkit": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
