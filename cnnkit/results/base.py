"""What every result can do: become a dictionary, tables, and HTML."""

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from cnnkit.results.table import Table


def to_plain(value: object) -> Any:
    """Return a value as JSON can hold it: dictionaries, lists, numbers, strings, None.

    A number that is not finite becomes None, for JSON has no word for it.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        convert = getattr(value, "to_dict", None)
        if convert is not None:
            return convert()
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Result(ABC):
    """The answer of a verb; subclasses are frozen dataclasses.

    Attributes:
        schema: name and version of the dictionary, `cnnkit.<verb>/<version>`.
    """

    schema: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result, exact, as JSON can hold it; the first key is `schema`."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every subclass is one
        return {"schema": self.schema} | {f.name: to_plain(getattr(self, f.name)) for f in fields}

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """Return the result as tables, the most important first."""

    def exact_table(self) -> Table:
        """Return what a CSV file holds: the first table, or one of exact values in its place."""
        return self.tables()[0]

    def __str__(self) -> str:
        """Return the tables as plain text, which is what `print` shows."""
        from cnnkit.render import plain_text

        return plain_text(self).rstrip("\n")

    def _repr_html_(self) -> str:
        from cnnkit.render import Format, export

        return export(self, Format.HTML)
