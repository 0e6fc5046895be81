"""The application: its commands, and the one place where errors become text and exit codes."""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cnnkit import __version__
from cnnkit.cli.processes import is_first
from cnnkit.cli.streams import PipeClosedError, wanted_color, write_answer
from cnnkit.errors import CnnkitError, ExitCode, ToldElsewhereError

ISSUES = "please report it with the lines above"

_STYLE: dict[str, Any] = {
    "rich_markup_mode": "markdown",
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "pretty_exceptions_enable": False,
    "suggest_commands": False,
}


@dataclass(frozen=True)
class Entry:
    """A command in the overview; its module is imported only when it is called.

    Attributes:
        panel: the help panel it is listed in.
        about: the first line of its docstring.
        module: in `cnnkit.cli`, with a function of the same name.
    """

    panel: str
    about: str
    module: str


COMMANDS = {
    "stats": Entry("Data", "Measure a dataset exactly: `cnnkit stats mnist`.", "stats"),
    "show": Entry(
        "Data", "Look at images of a dataset: `cnnkit show cifar10 -o samples.png`.", "show"
    ),
    "summary": Entry(
        "Networks", "Show a network layer by layer: `cnnkit summary vgg16`.", "summary"
    ),
    "compare": Entry(
        "Networks", "Compare networks side by side: `cnnkit compare vgg16 resnet50`.", "compare"
    ),
    "conv": Entry(
        "Networks", "Compute a convolution by hand: `cnnkit conv 227 --kernel 11`.", "conv"
    ),
    "train": Entry(
        "Training", "Train a network on a dataset: `cnnkit train lenet5 mnist`.", "train"
    ),
    "recipes": Entry(
        "Training", "List the recipes, or print one: `cnnkit recipes mnist-fast`.", "recipes"
    ),
    "eval": Entry(
        "Evaluation", "Evaluate a trained network: `cnnkit eval runs/lenet5-mnist-...`.", "evaluate"
    ),
    "bench": Entry(
        "Speed", "Measure how fast networks are here: `cnnkit bench resnet18`.", "bench"
    ),
    "models": Entry(
        "Look around", "List the networks of the zoo: `cnnkit models 'resnet*'`.", "models"
    ),
    "datasets": Entry(
        "Look around", "List the datasets by name: `cnnkit datasets 'cifar*'`.", "datasets"
    ),
    "doctor": Entry(
        "Look around", "Show versions, devices and folders, and what is missing.", "doctor"
    ),
}


def command_function(name: str) -> Callable[..., None]:
    """Return the function of a command, which imports its module."""
    module = COMMANDS[name].module
    function: Callable[..., None] = getattr(import_module(f"cnnkit.cli.{module}"), module)
    return function


def load_command(name: str) -> Any:
    """Return the click command that Typer makes from its function."""
    alone = typer.Typer(add_completion=False, **_STYLE)
    alone.command(name)(command_function(name))
    return _tidied(typer.main.get_command(alone))


class _Commands(TyperGroup):
    """A group of commands that imports a command's module only to run it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        command = load_command(name)
        if not ctx.resilient_parsing and not {"-h", "--help"} & set(rest):
            from cnnkit.cli.config import use_user_config

            use_user_config(ctx, name, command)
        return name, command, rest


app = typer.Typer(
    name="cnnkit",
    cls=_Commands,
    help="Datasets, architectures and training of convolutional networks in PyTorch.",
    **_STYLE,
)


def _not_loaded() -> None:
    """Placeholder for a command until it is called."""


for _name, _entry in COMMANDS.items():
    app.command(_name, help=_entry.about, rich_help_panel=_entry.panel)(_not_loaded)


def _print_version(value: bool) -> None:
    if value:
        write_answer(sys.stdout, f"cnnkit {__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _tidied(command: Any) -> Any:
    """Return a command with the option settings that Typer cannot express."""
    for parameter in command.get_params(typer.Context(command)):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""  # the help shows no value, for there is none
        parameter.opts.sort(key=lambda name: not name.startswith("--"))  # errors name the first
    return command


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; no exception gets out."""
    code = _run(arguments)
    try:
        sys.stderr.flush()
    except BrokenPipeError:  # else Python would find it at exit, and change the exit code
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code


