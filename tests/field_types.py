"""Checks that the fields of a dataclass hold what their annotations promise, at any depth."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter


def check_fields(value: Any) -> None:
    """Raise pydantic's ValidationError for a field of another type, without converting any."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for one in value:
            check_fields(one)
    elif is_dataclass(value):
        types = get_type_hints(type(value))
        for field in fields(value):
            part = getattr(value, field.name)
            TypeAdapter(types[field.name]).validate_python(part, strict=True)
            check_fields(part)
