"""What every result can do: become a dictionary, rows of exact values, tables, and HTML."""

import dataclasses
import math
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import pandas as pd

    from cnnkit.render.plots import PngFile

Value = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class Records:
    """Exact values in rows and named columns: what a CSV file or a data frame holds.

    Attributes:
        columns: their names.
        rows: one value per column; None where there is none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    @classmethod
    def of(cls, items: Iterable[object], names: Sequence[str]) -> Self:
        """Return a row for each item: its attributes of these names."""
        rows = (tuple(getattr(item, name) for name in names) for item in items)
        return cls(tuple(names), tuple(rows))


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
    """The answer of a verb; subclasses are frozen dataclasses of exact values.

    How people are shown it is the business of `cnnkit.render`, which this imports when it is asked.

    Attributes:
        schema: name and version of the dictionary, `cnnkit.<verb>/<version>`.
    """

    schema: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the complete result, exact, as JSON can hold it; the first key is `schema`."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # every subclass is one
        return {"schema": self.schema} | {f.name: to_plain(getattr(self, f.name)) for f in fields}

    @abstractmethod
    def records(self) -> Records:
        """Return the most important rows of the result, exact."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the records as a data frame, with the types that pandas infers."""
        import pandas as pd

        records = self.records()
        return pd.DataFrame(list(records.rows), columns=list(records.columns))

    def plot(self) -> "PngFile":
        """Return the picture of the result as a PNG file; a notebook shows it.

        Raises:
            ValueError: there is no picture of such a result.
        """
        from cnnkit.render.plots import PngFile, picture_of

        picture = picture_of(self)
        if picture is None:
            raise ValueError(f"there is no picture of this {type(self).__name__}")
        return PngFile(picture)

    def __str__(self) -> str:
        """Return the tables as plain text, which is what `print` shows."""
        from cnnkit.render import plain_text

        return plain_text(self).rstrip("\n")

    def _repr_html_(self) -> str:
        from cnnkit.render import Format, export
        from cnnkit.render.plots import picture_of

        picture = picture_of(self)
        shown = ""
        if picture is not None:
            shown = f'<img src="data:image/png;base64,{b64encode(picture).decode()}">'
        return export(self, Format.HTML) + shown
