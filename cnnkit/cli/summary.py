"""`cnnkit summary`: what a network looks like, and what it costs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.architecture.input_shapes import as_input_shapes
from cnnkit.cli.options import (
    COST_PANEL,
    Dtype,
    OptimizerState,
    OwnNetwork,
    RunsDir,
    TrustCode,
    complete_model,
    parse_arguments,
)
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.errors import ExitCode, UsageError
from cnnkit.events import Warned, emit
from cnnkit.registry import did_you_mean
from cnnkit.render import SummaryView
from cnnkit.render.result_views import LAYER_COLUMNS

VIEW_PANEL = "View"


class View(StrEnum):
    """How the layers are shown."""

    TREE = "tree"
    STRUCTURE = "structure"


class SortKey(StrEnum):
    """What the layers are sorted by."""

    PARAMS = "params"
    MACS = "macs"
    ACTIVATION = "activation"


@with_output
def summary(
    output: Output,
    model: Annotated[
        str,
        typer.Argument(
            help="A network of the zoo, timm:NAME, FILE.py:FACTORY, or a run.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    input: Annotated[  # noqa: A002  # the word for it
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help=with_default(
                "Shape without the batch: CxHxW, one number for a square, or NAME=SHAPE:DTYPE; "
                "once for each input.",
                "the network's own",
            ),
            show_default=False,
        ),
    ] = None,
    num_classes: Annotated[
        int | None,
        typer.Option(
            min=1, help=with_default("Number of logits.", "as published"), show_default=False
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(
            "--model-arg",
            metavar="KEY=VALUE",
            help="An argument of the network, such as groups=2; may be given several times.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        View,
        typer.Option(
            help="tree, or structure: the flat table of the lectures.", rich_help_panel=VIEW_PANEL
        ),
    ] = View.TREE,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=with_default("How deep the tree goes.", "3"),
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    fold: Annotated[
        bool | None,
        typer.Option(
            "--fold/--no-fold",
            help=with_default("Fold repeated equal blocks of the tree.", "fold"),
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    sort: Annotated[
        SortKey | None,
        typer.Option(
            help="List the layers flat, the largest first.",
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the N largest layers, by MACs or --sort.",
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help=with_default(
                "Which columns, such as params,macs,field.", "those that there is room for"
            ),
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "-b",
            "--batch-size",
            "--batch",
            min=1,
            help="Images per batch; shapes, counts and memory are for all of it.",
            rich_help_panel=COST_PANEL,
        ),
    ] = 1,
    dtype: Dtype = "float32",
    optimizer: OptimizerState = "adam",
    cross_check: Annotated[
        bool,
        typer.Option(
            "--cross-check",
            help="Set the counts of torchinfo, fvcore and torchvision beside ours.",
            rich_help_panel=COST_PANEL,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 6 where a heavy operator was not counted.",
            rich_help_panel=COST_PANEL,
        ),
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    own_network: OwnNetwork = None,
    trust_code: TrustCode = False,
) -> None:
    """Show a network layer by layer: `cnnkit summary vgg16`.

    Shapes, parameters, MACs and FLOPs, memory and receptive field. Nothing is allocated.
    """
    shown = _parse_columns(columns)
    wanted = SummaryView(
        view=view.value,
        depth=depth,
        fold=fold,
        sort=sort.value if sort else None,
        top=top,
        columns=shown,
    )
    arguments = parse_arguments(model_arg or [])
    inputs = as_input_shapes(input)

    from cnnkit.architecture.summarize import summary as summarise

    result = summarise(
        model,
        inputs,
        batch_size=batch_size,
        dtype=dtype,
        optimizer=optimizer,
        cross_check=cross_check,
        num_classes=num_classes,
        arguments=arguments,
        runs_dir=runs_dir,
        network=own_network,
        trust_code=trust_code,
    )
    output.emit(wanted.of(result))
    if strict and result.is_lower_bound:
        names = ", ".join(one.operator for one in result.uncounted if one.heavy)
        emit(Warned(f"--strict: the counts of {result.model} leave out {names}"))
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _parse_columns(text: str | None) -> tuple[str, ...] | None:
    """Return the names of columns that a text lists; None for none.

    Raises:
        UsageError: there is no such column.
    """
    if not text:
        return None
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in LAYER_COLUMNS:
            raise UsageError(
                f"--columns: there is no column {name!r}",
                did_you_mean(name, LAYER_COLUMNS) or f"the columns are {', '.join(LAYER_COLUMNS)}",
            )
    return names
