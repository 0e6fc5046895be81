"""Settings from a TOML file: flag beats environment beats file beats default."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.errors import UsageError
from cnnkit.files import explain_os_error
from cnnkit.registry import did_you_mean


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Read the file and make its values the defaults of the command's own options.

    Keys are the long names of options, with `_` or `-`.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, or has a key that is no option.
    """
    if path is None or context.resilient_parsing:
        return path
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise explain_os_error(error, f"read --config {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not TOML: {error}") from error
    parameters = {
        option.lstrip("-").replace("-", "_"): parameter.name
        for parameter in context.command.params
        for option in (parameter.opts if parameter.param_type_name == "option" else [])
        if option.startswith("--") or len(parameter.opts) == 1
    } | {p.name: p.name for p in context.command.params if p.param_type_name == "argument"}
    for forbidden in ("config", "help"):
        parameters.pop(forbidden, None)
    defaults: dict[str, object] = {}
    for key, value in settings.items():
        name = parameters.get(key.replace("-", "_"))
        if name is None:
            raise UsageError(
                f"--config {path} has an unknown key {key!r}",
                did_you_mean(key.replace("-", "_"), parameters)
                or f"the keys are {', '.join(sorted(parameters))}",
            )
        defaults[name] = _as_given(key, value, path)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _as_given(key: str, value: object, path: Path) -> object:
    """Return a value as the command line would have had it."""
    if isinstance(value, dict):  # [model_arg] with a line a key
        return [f"{name}={item}" for name, item in value.items()]
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise UsageError(f"--config {path}: the value of {key!r} is neither a number nor a text")


Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=read_config,
        help="Settings, named as the options; a flag beats the environment beats the file.",
        show_default=False,
    ),
]
