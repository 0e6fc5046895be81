"""`cnnkit eval`: evaluate the network of a run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import (
    DATA_PANEL,
    AllowLarge,
    DataDir,
    Device,
    OwnNetwork,
    RunsDir,
    SkipBad,
    TrustCode,
    Workers,
    complete_dataset,
)
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.events import handled_by, ignore


class CheckpointName(StrEnum):
    """Which weights of a run."""

    BEST = "best"
    LAST = "last"


class TestTime(StrEnum):
    """What of an image is evaluated."""

    NONE = "none"
    MIRROR = "mirror"
    SHIFT = "shift"


@with_output
def evaluate(
    output: Output,
    run: Annotated[
        str, typer.Argument(help="The folder of a run, or its name.", show_default=False)
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(
            help=with_default("Another dataset with the same classes.", "that of the run"),
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help=with_default(
                "test, val or train as the run saw them, or another of the dataset.",
                "test; all of another dataset that has none",
            ),
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    checkpoint: Annotated[
        CheckpointName | None,
        typer.Option(
            help=with_default("Which weights.", "best, where there is one"), show_default=False
        ),
    ] = None,
    tta: Annotated[
        TestTime | None,
        typer.Option(
            help=with_default(
                "The mean over an image and its mirror image, or their shifts too.",
                "that of the run",
            ),
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    skip_bad: SkipBad = False,
    allow_large: AllowLarge = False,
    device: Device = "auto",
    workers: Workers = None,
    own_network: OwnNetwork = None,
    trust_code: TrustCode = False,
) -> None:
    """Evaluate a trained network: `cnnkit eval runs/lenet5-mnist-...`.

    Loss, accuracy with its 95 % Wilson interval, every class, and the confusion matrix.
    """
    from cnnkit.runs.folder import open_run

    with handled_by(ignore):  # what is odd about it is emitted by the verb
        open_run(run, runs_dir).read_description()  # before torch is imported

    from cnnkit.evaluation import evaluate as evaluate_run

    result = evaluate_run(
        run,
        dataset,
        split=split,
        checkpoint=checkpoint,
        tta=tta,
        device=device,
        data_dir=data_dir,
        runs_dir=runs_dir,
        num_workers=workers,
        skip_bad=skip_bad,
        network=own_network,
        trust_code=trust_code,
        allow_large=allow_large,
    )
    output.emit(result)
