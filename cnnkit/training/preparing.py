"""Putting a network and a dataset together, from two names to a settled job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnnkit.data import allow_large_files, default_data_dir, lasting_name
from cnnkit.errors import CheckFailedError, UsageError
from cnnkit.evaluation import Setup, check_views
from cnnkit.models import find_model
from cnnkit.runs.recipe import Recipe
from cnnkit.system.device import num_usable_cores
from cnnkit.system.distributed import Ranks
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
from cnnkit.training.network.pretrained import PretrainedWeights, find_weights
from cnnkit.training.network.weights_file import WeightsFile, open_weights
from cnnkit.training.processes import device_of, from_first
from cnnkit.training.steps.team import check_batch_size

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
    ranks: Ranks | None = None,
) -> Job:
    """Open the data and put it together with the network; nothing is built or written.

    Arguments and errors are those of `train`; the recipe is resolved, and `ranks` are the processes
    that train together, None for this one alone.
    """
    if allow_large:
        allow_large_files(dataset)
    description = find_model(model)
    target = device_of(ranks, device)
    check_batch_size(recipe.batch_size, 1 if ranks is None else ranks.size)
    if ranks is not None and recipe.compile:
        raise UsageError("--compile is for one process", "leave it or --nproc out")
    data_dir = data_dir or default_data_dir()
    cores = num_usable_cores() if ranks is None else ranks.num_cores()
    workers = checked_workers(cores if num_workers is None else num_workers)
    place = Place(target, workers, skip_bad)
    weights = find_weights(description) if recipe.pretrained else None
    file = None if recipe.weights is None else own_weights(recipe.weights, runs_dir, ranks)
    data = opened(dataset, recipe, data_dir, ranks)
    if weights is not None and input_shape is None:
        input_shape = (None, *weights.size)
    shape = choose_input(description, data.train, input_shape)
    recipe.augmentation.check(shape.height, shape.width)
    check_views(recipe.tta, shape.height, shape.width)
    original = data.train
    plain = not_normalized(shape, allow_large, recipe.decode)
    normalization = known_normalization(shape.channels, data.entry, recipe.normalize, weights)
    is_measured = normalization is None
    data = cached(data, recipe, plain, place, ranks, is_measured)
    from_first(ranks, lambda: check_headers(data, place, allow_large))
    if normalization is None:
        normalization = from_first(
            ranks, lambda: Normalization.of_measured(measured(data, plain, place))
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
        file = obtained(weights, ranks)
    return Job(
        setup, recipe, data, place, checkpointing, data_dir, fit, file, ranks,
        normalization.to_dict(),
    )  # fmt: skip


def opened(
    dataset: str,
    recipe: Recipe,
    data_dir: Path,
    ranks: Ranks | None,
) -> RunData:
    """Open the data, on one process of each machine first: it may have to be downloaded.

    Raises:
        CheckFailedError: the machines have different images.
    """
    if ranks is None:
        return open_data(dataset, recipe, data_dir)
    data = ranks.in_turn(lambda: open_data(dataset, recipe, data_dir))
    if len(set(ranks.gather(data.fingerprint))) > 1:
        raise CheckFailedError(
            f"the training images of {dataset} are not the same on all machines",
            "give each the same --data-dir, or copy them",
        )
    return data


def own_weights(wanted: str, runs_dir: Path, ranks: Ranks | None) -> WeightsFile:
    """Return the file of weights that a user names; see `open_weights`.

    Raises:
        CheckFailedError: the machines have different ones.
    """
    file = open_weights(wanted, runs_dir)
    if ranks is not None and len(set(ranks.gather(file.sha256))) > 1:
        raise CheckFailedError(f"{file.path} is not the same on all machines", "copy it to each")
    return file


def obtained(
    weights: PretrainedWeights,
    ranks: Ranks | None,
) -> WeightsFile:
    """Return the file of weights, which one process of each machine may have to download."""
    if ranks is None:
        return weights.obtain()
    return ranks.in_turn(lambda: weights.obtain())
