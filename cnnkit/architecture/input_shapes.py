"""Shapes of a network's inputs, as texts and as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnnkit.errors import UsageError, setting
from cnnkit.registry import did_you_mean
from cnnkit.system.shapes import check_positive, parse_sizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INTEGER_DTYPES = ("int64", "int32", "int16", "int8", "uint8", "bool")
FLOAT_DTYPES = ("float32", "float64", "bfloat16", "float16")
_SHORT_DTYPES = {
    "fp32": "float32",
    "fp64": "float64",
    "bf16": "bfloat16",
    "fp16": "float16",
}
_FORM = "write CxHxW such as 3x224x224, or NAME=SHAPE:DTYPE such as ids=16:int64"


@dataclass(frozen=True)
class InputShape:
    """One input of a network.

    Attributes:
        shape: sizes without the batch; for an image (channels, height, width).
        name: of the argument of `forward`; empty where its position says it.
        dtype: `int64`, ...; empty for that of the weights.
        is_square: the shape is one number, the side of a square of the network's own channels.
    """

    shape: tuple[int, ...]
    name: str = ""
    dtype: str = ""
    is_square: bool = False

    def __str__(self) -> str:
        """Return the text that `parse_input_shape` reads."""
        name = f"{self.name}=" if self.name else ""
        dtype = f":{self.dtype}" if self.dtype else ""
        return f"{name}{'x'.join(map(str, self.shape))}{dtype}"


def parse_input_shape(text: str) -> InputShape:
    """Return `[NAME=]SHAPE[:DTYPE]` as a shape: `3x224x224`, `224`, `ids=16:int64`.

    A single number without a dtype is the side of a square image.

    Raises:
        UsageError: the text is nothing of the kind, or a size is below 1.
    """
    rest, _, dtype = text.partition(":")
    name, sign, sizes = rest.rpartition("=")
    if sign and not name.isidentifier():
        raise UsageError(f"{setting('input')} {text!r}: {name!r} is not an argument name", _FORM)
    shape = parse_sizes(sizes)
    if not shape:
        raise UsageError(f"{setting('input')} {text!r} is not a shape", _FORM)
    check_positive(text, shape)
    dtype = _SHORT_DTYPES.get(dtype, dtype)
    if ":" in text and dtype not in (*INTEGER_DTYPES, *FLOAT_DTYPES):
        known = (*FLOAT_DTYPES, *INTEGER_DTYPES)
        raise UsageError(
            f"{setting('input')} {text!r}: {dtype!r} is not a dtype",
            did_you_mean(dtype, known) or f"choose one of {', '.join(known)}",
        )
    return InputShape(shape, name, dtype, is_square=len(shape) == 1 and not dtype)


def as_input_shapes(
    given: str | int | InputShape | Sequence[object] | None,
) -> tuple[InputShape, ...]:
    """Return one or several inputs, each given as a text or as a sequence of sizes.

    `(3, 224, 224)` is one input, `[(3, 224, 224), "ids=16:int64"]` are two; None is none. A number
    is the side of a square.

    Raises:
        UsageError: one of them is not a shape, or two have the same name.
    """
    if given is None:
        return ()
    if not isinstance(given, str | int | InputShape | list | tuple):
        kind = type(given).__name__
        raise UsageError(
            f"an input of type {kind} is not a shape", "give one such as (3, 224, 224)"
        )
    if isinstance(given, list | tuple) and not given:
        return ()
    if isinstance(given, str | int | InputShape) or all(isinstance(size, int) for size in given):
        return (_as_input_shape(given),)
    inputs = tuple(_as_input_shape(one) for one in given)
    names = [one.name for one in inputs if one.name]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{setting('input')} {name} is given twice", "leave one out")
    return inputs


def _as_input_shape(given: object) -> InputShape:
    if isinstance(given, InputShape):
        return given
    if isinstance(given, str | int):
        return parse_input_shape(str(given))
    if isinstance(given, list | tuple) and given and all(isinstance(one, int) for one in given):
        # a sequence of one size is a vector: the side of a square would be only the number
        return replace(parse_input_shape("x".join(map(str, given))), is_square=False)
    raise UsageError(f"input {given!r} is not a shape", "give one such as (3, 224, 224)")


def make_tensors(
    inputs: Sequence[InputShape], batch_size: int, dtype: "torch.dtype", device: "torch.device"
) -> "tuple[tuple[Tensor, ...], dict[str, Tensor]]":
    """Return the positional and named tensors, each of shape (batch_size, *shape).

    They hold zeros, for which a network has the same shapes and costs as for any image; integers
    are thus valid indices.
    """
    import torch

    places: list[Tensor] = []
    names: dict[str, Tensor] = {}
    for one in inputs:
        own = getattr(torch, one.dtype) if one.dtype else dtype
        tensor = torch.zeros((batch_size, *one.shape), dtype=own, device=device)
        if one.name:
            names[one.name] = tensor
        else:
            places.append(tensor)
    return tuple(places), names
