"""Where answers, notes and errors go: the answer to stdout, all else to stderr."""

import contextlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.models import ArgumentInfo, OptionInfo

from cnnkit.cli.processes import is_first
from cnnkit.cli.streams import wanted_color, write_answer
from cnnkit.errors import NotFoundError, UnavailableError, UsageError, settings_written
from cnnkit.events import Note, emit, handled_by, ignore
from cnnkit.render import Format, ProgressRenderer, export, plain_text, terminal_console, visible
from cnnkit.results import Result
from cnnkit.system.files import followed, is_stream, write_bytes, write_text

PANEL = "Output"


_FORMATS_BY_SUFFIX = {
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".md": Format.MARKDOWN,
    ".tex": Format.LATEX,
    ".html": Format.HTML,
}
_TABLE_SUFFIXES = ("", ".txt", ".log")


class Output:
    """Writes the result of a command, as the options that all commands share ask.

    Args:
        form: the format that --format names.
        as_json: whether --json was given.
        path: what -o names, `-` for stdout.
        color: what --color or --no-color says.
        quiet: whether -q was given.
        suffixes: of the files that the command writes beside those of the formats.
        can_plot: whether it has the option --plot.
    """

    def __init__(
        self,
        form: Format | None,
        as_json: bool,
        path: Path | None,
        color: bool | None,
        quiet: bool,
        suffixes: Sequence[str] = (),
        can_plot: bool = False,
    ) -> None:
        if path == Path("-"):
            path = None
        if as_json and form not in (None, Format.JSON):
            raise UsageError(f"--json and --format {form} contradict each other", "leave one out")
        self._path = path
        by_suffix = _FORMATS_BY_SUFFIX.get(path.suffix.lower()) if path else None
        self._format = Format.JSON if as_json else form or by_suffix or Format.TABLE
        self._has_format = as_json or form is not None
        self._color = wanted_color(color)
        self._quiet = quiet
        if path is not None:
            check_writable(path)
            if not self._has_format and not is_stream(path):
                _check_suffix(path, [*_FORMATS_BY_SUFFIX, ".txt", *suffixes], can_plot)
        self._progress = ProgressRenderer(terminal_console(sys.stderr, self._color), quiet)

    def __enter__(self) -> "Output":
        # Of several processes the first one shows what happens.
        self._handling = handled_by(self._progress if is_first() else ignore)
        self._handling.__enter__()
        self._stdout = sys.stdout
        # The output of a user's own network must not get into the result.
        self._redirection = contextlib.redirect_stdout(sys.stderr)
        self._redirection.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._redirection.__exit__(*error)
        self._handling.__exit__(*error)
        self._progress.close()

    def emit(
        self,
        result: Result,
        shown_live: frozenset[str] = frozenset(),
        lines: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write a result to stdout or the file, in the format asked for.

        Args:
            result: the answer.
            shown_live: tables whose rows were already emitted as events; on a terminal that
                shows both, only the notes below them are printed.
            lines: what a `.jsonl` file keeps of it, one document per line; it is written beside the
                answer, which then goes to stdout.
        """
        if lines and self._path is not None and self._path.suffix.lower() == ".jsonl":
            kept, self._path = self._path, None
            write_text(kept, "".join(f"{json.dumps(one, allow_nan=False)}\n" for one in lines))
            emit(Note(f"wrote {kept}"))
        if self._format is not Format.TABLE:
            text = export(result, self._format)
        elif self._path is not None:
            text = self._as_table(result, color=False)
        else:
            both_seen = self._stdout.isatty() and sys.stderr.isatty() and not self._quiet
            text = self._as_table(result, self._color, shown_live if both_seen else frozenset())
        self._write(text)

    def emit_text(self, text: str, form: str) -> None:
        """Write an answer that has only one format, which `form` names in a sentence.

        Raises:
            UsageError: another form was asked for.
        """
        if self._format is not Format.TABLE:
            raise UsageError(f"{form}, not {self._format}", "leave the format out")
        self._write(text if self._path is not None else visible(text, kept="\n\t"))

    def _write(self, text: str) -> None:
        if self._path is None:
            write_answer(self._stdout, text)
        else:
            write_text(self._path, text)
            emit(Note(f"wrote {self._path}"))

    def is_json(self) -> bool:
        """Return whether the answer is a JSON document on stdout."""
        return self._format is Format.JSON and self._path is None

    def names_picture(self) -> bool:
        """Return whether -o names a picture, for a command that can draw one.

        Raises:
            UsageError: another format is asked for.
        """
        suffix = self._path.suffix.lower() if self._path else ""
        if suffix == ".png" and self._has_format:
            raise UsageError(
                f"-o {self._path} and --format {self._format} contradict each other",
                "leave the format out, or name another file",
            )
        return suffix == ".png"

    def names_toml(self) -> bool:
        """Return whether -o names a TOML file, for a command that can answer with one."""
        return self._path is not None and self._path.suffix.lower() == ".toml"

    def emit_picture(self, content: bytes, result: Result | None = None) -> None:
        """Write a picture to the file that -o names, completely or not at all.

        Args:
            content: of the file.
            result: its tables are written to stdout; none where nothing is left to say.
        """
        assert self._path is not None
        write_bytes(self._path, content)
        if result is not None:
            write_answer(self._stdout, self._as_table(result, self._color))
        emit(Note(f"wrote {self._path}"))

    def _as_table(
        self, result: Result, color: bool | None, without_rows: frozenset[str] = frozenset()
    ) -> str:
        console = terminal_console(self._stdout, color)
        return plain_text(result, console.width, console.color_system, without_rows)


def check_writable(path: Path, option: str = "-o") -> None:
    """Refuse a file that could not be written before the work is done, not after.

    Args:
        path: the file.
        option: the option that named it.

    Raises:
        UsageError: it is a folder.
        NotFoundError: its folder does not exist.
        UnavailableError: it may not be written, or is a link that leads back to itself.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder", "name a file")
    if is_stream(path) and os.access(path, os.W_OK):
        return  # it is written to as it is
    path = followed(path)
    if not path.parent.is_dir():
        raise NotFoundError(
            f"the folder {path.parent} of {option} {path} does not exist", "create it"
        )
    if not os.access(path.parent, os.W_OK):
        raise UnavailableError(
            f"cannot write {path}: permission denied", "choose a folder that you may write to"
        )


def _check_suffix(path: Path, known: Sequence[str], can_plot: bool) -> None:
    """Refuse a file whose name promises what would not be in it.

    Args:
        path: that -o names.
        known: the suffixes that say what is in a file.
        can_plot: whether there is --plot for a picture.

    Raises:
        UsageError: its suffix is none of them.
    """
    suffix = path.suffix.lower()
    if suffix in known or suffix in _TABLE_SUFFIXES:
        return
    plot = "; --plot draws a picture" if can_plot else ""
    raise UsageError(
        f"-o {path} has the suffix of no format",
        f"name a {', '.join(known[:-1])} or {known[-1]} file, or give --format{plot}",
    )


def with_default(text: str, default: str) -> str:
    """Return the help of an option whose default is decided later, in Typer's own words."""
    return f"{text} [default: {default}]"


def _shared(
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help=with_default(
                "table, json, csv, markdown, latex or html.", "table, or by the suffix of -o"
            ),
            metavar="NAME",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Short for --format json.", rich_help_panel=PANEL)
    ] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the answer to a file; - is stdout.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    color: Annotated[
        bool | None,
        typer.Option(
            "--color/--no-color",
            help=with_default("Color the output (NO_COLOR, FORCE_COLOR).", "on a terminal"),
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", help="Only warnings on stderr.", rich_help_panel=PANEL),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", help="Show the traceback of an error.", rich_help_panel=PANEL
        ),
    ] = False,
) -> None:
    """Declare the options that every command shares."""


