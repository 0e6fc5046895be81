"""`cnnkit compare`: several networks side by side."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import COST_PANEL, Dtype, OptimizerState, RunsDir, TrustCode, complete_model
from cnnkit.cli.output import Output, check_writable, with_default, with_output
from cnnkit.cli.summary import VIEW_PANEL
from cnnkit.errors import UsageError
from cnnkit.events import Note, emit


class SortKey(StrEnum):
    """What networks are sorted by."""

    NAME = "name"
    YEAR = "year"
    PARAMS = "params"
    WEIGHTS = "weights"
    MACS = "macs"
    FLOPS = "flops"
    ACTIVATIONS = "activations"
    INFERENCE = "inference"
    TRAINING = "training"
    DEPTH = "depth"
    FIELD = "field"
    TOP1 = "top1"
    TOP5 = "top5"
    PER_GMAC = "per-gmac"
    PARETO = "pareto"


@with_output
def compare(
    output: Output,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Networks of the zoo, patterns such as 'resnet*', timm:NAME, FILE.py:FACTORY, or "
            "runs.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    input: Annotated[  # noqa: A002  # the word for it
        list[str] | None,
        typer.Option(
            help=with_default(
                "Shape for all of them, without the batch: CxHxW, or one number for a square; "
                "once for each input.",
                "each network's own",
            ),
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        SortKey | None,
        typer.Option(
            help=with_default("What to sort by, the largest first.", "as given"),
            show_default=False,
            rich_help_panel=VIEW_PANEL,
        ),
    ] = None,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            help="Compare every network with the first.",
            rich_help_panel=VIEW_PANEL,
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw accuracy against MACs into this file: .png, .svg or .pdf.",
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
            help="Images per batch; costs are for all of it.",
            rich_help_panel=COST_PANEL,
        ),
    ] = 1,
    dtype: Dtype = "float32",
    optimizer: OptimizerState = "adam",
    runs_dir: RunsDir = Path("runs"),
    trust_code: TrustCode = False,
) -> None:
    """Compare networks side by side: `cnnkit compare vgg16 resnet50`.

    Parameters, MACs, memory, depth, receptive field, and published accuracy. Nothing is allocated.
    """
    if plot is not None:
        from cnnkit.render.plots.style import PICTURE_SUFFIXES

        if plot.suffix.lower() not in PICTURE_SUFFIXES:
            raise UsageError(
                f"--plot {plot}: {plot.suffix or 'no suffix'} is not an image format",
                f"end it with {', '.join(PICTURE_SUFFIXES)}",
            )
        check_writable(plot, "--plot")

    from cnnkit.architecture.compare import compare as compare_networks

    result = compare_networks(
        models,
        input,
        batch_size=batch_size,
        dtype=dtype,
        optimizer=optimizer,
        sort=sort.value if sort else None,
        baseline=baseline,
        runs_dir=runs_dir,
        trust_code=trust_code,
    )
    if plot is not None:
        from cnnkit.render.plots.tradeoff import draw_comparison
        from cnnkit.system.files import write_bytes

        if not result.has_accuracy:
            raise UsageError(
                "there is nothing to plot: no published accuracy of these networks is known",
                "leave --plot out, or the --input that nothing was published at"
                if input
                else "leave --plot out, or add a network that has one",
            )
        write_bytes(plot, draw_comparison(result, plot.suffix.lower()))
        emit(Note(f"wrote {plot}"))
    output.emit(result)
