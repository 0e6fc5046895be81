"""Training a network on a dataset, from two names to a run."""

import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from cnnkit.events import Note, OnEvent, emit, takes_on_event
from cnnkit.models import code_files, find_model
from cnnkit.results import TrainResult
from cnnkit.runs.code import Trusted, keep_code
from cnnkit.runs.folder import RunFolder, check_runs_dir, create_run
from cnnkit.runs.recipe import Recipe
from cnnkit.system.device import choose_device
from cnnkit.system.randomness import own_randomness
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.data import checked_workers
from cnnkit.training.execution import carry_out
from cnnkit.training.job import Job, explained
from cnnkit.training.plan import say_plan
from cnnkit.training.preparing import prepare
from cnnkit.training.processes import (
    computing_with,
    held,
    joined_processes,
    run_begun_before,
)
from cnnkit.training.resuming import go_on
from cnnkit.training.seen_images import keep_seen


@takes_on_event
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
    allow_large: bool = False,
    checkpoint_minutes: float = Checkpointing.minutes,
    checkpoint_steps: int | None = None,
    on_event: OnEvent | None = None,
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
        runs_dir: where the run folder is made, and a run looked for whose weights are taken.
        num_workers: threads that read files; one a core by default.
        skip_bad: leave broken images out, and count them.
        allow_large: decode images above the limits as well; evaluations of the run do so too.
        checkpoint_minutes: write the state so often, beside the end of every epoch; 0 for never.
        checkpoint_steps: write it after so many steps as well; None for never.
        on_event: called with each event; None leaves the handler in force.

    Raises:
        NotFoundError: there is no such network, dataset or file of weights.
        UsageError: a setting makes no sense, or network and data do not fit.
        UnavailableError: device, data, weights, memory or disk cannot be had.
        CheckFailedError: the file of weights holds others, or more than data.
        RunFailedError: loss or gradient are not finite, or an image is broken.
        InterruptedRunError: Ctrl-C or SIGTERM; `resume` goes on from the step that was reached.
    """
    start = time.perf_counter()
    recipe = (recipe or Recipe()).resolved()
    choose_device(device)
    if num_workers is not None:
        checked_workers(num_workers)
    checkpointing = Checkpointing.of(checkpoint_minutes, checkpoint_steps)
    check_runs_dir(runs_dir)
    with joined_processes() as group:
        begun = run_begun_before(group)
        if begun is not None:  # by the processes before these
            trusted = Trusted(code=True)  # which is that of this command
            return go_on(begun, {}, data_dir, runs_dir, trusted, group, start)
        with computing_with(group.num_threads(torch.get_num_threads())):
            job = prepare(
                model,
                dataset,
                recipe,
                model_arguments=model_arguments,
                input_shape=input_shape,
                device=device,
                data_dir=data_dir,
                runs_dir=runs_dir,
                num_workers=num_workers,
                skip_bad=skip_bad,
                allow_large=allow_large,
                checkpointing=checkpointing,
                group=group,
            )
            return _begin(job, recipe_name, runs_dir, start)


def _begin(
    job: Job,
    recipe_name: str | None,
    runs_dir: Path,
    start: float,
) -> TrainResult:
    """Make the run folder, and train."""
    recipe, model = job.recipe, find_model(job.setup.model)
    with own_randomness(job.place.device), explained(recipe):
        network = job.build()
        job = job.in_precision(network)
        num_params = sum(parameter.numel() for parameter in network.parameters())
        say_plan(job, network, num_params)
        if recipe.freeze:
            emit(Note(f"{_num_trained(network):,} parameters are trained, the others stay"))
        group = job.group
        run = group.from_first(
            lambda: create_run(runs_dir, model.name, Path(job.setup.dataset).name)
        )
        try:
            with held(run) if group.is_first else nullcontext():
                plain = group.from_first(
                    lambda: {
                        **job.describe(uuid.uuid4().hex, num_params),
                        "recipe_name": recipe_name,
                        "network": _kept_code(job, run),
                    },
                )
                if group.is_first:
                    run.write_description(plain)
                    keep_seen(job, run)
                    group.remember("run", str(run.path))
                return carry_out(job, network, run, plain, None, start)
        except BaseException:
            if group.is_first and not run.checkpoints.names():
                run.remove()  # nothing of it could be used
            raise


def _kept_code(
    job: Job,
    run: RunFolder,
) -> dict[str, str] | None:
    """Copy the user's own code into the run folder, once the network was built and tried."""
    spec = job.setup.model
    return keep_code(run, spec, code_files(spec), job.setup.model_arguments)


def _num_trained(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters() if one.requires_grad)
