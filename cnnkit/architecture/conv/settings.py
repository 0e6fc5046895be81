"""Validation of the settings of a convolution."""

from math import gcd
from typing import Any

from cnnkit.architecture.conv.matrices import ExactMatrix
from cnnkit.errors import UsageError, setting
from cnnkit.results.conv import Size

Pair = tuple[int, int]

MAX_NUMBER = 10**9
NUM_GROUPS_TOLD = 12

_OF_ONE_LAYER = (
    "kernel", "stride", "dilation", "pool", "ceil", "transposed", "output_padding", "groups",
    "image", "weight", "show",
)  # fmt: skip
_OF_CHANNELS = ("in_channels", "out_channels", "groups", "no_bias")


def check_together(**options: Any) -> None:
    """Raise if settings contradict each other, or need another.

    Args:
        options: settings of `conv` by name; None and False are not given.

    Raises:
        UsageError: naming the two.
    """
    given = {name for name, value in options.items() if value is not None and value is not False}
    pool = options["pool"]
    if pool not in (None, "max", "avg"):
        raise UsageError(f"{setting('pool')} must be max or avg, not {pool!r}")
    is_pooling = bool(given & {"pool", "ceil"})
    has_channels = given >= {"in_channels", "out_channels"} or (
        "in_channels" in given and (is_pooling or "stack" in given)
    )
    image = f'give {setting("image")}, such as "0 1 0; 1 1 1", or a list of rows in Python'
    for applies, names, reason, hint in (
        (
            "stack" in given,
            _OF_ONE_LAYER,
            f"cannot be combined with {setting('stack')}",
            "write the stride of a layer as 3s2, its dilation as 3d2"
            if given & {"stride", "dilation"}
            else "leave one of the two out",
        ),
        ("image" not in given, ("weight", "show"), f"needs {setting('image')}", image),
        (
            "image" in given,
            _OF_CHANNELS,
            f"cannot be combined with {setting('image')}",
            "it has one channel",
        ),
        (
            is_pooling,
            ("transposed", "same", "weight", "groups", "no_bias"),
            f"cannot be combined with {setting('pool')}"
            if "pool" in given
            else f"cannot be combined with {setting('ceil')}",
            "a pooling has no weights, and PyTorch's takes no such padding"
            if "pool" in given
            else "in PyTorch only poolings have ceil; leave it out of a convolution",
        ),
        (
            not is_pooling and "stack" not in given and not has_channels,
            _OF_CHANNELS,
            "cannot be used by itself",
            f"give both {setting('in_channels')} and {setting('out_channels')}",
        ),
        (
            "stack" in given and "in_channels" not in given,
            ("out_channels", "no_bias"),
            "cannot be used by itself",
            f"give {setting('in_channels')} as well",
        ),
        (
            "transposed" in given,
            ("same",),
            f"cannot be combined with {setting('transposed')}",
            f"give {setting('padding')}",
        ),
        (
            "transposed" not in given,
            ("output_padding",),
            "belongs to a transposed convolution",
            f"add {setting('transposed')}, or leave it out",
        ),
        (
            "same" in given,
            ("padding",),
            f"cannot be combined with {setting('same')}, which chooses it",
            "leave one out",
        ),
        (
            pool == "avg",
            ("dilation",),
            "cannot be combined with average pooling",
            "PyTorch's has none; leave it out",
        ),
    ):
        for name in names:
            if applies and name in given:
                raise UsageError(f"{setting(name)} {reason}", hint)
    if "image" in given and pool is None and "weight" not in given:
        if "ceil" in given:
            raise UsageError(
                f"{setting('image')} needs a named pooling",
                f"give {setting('pool')} as max or avg",
            )
        raise UsageError(
            f"{setting('image')} needs {setting('weight')} to slide over it, or {setting('pool')}",
            "give one of them",
        )


def check_channels(
    in_channels: int | None, out_channels: int | None, groups: int | None, is_pooling: bool
) -> Pair | None:
    """Return the channels of input and output; None where they are not given.

    Raises:
        UsageError: one is below 1, a pooling changes them, or the groups do not divide them.
    """
    if in_channels is None or out_channels is None:
        return None
    channels = (
        check_number("in_channels", in_channels, 1),
        check_number("out_channels", out_channels, 1),
    )
    if is_pooling and channels[0] != channels[1]:
        raise UsageError(
            f"a pooling keeps its {channels[0]:,} channels, and cannot make {channels[1]:,} of "
            "them",
            f"leave {setting('out_channels')} out",
        )
    groups = 1 if groups is None else check_number("groups", groups, 1)
    for name, value in zip(("in_channels", "out_channels"), channels, strict=True):
        if value % groups:
            raise UsageError(
                f"{setting('groups')} {groups:,} does not divide {setting(name)} {value:,}",
                f"both are divided by {_divisors(gcd(*channels))}",
            )
    return channels


def check_number(name: str, value: object, least: int) -> int:
    """Return a number that was given for a setting.

    Raises:
        UsageError: it is not an integer, or out of bounds.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{setting(name)} must be an integer, not {value!r}")
    if value < least:
        raise UsageError(f"{setting(name)} must be at least {least}, not {value}")
    if value > MAX_NUMBER:
        raise UsageError(f"{setting(name)} must be at most {MAX_NUMBER:,}, not {value:,}")
    return value


def to_pair(name: str, value: object) -> Pair:
    """Return a size as height and width.

    Raises:
        UsageError: it is missing, neither a number nor a pair, or out of bounds.
    """
    if value is None:
        ways = {"kernel": "such as 3 or 3x5", "size": "such as 224, or 227x300"}
        raise UsageError(
            f"{setting(name)} is missing", f"give it, {ways[name]}" if name in ways else ""
        )
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2:
        raise UsageError(
            f"{setting(name)} must be an integer, or a pair of them (height, width), not {value!r}"
        )
    least = 0 if "padding" in name else 1
    return check_number(name, values[0], least), check_number(name, values[1], least)


def agreed_size(
    name: str, size: Size | None, matrix_name: str, matrix: ExactMatrix | None
) -> Size | None:
    """Return the given size, or that of a matrix; a square kernel is one number.

    Raises:
        UsageError: both were given and differ.
    """
    if matrix is None:
        return size
    found = (len(matrix), len(matrix[0]))
    if size is None:
        return found[0] if name == "kernel" and found[0] == found[1] else found
    if to_pair(name, size) != found:
        given = "x".join(map(str, to_pair(name, size)))
        raise UsageError(
            f"{setting(name)} {given} contradicts {setting(matrix_name)}, which is "
            f"{found[0]}x{found[1]}",
            f"leave {setting(name)} out",
        )
    return size


def _divisors(number: int) -> str:
    """Return the divisors of a number for a message, only the smallest if there are many."""
    small = [one for one in range(1, int(number**0.5) + 1) if number % one == 0]
    found = sorted({*small, *(number // one for one in small)})
    shown = ", ".join(f"{one:,}" for one in found[:NUM_GROUPS_TOLD])
    return shown + (", ..." if len(found) > NUM_GROUPS_TOLD else "")
