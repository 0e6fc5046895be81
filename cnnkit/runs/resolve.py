"""Resolving a training run: from the names of a network and a dataset to a `ResolvedRun`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cnnkit.data import allow_large_files, as_data_dir, find_dataset, lasting_name
from cnnkit.data.entry import DatasetEntry
from cnnkit.data.loading.views import check_views
from cnnkit.errors import CheckFailedError, setting
from cnnkit.models import ModelDescription, find_model
from cnnkit.runs.checkpoints import Checkpointing
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.preprocess import (
    Normalization,
    choose_input,
    describe_fit,
    known_normalization,
    not_normalized,
)
from cnnkit.runs.pretrained import find_weights
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.resolved import ResolvedRun
from cnnkit.runs.run_data import (
    LoaderConfig,
    RunData,
    cached,
    check_headers,
    checked_workers,
    measured,
    open_data,
)
from cnnkit.runs.weights_file import WeightsFile, open_weights
from cnnkit.system.device import AUTO, choose_device
from cnnkit.system.distributed import ONE, ProcessGroup, check_batch_size
from cnnkit.system.trust import file_sha256

MAX_EVAL_BATCH = 1000
EVAL_BATCH_PIXELS = 2**20  # about so many input values make an evaluation batch


@dataclass(frozen=True)
class TrainRequest:
    """A request to train a network on a dataset; see `train` for what each value means.

    Attributes:
        model: name of the network, or what `find_model` returned for it.
        dataset: name of the dataset, or what `find_dataset` returned for it.
        recipe: every setting, resolved.
        model_arguments: what the network's builder is given beside classes and channels.
        input_shape: channels (None for the network's own), height and width; None to choose them.
        device: see `choose_device`.
        data_dir: where datasets are; None for the user's cache folder.
        runs_dir: where a run is looked for whose weights are taken.
        num_workers: threads that read files; None for one per core.
        skip_bad: leave broken images out.
        allow_large: decode images above the limits as well.
        checkpointing: when the state is written.
    """

    model: str | ModelDescription
    dataset: str | DatasetEntry
    recipe: Recipe
    model_arguments: Mapping[str, str] | None = None
    input_shape: tuple[int | None, int, int] | None = None
    device: str = AUTO
    data_dir: Path | None = None
    runs_dir: Path = Path("runs")
    num_workers: int | None = None
    skip_bad: bool = False
    allow_large: bool = False
    checkpointing: Checkpointing = field(default_factory=Checkpointing)


def resolve(request: TrainRequest, group: ProcessGroup = ONE) -> ResolvedRun:
    """Open the data and join it with the network; nothing is built or written.

    Args:
        request: what is to be trained.
        group: the processes that train together.

    Raises:
        NotFoundError, UsageError, UnavailableError, CheckFailedError, RunFailedError: as `train`.
    """
    recipe = request.recipe
    entry, model = find_dataset(request.dataset), find_model(request.model)
    if request.allow_large:
        allow_large_files(entry.name)
    target = group.place_on(choose_device(request.device))
    check_batch_size(recipe.batch_size, group.size)
    if recipe.compile:
        group.require_one(
            f"{setting('compile')} is for one process", f"leave it or {setting('nproc')} out"
        )
    data_dir = as_data_dir(request.data_dir)
    wanted = request.num_workers
    workers = checked_workers(group.num_cores() if wanted is None else wanted)
    place = LoaderConfig(target, workers, request.skip_bad)
    weights = find_weights(model) if recipe.pretrained else None
    file = None if recipe.weights is None else own_weights(recipe.weights, request.runs_dir, group)
    data = open_on_all(entry, recipe, data_dir, group)
    input_shape = request.input_shape
    if weights is not None and input_shape is None:
        input_shape = (None, *weights.size)
    shape = choose_input(model, data.train, input_shape)
    recipe.augmentation.check(shape.height, shape.width)
    check_views(recipe.tta, shape.height, shape.width)
    original = data.train
    plain = not_normalized(shape, request.allow_large, recipe.decode)
    normalization = known_normalization(shape.channels, data.entry, recipe.normalize, weights)
    is_measured = normalization is None
    data = cached(data, recipe, plain, place, group, is_measured)
    group.from_first(lambda: check_headers(data, place, request.allow_large))
    if normalization is None:
        normalization = group.from_first(
            lambda: Normalization.of_measured(measured(data, plain, place))
        )
    preprocessing = replace(plain, mean=normalization.mean, std=normalization.std)
    setup = ModelAndData(
        model=model.spec,
        dataset=lasting_name(entry.name),
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
        # An untested network may rely on the order of memory, as `view` does.
        channels_last=(
            model.entry is not None if recipe.channels_last is None else recipe.channels_last
        ),
        fingerprint=data.fingerprint,
        model_sha256=file_sha256(model.spec),
        model_arguments=dict(request.model_arguments or {}),
        tta=recipe.tta,
        deterministic=recipe.deterministic,
    )
    fit = describe_fit(original, shape, normalization)
    if weights is not None:
        file = group.in_turn(weights.obtain)
    return ResolvedRun(
        model, setup, recipe, data, place, request.checkpointing, data_dir, fit, file, group,
        normalization.to_dict(),
    )  # fmt: skip


def open_on_all(
    entry: DatasetEntry,
    recipe: Recipe,
    data_dir: Path,
    group: ProcessGroup,
) -> RunData:
    """Open the data, on one process of each machine first: it may have to be downloaded.

    Raises:
        CheckFailedError: the machines have different images.
    """
    data = group.in_turn(lambda: open_data(entry, recipe, data_dir))
    if len(set(group.gather(data.fingerprint))) > 1:
        raise CheckFailedError(
            f"the training images of {entry.name} are not the same on all machines",
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
