"""JSON that somebody may have altered: read within limits, and validated field by field."""

import json
from collections.abc import Sized
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, ValidationError

MOST_CHARACTERS = 60  # of the name of a field, which the file may have chosen

T = TypeVar("T")

List = Annotated[list[T], FailFast()]
"""A list of which the first wrong item is said: an error for each would take all memory."""


class Record(BaseModel):
    """What a file of JSON holds, or a part of it; fields that it does not know are left out.

    Nothing is converted: a number in quotation marks is no number, and neither NaN nor infinity is.
    """

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return what a text holds.

        Raises:
            ValueError: it is no JSON, or a field is wrong, which is named.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ValueError(problem_of(error)) from error

    @classmethod
    def from_plain(cls, plain: object) -> Self:
        """Return what lists and dictionaries hold.

        Raises:
            ValueError: a field is wrong, which is named.
        """
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise ValueError(problem_of(error)) from error


def at_most(number: int) -> BeforeValidator:
    """Return what refuses a list or dictionary of more items before they are looked at."""

    def check(value: Any) -> Any:
        if isinstance(value, Sized) and len(value) > number:
            raise ValueError(f"it has {len(value):,} items, more than {number:,}")
        return value

    return BeforeValidator(check)


def parse_json(content: bytes) -> Any:
    """Return what a text of JSON in UTF-8 holds.

    Raises:
        ValueError: it is none, has numbers that are none (NaN), or lists in very many lists.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it has lists in very many lists") from error


def problem_of(error: ValidationError) -> str:
    """Return the first thing that was found wrong, as `cells.0.threads: input should be …`."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    where = where if where.isprintable() else ascii(where)
    if len(where) > MOST_CHARACTERS:
        where = f"{where[:MOST_CHARACTERS]}…"
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:] if said[1:2].islower() else said
    return f"{where}: {said}" if where else said


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
