"""Recipes by name: TOML files in the package, or a user's own."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from cnnkit.data import find_dataset
from cnnkit.errors import NotFoundError, UsageError, settings_written
from cnnkit.models import find_model
from cnnkit.registry import did_you_mean
from cnnkit.results import RecipeList, RecipeRow
from cnnkit.runs.recipe import ABOUT_TABLES, OPTIMIZER_SETTINGS, Model, Recipe, validated
from cnnkit.system.files import explain_os_error
from cnnkit.system.shapes import parse_image_shape

Kind = Literal["lecture", "fast", "best"]
KINDS: tuple[str, ...] = get_args(Kind)
FOLDER = Path(__file__).parent / "recipes"


class About(BaseModel):
    """What a recipe is.

    Attributes:
        what: in one line; empty where a file does not say.
        kind: `lecture` has the published settings, `fast` reaches a target in the least time,
            `best` reaches the most; None for a user's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str = ""
    kind: Kind | None = None


class Reached(BaseModel):
    """What a recipe was measured to reach; what is unknown is None.

    Attributes:
        accuracy: on the test set, mean over the runs, as a fraction.
        n: number of runs, each with its own seed.
        deviation: sample standard deviation of the accuracy over the runs, as a fraction.
        seconds: of a complete run, median.
        machine: that the seconds were measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    accuracy: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=1)
    deviation: float | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    machine: str | None = None


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with the network and the data that it is made for.

    Attributes:
        name: `mnist-fast`, or the path of a file.
        about: what it is.
        model: name of the network; None where it is for any.
        dataset: name of the dataset; None where it is for any.
        input: `CxHxW`; None for what suits both.
        model_arguments: what the network's builder is given.
        settings: what the file sets of a recipe, by name.
        reached: what was measured.
        text: the file.
    """

    name: str
    about: About
    model: str | None
    dataset: str | None
    input: str | None
    model_arguments: Mapping[str, str]
    settings: Mapping[str, Any]
    reached: Reached
    text: str

    @property
    def input_shape(self) -> tuple[int | None, int, int] | None:
        """Channels (None for the network's own), height and width; None for what suits both."""
        return parse_image_shape(self.input) if self.input is not None else None

    @property
    def recipe(self) -> Recipe:
        """The settings, checked."""
        return Recipe.of(**self.settings)

    def for_model(self, model: str | None) -> "NamedRecipe":
        """Return it for a network; None for its own.

        The size of the input and the arguments are those of its own, and left out for another.

        Raises:
            NotFoundError, UsageError: there is no such network.
        """
        if model is None or self.model in (None, find_model(model).spec):
            return self
        return replace(self, input=None, model_arguments={})

    def merged(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return its settings with those that were given, and which of its own fell with them.

        Another optimizer takes nothing that is said of the recipe's own.

        Args:
            given: settings that go before those of the recipe.
        """
        kept = dict(self.settings)
        fallen: tuple[str, ...] = ()
        if given.get("optimizer", self.recipe.optimizer) != self.recipe.optimizer:
            fallen = tuple(name for name in OPTIMIZER_SETTINGS if kept.pop(name, None) is not None)
        return kept | dict(given), fallen


def find_recipe(
    name: str | Path, model: str | None = None, dataset: str | None = None
) -> NamedRecipe:
    """Return the recipe of this name, or of a file.

    Args:
        name: a full name such as `mnist-fast`; a kind (`fast`, `best`, `lecture`), which dataset
            and network complete; or the path of a TOML file.
        model: the network that it is wanted for; None for any.
        dataset: the dataset that it is wanted for; None for any.

    Raises:
        NotFoundError: there is no such recipe or file.
        UsageError: a kind names several recipes, or the file is invalid.
    """
    text = str(name)
    if text.endswith(".toml") or len(Path(text).parts) > 1:
        return read_recipe(Path(text))
    known = _packaged()
    wanted = text.lower()
    if wanted in KINDS:
        return _of_kind(wanted, model, dataset)
    found = known.get(text) or known.get(wanted)
    if found is None:
        raise NotFoundError(
            f"unknown recipe {text!r}",
            did_you_mean(text, [*known, *KINDS]) or f"`cnnkit recipes` lists all {len(known)}",
        )
    return found


def read_recipe(path: Path) -> NamedRecipe:
    """Return the recipe that a TOML file holds.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, a key is unknown, or a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise explain_os_error(error, f"read the recipe {path}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the recipe {path} is not TOML: {error}") from error
    return _parsed(str(path), text)


def list_recipes() -> RecipeList:
    """Return the recipes of the package, with what they reached."""
    rows = [
        RecipeRow(
            name=one.name,
            kind=one.about.kind or "",
            model=one.model or "",
            dataset=one.dataset or "",
            what=one.about.what,
            epochs=one.recipe.epochs,
            accuracy=one.reached.accuracy,
            n=one.reached.n,
            deviation=one.reached.deviation,
            seconds=one.reached.seconds,
            machine=one.reached.machine,
        )
        for one in _packaged().values()
    ]
    return RecipeList(tuple(rows))


@cache
def _packaged() -> Mapping[str, NamedRecipe]:
    """Return the recipes of the package by name: by kind, then by name."""
    paths = sorted(FOLDER.glob("*.toml"))
    read = [_parsed(path.stem, path.read_text(encoding="utf-8")) for path in paths]
    ordered = sorted(read, key=lambda one: KINDS.index(str(one.about.kind)))
    return {one.name: one for one in ordered}


def _of_kind(kind: str, model: str | None, dataset: str | None) -> NamedRecipe:
    """Return the recipe of a kind that suits dataset and network."""
    of_kind = [one for one in _packaged().values() if one.about.kind == kind]
    suiting = of_kind
    if dataset is not None:
        dataset = find_dataset(dataset).name
        suiting = [one for one in suiting if one.dataset == dataset]
    if model is not None and len(suiting) != 1:
        model = find_model(model).spec
        suiting = [one for one in suiting if one.model == model] or suiting
    if len(suiting) == 1:
        return suiting[0]
    if not suiting:
        wanted_for = f" for {dataset}" if dataset is not None else ""
        raise NotFoundError(f"there is no {kind} recipe{wanted_for}", _choose_one(of_kind))
    raise UsageError(f"{kind} names {len(suiting)} recipes", _choose_one(suiting))


def _choose_one(recipes: Iterable[NamedRecipe]) -> str:
    names = [one.name for one in recipes]
    return f"choose one of {', '.join(names)}" if names else "`cnnkit recipes` lists all"


def _parsed(name: str, text: str) -> NamedRecipe:
    """Return what a file holds; in it settings have their own names, and not those of options."""
    with settings_written(str):
        return _validated(name, text)


def _validated(name: str, text: str) -> NamedRecipe:
    where = f"the recipe {name}"
    try:
        given = {key.replace("-", "_"): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}") from error
    about = _table(where, About, given.pop("about", {}))
    reached = _table(where, Reached, given.pop("reached", {}))
    arguments = given.pop("model_arg", {})
    if not isinstance(arguments, dict):
        raise UsageError(f"{where}: model_arg must be a table", "write `[model_arg]` above it")
    request = {key: given.pop(key, None) for key in ("model", "dataset", "input")}
    for key, value in request.items():
        if not isinstance(value, str | None):
            raise UsageError(f"{where}: {key} must be a string, not {value!r}")
    if request["input"] is not None:
        try:
            parse_image_shape(request["input"])
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", error.hint) from error
    for key in given:
        if key not in Recipe.model_fields:
            keys = [*Recipe.model_fields, *request, "model_arg", *ABOUT_TABLES]
            raise UsageError(
                f"{where} has an unknown key {key!r}",
                did_you_mean(key, keys) or f"the keys are {', '.join(keys)}",
            )
    return NamedRecipe(
        name=name,
        about=about,
        model=request["model"],
        dataset=request["dataset"],
        input=request["input"],
        model_arguments={key: str(value) for key, value in arguments.items()},
        settings=_table(where, Recipe, given).model_dump(exclude_unset=True),
        reached=reached,
        text=text,
    )


def _table(where: str, cls: type[Model], settings: object) -> Model:
    """Return a table of a file, checked."""
    if not isinstance(settings, dict):
        raise UsageError(f"{where}: {cls.__name__.lower()} must be a table")
    try:
        with settings_written(str):  # as the file has them
            return validated(cls, settings)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", error.hint) from error
