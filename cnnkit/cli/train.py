"""`cnnkit train`: train a network on a dataset."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.config import Config
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
from cnnkit.cli.output import Output, with_output
from cnnkit.training.recipe import Monitor, Normalize, Optimizer, Recipe, Schedule

RECIPE_PANEL = "Recipe"


def _default(name: str) -> str:
    """Return the default of a setting, for its help."""
    default = Recipe.model_fields[name].default
    return f"{default:g}" if isinstance(default, float) else str(default)


@with_output
def train(
    output: Output,
    model: Annotated[
        str,
        typer.Argument(
            help="A network of the zoo, timm:NAME, or FILE.py:FACTORY.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Argument(
            help="A dataset by name, a folder of class folders, or fake:CxHxW:classes:images.",
            autocompletion=complete_dataset,
        ),
    ] = "digits",
    config: Config = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training set.",
            show_default=_default("epochs"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "-b",
            "--batch-size",
            help="Images a step.",
            show_default=_default("batch_size"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Highest learning rate.",
            show_default="0.002, for sgd 0.05",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(
            help="What takes the steps.",
            show_default=_default("optimizer"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(help="Of sgd.", show_default="0.9", rich_help_panel=RECIPE_PANEL),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(
            help="Pull of the weights towards 0.",
            show_default="0, for adamw 0.01",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help="How the learning rate moves.",
            show_default=_default("schedule"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    warmup_epochs: Annotated[
        float | None,
        typer.Option(
            help="Epochs over which the learning rate rises first.",
            show_default="0, for onecycle 0.3 of all",
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            help="Share of the target spread over all classes.",
            show_default=_default("label_smoothing"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of weights, order, dropout and validation split.",
            show_default=_default("seed"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    val_split: Annotated[
        float | None,
        typer.Option(
            help="Share of the training set held out to choose the best epoch; 0 for none.",
            show_default=_default("val_split"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    normalize: Annotated[
        Normalize | None,
        typer.Option(
            help="Mean and deviation: published ones where there are, else measured.",
            show_default=_default("normalize"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    monitor: Annotated[
        Monitor | None,
        typer.Option(
            help="Follow the test set every epoch as well, as lectures do.",
            show_default=_default("monitor"),
            rich_help_panel=RECIPE_PANEL,
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Train at this size; one number is a square.",
            show_default="what suits network and data",
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
) -> None:
    """Train a network on a dataset: `cnnkit train lenet5 mnist`.

    A tenth of the training images is held out, the epoch that does best on it is kept, and the
    test set is used once, at the end. The run is kept in a folder of its own.
    """
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "label_smoothing": label_smoothing,
        "seed": seed,
        "val_split": val_split,
        "normalize": normalize,
        "monitor": monitor,
    }
    arguments = parse_arguments(model_arg or [])
    shape = parse_input(input_shape) if input_shape else None
    check_names(model, dataset)

    recipe = Recipe.of(**{name: value for name, value in settings.items() if value is not None})

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
        on_event=output.on_event,
    )
    output.emit(result, shown_live=frozenset({"epochs"}))


def check_names(model: str, dataset: str) -> None:
    """Refuse unknown names at once, before torch is imported.

    Raises:
        NotFoundError: there is no such network or dataset.
    """
    from cnnkit.data import find_dataset
    from cnnkit.models import find_model

    find_model(model)
    find_dataset(dataset)
