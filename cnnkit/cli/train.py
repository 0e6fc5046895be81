"""`cnnkit train`: train a network on a dataset."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnkit.cli.config import Config, from_user, is_default, user_config_path, write_config
from cnnkit.cli.options import (
    AllowLarge,
    DataDir,
    Device,
    OwnNetwork,
    RunsDir,
    SkipBad,
    TrustCode,
    Workers,
    complete_dataset,
    complete_model,
    complete_recipe,
    parse_arguments,
)
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.cli.processes import check_rank, is_first, is_rank, launch, num_started
from cnnkit.cli.recipe_options import NETWORK_PANEL, Asked, begin_with, with_recipe
from cnnkit.cli.run_log import RunLog, has_tensorboard
from cnnkit.data.entry import DatasetEntry
from cnnkit.errors import NotFoundError, UsageError
from cnnkit.events import handled_by, ignore
from cnnkit.models.description import ModelDescription
from cnnkit.runs.checkpoints import Checkpointing
from cnnkit.runs.recipe import Recipe
from cnnkit.system.shapes import parse_image_shape
from cnnkit.system.trust import check_named, names_code

CHECKPOINT_PANEL = "Checkpoints"
OTHER_PANEL = "Other"
PROCESSES_PANEL = "Several processes"
MOST_PROCESSES = 8  # that are started on any machine because a run was of so many


@partial(with_output, suffixes=(".png", ".toml"))
@with_recipe
def train(
    output: Output,
    context: typer.Context,
    settings: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Argument(
            help="A network (`cnnkit models`), timm:NAME, or FILE.py:FACTORY.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Argument(
            help=with_default(
                "A dataset (`cnnkit datasets`), a folder, or fake:CxHxW:classes:images.",
                "digits",
            ),
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Start from a recipe: a name (`cnnkit recipes`), fast, best, lecture, or a file.",
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Resume a stopped run, by its folder or name.",
            show_default=False,
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            help=with_default(
                "Save the state this often, besides at the end of an epoch; 0: never.",
                f"{Checkpointing.minutes:g}",
            ),
            show_default=False,
            rich_help_panel=CHECKPOINT_PANEL,
        ),
    ] = Checkpointing.minutes,
    checkpoint_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help=with_default("Save it after every N steps, too.", "never"),
            show_default=False,
            rich_help_panel=CHECKPOINT_PANEL,
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Log metrics and images for TensorBoard.",
            rich_help_panel=OTHER_PANEL,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the resolved settings as a config file; do not train.",
            rich_help_panel=OTHER_PANEL,
        ),
    ] = False,
    lr_find: Annotated[
        bool,
        typer.Option(
            "--lr-find",
            help="Find a learning rate (-o FILE.png draws the curve); do not train.",
            rich_help_panel=OTHER_PANEL,
        ),
    ] = False,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help=with_default("Image size; one number for a square.", "by network and data"),
            show_default=False,
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Argument of the network, such as hidden=512,128; repeatable.",
            show_default=False,
            rich_help_panel=NETWORK_PANEL,
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    skip_bad: SkipBad = False,
    allow_large: AllowLarge = False,
    device: Device = "auto",
    workers: Workers = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=with_default("Number of processes, each with a part of every batch.", "1"),
            show_default=False,
            rich_help_panel=PROCESSES_PANEL,
        ),
    ] = None,
    max_restarts: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Restarts from the last checkpoint after a lost process.",
            rich_help_panel=PROCESSES_PANEL,
        ),
    ] = 0,
    own_network: OwnNetwork = None,
    trust_code: TrustCode = False,
) -> None:
    """Train a network on a dataset: `cnnkit train lenet5 mnist`.

    A tenth of the training images is held out, the epoch that does best on it is kept, and the
    test set is used once, at the end. The run is kept in a folder of its own.
    """
    checkpointing = Checkpointing.of(checkpoint_minutes, checkpoint_steps)
    if resume is not None:  # a run has its own settings: those for all runs are not for it
        of_user = from_user(context)
        settings = {name: value for name, value in settings.items() if name not in of_user}
        model, recipe = (
            None if name in of_user else value
            for name, value in (("model", model), ("recipe", recipe))
        )
    if is_rank():
        check_rank(nproc)

    modes = {"--resume": resume is not None, "--dry-run": dry_run, "--lr-find": lr_find}
    is_picture = output.names_picture()
    if is_picture and not lr_find:
        raise UsageError(
            "only --lr-find answers with a picture",
            "the curves of a training are curves.png in its run folder",
        )
    if output.names_toml() and not dry_run:
        raise UsageError("only --dry-run answers with TOML", "name a .json file, or leave -o out")
    chosen = [option for option, is_chosen in modes.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} contradict each other", "leave one out")
    if model is not None and is_default(context, "model"):
        where = user_config_path() if "model" in from_user(context) else f"--config {config}"
        check_named(model, str(where), trust_code)
    if own_network is not None and resume is None:
        raise UsageError("--model belongs to --resume", "name the network as the first argument")
    if resume is not None:
        if recipe is not None:
            raise UsageError("--resume and --recipe contradict each other", "leave one out")
        arguments, shape = parse_arguments(model_arg or []), _shape(input_shape)
        values = {
            **settings,
            "model": model,
            "dataset": dataset,
            "model_arguments": arguments,
            "input": shape,
            "device": device,
            "skip_bad": skip_bad,
            "allow_large": allow_large,
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

        from cnnkit.runs.code import Trusted, network_of
        from cnnkit.runs.folder import open_run
        from cnnkit.runs.resume_settings import settle

        run = open_run(resume, runs_dir)
        with handled_by(ignore):  # what is odd about it is emitted by the verb
            description = run.read_description()  # before torch is imported
        if model is not None and all(map(names_code, (model, description["setup"]["model"]))):
            own_network = own_network or model
            given.pop("model", None)
        if tensorboard and not has_tensorboard(run.path):
            given["tensorboard"] = True
        if not is_rank():
            wanted = int(description.get("nproc", 1))
            if wanted > 1 or max_restarts:
                # Errors are raised before they are started.
                settle(description, given, run.path)
                network_of(run, description, Trusted(own_network, trust_code), is_resumed=True)
                _check_number(wanted, nproc)
                launch(context, wanted, max_restarts, description["device"]["name"])
                return
        with RunLog(tensorboard, run.path) as log:
            from cnnkit.training.resume import resume as resume_run

            log.result = resume_run(
                resume,
                given,
                data_dir=place,
                runs_dir=runs_dir,
                network=own_network,
                trust_code=trust_code,
            )
            if is_first():
                output.emit(log.result, shown_live=frozenset({"epochs"}))
        return
    num_processes = nproc or 1
    is_launching = not is_rank() and not dry_run and (num_processes > 1 or max_restarts > 0)
    asked = Asked(model, dataset, input_shape, parse_arguments(model_arg or []), settings)
    if allow_large:
        from cnnkit.data import allow_large_files

        for name in (model, dataset):  # with a recipe the first may be the dataset
            allow_large_files(name or "")
    if recipe is not None:
        reports = is_first() and not is_launching  # else the processes that it starts report
        with handled_by(None if reports else ignore):
            asked = begin_with(recipe, asked, trust_code)
    model, dataset = asked.model, asked.dataset or "digits"
    if model is None:
        raise UsageError("name a network to train, such as lenet5", "`cnnkit models` lists them")
    network, entry = check_names(model, dataset)

    shape = _shape(asked.input)
    made = Recipe.of(**asked.settings)
    if dry_run:
        places = {"data_dir": data_dir, "runs_dir": runs_dir}
        plain = {
            "model": model,
            "dataset": dataset,
            **made.resolved().model_dump(),
            "input": asked.input,
            **{name: path and str(path) for name, path in places.items()},
            "skip_bad": skip_bad,
            "allow_large": allow_large,
            "device": device,
            "workers": workers,
            "nproc": nproc,
            "max_restarts": max_restarts or None,
            "checkpoint_minutes": checkpointing.minutes,
            "checkpoint_steps": checkpointing.steps,
            "tensorboard": tensorboard,
            "model_arg": asked.model_arguments,
        }
        if is_first():
            output.emit_text(write_config(plain), "--dry-run writes TOML, for -c")
        return
    if lr_find and max(num_processes, num_started()) > 1:
        way_on = "start it without torchrun" if is_rank() else "leave --nproc out"
        raise UsageError("--lr-find is for one process", way_on)
    if is_launching:
        from cnnkit.system.distributed import check_batch_size

        check_batch_size(made.batch_size, num_processes)
        launch(context, num_processes, max_restarts, device)
        return

    if lr_find:
        if tensorboard:
            raise UsageError(
                "--lr-find and --tensorboard contradict each other",
                "-o FILE.png draws what --lr-find finds",
            )
        from cnnkit.training.lr_finder import find_learning_rate

        search = find_learning_rate(
            network,
            entry,
            made,
            model_arguments=asked.model_arguments,
            input=shape,
            device=device,
            data_dir=data_dir,
            runs_dir=runs_dir,
            num_workers=workers,
            skip_bad=skip_bad,
            allow_large=allow_large,
        )
        if not is_picture:
            output.emit(search)
            return

        from cnnkit.render.plots.curves import learning_rate_picture

        output.emit_picture(learning_rate_picture(search), search)
        return

    with RunLog(tensorboard) as log:
        from cnnkit.training.train import train as train_network

        log.result = train_network(
            network,
            entry,
            made,
            recipe_name=asked.recipe_name,
            model_arguments=asked.model_arguments,
            input=shape,
            device=device,
            data_dir=data_dir,
            runs_dir=runs_dir,
            num_workers=workers,
            skip_bad=skip_bad,
            allow_large=allow_large,
            checkpoint_minutes=checkpointing.minutes,
            checkpoint_steps=checkpointing.steps,
        )
        if is_first():
            output.emit(log.result, shown_live=frozenset({"epochs"}))


def _shape(text: str | None) -> tuple[int | None, int, int] | None:
    return parse_image_shape(text) if text is not None else None


def _is_given(context: typer.Context, parameter: str) -> bool:
    """Return whether the user gave a value in the call or its file, and not for all calls."""
    source = context.get_parameter_source(parameter)
    is_given = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")
    return is_given and parameter not in from_user(context)


def _check_number(wanted: int, said: int | None) -> None:
    """Refuse to start more processes than a machine is for, because a run folder says so.

    Raises:
        UsageError: the user has not said so too.
    """
    from cnnkit.system.device import num_usable_cores

    cores = num_usable_cores()
    if said is None and wanted > max(MOST_PROCESSES, 2 * cores):
        raise UsageError(
            f"the run uses {wanted} processes, and this machine has {cores} cores",
            f"--nproc {wanted} starts them all the same",
        )


def check_names(model: str, dataset: str) -> tuple[ModelDescription, DatasetEntry]:
    """Return what is known of a network and a dataset, before torch is imported.

    Raises:
        NotFoundError: there is no such network or dataset.
    """
    from cnnkit.data import DATASETS, find_dataset
    from cnnkit.models import MODELS, find_model

    try:
        description = find_model(model)
    except NotFoundError as error:
        if dataset in MODELS and model in DATASETS:
            error.hint = f"the model comes first: `cnnkit train {dataset} {model}`"
        raise
    return description, find_dataset(dataset)
