"""Time to accuracy: how long a recipe trains until a network reaches an accuracy."""

import math
import statistics
import tempfile
import time
from pathlib import Path

from cnnkit.bench.device_clock import open_device
from cnnkit.bench.machine import describe_machine
from cnnkit.bench.torch_state import preserved_state
from cnnkit.data import allow_large_files, find_dataset
from cnnkit.errors import RunFailedError, UsageError, setting
from cnnkit.events import (
    EpochEnded,
    Event,
    OnEvent,
    TaskAdvanced,
    TaskEnded,
    TaskStarted,
    emit,
    takes_on_event,
)
from cnnkit.results.bench_data import TimedRun, TimeToResult
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.recipe_files import NamedRecipe, find_recipe
from cnnkit.system.trust import check_named
from cnnkit.training.train import train

TASK = "time to accuracy"
MIN_RUNS = 3  # the fastest and the slowest are dropped


class _ReachedError(Exception):
    """Raised when the accuracy is reached, to stop the training."""


@takes_on_event
def time_to_accuracy(
    target: float,
    recipe: str,
    *,
    num_runs: int = 10,
    model: str | None = None,
    dataset: str | None = None,
    device: str = "auto",
    data_dir: Path | None = None,
    num_workers: int | None = None,
    trust_code: bool = False,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> TimeToResult:
    """Train with several seeds until an accuracy is reached, and return the time it took.

    By the rules of the field's benchmarks (MLPerf Training): the clock starts when the data
    are opened, evaluation included; the fastest and the slowest run are dropped, a failed one being
    the slowest; the mean of the others counts, and there is none where one of these failed.

    Args:
        target: accuracy on the test images; on the validation images where there is no test set.
        recipe: name of a recipe, or the path of its file; see `cnnkit.find_recipe`.
        num_runs: number of seeds, starting with that of the recipe.
        model: the network, instead of the recipe's.
        dataset: the dataset, instead of the recipe's.
        device: see `choose_device`.
        data_dir: folder of datasets.
        num_workers: threads that read files.
        trust_code: let the code run that the recipe names.
        allow_large: decode images above the limits as well.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such recipe, network or dataset.
        UsageError: a setting makes no sense.
        UnavailableError: device or data are unavailable.
        CheckFailedError: the recipe names code that the user does not trust.
    """
    if not 0 < target <= 1:
        raise UsageError(
            f"{setting('target')} {target:g} is not an accuracy",
            "use a value above 0 and at most 1",
        )
    if num_runs < MIN_RUNS:
        raise UsageError(
            f"{setting('num_runs')} {num_runs} is too few",
            "the fastest and the slowest are dropped: 3 or more",
        )
    if allow_large and dataset is not None:
        allow_large_files(dataset)
    named = find_recipe(recipe, model, dataset)
    if model is None and named.model is not None:
        check_named(named.model, f"the recipe {recipe}", trust_code)
    named = named.for_model(model)
    model, dataset = model or named.model, dataset or named.dataset
    if model is None or dataset is None:
        raise UsageError(
            f"the recipe {recipe} names no {'model' if model is None else 'dataset'}",
            "name one, such as lenet5" if model is None else f"give {setting('dataset')}",
        )
    has_test = "test" in find_dataset(dataset).splits
    chosen = named.recipe
    if has_test:
        chosen = chosen.model_copy(update={"monitor": "test"})
    where = open_device(device)
    runs: list[TimedRun] = []
    emit(TaskStarted(TASK, num_runs, "runs"))
    try:
        for number in range(num_runs):
            seeded = chosen.model_copy(update={"seed": chosen.seed + number})
            run = _timed_run(
                target, model, dataset, seeded, named, "test" if has_test else "val",
                where.name, data_dir, num_workers, allow_large,
            )  # fmt: skip
            runs.append(run)
            emit(TaskAdvanced(TASK, number + 1))
    finally:
        emit(TaskEnded(TASK))
    return TimeToResult(
        machine=describe_machine([where]),
        recipe=named.name,
        model=model,
        dataset=dataset,
        device=where.name,
        target=target,
        split="test" if has_test else "val",
        mean_seconds=mean_without_ends([run.seconds for run in runs]),
        num_failed=sum(run.seconds is None for run in runs),
        runs=tuple(runs),
    )


def mean_without_ends(seconds: list[float | None]) -> float | None:
    """Return the mean of all but the fastest and the slowest; a failed run is the slowest.

    None where a failed one is among the rest.
    """
    ordered = sorted(math.inf if one is None else one for one in seconds)
    mean = statistics.fmean(ordered[1:-1])
    return mean if math.isfinite(mean) else None


def _timed_run(
    target: float,
    model: str,
    dataset: str,
    recipe: Recipe,
    named: NamedRecipe,
    split: str,
    device: str,
    data_dir: Path | None,
    num_workers: int | None,
    allow_large: bool,
) -> TimedRun:
    best, epochs = 0.0, 0

    def watch(event: Event) -> None:
        nonlocal best, epochs
        if isinstance(event, EpochEnded):
            accuracy = event.metrics[f"{split}_accuracy"]
            epochs, best = event.epoch, max(best, accuracy or 0.0)
            if best >= target:
                raise _ReachedError

    error = None
    with tempfile.TemporaryDirectory(prefix="cnnkit-") as folder, preserved_state():
        begin = time.perf_counter()
        try:
            train(
                model, dataset, recipe, model_arguments=named.model_arguments,
                input=named.input_shape, device=device, data_dir=data_dir,
                runs_dir=Path(folder), num_workers=num_workers, allow_large=allow_large,
                checkpoint_minutes=0, on_event=watch,
            )  # fmt: skip
        except _ReachedError:
            return TimedRun(recipe.seed, time.perf_counter() - begin, epochs, best, None)
        except RunFailedError as failure:  # it diverged: a failed run
            error = failure.message
    error = error or f"it ended below, after {epochs} epochs"
    return TimedRun(recipe.seed, None, epochs, best, error)
