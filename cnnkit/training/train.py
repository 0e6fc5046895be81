"""Training a network on a dataset, from two names to a run."""

import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from cnnkit.data.entry import DatasetEntry
from cnnkit.events import Note, OnEvent, Warned, emit, takes_on_event
from cnnkit.models import ModelDescription, code_files
from cnnkit.results import TrainResult
from cnnkit.runs.checkpoints import Checkpointing
from cnnkit.runs.code import Trusted, keep_code
from cnnkit.runs.folder import RunFolder, check_runs_dir, create_run, locked_run
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.resolve import TrainRequest, resolve
from cnnkit.runs.resolved import ResolvedRun
from cnnkit.runs.run_data import checked_workers
from cnnkit.runs.seen_images import keep_seen
from cnnkit.system.device import choose_device, computing_with
from cnnkit.system.distributed import ProcessGroup, joined_processes
from cnnkit.system.randomness import own_randomness
from cnnkit.system.shapes import ImageInput, as_image_shape
from cnnkit.training.network import build_network, explained, in_precision
from cnnkit.training.plan import say_plan
from cnnkit.training.resume import go_on
from cnnkit.training.train_and_test import carry_out


@takes_on_event
def train(
    model: str | ModelDescription,
    dataset: str | DatasetEntry = "digits",
    recipe: Recipe | None = None,
    *,
    recipe_name: str | None = None,
    model_arguments: Mapping[str, str] | None = None,
    input: ImageInput = None,  # noqa: A002  # the word for it
    device: str = "auto",
    data_dir: str | Path | None = None,
    runs_dir: str | Path = "runs",
    num_workers: int | None = None,
    skip_bad: bool = False,
    allow_large: bool = False,
    checkpoint_minutes: float = Checkpointing.minutes,
    checkpoint_steps: int | None = None,
    on_event: OnEvent | None = None,
) -> TrainResult:
    """Train a network, choose its best epoch on held-out images, and test it once.

    Args:
        model: name of the network, `file.py:factory`, or `timm:name`; or what `find_model`
            returned.
        dataset: name of the dataset, or its files; or what `find_dataset` returned.
        recipe: the settings; the defaults of `Recipe` where left out.
        recipe_name: what `run.json` calls the recipe; see `find_recipe`.
        model_arguments: what the network's builder is given beside classes and channels.
        input: channels (None for the network's own), height and width to train at; chosen
            to suit both where left out.
        device: see `choose_device`.
        data_dir: where datasets are; the user's cache folder by default.
        runs_dir: where the run folder is made, and a run looked for whose weights are taken.
        num_workers: threads that read files; one per core by default.
        skip_bad: leave broken images out, and count them.
        allow_large: decode images above the limits as well; evaluations of the run do so too.
        checkpoint_minutes: interval of checkpoints, beside the end of every epoch; 0 for never.
        checkpoint_steps: interval in steps, in addition; None for never.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such network, dataset or file of weights.
        UsageError: a setting is invalid, or network and data do not match.
        UnavailableError: device, data, weights, memory or disk is unavailable.
        CheckFailedError: the file of weights holds others, or more than data.
        RunFailedError: loss or gradient are not finite, or an image is broken.
        InterruptedRunError: Ctrl-C or SIGTERM; `resume` continues from the last step.
    """
    start = time.perf_counter()
    recipe = (recipe or Recipe()).resolved()
    choose_device(device)
    if num_workers is not None:
        checked_workers(num_workers)
    runs_dir = Path(runs_dir)
    request = TrainRequest(
        model, dataset, recipe, model_arguments, as_image_shape(input), device,
        None if data_dir is None else Path(data_dir), runs_dir,
        num_workers, skip_bad, allow_large, Checkpointing.of(checkpoint_minutes, checkpoint_steps),
    )  # fmt: skip
    check_runs_dir(runs_dir)
    with joined_processes() as group:
        begun = _run_begun_before(group)
        if begun is not None:  # by the processes before these
            trusted = Trusted(code=True)  # which is that of this command
            return go_on(begun, {}, request.data_dir, runs_dir, trusted, group, start)
        with computing_with(group.num_threads(torch.get_num_threads())):
            resolved = resolve(request, group)
            return _begin(resolved, recipe_name, runs_dir, start)


def _run_begun_before(group: ProcessGroup) -> str | None:
    """Return the run that processes began which these replace; None where there is none."""
    if group.num_restarts == 0:
        return None
    loss = group.recall("loss") or "a process was lost"
    emit(Warned(f"{loss}; restart {group.num_restarts} of {group.max_restarts}"))
    run = group.recall("run")
    is_there = group.from_first(lambda: run is not None and RunFolder(Path(run)).is_described)
    return run if is_there else None


def _begin(
    resolved: ResolvedRun,
    recipe_name: str | None,
    runs_dir: Path,
    start: float,
) -> TrainResult:
    """Make the run folder, and train."""
    recipe, model = resolved.recipe, resolved.model
    with own_randomness(resolved.place.device), explained(recipe):
        built = build_network(resolved)
        network = built.network
        resolved = in_precision(resolved, network)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        say_plan(resolved, network, num_params)
        if recipe.freeze:
            emit(Note(f"{_num_trained(network):,} parameters are trained, the others are frozen"))
        group = resolved.group
        run = group.from_first(
            lambda: create_run(runs_dir, model.name, Path(resolved.setup.dataset).name)
        )
        try:
            with locked_run(run) if group.is_first else nullcontext():
                plain = group.from_first(
                    lambda: {
                        **resolved.describe(uuid.uuid4().hex, num_params),
                        "recipe_name": recipe_name,
                        "network": _kept_code(resolved, run),
                    },
                )
                if group.is_first:
                    run.write_description(plain)
                    keep_seen(resolved, run)
                    group.remember("run", str(run.path))
                return carry_out(resolved, built, run, plain, None, start)
        except BaseException:
            if group.is_first and not run.checkpoints.names():
                run.remove()  # nothing of it could be used
            raise


def _kept_code(resolved: ResolvedRun, run: RunFolder) -> dict[str, str] | None:
    """Copy the user's own code into the run folder, once the network was built and tried."""
    spec = resolved.setup.model
    return keep_code(run, spec, code_files(spec), resolved.setup.model_arguments)


def _num_trained(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters() if one.requires_grad)
