"""Settings from TOML files: the one that -c names, and the user's own.

Precedence: flag, environment variable, -c file, the user's file, recipe.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnkit.cli.options import CODE_PANEL
from cnnkit.cli.output import PANEL
from cnnkit.errors import UsageError
from cnnkit.registry import did_you_mean
from cnnkit.system.files import explain_os_error

FROM_USER = "cnnkit.config.from_user"  # in a context: parameters that the user's own file sets


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Read the file and make its values the defaults of the command's own options.

    Keys are the long names of options, with `_` or `-`.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, or has a key that is no option.
    """
    if path is None or context.resilient_parsing:
        return path
    where = f"--config {path}"
    settings = _read(path, where)
    from cnnkit.runs.recipe import ABOUT_TABLES

    for key in ABOUT_TABLES:  # of a recipe, which is taken as well
        if isinstance(settings.get(key), dict):
            del settings[key]
    defaults = _defaults(settings, _settable(context.command), where)
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta[FROM_USER] = in_user_file(context) - set(defaults)
    return path


def user_config_path() -> Path:
    """Return the path of the user's own file of settings, which need not be there."""
    from platformdirs import user_config_path as folder

    return folder("cnnkit", appauthor=False) / "config.toml"


def from_user(context: typer.Context) -> frozenset[str]:
    """Return the parameters whose values are those of the user's own file."""
    return frozenset(name for name in in_user_file(context) if is_default(context, name))


def is_default(context: typer.Context, parameter: str) -> bool:
    """Return whether a file of settings gives the value, and not the call."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "DEFAULT_MAP"


def in_user_file(context: typer.Context) -> frozenset[str]:
    """Return the parameters that the user's own file sets, unless the call does."""
    found: frozenset[str] = context.meta.get(FROM_USER, frozenset())
    return found


def use_user_config(context: typer.Context, name: str, command: Any) -> None:
    """Make the values of the user's own file the defaults of a command's options.

    A key outside of a table is for every command that has such an option; those in a table named
    like a command are for that command, and come first.

    Args:
        context: of the whole command line.
        name: of the command.
        command: its options get the defaults.

    Raises:
        UsageError: the file is not TOML, has a key that no command knows, or no value of it.
    """
    path = user_config_path()
    if not path.exists():
        return
    from cnnkit.cli.app import COMMANDS, load_command

    where = f"the config file {path}"
    settings = _read(path, where)
    own = settings.get(name, {})
    tables = {one for one in COMMANDS if isinstance(settings.get(one), dict)}
    parameters = _settable(command)
    shared, unknown = {}, []
    for key, value in settings.items():
        if key.replace("-", "_") in parameters:
            shared[key] = value
        elif key not in tables:
            unknown.append(key)
    if unknown:  # here, that is: others may have it
        everywhere = {one for other in COMMANDS for one in _settable(load_command(other))}
        for key in unknown:
            if key in COMMANDS:
                raise UsageError(f"{key!r} of {where} is no table", f"write [{key}] above its keys")
            if key.replace("-", "_") not in everywhere:
                raise _unknown_key(where, key, {*everywhere, *COMMANDS})
    defaults = _defaults(shared, parameters, where)
    if name in tables:
        defaults |= _defaults(own, parameters, f"[{name}] of {where}")
    command.context_settings = {**command.context_settings, "default_map": defaults}
    context.meta[FROM_USER] = frozenset(defaults)


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise explain_os_error(error, f"read {where}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not TOML: {error}") from error


def _settable(command: Any) -> dict[str, Any]:
    """Return the parameters of a command that a file may set, by key."""
    # Where the output goes, and whose code may run, belongs to the call, not to the work. What
    # a command is about can be in a file only where there is -c.
    takes_arguments = any(parameter.name == "config" for parameter in command.params)
    return {
        _key(parameter): parameter
        for parameter in command.params
        if parameter.name not in ("config", "help")
        and getattr(parameter, "rich_help_panel", "") not in (PANEL, CODE_PANEL)
        and (takes_arguments or parameter.param_type_name == "option")
    }


def _unknown_key(where: str, key: str, known: Collection[str]) -> UsageError:
    return UsageError(
        f"{where} has an unknown key {key!r}",
        did_you_mean(key.replace("-", "_"), known) or f"the keys are {', '.join(sorted(known))}",
    )


def _defaults(
    settings: Mapping[str, object], parameters: Mapping[str, Any], where: str
) -> dict[str, object]:
    """Return the values of a file by parameter, as the command line would have had them."""
    defaults: dict[str, object] = {}
    for key, value in settings.items():
        parameter = parameters.get(key.replace("-", "_"))
        if parameter is None:
            raise _unknown_key(where, key, parameters)
        if parameter.name in defaults:
            twice = [one for one in settings if parameters.get(one.replace("-", "_")) is parameter]
            raise UsageError(f"{where} has both {' and '.join(twice)}", "leave one out")
        defaults[parameter.name] = _as_given(where, key, value, parameter)
    return defaults


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


def _as_given(where: str, key: str, value: object, parameter: Any) -> object:
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
        kind = "a string, or a list of strings"
    else:
        kind = "true or false" if getattr(parameter, "is_flag", False) else "a number or a string"
    raise UsageError(f"{where}: the value of {key!r} must be {kind}, not {_toml(value)}")


Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=read_config,
        help="Read settings from this file, named as the options.",
        show_default=False,
    ),
]
