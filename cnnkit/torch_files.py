"""Files of `torch.save`, read as data alone: nothing in them is ever executed."""

import io
import pickletools
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from cnnkit.compat import allowed_globals
from cnnkit.errors import CheckFailedError

NUM_PICKLES = 5  # one after another in the files of old versions of torch, before the numbers
MOST_LISTED = 4
MOST_CHARACTERS = 80


def read_data(content: bytes, path: Path, way_out: str) -> Any:
    """Return what a file holds: tensors, numbers, texts, and lists and dictionaries of them.

    Args:
        content: of the file.
        path: of the file, for the message.
        way_out: what the user can do where it is refused.

    Raises:
        CheckFailedError: it asks Python for more, which is named, or is no such file.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of the kind of pickle
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a file that was made to harm may raise anything
        names = _names_asked_for(content)
        reason = (
            f"it holds more than data: it asks for {some_of(names)}"
            if names
            else "torch finds no data in it: it is damaged, or of another kind"
        )
        raise CheckFailedError(
            f"{path} is refused, for {reason}", f"nothing in it was executed; {way_out}"
        ) from error


def some_of(names: Collection[str]) -> str:
    """Return the first few of some names, which a file may have chosen, in a line."""
    shown = []
    for name in islice(names, MOST_LISTED):
        plain = name if name.isprintable() else ascii(name)
        shown.append(plain if len(plain) <= MOST_CHARACTERS else f"{plain[:MOST_CHARACTERS]}…")
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _names_asked_for(content: bytes) -> list[str]:
    """Return what the pickles of a file ask Python for, beside what torch takes for data."""
    names: set[str] = set()
    for pickles in _pickles(content):
        with suppress(Exception):  # it ends in the middle, or is no pickle: what was found stands
            for _ in range(NUM_PICKLES):
                _add_names(pickles, names)
    return sorted(names - allowed_globals())


def _pickles(content: bytes) -> Iterator[io.BytesIO]:
    """Return the parts of a file that hold pickles, or all of a file that is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    except Exception:  # a file that was made to harm may raise anything
        parts = [content]
    yield from map(io.BytesIO, parts)


def _add_names(stream: io.BytesIO, names: set[str]) -> None:
    """Add to `names` what the next pickle of a stream asks for; nothing is executed."""
    texts, memo, last = ["", ""], dict[Any, str](), ""
    for code, argument, _ in pickletools.genops(stream):
        if code.name in ("GLOBAL", "INST"):
            names.add(str(argument).replace(" ", "."))
        elif code.name == "STACK_GLOBAL":
            names.add(".".join(texts[-2:]))
        elif code.name == "MEMOIZE":
            memo[len(memo)] = last
        elif code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = last
        elif code.name in ("GET", "BINGET", "LONG_BINGET"):
            texts.append(memo.get(argument, ""))
        elif isinstance(argument, str):
            texts.append(argument)
        last = argument if isinstance(argument, str) else ""