# Arguments of the library that a command has under another name.
_ALIASES = {
    "arguments": "model_arg",
    "batch_sizes": "batch",
    "classes": "class_names",
    "dataset": "data",
    "indices": "index",
    "input": "input_shape",
    "input_shape": "input",
    "model_arguments": "model_arg",
    "network": "own_network",
    "num_runs": "runs",
    "num_workers": "workers",
    "remeasure_peaks": "peak",
    "save_to": "save",
    "target": "time_to",
}


def _as_typed(parameters: Mapping[str, inspect.Parameter], name: str) -> str:
    """Return a setting as a user of the command writes it: `--batch-size`, or `SIZE`."""
    for one in (name, _ALIASES.get(name, ""), name.removesuffix("s")):
        for kind in get_args(parameters[one].annotation) if one in parameters else ():
            if isinstance(kind, ArgumentInfo):
                return one.upper()
            if isinstance(kind, OptionInfo):
                # Typer takes the first declaration for the default until it makes the command.
                texts = (kind.default, *(kind.param_decls or ()))
                declared = [str(text).partition("/")[0] for text in texts]
                return next(filter(_is_long, declared), _flag(one))
    return _flag(_ALIASES.get(name, name))


def _is_long(declared: str) -> bool:
    return declared.startswith("--")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def with_output(command: Callable[..., None], suffixes: Sequence[str] = ()) -> Callable[..., None]:
    """Give a command the shared options, and hand them to its `output` argument as one value.

    Args:
        command: the command.
        suffixes: of the files that it writes beside those of the formats, such as `.png`.
    """
    shared = inspect.signature(_shared, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True).parameters

    @wraps(command)
    def run(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in shared}
        chosen.pop("verbose")  # the error boundary looks at it
        with (
            settings_written(partial(_as_typed, own)),
            Output(**chosen, suffixes=suffixes, can_plot="plot" in own) as output,
        ):
            command(output=output, **values)

    parameters = [own[name] for name in own if name != "output"]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in [*parameters, *shared.values()]
        ]
    )
    return run
