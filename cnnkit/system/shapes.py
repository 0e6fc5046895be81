"""Sizes and shapes as users write them: `3`, `3x5`, `3x224x224`, `3,224,224`."""

import re
from collections.abc import Sequence

from cnnkit.errors import UsageError, setting

SQUARE_OR_IMAGE = "write CxHxW such as 3x224x224, or one number for a square"
# With so few digits no number is too long for Python to read.
_SIZES = re.compile(r"-?[0-9]{1,12}(?:\s*[xX,]\s*-?[0-9]{1,12})*")


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the numbers of a text between `x`, `X` or `,`; () for any other text.

    They may be 0 or negative, so that whoever knows the bounds can say what they are.
    """
    text = text.strip()
    if _SIZES.fullmatch(text) is None:
        return ()
    return tuple(int(size) for size in re.split("[xX,]", text))


def parse_image_shape(text: str, name: str = "input") -> tuple[int | None, int, int]:
    """Return `CxHxW`, or one number for a square, as channels (None for a square), height, width.

    Raises:
        UsageError: the text is neither, or a size is below 1.
    """
    sizes = parse_sizes(text)
    if len(sizes) not in (1, 3):
        raise UsageError(f"{setting(name)} {text!r} is not a shape", SQUARE_OR_IMAGE)
    check_positive(text, sizes, name)
    return (None, sizes[0], sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])


ImageInput = str | int | Sequence[int | None] | None
"""How an image is given: `3x224x224`, 224, (3, 224, 224), (None, 224, 224), or None."""


def as_image_shape(given: ImageInput) -> tuple[int | None, int, int] | None:
    """Return channels (None for those that suit), height and width; None for None.

    Raises:
        UsageError: it is not a shape, or a size is below 1.
    """
    if given is None or isinstance(given, str):
        return None if given is None else parse_image_shape(given)
    sizes = (None, given, given) if isinstance(given, int) else tuple(given)
    numbers = [one for one in sizes if isinstance(one, int)]
    if len(sizes) != 3 or len(numbers) < 2 or not all(isinstance(one, int) for one in sizes[1:]):
        raise UsageError(f"{setting('input')} {given!r} is not a shape", SQUARE_OR_IMAGE)
    check_positive(str(given), tuple(numbers))
    return sizes  # type: ignore[return-value]


def check_positive(text: str, sizes: tuple[int, ...], name: str = "input") -> None:
    """Raise UsageError where one of the sizes of a text is below 1."""
    if min(sizes) < 1:
        raise UsageError(f"{setting(name)} {text!r} has a size below 1", "sizes are 1 or more")
