"""`cnnkit models`: the networks that there are."""

from typing import Annotated

import typer

from cnnkit.cli.options import complete_model
from cnnkit.cli.output import Output, with_default, with_output


@with_output
def models(
    output: Output,
    pattern: Annotated[
        str,
        typer.Argument(
            help=with_default("Part of a name, or a pattern such as 'resnet*'.", "all"),
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = "*",
) -> None:
    """List the networks of the zoo: `cnnkit models 'resnet*'`."""
    from cnnkit.models.networks import list_models

    output.emit(list_models(pattern))
