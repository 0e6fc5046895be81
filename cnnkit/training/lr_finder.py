"""The learning-rate range test: at which rates a network learns, before it is trained."""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

from torch import Tensor
from torch.optim.lr_scheduler import ExponentialLR

from cnnkit.data.entry import DatasetEntry
from cnnkit.data.loading.batches import Batches
from cnnkit.errors import RunFailedError
from cnnkit.events import Note, OnEvent, TaskAdvanced, TaskEnded, TaskStarted, emit, takes_on_event
from cnnkit.models import ModelDescription
from cnnkit.results import LearningRatePoint, LearningRateSearch
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.resolve import TrainRequest, resolve
from cnnkit.system.determinism import deterministic_operations
from cnnkit.system.randomness import own_randomness
from cnnkit.system.shapes import ImageInput, as_image_shape
from cnnkit.training.network import (
    build_network,
    compiled,
    explained,
    in_precision,
    set_training_mode,
)
from cnnkit.training.step import NotFiniteError, Stepper

LOWEST, HIGHEST = 1e-6, 10.0
NUM_STEPS = 200  # over these seven powers of ten, so 28 steps to a power
SMOOTHING = 0.9  # share of the mean so far in the next one
DIVERGED = 4.0  # a smoothed loss so many times the lowest
FIRST_STEPS = 10  # in which the mean is still of too few losses to be judged
SLOPE_STEPS = 5  # on either side of the step whose slope is looked at
LEAST_FALL = 0.05  # share of the first mean by which the loss has to fall


@takes_on_event
def find_learning_rate(
    model: str | ModelDescription,
    dataset: str | DatasetEntry = "digits",
    recipe: Recipe | None = None,
    *,
    model_arguments: Mapping[str, str] | None = None,
    input: ImageInput = None,  # noqa: A002  # the word for it
    device: str = "auto",
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    skip_bad: bool = False,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> LearningRateSearch:
    """Take steps with a learning rate that grows, and find where the loss falls most steeply.

    The range test of L. N. Smith, Cyclical learning rates for training neural networks, 2017,
    section 3.3, the rate growing by a constant factor. The suggestion is the steepest descent of
    the smoothed loss over the logarithm of the rate, as in fastai's `lr_find` (J. Howard and
    S. Gugger, fastai: a layered API for deep learning, 2020).

    The steps are those of the recipe, with its optimizer, batch and seed; its learning rate,
    schedule and average are left out. Nothing is written.

    See `cnnkit.training.train.train` for the arguments.

    Raises:
        NotFoundError: there is no such network, dataset or file of weights.
        UsageError: a setting is invalid, or network and data do not match.
        UnavailableError: device, data or memory is unavailable.
        CheckFailedError: the file of weights holds others, or more than data.
        RunFailedError: the first loss is not finite, or an image is broken.
    """
    own = (recipe or Recipe()).resolved()
    assert own.lr is not None
    recipe = own.model_copy(
        update={
            "lr": LOWEST,
            "lr_rest": own.lr_rest and LOWEST * own.lr_rest / own.lr,  # as far apart as they are
            "schedule": "constant",
            "warmup_epochs": 0.0,
            "ema": None,
            "patience": None,
            "monitor": "val",
            "cache": "off",  # most files are not looked at
        }
    )
    resolved = resolve(
        TrainRequest(
            model,
            dataset,
            recipe,
            model_arguments,
            as_image_shape(input),
            device,
            None if data_dir is None else Path(data_dir),
            Path(runs_dir),
            num_workers,
            skip_bad,
            allow_large,
        )
    )
    emit(Note(resolved.fit))
    with (
        own_randomness(resolved.place.device),
        explained(recipe),
        deterministic_operations(recipe.deterministic),
    ):
        network, optimizer = build_network(resolved)
        resolved = in_precision(resolved, network)
        set_training_mode(network, recipe)
        batches = resolved.place.batches(
            resolved.data.train, resolved.setup, recipe.batch_size, recipe.augmentation
        )
        stepper = Stepper(
            network,
            recipe,
            batches.num_batches,
            resolved.place.device,
            resolved.setup.precision,
            compiled(network, resolved),
            optimizer,
        )
        stepper.schedule = ExponentialLR(
            stepper.optimizer, (HIGHEST / LOWEST) ** (1 / (NUM_STEPS - 1))
        )
        points, diverged_at = _sweep(stepper, batches, recipe.seed)
    lowest, steepest = judge([one.smoothed_loss for one in points])
    return LearningRateSearch(
        model=resolved.setup.model,
        dataset=resolved.setup.dataset,
        device=str(resolved.place.device),
        optimizer=recipe.optimizer,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        recipe_lr=own.lr,
        points=tuple(points),
        diverged_at=diverged_at,
        lowest_at=points[lowest].learning_rate,
        suggestion=None if steepest is None else points[steepest].learning_rate,
    )


def judge(smoothed: Sequence[float]) -> tuple[int, int | None]:
    """Return where a smoothed loss is lowest, and where it falls most steeply on the way there.

    The slope at a step is the difference of the steps `SLOPE_STEPS` before and after it, for the
    rate grows by a constant factor. The first `FIRST_STEPS` are left out; None where the loss does
    not fall by `LEAST_FALL`.

    Args:
        smoothed: at least one loss.
    """
    lowest = min(range(len(smoothed)), key=lambda index: smoothed[index])
    inner = range(FIRST_STEPS, lowest)
    if not inner or smoothed[lowest] > (1 - LEAST_FALL) * smoothed[FIRST_STEPS - 1]:
        return lowest, None

    def slope(index: int) -> float:
        return smoothed[min(index + SLOPE_STEPS, lowest)] - smoothed[index - SLOPE_STEPS]

    return lowest, min(inner, key=slope)


def _sweep(
    stepper: Stepper,
    batches: Batches,
    seed: int,
) -> tuple[list[LearningRatePoint], float | None]:
    """Return the steps, and the learning rate at which the loss diverged, if it did."""
    task = "lr-find"
    points: list[LearningRatePoint] = []
    mean, lowest = 0.0, math.inf
    emit(TaskStarted(task, NUM_STEPS, "steps"))
    try:
        with closing(_endless(batches, seed)) as endless:
            for step, (images, labels) in zip(range(1, NUM_STEPS + 1), endless, strict=False):
                rate = float(stepper.optimizer.param_groups[0]["lr"])
                try:
                    taken = stepper.take(images, labels)
                except NotFiniteError:
                    return _some(points), rate
                loss = float(taken.loss)
                if taken.found_inf:  # found late on a GPU
                    return _some(points), rate
                mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
                smoothed = mean / (1 - SMOOTHING**step)
                lowest = min(lowest, smoothed)
                points.append(LearningRatePoint(step, rate, loss, smoothed))
                if smoothed > DIVERGED * lowest and step > FIRST_STEPS:
                    return points, rate
                values = {"lr": rate, "loss": smoothed}
                emit(TaskAdvanced(task, step, values))
    finally:
        emit(TaskEnded(task))
    return points, None


def _endless(batches: Batches, seed: int) -> Generator[tuple[Tensor, Tensor]]:
    """Return the batches of one epoch after the other."""
    for epoch in count(1):
        is_empty = True
        for _, images, labels in batches.shuffled(seed, epoch):
            is_empty = False
            yield images, labels
        if is_empty:
            raise RunFailedError("every training image is broken", "repair them")


def _some(points: list[LearningRatePoint]) -> list[LearningRatePoint]:
    if not points:
        raise RunFailedError(
            f"the first loss is not finite, with a learning rate of {LOWEST:g}",
            "look at the network and its input",
        )
    return points
