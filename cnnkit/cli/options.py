"""Options that mean the same everywhere, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.output import with_default
from cnnkit.errors import UsageError

DATA_PANEL = "Data"
MACHINE_PANEL = "Machine"
COST_PANEL = "Cost"
CODE_PANEL = "Code"


def complete_model(incomplete: str) -> list[str]:
    """Return the networks whose name begins with a text."""
    from cnnkit.models import MODELS

    return [name for name in MODELS if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Return the datasets whose name begins with a text."""
    from cnnkit.data import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes whose name begins with a text."""
    from cnnkit.runs.recipe_files import list_recipes

    return [one.name for one in list_recipes().recipes if one.name.startswith(incomplete)]


def parse_arguments(pairs: list[str]) -> dict[str, str]:
    """Return `key=value` pairs as a dictionary.

    Raises:
        UsageError: one has no `=`, or a key comes twice.
    """
    arguments: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"--model-arg {pair!r} is no KEY=VALUE", "such as hidden=512,128")
        if key in arguments:
            raise UsageError(f"--model-arg {key} is given twice", "leave one out")
        arguments[key] = value
    return arguments


def _expand_user(path: Path | None) -> Path | None:
    """Return the path with `~` as the home folder, which a shell does not expand after `=`."""
    return path.expanduser() if path is not None else None


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="CNNKIT_DATA_DIR",
        callback=_expand_user,
        help=with_default(
            "Where datasets are, or are downloaded to (CNNKIT_DATA_DIR).", "the user's cache folder"
        ),
        show_envvar=False,
        metavar="FOLDER",
        show_default=False,
        rich_help_panel=DATA_PANEL,
    ),
]
RunsDir = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        envvar="CNNKIT_RUNS_DIR",
        callback=_expand_user,
        help=with_default("Where runs are kept (CNNKIT_RUNS_DIR).", "runs"),
        show_envvar=False,
        show_default=False,
        metavar="FOLDER",
        rich_help_panel=DATA_PANEL,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Skip broken images, and count them.",
        rich_help_panel=DATA_PANEL,
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run code that a run folder or a config file names.",
        rich_help_panel=CODE_PANEL,
    ),
]
OwnNetwork = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE.py:FACTORY",
        help=with_default("Your file with the network of the run.", "its copy in the run"),
        show_default=False,
        rich_help_panel=CODE_PANEL,
    ),
]
AllowLarge = Annotated[
    bool,
    typer.Option(
        "--allow-large",
        help="Read images and archives above the size limits too.",
        rich_help_panel=DATA_PANEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="CNNKIT_DEVICE",
        show_envvar=False,
        show_default=False,
        metavar="NAME",
        help=with_default("auto, cpu, cuda, cuda:N, mps or xpu (CNNKIT_DEVICE).", "auto"),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "-j",
        "--workers",
        metavar="N",
        help=with_default("Threads that read images.", "one per core"),
        show_default=False,
        rich_help_panel=MACHINE_PANEL,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="Dtype of weights and images: float32, float64, bfloat16 or float16.",
        rich_help_panel=COST_PANEL,
    ),
]
OptimizerState = Annotated[
    str,
    typer.Option(
        "--optimizer",
        help="Optimizer whose state is counted: adam, adamw, sgd (with momentum), plain-sgd, muon.",
        rich_help_panel=COST_PANEL,
    ),
]
