"""What a value should have been, from the kinds of error that pydantic documents, not its words."""

from collections.abc import Mapping
from typing import Any

# https://docs.pydantic.dev/latest/errors/validation_errors/, with the context of each kind.
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be above {gt}",
    "less_than": "must be below {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
}
_SHAPES = {
    "finite_number": "must be a finite number",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
}
_TYPES = {
    "int": "must be a valid integer",
    "float": "must be a valid number",
    "bool": "must be true or false",
    "string": "must be a string",
    "list": "must be a list",
    "tuple": "must be a list",
    "dict": "must be a table of names and values",
    "model": "must be a table of names and values",
    "path": "must be a path",
}


def is_bound(problem: Mapping[str, Any]) -> bool:
    """Return whether a value is of the right type, and too large or too small."""
    return problem["type"] in _BOUNDS


def requirement(problem: Mapping[str, Any]) -> str:
    """Return what a value should have been, as the end of a sentence.

    Args:
        problem: one of those that pydantic's `ValidationError.errors()` returns.

    Returns:
        such as `must be at least 1`; the words of a validator of our own as they are.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"]).rstrip(".")
    shape = _BOUNDS.get(kind) or _SHAPES.get(kind)
    if shape is not None:
        return shape.format_map({name: _shown(value) for name, value in context.items()})
    return _TYPES.get(kind.partition("_")[0]) or str(problem["msg"])


def _shown(value: object) -> str:
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
