"""Error messages for inputs a network cannot take: the layer, what it expects, what works."""

import inspect
from collections.abc import Callable, Sequence

from torch import nn

from cnnkit.architecture.forward_pass import ForwardError
from cnnkit.architecture.input_shapes import InputShape
from cnnkit.errors import UsageError, setting
from cnnkit.models.layer_kinds import BATCH_NORMS, CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS

_ANY_CONVOLUTION = (*CONVOLUTIONS, *TRANSPOSED_CONVOLUTIONS)


def check_number_of_inputs(name: str, network: nn.Module, inputs: Sequence[InputShape]) -> None:
    """Refuse inputs that the network's `forward` does not take, or too few.

    Raises:
        UsageError: there are too many, too few, or one has an unknown name.
    """
    try:
        signature = inspect.signature(network.forward)
    except (TypeError, ValueError):  # of a compiled function, say
        return
    places = [None for one in inputs if not one.name]
    names = dict.fromkeys(one.name for one in inputs if one.name)
    try:
        signature.bind(*places, **names)
    except TypeError as error:
        taken = list(signature.parameters)
        wanted = [
            key
            for key, parameter in signature.parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        raise UsageError(
            f"{name} cannot be called with these inputs: {error}",
            f"its forward expects {', '.join(wanted)}: give {setting('input')} {wanted[0]}=SHAPE "
            "for each"
            if len(wanted) > len(inputs)
            else f"its forward takes {', '.join(taken) or 'none'}",
        ) from error


def refusal(
    name: str,
    inputs: Sequence[InputShape],
    failure: ForwardError,
    works: Callable[[int], bool] | None,
    native: tuple[int, ...] | None,
) -> UsageError:
    """Return one line for an input that a network cannot take.

    Args:
        name: of the network.
        inputs: its inputs, without the batch.
        failure: the error.
        works: whether it takes a square of this side; None where its input is no single image.
        native: its native input as (channels, height, width), where known.
    """
    shapes = " ".join(map(str, inputs))
    module, shape = failure.at.module, failure.at.input_shapes
    where = failure.at.name or "its forward"
    kind = f" ({type(module).__name__})" if failure.at.name else ""
    got = f" got {_told(shape[0])}" if shape else ""
    wanted = _wanted(module, shape[0] if shape else ())
    if not wanted:
        words = " ".join(str(failure.error).split()) or type(failure.error).__name__
        wanted = f": {words[:200]}" if got else f" failed: {words[:200]}"
    hint = "" if works is None else _what_works(inputs[0], works, native)
    return UsageError(f"{name} cannot take {shapes}: {where}{kind}{got}{wanted}", hint)


def _told(shape: tuple[int, ...]) -> str:
    """Return a shape without its batch."""
    return f"{'x'.join(map(str, shape[1:]))}" if len(shape) > 1 else str(shape)


def _wanted(module: nn.Module, shape: tuple[int, ...]) -> str:
    """Return what a layer expects instead; empty if unknown."""
    if isinstance(module, nn.Linear) and shape and shape[-1] != module.in_features:
        return f" but expects {module.in_features} features"
    if isinstance(module, _ANY_CONVOLUTION) and len(shape) != len(module.kernel_size) + 2:
        axes = ("length", "height x width", "depth x height x width")[len(module.kernel_size) - 1]
        return f" but expects channels x {axes}"
    if isinstance(module, _ANY_CONVOLUTION) and len(shape) > 1 and shape[1] != module.in_channels:
        return f" but expects {module.in_channels} channels"
    if isinstance(module, BATCH_NORMS) and len(shape) > 1 and shape[1] != module.num_features:
        return f" but expects {module.num_features} channels"
    kernel = getattr(module, "kernel_size", None)
    if isinstance(kernel, int | tuple) and len(shape) > 2:
        sides = (kernel,) * (len(shape) - 2) if isinstance(kernel, int) else kernel
        return f", which is too small for its {'x'.join(map(str, sides))} window"
    return ""


def _what_works(
    given: InputShape, works: Callable[[int], bool], native: tuple[int, ...] | None
) -> str:
    """Return which squares the network takes instead, as a hint."""
    channels = given.shape[0]

    def text(side: int) -> str:
        return f"{channels}x{side}x{side}"

    known = max(native[1:]) if native is not None else None
    candidates = [side for side in (known, 32, 64, 128, 224, 256, 299, 512) if side is not None]
    good = next((side for side in candidates if works(side)), None)
    if good is None:
        return ""
    if not works(good + 1) and not works(good + 32):
        return f"{text(good)} works"
    low, high = 0, good  # the smallest that works is above low, and at most high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return f"the smallest square that works is {text(high)}"
