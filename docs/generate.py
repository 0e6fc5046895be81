"""Writes the parts of the manual that are made, not written: the reference, and its picture.

`python docs/generate.py` writes docs/reference.md, from the commands themselves.
`cnnkit eval RUN -q --color | python docs/generate.py FILE.svg "cnnkit eval RUN"` draws a picture
of what a command printed.
"""

import inspect
import re
import sys
from enum import Enum
from html import escape
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from cnnkit.cli.app import COMMANDS, app, command_function, load_command

DOCS = Path(__file__).parent

# A window that is dark on every page, in the reader's own fixed-width font.
WINDOW = """\
<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}"
 xmlns="http://www.w3.org/2000/svg" font-size="14" fill="#d0d7de"
 font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace">
<title>{title}</title>
<rect x="1" y="1" width="{inner_width}" height="{inner_height}" rx="8" fill="#1b1f24"
 stroke="#57606a"/>
{words}
</svg>
"""
CHARACTER = 8.5  # width in pixels; each run of words is stretched to it, whatever the font
LINE = 19
MARGIN = 18


def reference() -> str:
    """Return the reference of every command in Markdown."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# Reference",
        "Every command with its arguments and options, made from the commands themselves by "
        "`python docs/generate.py`. What the values mean is described on the page of each command.",
        "## cnnkit",
        _options_table([_row(option, bool) for option in root.params]),
    ]
    for name in COMMANDS:
        command = load_command(name)
        signature = inspect.signature(command_function(name), eval_str=True)
        types = {name: value.annotation for name, value in signature.parameters.items()}
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option"]
        shown = " ".join(
            one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments
        )
        parts += [
            f"## cnnkit {name}",
            _prose(command.help),
            f"See [its page]({name}.md).",
            f"```text\ncnnkit {name} [OPTIONS] {shown}".rstrip() + "\n```",
        ]
        if arguments:
            rows = [(f"`{one.name.upper()}`", *_default_and_meaning(one)) for one in arguments]
            parts.append(_table(("argument", "default", "meaning"), rows))
        parts.append(_options_table([_row(one, types[one.name]) for one in options]))
    return "\n\n".join(parts) + "\n"


def picture(ansi: str, command: str) -> str:
    """Return what a command printed, and the command above it, as an SVG image."""
    from rich.text import Span, Text

    lines = [Text(f"$ {command}", style="bold"), *map(Text.from_ansi, ansi.splitlines())]
    words = []
    bold = ' font-weight="bold"'
    for number, line in enumerate(lines):
        for run in re.finditer(r"\S+(?: \S+)*", line.plain):
            is_bold = any(
                "bold" in str(span.style) and span.start <= run.start() < span.end
                for span in [*line.spans, Span(0, len(line), line.style)]
            )
            x = MARGIN + CHARACTER * run.start()
            words.append(
                f'<text x="{x:g}" y="{MARGIN + LINE * (number + 0.75):g}"'
                f"{bold if is_bold else ''}"
                f' textLength="{CHARACTER * len(run[0]):g}">{escape(run[0])}</text>'
            )
    width = round(2 * MARGIN + CHARACTER * max(map(len, lines)))
    height = 2 * MARGIN + LINE * len(lines)
    return WINDOW.format(
        width=width,
        height=height,
        inner_width=width - 2,
        inner_height=height - 2,
        title=escape(command),
        words="\n".join(words),
    )


def _row(option: Any, annotation: object) -> tuple[str, str, str, str, str]:
    """Return option, value, default, environment variable and meaning."""
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: name.startswith("--"))
    value = option.metavar or _value(annotation)
    if value.startswith("<"):  # <float|none>
        number, none = value.strip("<>").split("|")
        value = f"{number.upper()} | {none}"
    default, meaning = _default_and_meaning(option)
    if not value and default == "False":
        default = ""
    return (
        ", ".join(f"`{name}`" for name in names),
        f"`{value}`" if value else "",
        default,
        f"`{option.envvar}`" if option.envvar else "",
        meaning,
    )


def _value(annotation: object) -> str:
    """Return what an option takes, in the words of the command line; nothing for a flag."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, list):  # an option that may be given several times is one of each
        return _value(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(_value(part) for part in parts if part is not NoneType)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(str(member.value) for member in annotation)
    names: dict[object, str] = {bool: "", int: "INT", float: "FLOAT", Path: "PATH", str: "TEXT"}
    return names[annotation]


def _default_and_meaning(parameter: Any) -> tuple[str, str]:
    """Return the default, which the help has where it is decided later, and the help."""
    meaning, _, stated = (parameter.help or "").removesuffix("]").partition(" [default: ")
    if stated:
        return stated, meaning
    return "" if parameter.default is None else str(parameter.default), parameter.help or ""


def _prose(text: str | None) -> str:
    """Return a docstring with its lines joined, paragraphs kept."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _options_table(rows: list[tuple[str, ...]]) -> str:
    return _table(("option", "value", "default", "environment", "meaning"), rows)


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        Path(sys.argv[1]).write_text(picture(sys.stdin.read(), sys.argv[2]), encoding="utf-8")
    else:
        (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
