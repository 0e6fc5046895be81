"""`cnnkit recipes`: the settings that networks are trained with, by name."""

from functools import partial
from typing import Annotated

import typer

from cnnkit.cli.options import complete_recipe
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.errors import UsageError


@partial(with_output, suffixes=(".toml",))
def recipes(
    output: Output,
    name: Annotated[
        str | None,
        typer.Argument(
            help=with_default("Print the settings of this one, as a file for -c.", "list all"),
            autocompletion=complete_recipe,
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the recipes, or print one: `cnnkit recipes mnist-fast`."""
    from cnnkit.runs.recipe_files import find_recipe, list_recipes

    if name is None:
        if output.names_toml():
            raise UsageError("only a recipe that is named is TOML", "`cnnkit recipes` lists them")
        output.emit(list_recipes())
    else:
        output.emit_text(find_recipe(name).text, "`cnnkit recipes NAME` writes TOML")
