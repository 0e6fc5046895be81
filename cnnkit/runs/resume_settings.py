"""Settings of a resumed run: which may change, and which may not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.data import lasting_name
from cnnkit.errors import CheckFailedError, UsageError, setting
from cnnkit.models import find_model
from cnnkit.runs.checkpoints import Checkpointing
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.recipe import Recipe, validated
from cnnkit.runs.run_data import checked_workers
from cnnkit.runs.schema import WAY_OUT
from cnnkit.system.files import is_folder

# Beside `setup`, which every run has; those of older versions may lack the rest.
NEEDED = (
    "id", "recipe", "num_params", "device", "versions", "num_workers", "skip_bad", "checkpointing",
)  # fmt: skip
CHANGEABLE = ("workers", "checkpoint_minutes", "checkpoint_steps", "tensorboard")
BEGIN_ANEW = "leave it out, or begin a new run"


@dataclass(frozen=True)
class Settled:
    """The settings of a resumed run.

    Attributes:
        recipe: of the run, perhaps with more epochs.
        num_workers: threads that read files.
        checkpointing: when the state is written.
        changes: what was changed, by the name of the option: what it was, and what it is.
    """

    recipe: Recipe
    num_workers: int
    checkpointing: Checkpointing
    changes: dict[str, list[Any]]


def settle(description: Mapping[str, Any], given: Mapping[str, Any], run: Path) -> Settled:
    """Return the settings of a run with those that the user gave.

    Args:
        description: what `run.json` holds.
        given: settings by the names of the options. Those that stay what they were are let
            through; `epochs` may rise where the learning rate does not depend on it, and `workers`,
            `checkpoint_minutes` and `checkpoint_steps` may change. `tensorboard` is true where the
            caller begins a log that the run does not have; only that is recorded.
        run: the folder.

    Raises:
        UsageError: another setting was changed, or a value is out of range.
        CheckFailedError: the description lacks something, or its recipe is invalid.
    """
    setup = description["setup"]
    recipe = _recipe(description, run)
    then = {
        **recipe.model_dump(),  # with what an older run did not know
        "precision": setup.get("precision", "fp32"),
        "channels_last": setup["channels_last"],
        "model": setup["model"],
        "dataset": setup["dataset"],
        "model_arguments": dict(setup.get("model_arguments", {})),
        "input": (setup["in_channels"], *setup["image_size"]),
        "device": description["device"]["name"],
        "skip_bad": description["skip_bad"],
        "decode": ModelAndData.from_dict(setup).preprocessing.decoding,
        "allow_large": ModelAndData.from_dict(setup).preprocessing.allow_large,
        "nproc": description.get("nproc", 1),
        "workers": description["num_workers"],
        "checkpoint_minutes": description["checkpointing"]["minutes"],
        "checkpoint_steps": description["checkpointing"]["steps"],
        "tensorboard": False,
    }
    changes: dict[str, list[Any]] = {}
    for name, value in given.items():
        value = _as_the_run_has_it(name, value, then)
        if value == then[name]:
            continue
        if name == "epochs":
            _check_epochs(recipe, value)
        elif name not in CHANGEABLE:
            raise _changed(name, then[name], value)
        changes[name] = [then[name], value]
    now = {**then, **{name: new for name, (_, new) in changes.items()}}
    return Settled(
        Recipe.of(**{**recipe.model_dump(), "epochs": now["epochs"]}),
        checked_workers(now["workers"]),
        Checkpointing.of(now["checkpoint_minutes"], now["checkpoint_steps"]),
        changes,
    )


def _recipe(description: Mapping[str, Any], run: Path) -> Recipe:
    """Return the recipe of a run, which can be resumed.

    Raises:
        CheckFailedError: `run.json` lacks something, or the recipe is invalid.
    """
    wrong: str | None = None
    for name in NEEDED:
        if description.get(name) is None:
            wrong = wrong or f"{name} is missing"
    if wrong is None:
        try:
            recipe = validated(Recipe, description["recipe"]).resolved()
            recipe.augmentation.check(*description["setup"]["image_size"])
            return recipe
        except UsageError as error:
            wrong = f"recipe: {error.message[:200]}"
    raise CheckFailedError(f"{run / 'run.json'} is damaged: {wrong}", WAY_OUT)


def _as_the_run_has_it(name: str, value: Any, then: Mapping[str, Any]) -> Any:
    """Return a value in the form in which the run keeps it."""
    if name == "model":
        return find_model(value).spec
    if name == "dataset":
        return lasting_name(value)
    if name == "input":
        channels, height, width = value
        return (then["input"][0] if channels is None else channels, height, width)
    if name == "normalize":
        return Recipe.of(normalize=value).normalize
    if name in ("device", "precision") and value == "auto":
        return then[name]
    return value


def _check_epochs(recipe: Recipe, epochs: int) -> None:
    if epochs < recipe.epochs:
        raise UsageError(
            f"{setting('epochs')} {epochs} is below the {recipe.epochs:,} of the run",
            "it may only rise",
        )
    if recipe.schedule != "constant":
        raise UsageError(
            f"{setting('epochs')} cannot be changed with {setting('schedule')} "
            f"{recipe.schedule}, whose learning rate "
            f"depends on it: it was {recipe.epochs}, not {epochs}",
            BEGIN_ANEW,
        )


def _changed(name: str, old: Any, new: Any) -> UsageError:
    if name in ("model", "dataset"):
        return UsageError(f"the run is of {old}, not of {new}", BEGIN_ANEW)
    if name == "input":
        old, new = ("x".join(map(str, shape)) for shape in (old, new))
    return UsageError(
        f"{setting(name)} cannot be changed in a resumed run: it was {_shown_value(old)}, not "
        f"{_shown_value(new)}",
        BEGIN_ANEW,
    )


def _shown_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "none"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def data_dir_of(description: Mapping[str, Any]) -> Path | None:
    """Return the data folder of a run, if it still exists."""
    path = Path(description.get("data_dir") or "")
    return path if is_folder(path) else None