def _run(arguments: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a sign that the terminal lacks becomes a question mark
            reconfigure(errors="replace")
    _set_help_color(arguments)
    try:
        root = _tidied(typer.main.get_command(app))
        code = root(
            list(arguments), prog_name="cnnkit", standalone_mode=False, obj=tuple(arguments)
        )
    except PipeClosedError:
        return ExitCode.DONE
    except ToldElsewhereError as error:
        return error.exit_code
    except CnnkitError as error:
        is_bug = error.exit_code is ExitCode.BUG
        if is_bug:
            _say(traceback.format_exc())
        message = f"rank {error.rank}: {error.message}" if error.rank else error.message
        return _fail(
            arguments, message, ISSUES if is_bug else error.hint, error.exit_code,
            traced=is_bug, is_of_rank=bool(error.rank),
        )  # fmt: skip
    except (KeyboardInterrupt, typer.Abort):
        return _fail(arguments, "interrupted", "", ExitCode.INTERRUPTED)
    except TyperException as error:
        return _fail(arguments, *_usage_message(arguments, error), ExitCode.USAGE)
    except Exception:
        if is_first():
            _say(traceback.format_exc())
        return _fail(arguments, "this is a bug in cnnkit", ISSUES, ExitCode.BUG, traced=True)
    if code == ExitCode.INTERRUPTED:
        return _fail(arguments, "interrupted", "", ExitCode.INTERRUPTED)
    return int(code or ExitCode.DONE)


def _fail(
    arguments: Sequence[str],
    message: str,
    hint: str,
    code: ExitCode,
    traced: bool = False,
    is_of_rank: bool = False,
) -> int:
    if not is_first() and not is_of_rank:
        return code  # several processes fail alike, and the first one reports it
    if not traced and any(argument in ("-v", "-qv", "-vq", "--verbose") for argument in arguments):
        _say(traceback.format_exc())
    from cnnkit.render.safe_text import visible

    line = f"{message}; {hint}" if hint else message
    _say(f"cnnkit: {visible(line)}\n")
    if _wants_json(arguments):
        document = {
            "schema": "cnnkit.error/1",
            "error": code.name.lower(),
            "exit_code": int(code),
            "message": message,
            "hint": hint,
        }
        try:
            write_answer(sys.stdout, json.dumps(document, indent=2) + "\n")
        except (PipeClosedError, CnnkitError):
            return code  # stdout has no reader
    return code


def _say(text: str) -> None:
    """Write lines to stderr, whatever characters are in them."""
    from cnnkit.render.safe_text import visible

    with contextlib.suppress(BrokenPipeError):  # the reader is gone
        sys.stderr.write(visible(text, kept="\n\t"))
        sys.stderr.flush()


def _usage_message(arguments: Sequence[str], error: TyperException) -> tuple[str, str]:
    """Return message and hint of an error of the parser."""
    from cnnkit.registry import did_you_mean

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else _command_path(arguments)
    hint = f"see `{path} --help`"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return f"no such option: {option}", did_you_mean(option, error.possibilities or ()) or hint
    unknown = _unknown_command(arguments)
    if unknown is not None:
        return f"no such command {unknown!r}", did_you_mean(unknown, COMMANDS) or hint
    parameter = getattr(error, "param", None)
    if isinstance(error, typer.BadParameter) and error.message and parameter is not None:
        return _wrong_value(arguments, error, parameter, context), hint
    text = " ".join(error.format_message().split()).rstrip(".")
    return text[:1].lower() + text[1:], hint


def _wrong_value(
    arguments: Sequence[str], error: typer.BadParameter, parameter: Any, context: Any
) -> str:
    """Return what is wrong with the value of an option or an argument."""
    from cnnkit.system.validation import is_bound, requirement

    given: object = _given_value(arguments, parameter)
    defaults: dict[str, object] = getattr(context, "default_map", None) or {}
    where = ""
    if given is None and parameter.name in defaults:
        given = defaults[parameter.name]
        from cnnkit.cli.config import in_user_file, user_config_path

        is_of_user = parameter.name in in_user_file(context)
        where = f" in {user_config_path()}" if is_of_user else " in the config file"
    # of pydantic, where it was pydantic that refused the value
    problems: list[Mapping[str, Any]] = getattr(error.__cause__, "errors", list)()
    if problems and is_bound(problems[0]):
        return f"{parameter.opts[0]} {requirement(problems[0])}, not {given}"
    wanted = requirement(problems[0]) if problems else error.message.rstrip(".")
    if wanted.startswith("must be"):
        wanted = f"it {wanted}"
    if given is not None and repr(given) not in wanted:
        wanted += f", not {given!r}"
    return f"invalid value{where} for {parameter.get_error_hint()}: {wanted}"


def _unknown_command(arguments: Sequence[str]) -> str | None:
    """Return the first word of a command line where it is no command; None where it is one."""
    first = arguments[0] if arguments else "-"
    return None if first.startswith("-") or first in COMMANDS else first


def _command_path(arguments: Sequence[str]) -> str:
    """Return `cnnkit train`, as far as the arguments name a command."""
    is_command = bool(arguments) and arguments[0] in COMMANDS
    return f"cnnkit {arguments[0]}" if is_command else "cnnkit"


def _given_value(arguments: Sequence[str], parameter: Any) -> object | None:
    """Return what the user gave for an option on the command line; the last one counts."""
    options = tuple(getattr(parameter, "opts", ()))
    given = None
    for argument, following in pairwise([*arguments, ""]):
        if argument in options:
            given = following
        elif argument.partition("=")[0] in options:
            given = argument.partition("=")[2]
    return given


def _wants_json(arguments: Sequence[str]) -> bool:
    return (
        "--json" in arguments
        or "--format=json" in arguments
        or ("--format", "json") in pairwise(arguments)
    )


def _set_help_color(arguments: Sequence[str]) -> None:
    """Let the help pages obey NO_COLOR, which Rich itself takes to allow bold."""
    option = None
    if "--no-color" in arguments or "--color" in arguments:
        option = "--no-color" not in arguments
    if wanted_color(option) is False:
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None
