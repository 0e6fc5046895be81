"""How numbers are written for people: counts, sizes, times, rates, percentages and intervals."""

import math
from typing import Literal

from cnnkit.results.base import Value

Kind = Literal[
    "text", "name", "path", "group", "right", "integer", "count", "number", "bytes", "fraction",
    "bar", "decimal", "histogram", "loss", "rate", "learning_rate", "seconds",
]  # fmt: skip

ABSENT = "-"  # shown where there is no value

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def format_value(kind: Kind, value: Value) -> str:
    """Return a value of a column as people read it; the exact one is in the JSON.

    Raises:
        TypeError: a number was expected.
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return str(value)
    match kind:
        case "count":
            return format_count(value)
        case "number":
            return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        case "bytes":
            return format_bytes(value)
        case "fraction" | "bar":
            return format_percent(value)
        case "loss":
            return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.2e}"
        case "decimal":
            return f"{value:.4f}"
        case "rate":
            return format_rate(value)
        case "learning_rate":
            return f"{value:.3g}"
        case "seconds":
            return format_seconds(value)
        case _:
            return f"{value:,}"


def format_count(value: float, digits: int = 4, is_round: bool = False) -> str:
    """Return a count in few digits: `138.4 M`, `61.71 k`, `842`.

    Args:
        value: the count.
        digits: significant ones.
        is_round: leave out zeros at the end, as the labels of an axis do: `200 M`.
    """
    return _scaled(value, digits, _DECIMAL, is_round)


def format_bytes(value: float) -> str:
    """Return a number of bytes in units of 1,024: `527.8 MiB`, `842 B`."""
    text = _scaled(value, 4, _BINARY)
    return text if text.endswith("B") else f"{text} B"


def _scaled(
    value: float, digits: int, units: tuple[tuple[float, str], ...], is_round: bool = False
) -> str:
    for size, sign in units:
        if abs(value) >= size * (1 - 0.5 * 10.0**-digits):
            form = f".{digits}g" if is_round else f"#.{digits}g"
            return f"{value / size:{form}}".rstrip(".") + f" {sign}"
    return f"{value:.{digits}g}"


def format_seconds(value: float) -> str:
    """Return a time: `3.2 s`, `1 min 12 s`, `2 h 05 min`."""
    if value < 0.9995:
        return f"{value * 1000:.3g} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_milliseconds(value: float) -> str:
    """Return milliseconds in four digits, without the unit."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}".rstrip(".")


def format_rate(value: float, digits: int = 2) -> str:
    """Return how many a second in at least so many significant digits, without a unit."""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def format_percent(value: float, digits: int = 2) -> str:
    """Return a fraction in percent: `98.76 %`.

    Args:
        value: the fraction.
        digits: behind the point.
    """
    return f"{100 * value:.{digits}f} %"


def format_interval(ends: tuple[float, float], digits: int = 2) -> str:
    """Return an interval as `0.98 to 1.02`."""
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with what it counts: `1 image`, `1,797 images`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
