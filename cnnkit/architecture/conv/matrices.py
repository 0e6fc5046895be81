"""Small matrices of exact numbers, from text or from rows."""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from cnnkit.errors import UsageError

ExactMatrix = tuple[tuple[Fraction, ...], ...]
MatrixLike = str | Iterable[Iterable[int | float | Decimal | Fraction]]

MAX_DECIMALS = 12  # more are written as a fraction

# Short enough that no number takes long to compute with, or overflows a float.
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_FRACTION = re.compile(r"[+-]?\d{1,15}/\d{1,15}", re.ASCII)


def read_matrix(name: str, given: MatrixLike) -> ExactMatrix:
    """Return a matrix as rows of exact numbers; decimals are kept as written.

    Args:
        name: its name in errors.
        given: rows of numbers; or text such as `0 1 0; 1 1/9 -0.5`, a semicolon or a new line
            after each row, spaces or commas between numbers; or that as Python writes lists.

    Raises:
        UsageError: a word is not a number, rows have different lengths, or there is none.
    """
    rows = _rows_of_text(given) if isinstance(given, str) else _rows_of_values(name, given)
    if not rows or not rows[0]:
        raise UsageError(f"{name} is empty", 'write rows such as "0 1 0; 1 1 1"')
    matrix = tuple(
        tuple(_exact(name, word, f"row {number}") for word in row)
        for number, row in enumerate(rows, 1)
    )
    for number, row in enumerate(matrix, 1):
        if len(row) != len(matrix[0]):
            raise UsageError(
                f"row {number} of {name} has {_numbers(len(row))}, row 1 has {len(matrix[0])}",
                "all rows must be equally long; a semicolon ends each",
            )
    return matrix


def plain_number(value: Fraction) -> int | float:
    """Return an exact number as an integer if it is one, else as the nearest float."""
    return value.numerator if value.denominator == 1 else float(value)


def exact_text(value: Fraction) -> str:
    """Return an exact number as a decimal, or as a fraction where that would be long."""
    for digits in range(MAX_DECIMALS + 1):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            sign = "-" if value < 0 else ""
            whole, rest = divmod(abs(scaled.numerator), 10**digits)
            return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"
    return f"{value.numerator}/{value.denominator}"


def result_text(value: Fraction) -> str:
    """Return the text of a result, with a rounded decimal beside a fraction."""
    text = exact_text(value)
    return f"{text}, about {float(value):.6g}" if "/" in text else text


def _rows_of_text(text: str) -> list[list[object]]:
    text = re.sub(r"\]\s*,?\s*\[", ";", text).replace("[", " ").replace("]", " ")
    lines: list[list[object]] = [
        list(line.replace(",", " ").split()) for line in re.split(r"[;\n]", text)
    ]
    while lines and not lines[-1]:  # a semicolon after the last row
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def _rows_of_values(name: str, given: object) -> list[list[object]]:
    try:
        return [list(row) for row in given]  # type: ignore[attr-defined]  # else a TypeError
    except TypeError:
        raise UsageError(f"{name} must be a text, or rows of numbers") from None


def _exact(name: str, word: object, where: str) -> Fraction:
    text = str(word)
    if isinstance(word, Fraction) or _NUMBER.fullmatch(text):
        return Fraction(text)
    if _FRACTION.fullmatch(text) and int(text.partition("/")[2]):
        return Fraction(text)
    raise UsageError(
        f"{text!r} in {where} of {name} is not a number", "write numbers such as 2, -0.5 or 1/9"
    )


def _numbers(count: int) -> str:
    return f"{count} number{'' if count == 1 else 's'}"
