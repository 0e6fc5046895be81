"""`cnnkit train`: train a network on a dataset."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cnnkit.cli.config import Config, write_config
from cnnkit.cli.options import (
    DATA_PANEL,
    DataDir,
    Device,
    RunsDir,
    SkipBad,
    Workers,
    complete_dataset,
    complete_model,
    parse_arguments,
    parse_input,
)
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.cli.processes import check_rank, is_first, is_rank, launch
from cnnkit.cli.recipe_options import with_recipe
from cnnkit.errors import UsageError
from cnnkit.training.checkpointing import Checkpointing
from cnnkit.training.recipe import Recipe

CHECKPOINT_PANEL = "Checkpoints"
PROCESSES_PANEL = "Several processes"


@with_output
@with_recipe
def train(
    output: Output,
    context: typer.Context,
    settings: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Argument(
            help="A network of the zoo, timm:NAME, or FILE.py:FACTORY; not with --resume.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Argument(
            help="A dataset by name, a folder of class folders, or fake:CxHxW:classes:images.",
            autocompletion=complete_dataset,
        ),
    ] = "digits",
    config: Config = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run that was stopped, by its folder or name, with its settings.",
            show_default=False,
            rich_help_panel=CHECKPOINT_PANEL,
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            help="Write the state so often, beside the end of every epoch; 0 for never.",
            rich_help_panel=CHECKPOINT_PANEL,
        ),
    ] = Checkpointing.minutes,
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(
            help=with_default("Write it after so many steps as well.", "never"),
            show_default=False,
            rich_help_panel=CHECKPOINT_PANEL,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Train nothing; print the settings as a file for -c, every default filled in.",
        ),
    ] = False,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help=with_default(
                "Train at this size; one number is a square.", "what suits network and data"
            ),
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="An argument for the network, such as hidden=512,128; repeatable.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    skip_bad: SkipBad = False,
    device: Device = "auto",
    workers: Workers = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=with_default(
                "Train with so many processes, each on its part of every batch.", "1"
            ),
            show_default=False,
            rich_help_panel=PROCESSES_PANEL,
        ),
    ] = None,
    max_restarts: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Start them anew so often, from the last checkpoint, where one is lost.",
            rich_help_panel=PROCESSES_PANEL,
        ),
    ] = 0,
) -> None:
    """Train a network on a dataset: `cnnkit train lenet5 mnist`.

    A tenth of the training images is held out, the epoch that does best on it is kept, and the
    test set is used once, at the end. The run is kept in a folder of its own.
    """
    arguments = parse_arguments(model_arg or [])
    shape = parse_input(input_shape) if input_shape else None
    checkpointing = Checkpointing.of(checkpoint_minutes, checkpoint_steps)
    if is_rank():
        check_rank(nproc)

    if resume is not None:
        if dry_run:
            raise UsageError("--resume and --dry-run contradict each other", "leave one out")
        values = {
            **settings,
            "model": model,
            "dataset": dataset,
            "model_arguments": arguments,
            "input": shape,
            "device": device,
            "skip_bad": skip_bad,
            "workers": workers,
            "nproc": nproc,
            "checkpoint_minutes": checkpointing.minutes,
            "checkpoint_steps": checkpointing.steps,
        }
        parameters = {"model_arguments": "model_arg", "input": "input_shape"}
        given = {
            name: value
            for name, value in values.items()
            if _is_given(context, parameters.get(name, name))
        }
        place = data_dir if _is_given(context, "data_dir") else None

        from cnnkit.runs import open_run
        from cnnkit.training.resuming import settle

        if not is_rank():
            description = open_run(resume, runs_dir).read_description()
            wanted = int(description.get("nproc", 1))
            if wanted > 1 or max_restarts:
                settle(description, given)  # what is refused is refused before they are started
                launch(context, wanted, max_restarts, description["device"]["name"])
                return

        from cnnkit.training.experiment import resume as resume_run

        result = resume_run(
            resume, given, data_dir=place, runs_dir=runs_dir, on_event=output.on_event
        )
        if is_first():
            output.emit(result, shown_live=frozenset({"epochs"}))
        return
    if model is None:
        raise UsageError("name a network to train, such as lenet5", "`cnnkit models` lists them")
    check_names(model, dataset)

    recipe = Recipe.of(**settings)
    if dry_run:
        places = {"data_dir": data_dir, "runs_dir": runs_dir}
        plain = {
            "model": model,
            "dataset": dataset,
            **recipe.resolved().model_dump(),
            "input": input_shape,
            **{name: path and str(path) for name, path in places.items()},
            "skip_bad": skip_bad,
            "device": device,
            "workers": workers,
            "nproc": nproc,
            "max_restarts": max_restarts or None,
            "checkpoint_minutes": checkpointing.minutes,
            "checkpoint_steps": checkpointing.steps,
            "model_arg": arguments,
        }
        output.emit_text(write_config(plain), "--dry-run writes TOML, for -c")
        return
    num_processes = nproc or 1
    if not is_rank() and (num_processes > 1 or max_restarts):
        from cnnkit.training.team import check_batch_size

        check_batch_size(recipe.batch_size, num_processes)
        launch(context, num_processes, max_restarts, device)
        return

    from cnnkit.training.experiment import train as train_network

    result = train_network(
        model,
        dataset,
        recipe,
        model_arguments=arguments,
        input_shape=shape,
        device=device,
        data_dir=data_dir,
        runs_dir=runs_dir,
        num_workers=workers,
        skip_bad=skip_bad,
        checkpoint_minutes=checkpointing.minutes,
        checkpoint_steps=checkpointing.steps,
        on_event=output.on_event,
    )
    if is_first():
        output.emit(result, shown_live=frozenset({"epochs"}))


def _is_given(context: typer.Context, parameter: str) -> bool:
    """Return whether the user gave a value in the call or its file, and not the environment."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")


def check_names(model: str, dataset: str) -> None:
    """Refuse unknown names at once, before torch is imported.

    Raises:
        NotFoundError: there is no such network or dataset.
    """
    from cnnkit.data import find_dataset
    from cnnkit.models import find_model

    find_model(model)
    find_dataset(dataset)
