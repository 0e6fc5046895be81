"""Settings from a TOML file: flag beats environment beats file beats recipe beats default."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnkit.cli.options import CODE_PANEL
from cnnkit.cli.output import PANEL
from cnnkit.errors import UsageError
from cnnkit.registry import did_you_mean
from cnnkit.runs.recipe import ABOUT_TABLES
from cnnkit.system.files import explain_os_error


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
    for key in ABOUT_TABLES:  # of a recipe, which is taken as well
        if isinstance(settings.get(key), dict):
            del settings[key]
    # Where the answer goes, and whose code may run, is a matter of the call, not of the work.
    parameters = {
        _key(parameter): parameter
        for parameter in context.command.params
        if parameter.name not in ("config", "help")
        and getattr(parameter, "rich_help_panel", "") not in (PANEL, CODE_PANEL)
    }
    defaults: dict[str, object] = {}
    for key, value in settings.items():
        parameter = parameters.get(key.replace("-", "_"))
        if parameter is None:
            raise UsageError(
                f"--config {path} has an unknown key {key!r}",
                did_you_mean(key.replace("-", "_"), parameters)
                or f"the keys are {', '.join(sorted(parameters))}",
            )
        if parameter.name in defaults:
            twice = [one for one in settings if parameters.get(one.replace("-", "_")) is parameter]
            raise UsageError(f"--config {path} has both {' and '.join(twice)}", "leave one out")
        defaults[parameter.name] = _as_given(path, key, value, parameter)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def write_config(settings: Mapping[str, object]) -> str:
    """Return settings as a TOML file that `read_config` reads; those that are None are left out.

    Args:
        settings: texts, numbers, switches, and last of all tables of texts.
    """
    lines = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]"] if value else []
            lines += [f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()]
        elif value is not None:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return a value as TOML has it; its basic strings are those of JSON, but for some escapes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
    return repr(value)


def _key(parameter: Any) -> str:
    """Return the name of an argument, or the long name of an option, with `_`."""
    long = max((name for name in parameter.opts), key=len)
    return str(long).lstrip("-").replace("-", "_")


def _as_given(path: Path, key: str, value: object, parameter: Any) -> object:
    """Return a value as the command line would have had it.

    Raises:
        UsageError: it is no value that an option takes.
    """
    if parameter.multiple:
        if isinstance(value, dict):  # [model_arg] with a line a key
            return [f"{name}={item}" for name, item in value.items()]
        values = value if isinstance(value, list) else [value]
        if all(isinstance(item, str) for item in values):
            return values
    elif isinstance(value, bool):
        if getattr(parameter, "is_flag", False):
            return value
    elif isinstance(value, int | float | str):
        return value
    if parameter.multiple:
        kind = "a text, or a list of texts"
    else:
        kind = "true or false" if getattr(parameter, "is_flag", False) else "a number or a text"
    raise UsageError(f"--config {path}: the value of {key!r} must be {kind}, not {_toml(value)}")


Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=read_config,
        help="Settings, named as the options; a flag beats the environment beats the file beats "
        "the recipe.",
        show_default=False,
    ),
]
