"""The settings of a recipe as options of a command, made from the recipe itself."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from cnnkit.cli.output import with_default
from cnnkit.training.recipe import RECIPE_PANEL, Recipe

SHORT = {"batch_size": "-b"}


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting of a recipe.

    Those that were given reach its `settings` argument as one dictionary. Where one is left out,
    the recipe has the default.
    """
    options = {name: _option(name, field) for name, field in Recipe.model_fields.items()}

    @wraps(command)
    def run(**values: Any) -> None:
        settings = {name: values.pop(name) for name in options}
        given = {name: value for name, value in settings.items() if value is not None}
        command(settings=given, **values)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        parameters += options.values() if name == "settings" else [parameter]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    )
    return run


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    assert field.description, f"the setting {name} needs a description"
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    dashed = name.replace("_", "-")
    option = typer.Option(
        *([SHORT[name]] if name in SHORT else []),
        f"--{dashed}/--no-{dashed}" if field.annotation is bool else f"--{dashed}",
        help=with_default(
            field.description, str(extra.get("shown_default") or _shown(field.default))
        ),
        show_default=False,
        rich_help_panel=str(extra.get("panel", RECIPE_PANEL)),
    )
    annotation: Any = field.annotation
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation | None, option],
    )


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)
