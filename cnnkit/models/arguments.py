"""A network's own arguments: converting the text `NAME=VALUE` to the builder's types."""

import ast
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence

from cnnkit.errors import UsageError, setting
from cnnkit.registry import did_you_mean

FROM_DATASET = ("num_classes", "in_channels", "image_size")

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class _MisfitError(Exception):
    """Raised if a text is not a value of the type; the message says what is expected."""


def builder_parameters(builder: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function or class by name, annotations evaluated if possible."""
    try:
        return dict(inspect.signature(builder, eval_str=True).parameters)
    except (NameError, AttributeError, SyntaxError, TypeError):
        pass  # an annotation that cannot be evaluated
    try:
        return dict(inspect.signature(builder).parameters)
    except (TypeError, ValueError):
        return {}  # written in C, and says nothing


def takes(parameters: Mapping[str, inspect.Parameter], name: str) -> bool:
    """Return whether a builder takes an argument by this name, as one that it names itself."""
    return name in parameters and parameters[name].kind in _NAMED


def convert_arguments(
    who: str,
    parameters: Mapping[str, inspect.Parameter],
    arguments: Mapping[str, str],
    fixed: Sequence[str] = (),
    from_dataset: Sequence[str] = FROM_DATASET,
) -> dict[str, object]:
    """Return the arguments with values of the types that the builder expects.

    A type comes from the annotation, or else from the default. Where there is neither, and for
    what a builder takes as `**kwargs`, the text is read as a Python literal, or else left a text.

    Args:
        who: the builder, as a user calls it.
        parameters: of the builder.
        arguments: texts by name.
        fixed: names that the user cannot set.
        from_dataset: names of arguments that the dataset decides.

    Raises:
        UsageError: a name that the builder does not take, or a text that it cannot be given.
    """
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    legal = [
        name
        for name in parameters
        if takes(parameters, name) and name not in (*fixed, *from_dataset)
    ]
    converted: dict[str, object] = {}
    for name, text in arguments.items():
        if name in from_dataset:
            raise UsageError(
                f"{name} cannot be set by {setting('model_arguments')}",
                "it comes from the dataset, or from the input that is asked for",
            )
        if name in fixed:
            raise UsageError(
                f"{name} of {who} cannot be set by {setting('model_arguments')}", "leave it out"
            )
        if name in legal:
            try:
                converted[name] = _convert(text, _wanted_type(parameters[name]))
            except _MisfitError as misfit:
                raise UsageError(f"{name} of {who} cannot be {text!r}", f"give {misfit}") from None
        elif takes_any:
            converted[name] = _literal(text)
        else:
            raise UsageError(f"{who} takes no argument {name!r}", _legal_arguments(name, legal))
    return converted


def _legal_arguments(name: str, legal: list[str]) -> str:
    if not legal:
        return "it takes none"
    listed = f"it takes {', '.join(legal)}"
    suggestion = did_you_mean(name, legal)
    return f"{suggestion} {listed}" if suggestion else listed


def _wanted_type(parameter: inspect.Parameter) -> object:
    """Return a type as annotations write it; `object` where nothing is known."""
    unknown = (inspect.Parameter.empty, typing.Any)
    if parameter.annotation not in unknown and not isinstance(parameter.annotation, str):
        return parameter.annotation
    default = parameter.default
    if default is inspect.Parameter.empty or default is None:
        return object
    if isinstance(default, tuple | list) and default:
        return types.GenericAlias(type(default), (type(default[0]), ...))
    return type(default)


def _convert(text: str, wanted: object) -> object:
    """Return the text as a value of the type.

    Raises:
        _MisfitError: it is none.
    """
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        return _convert(text, parts[0])
    if origin in (typing.Union, types.UnionType):
        return _convert_union(text, parts)
    if origin is typing.Literal:
        by_text = {str(choice): choice for choice in parts}
        if text not in by_text:
            raise _MisfitError(f"one of {', '.join(by_text)}")
        return by_text[text]
    if origin in (tuple, list, Sequence):
        element_types = parts
        if origin is not tuple:  # a list names one type, as `tuple[int, ...]` does
            element_types = (*parts, ...)
        return _convert_sequence(text, list if origin is list else tuple, element_types)
    return _convert_scalar(text, wanted)


def _convert_union(text: str, parts: tuple[object, ...]) -> object:
    if type(None) in parts and text.lower() == "none":
        return None
    wanted = []
    # A text fits `str` always, so that it is tried last.
    for part in sorted((part for part in parts if part is not type(None)), key=lambda p: p is str):
        try:
            return _convert(text, part)
        except _MisfitError as misfit:
            wanted.append(str(misfit))
    if type(None) in parts:
        wanted.append("none")
    raise _MisfitError(" or ".join(wanted))


def _convert_sequence(
    text: str, kind: type[tuple[object, ...]] | type[list[object]], parts: tuple[object, ...]
) -> object:
    texts = [one.strip() for one in text.strip().strip("()[]").split(",")]
    if texts[-1] == "":  # of `128,` and of nothing at all
        texts.pop()
    element_types = parts
    if parts[-1:] == (...,):
        element_types = (parts[0],) * len(texts)
    if len(element_types) != len(texts):
        raise _MisfitError(f"{len(parts)} values separated by commas")
    try:
        return kind(_convert(one, part) for one, part in zip(texts, element_types, strict=True))
    except _MisfitError as misfit:
        plain = {"an integer": "integers separated by commas, such as 512,128"}
        raise _MisfitError(
            plain.get(str(misfit), f"values separated by commas, each {misfit}")
        ) from None


def _convert_scalar(text: str, wanted: object) -> object:
    if wanted is str:
        return text
    if wanted is bool:
        truth = {**_TRUTHS, "1": True, "0": False}.get(text.lower())
        if truth is None:
            raise _MisfitError("true or false")
        return truth
    if wanted is int:
        try:
            return int(text)
        except ValueError:
            raise _MisfitError("an integer") from None
    if wanted is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise _MisfitError("a number")
        return number
    return _literal(text)


def _literal(text: str) -> object:
    """Return the text as a Python literal, or unchanged."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "none":
        return None
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value
