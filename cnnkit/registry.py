"""Entries by name: exact look-up, patterns, and suggestions for unknown names."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from typing import Protocol, TypeVar

from cnnkit.errors import NotFoundError


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name that it is found by."""
        ...


PREFIX_LENGTH = 3  # a shorter one is the beginning of too much
MOST_CHARACTERS = 80  # of a name in a list of several

Entry = TypeVar("Entry", bound=Named)


class Catalog(Mapping[str, Entry]):
    """Entries by name, in the order in which they are read.

    Args:
        kind: what an entry is, in a user's word: `model`, `dataset`.
        read: returns the entries, and is called when one is first asked for; two of the same name
            are an error.
    """

    def __init__(self, kind: str, read: Callable[[], Iterable[Entry]]) -> None:
        self.kind = kind
        self._read = read

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for entry in self._read():
            if entry.name in entries:
                raise ValueError(f"two entries are called {entry.name!r}")
            entries[entry.name] = entry
        return entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> Entry:
        """Return the entry of this name; case, and `-` for `_`, are forgiven.

        Raises:
            NotFoundError: there is none; the hint names close ones.
        """
        entry = self._entries.get(name) or self._entries.get(name.lower().replace("-", "_"))
        if entry is None:
            raise NotFoundError(
                f"unknown {self.kind} {name!r}",
                did_you_mean(name, self) or f"`cnnkit {self.kind}s` lists all {len(self)}",
            )
        return entry

    def matching(self, pattern: str) -> list[Entry]:
        """Return the entries whose name fits a shell pattern, or contains it if it has no `*?[`.

        Raises:
            NotFoundError: none fits.
        """
        pattern = pattern.lower()
        if not any(sign in pattern for sign in "*?["):
            found = [entry for name, entry in self._entries.items() if pattern in name]
        else:
            found = [entry for name, entry in self._entries.items() if fnmatchcase(name, pattern)]
        if not found:
            raise NotFoundError(
                f"no {self.kind} matches {pattern!r}",
                did_you_mean(pattern, self) or f"`cnnkit {self.kind}s` lists all {len(self)}",
            )
        return found


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `did you mean A or B?` for the names that are close, or an empty string.

    Where some begin with the name, the others are not close; nor is one that is much less alike
    than the best.
    """
    name, known = name.lower(), list(names)
    longer = [one for one in known if one.startswith(name)] if len(name) >= PREFIX_LENGTH else []
    close = get_close_matches(name, longer or known, n=3, cutoff=0.0 if longer else 0.6)
    alike = [SequenceMatcher(None, one, name).ratio() for one in close]
    if not longer:
        close = [one for one, how in zip(close, alike, strict=True) if how > alike[0] - 0.1]
    return f"did you mean {' or '.join(close)}?" if close else ""


def some_of(names: Collection[str], most: int = 5) -> str:
    """Return the first few names, and how many more there are: `a, b, c and 7 more`.

    A file may have chosen them: very long ones are cut, and what cannot be printed is escaped.
    """
    plain = [name if name.isprintable() else ascii(name) for name in islice(names, most)]
    listed = ", ".join(
        name if len(name) <= MOST_CHARACTERS else f"{name[:MOST_CHARACTERS]}…" for name in plain
    )
    more = len(names) - most
    return f"{listed} and {more:,} more" if more > 0 else listed
