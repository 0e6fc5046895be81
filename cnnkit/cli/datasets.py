"""`cnnkit datasets`: the datasets that there are."""

from typing import Annotated

import typer

from cnnkit.cli.options import complete_dataset
from cnnkit.cli.output import Output, with_default, with_output


@with_output
def datasets(
    output: Output,
    pattern: Annotated[
        str,
        typer.Argument(
            help=with_default("Part of a name, or a pattern such as 'cifar*'.", "all"),
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = "*",
) -> None:
    """List the datasets by name: `cnnkit datasets 'cifar*'`."""
    from cnnkit.data.datasets import list_datasets

    output.emit(list_datasets(pattern))
