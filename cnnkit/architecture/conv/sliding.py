"""Sliding a kernel over a small matrix, every product written out, in exact arithmetic."""

from collections.abc import Callable
from fractions import Fraction

from cnnkit.architecture.conv.matrices import ExactMatrix, exact_text, plain_number, result_text
from cnnkit.errors import UsageError
from cnnkit.results.conv import ConvAxis, Slide, WindowSum

MAX_PRODUCTS = 100_000  # about a second

# A place of the kernel and the pixel of the input below it; no pixel where there is padding.
_Tap = tuple[int, int | None]
_Output = tuple[Fraction | None, str]


def slide_kernel(
    image: ExactMatrix,
    weight: ExactMatrix,
    axes: tuple[ConvAxis, ConvAxis],
    *,
    transposed: bool = False,
    show: bool = False,
) -> Slide:
    """Return the output of a convolution of a matrix; the kernel is not flipped.

    Args:
        image: rows of the input.
        weight: rows of the kernel.
        axes: height and width, as computed for their sizes.
        transposed: whether it is a transposed convolution.
        show: write every sum out.

    Raises:
        UsageError: there is too much to compute.
    """

    def output(down: list[_Tap], across: list[_Tap]) -> _Output:
        products = [
            (_pixel(image, row, column), weight[i][j]) for i, row in down for j, column in across
        ]
        total = sum((pixel * factor for pixel, factor in products), Fraction(0))
        if not products:
            return total, "no input reaches it = 0"
        terms = " + ".join(f"{_factor(a)}*{_factor(b)}" for a, b in products) if show else ""
        return total, f"{terms} = {result_text(total)}"

    taps = _transposed_taps if transposed else _window_taps
    return _slide(image, weight, axes, taps, output, show)


def slide_pooling(
    image: ExactMatrix, pool: str, axes: tuple[ConvAxis, ConvAxis], *, show: bool = False
) -> Slide:
    """Return the output of a pooling of a matrix.

    Padding is less than any number to `max`; to `avg` it is zeros that count, and what is
    beyond the padding does not, as in PyTorch.

    Args:
        image: rows of the input.
        pool: `max` or `avg`.
        axes: height and width, as computed for their sizes.
        show: write every output out.

    Raises:
        UsageError: there is too much to compute.
    """

    def largest(down: list[_Tap], across: list[_Tap]) -> _Output:
        pixels = [
            image[row][column]
            for _, row in down
            for _, column in across
            if row is not None and column is not None
        ]
        if not pixels:
            return None, "only padding"
        value = max(pixels)
        return value, f"max({', '.join(map(exact_text, pixels))}) = {result_text(value)}"

    def mean(down: list[_Tap], across: list[_Tap]) -> _Output:
        pixels = [_pixel(image, row, column) for _, row in down for _, column in across]
        value = sum(pixels, Fraction(0)) / len(pixels)
        terms = " + ".join(map(_factor, pixels))
        return value, f"({terms}) / {len(pixels)} = {result_text(value)}"

    return _slide(image, None, axes, _window_taps, largest if pool == "max" else mean, show)


def _slide(
    image: ExactMatrix,
    weight: ExactMatrix | None,
    axes: tuple[ConvAxis, ConvAxis],
    taps: Callable[[ConvAxis, int], list[_Tap]],
    output: Callable[[list[_Tap], list[_Tap]], _Output],
    show: bool,
) -> Slide:
    height, width = axes
    num_outputs = height.output * width.output
    num_products = num_outputs * height.kernel * width.kernel
    if num_products > MAX_PRODUCTS:
        raise UsageError(
            f"{num_outputs:,} outputs of {height.kernel * width.kernel:,} numbers each are too "
            f"many to write out",
            f"at most {MAX_PRODUCTS:,} numbers in all; leave the image out to see the sizes",
        )
    across = [taps(width, column) for column in range(width.output)]
    rows = [
        [output(down, one) for one in across]
        for down in (taps(height, row) for row in range(height.output))
    ]
    windows = tuple(
        WindowSum(row, column, text)
        for row, line in enumerate(rows)
        for column, (_, text) in enumerate(line)
    )
    return Slide(
        image=_plain(image),
        weight=None if weight is None else _plain(weight),
        output=tuple(
            tuple(None if value is None else plain_number(value) for value, _ in row)
            for row in rows
        ),
        windows=windows if show else None,
    )


def _window_taps(axis: ConvAxis, output: int) -> list[_Tap]:
    """Return the places of the kernel for an output; what is beyond the padding is left out."""
    taps: list[_Tap] = []
    for place in range(axis.kernel):
        pixel = output * axis.stride + place * axis.dilation - axis.padding_start
        if pixel < axis.input + axis.padding_end:
            taps.append((place, pixel if 0 <= pixel < axis.input else None))
    return taps


def _transposed_taps(axis: ConvAxis, output: int) -> list[_Tap]:
    """Return the inputs that reach an output, each with its place of the kernel."""
    taps: list[_Tap] = []
    for place in range(axis.kernel):
        pixel, rest = divmod(output + axis.padding_start - place * axis.dilation, axis.stride)
        if not rest and 0 <= pixel < axis.input:
            taps.append((place, pixel))
    return taps


def _pixel(image: ExactMatrix, row: int | None, column: int | None) -> Fraction:
    return Fraction(0) if row is None or column is None else image[row][column]


def _factor(value: Fraction) -> str:
    text = exact_text(value)
    return f"({text})" if value < 0 or "/" in text else text


def _plain(matrix: ExactMatrix) -> tuple[tuple[int | float, ...], ...]:
    return tuple(tuple(map(plain_number, row)) for row in matrix)
