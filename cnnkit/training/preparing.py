"""Putting a network and a dataset together, from two names to a settled job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnnkit.data import allow_large_files, default_data_dir, lasting_name
from cnnkit.errors import CheckFailedError, setting
from cnnkit.evaluation import Setup, check_views
from cnnkit.models import find_model
from cnnkit.runs.recipe import Recipe
from cnnkit.system.device import choose_device
from cnnkit.system.distributed import ONE, ProcessGroup, check_batch_size
from cnnkit.system.trust import file_sha256
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import (
    Place,
    RunData,
    cached,
    check_headers,
    checked_workers,
    measured,
    open_data,
)
from cnnkit.training.fitting import (
    Normalization,
    choose_input,
    describe_fit,
    known_normalization,
    not_normalized,
)
from cnnkit.training.job import Job
from cnnkit.training.network.pretrained import find_weights
from cnnkit.training.network.weights_file import WeightsFile, open_weights

MAX_EVAL_BATCH = 1000
EVAL_BATCH_PIXELS = 2**20  # about so many input values make an evaluation batch


def prepare(
    model: str,
    dataset: str,
    recipe: Recipe,
    *,
    model_arguments: Mapping[str, str] | None,
    input_shape: tuple[int | None, int, int] | None,
    device: str,
    data_dir: Path | None,
    runs_dir: Path,
    num_workers: int | None,
    skip_bad: bool,
    allow_large: bool,
    checkpointing: Checkpointing,
    group: ProcessGroup = ONE,
) -> Job:
    """Open the data and put it together with the network; nothing is built or written.

    Arguments and errors are those of `train`; the recipe is resolved, and `group` are the processes
    that train together.
    """
    if allow_large:
        allow_large_files(dataset)
    description = find_model(model)
    target = group.place_on(choose_device(device))
    check_batch_size(recipe.batch_size, group.size)
    if recipe.compile:
        group.require_one(
            f"{setting('compile')} is for one process", f"leave it or {setting('nproc')} out"
        )
    data_dir = data_dir or default_data_dir()
    workers = checked_workers(group.num_cores() if num_workers is None else num_workers)
    place = Place(target, workers, skip_bad)
    weights = find_weights(description) if recipe.pretrained else None
    file = None if recipe.weights is None else own_weights(recipe.weights, runs_dir, group)
    data = opened(dataset, recipe, data_dir, group)
    if weights is not None and input_shape is None:
        input_shape = (None, *weights.size)
    shape = choose_input(description, data.train, input_shape)
    recipe.augmentation.check(shape.height, shape.width)
    check_views(recipe.tta, shape.height, shape.width)
    original = data.train
    plain = not_normalized(shape, allow_large, recipe.decode)
    normalization = known_normalization(shape.channels, data.entry, recipe.normalize, weights)
    is_measured = normalization is None
    data = cached(data, recipe, plain, place, group, is_measured)
    group.from_first(lambda: check_headers(data, place, allow_large))
    if normalization is None:
        normalization = group.from_first(
            lambda: Normalization.of_measured(measured(data, plain, place))
        )
    preprocessing = replace(plain, mean=normalization.mean, std=normalization.std)
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
        deterministic=recipe.deterministic,
    )
    fit = describe_fit(original, shape, normalization)
    if weights is not None:
        file = group.in_turn(weights.obtain)
    return Job(
        setup, recipe, data, place, checkpointing, data_dir, fit, file, group,
        normalization.to_dict(),
    )  # fmt: skip


def opened(
    dataset: str,
    recipe: Recipe,
    data_dir: Path,
    group: ProcessGroup,
) -> RunData:
    """Open the data, on one process of each machine first: it may have to be downloaded.

    Raises:
        CheckFailedError: the machines have different images.
    """
    data = group.in_turn(lambda: open_data(dataset, recipe, data_dir))
    if len(set(group.gather(data.fingerprint))) > 1:
        raise CheckFailedError(
            f"the training images of {dataset} are not the same on all machines",
            f"give each the same {setting('data_dir')}, or copy them",
        )
    return data


def own_weights(wanted: str, runs_dir: Path, group: ProcessGroup) -> WeightsFile:
    """Return the file of weights that a user names; see `open_weights`.

    Raises:
        CheckFailedError: the machines have different ones.
    """
    file = open_weights(wanted, runs_dir)
    if len(set(group.gather(file.sha256))) > 1:
        raise CheckFailedError(f"{file.path} is not the same on all machines", "copy it to each")
    return file
