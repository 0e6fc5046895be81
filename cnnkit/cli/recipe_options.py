"""The settings of a recipe as options of a command, made from the recipe itself."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import typer
from pydantic.fields import FieldInfo

from cnnkit.cli.output import with_default
from cnnkit.data.mean_std import MeanStd
from cnnkit.errors import CnnkitError
from cnnkit.events import Note, emit
from cnnkit.runs.recipe import RECIPE_PANEL, Recipe
from cnnkit.system.trust import check_named

if TYPE_CHECKING:
    from cnnkit.runs.recipe_files import NamedRecipe

SHORT = {"batch_size": "-b"}
FIRST = ("epochs", "batch_size", "optimizer", "lr", "seed")  # that most people need
NETWORK_PANEL = "Network"
PANELS = {
    "Optimizer and loss": (
        "lr_rest", "momentum", "weight_decay", "schedule", "warmup_epochs", "label_smoothing",
        "accumulate", "clip_grad", "ema",
    ),
    NETWORK_PANEL: ("weights", "dropout"),
    "Validation": ("patience", "val_split", "normalize", "monitor"),
    "Switches": (
        "nesterov", "pretrained", "freeze", "channels_last", "compile", "deterministic",
    ),
}  # fmt: skip
NONE = "none"  # unsets what a recipe sets, where a setting may be unset
UNSET = object()


@dataclass(frozen=True)
class Asked:
    """What a user asked to have trained; None where nothing was said.

    Attributes:
        model: the network.
        dataset: the images.
        input: `CxHxW`.
        model_arguments: what the network's builder is given.
        settings: of a recipe, by name.
        recipe_name: name of the recipe it began with.
    """

    model: str | None
    dataset: str | None
    input: str | None
    model_arguments: Mapping[str, str]
    settings: Mapping[str, Any]
    recipe_name: str | None = None


def begin_with(name: str, asked: Asked, trust_code: bool) -> Asked:
    """Return what was asked with a recipe behind it, and say what the user must know of that.

    Args:
        name: of the recipe, or its file.
        asked: what goes before it.
        trust_code: let the code run that the recipe names.

    Raises:
        NotFoundError: there is no such recipe, network or dataset.
        UsageError: the recipe, or a setting, is invalid.
        CheckFailedError: the recipe names code that the user does not trust.
    """
    from cnnkit.data import find_dataset
    from cnnkit.runs.recipe_files import find_recipe

    if asked.dataset is None and asked.model is not None and _is_dataset(asked.model):
        asked = replace(asked, model=None, dataset=asked.model)  # the recipe has the network
    named = find_recipe(name, asked.model, asked.dataset)
    if asked.model is None and named.model is not None:
        check_named(named.model, f"the recipe {named.name}", trust_code)
    model, dataset = asked.model or named.model, asked.dataset or named.dataset
    suited = named.for_model(asked.model)
    is_its_data = dataset is None or named.dataset in (None, find_dataset(dataset).name)
    settings, fallen = named.merged(asked.settings)
    emit(Note(f"recipe {named.name}" + (f": {named.about.what}" if named.about.what else "")))
    if not (suited is named and is_its_data):
        made_for = " on ".join(one for one in (named.model, named.dataset) if one is not None)
        emit(Note(f"it is made for {made_for}, and may not suit {model} on {dataset}"))
    numbers = _numbers_of(named, dataset) if "normalize" not in asked.settings else None
    if numbers is not None:
        settings["normalize"] = numbers
        emit(Note(f"nothing is published for {dataset}: normalized as {named.dataset} is"))
    if fallen:
        emit(Note(f"its {', '.join(fallen)} were chosen for its own optimizer, and are left out"))
    return Asked(
        model,
        dataset,
        asked.input or suited.input,
        asked.model_arguments or suited.model_arguments,
        settings,
        named.name,
    )


def _is_dataset(name: str) -> bool:
    """Return whether a name is no network's, and is a dataset's."""
    from cnnkit.data import find_dataset
    from cnnkit.models import find_model

    try:
        find_model(name)
    except CnnkitError:
        try:
            find_dataset(name)
        except CnnkitError:
            return False
        return True
    return False


def _numbers_of(named: "NamedRecipe", dataset: str | None) -> str | None:
    """Return the published numbers that a recipe means, where another dataset has none; else None.

    Args:
        named: the recipe.
        dataset: that it is used for.
    """
    from cnnkit.data import find_dataset

    if named.settings.get("normalize") != "published" or None in (dataset, named.dataset):
        return None
    own = find_dataset(str(named.dataset)).published
    if own is None or find_dataset(str(dataset)).published is not None:
        return None
    return str(MeanStd(own.mean, own.std))


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting of a recipe.

    Those that were given reach its `settings` argument as one dictionary. Where one is left out,
    the recipe has the default. `none` is given as None where a setting may be that.
    """
    options = {name: _option(name, field) for name, field in Recipe.model_fields.items()}

    @wraps(command)
    def run(**values: Any) -> None:
        settings = {name: values.pop(name) for name in options}
        given = {
            name: None if value is UNSET else value
            for name, value in settings.items()
            if value is not None
        }
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
    annotation: Any = field.annotation
    kind = next((one for one in (int, float, str) if annotation == one | None), None)
    option = typer.Option(
        *([SHORT[name]] if name in SHORT else []),
        f"--{dashed}/--no-{dashed}" if annotation in (bool, bool | None) else f"--{dashed}",
        help=with_default(
            field.description, str(extra.get("shown_default") or _shown(field.default))
        ),
        parser=None if kind is None else partial(_value_or_none, kind),
        metavar=_metavar(annotation, kind, extra.get("metavar")),
        show_default=False,
        rich_help_panel=_panel(name, str(extra.get("panel", RECIPE_PANEL))),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation | None, option],
    )


def _panel(name: str, of_setting: str) -> str | None:
    """Return the panel of an option, None for the first one."""
    if name in FIRST:
        return None
    return next((panel for panel, names in PANELS.items() if name in names), of_setting)


def _metavar(annotation: object, kind: type | None, said: object) -> str | None:
    """Return what the help shows in the place of a value; None for what typer makes of its type."""
    if get_origin(annotation) is Literal:
        return "NAME"  # the help has the choices, which take less room there
    if kind is None:
        return None if said is None else str(said)
    return f"<{said or kind.__name__}|{NONE}>"


def _value_or_none(kind: type[int] | type[float] | type[str], text: object) -> object:
    if text == NONE:
        return UNSET
    try:
        return kind(str(text))
    except ValueError as error:
        wanted = "an integer" if kind is int else "a number"
        raise typer.BadParameter(f"{text!r} is neither {wanted} nor {NONE}") from error


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)
