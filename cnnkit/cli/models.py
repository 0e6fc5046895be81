"""`cnnkit models`: the networks that there are."""

from typing import Annotated

import typer

from cnnkit.cli.options import complete_model
from cnnkit.cli.output import Output, with_output


@with_output
def models(
    output: Output,
    pattern: Annotated[
        str,
        typer.Argument(
            help="Part of a name, or a pattern such as 'resnet*'.",
            autocompletion=complete_model,
            show_default="all",
        ),
    ] = "*",
) -> None:
    """List the networks of the zoo: `cnnkit models 'resnet*'`."""
    from cnnkit.models.listing import list_models

    output.emit(list_models(pattern))
