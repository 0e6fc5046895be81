"""Number of windows along an axis, and its formula."""

from math import gcd

from cnnkit.errors import UsageError, setting
from cnnkit.results.conv import ConvAxis, Formula


def window_axis(
    axis: str,
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    *,
    ceil: bool = False,
    largest_padding: int | None = None,
) -> ConvAxis:
    """Return the result of a convolution or pooling along an axis, as in PyTorch.

    Args:
        axis: `height` or `width`.
        size: pixels of the input.
        kernel: of the kernel.
        stride: of the kernel.
        padding: pixels before and behind the input.
        dilation: of the kernel.
        ceil: round up, so that a last window may reach beyond the padded input; one that would
            start in the padding behind it is left out.
        largest_padding: that may be advised; None for any.

    Raises:
        UsageError: the kernel is larger than the padded input.
    """
    reach = dilation * (kernel - 1) + 1
    padded = padding[0] + size + padding[1]
    room = padded - reach
    output = (-(-room // stride) if ceil else room // stride) + 1
    is_dropped = ceil and (output - 1) * stride >= size + padding[0]
    output -= is_dropped
    if output < 1:
        raise _too_large(axis, size, kernel, stride if ceil else 1, padding, reach, largest_padding)
    end = (output - 1) * stride + reach
    return ConvAxis(
        axis=axis,
        input=size,
        kernel=kernel,
        stride=stride,
        padding_start=padding[0],
        padding_end=padding[1],
        dilation=dilation,
        output_padding=0,
        output=output,
        unused=max(0, padded - end),
        beyond=max(0, end - padded),
        is_dropped=is_dropped,
        receptive_field=reach,
    )


def pooling_axis(
    axis: str, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> ConvAxis:
    """Return the result of a pooling along an axis; arguments as of `window_axis`.

    Raises:
        UsageError: the padding is more than half the kernel, or the kernel does not fit.
    """
    if 2 * padding > kernel:
        raise UsageError(
            f"a pooling takes a padding of at most half its kernel, not {padding} for a kernel "
            f"of {kernel}",
            f"the largest padding that works is {kernel // 2}",
        )
    return window_axis(
        axis, size, kernel, stride, (padding, padding), dilation,
        ceil=ceil, largest_padding=kernel // 2,
    )  # fmt: skip


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the padding before and behind that keeps a size, as `padding="same"` of PyTorch.

    Raises:
        UsageError: the stride is above 1, so that none does.
    """
    reach = dilation * (kernel - 1) + 1
    before = (reach - 1) // 2
    if stride == 1:
        return before, reach - 1 - before
    wanted = -(-size // stride)
    for padding in (before, before + 1):
        if (size + 2 * padding - reach) // stride + 1 == wanted:
            hint = f"padding {padding} gives ceil({size} / {stride}) = {wanted}"
            break
    else:
        missing = max(0, (wanted - 1) * stride + reach - size)
        hint = (
            f"ceil({size} / {stride}) = {wanted} comes of padding {missing // 2} before and "
            f"{missing - missing // 2} behind, with torch.nn.functional.pad"
        )
    raise UsageError(f"no padding keeps the size at stride {stride}, as same should", hint)


def transposed_axis(
    axis: str,
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    output_padding: int,
) -> ConvAxis:
    """Return the result of a transposed convolution along an axis; arguments as of `window_axis`.

    Raises:
        UsageError: nothing is left of the output, or `output_padding` is too large.
    """
    if output_padding >= max(stride, dilation):
        raise UsageError(
            f"{setting('output_padding')} must be smaller than the stride or the dilation, not "
            f"{output_padding} at stride {stride} and dilation {dilation}",
            f"it may be 0 to {max(stride, dilation) - 1}",
        )
    reach = dilation * (kernel - 1) + 1
    whole = (size - 1) * stride + reach + output_padding
    output = whole - 2 * padding
    if output < 1:
        raise UsageError(
            f"nothing is left of the output's {axis}: padding {padding} takes {2 * padding} off "
            f"the {whole} there are",
            f"the largest padding that works is {(whole - 1) // 2}",
        )
    return ConvAxis(
        axis=axis,
        input=size,
        kernel=kernel,
        stride=stride,
        padding_start=padding,
        padding_end=padding,
        dilation=dilation,
        output_padding=output_padding,
        output=output,
        unused=0,
        beyond=0,
        is_dropped=False,
        receptive_field=_transposed_receptive_field(kernel, stride, dilation),
    )


def window_formulas(
    axes: tuple[ConvAxis, ConvAxis], ceil: bool, can_dilate: bool = True
) -> tuple[Formula, ...]:
    """Return the formulas of the output size: without dilation, then the general one.

    Args:
        axes: height and width.
        ceil: whether it is rounded up.
        can_dilate: whether there is a general one.
    """
    rounding = "ceil" if ceil else "floor"
    is_even = all(axis.padding_start == axis.padding_end for axis in axes)
    pads = "2 padding" if is_even else "before + behind"
    start = f"{rounding}((in + {pads} - "
    short = f"{start}kernel) / stride) + 1"
    general = f"{start}dilation*(kernel - 1) - 1) / stride) + 1"

    def numbers(axis: ConvAxis, window: str) -> str:
        before, behind = axis.padding_start, axis.padding_end
        padding = f"2*{before}" if is_even else f"{before} + {behind}"
        dropped = " - 1" if axis.is_dropped else ""
        inner = f"({axis.input} + {padding} - {window}) / {axis.stride}"
        return f"{rounding}({inner}) + 1{dropped} = {axis.output}"

    formulas: list[Formula] = []
    if all(axis.dilation == 1 for axis in axes):
        formulas += _by_axis(axes, short, [numbers(axis, str(axis.kernel)) for axis in axes])
    if not can_dilate:
        return tuple(formulas)
    spread = [f"{axis.dilation}*({axis.kernel} - 1) - 1" for axis in axes]
    texts = [numbers(axis, window) for axis, window in zip(axes, spread, strict=True)]
    return (*formulas, *_by_axis(axes, general, texts))


def transposed_formulas(axes: tuple[ConvAxis, ConvAxis]) -> tuple[Formula, ...]:
    """Return the formula of the output size of a transposed convolution."""
    rule = "(in - 1)*stride - 2 padding + dilation*(kernel - 1) + output padding + 1"
    texts = [
        f"({axis.input} - 1)*{axis.stride} - 2*{axis.padding_start} + "
        f"{axis.dilation}*({axis.kernel} - 1) + {axis.output_padding} + 1 = {axis.output}"
        for axis in axes
    ]
    return tuple(_by_axis(axes, rule, texts))


def _by_axis(axes: tuple[ConvAxis, ConvAxis], rule: str, texts: list[str]) -> list[Formula]:
    """Return a formula for each axis, or one if they are equal."""
    if axes[0].is_like(axes[1]):
        return [Formula("both", rule, texts[0])]
    return [Formula(axis.axis, rule, text) for axis, text in zip(axes, texts, strict=True)]


def _too_large(
    axis: str,
    size: int,
    kernel: int,
    slack: int,
    padding: tuple[int, int],
    reach: int,
    largest_padding: int | None,
) -> UsageError:
    """Return the error of a kernel without room, with the smallest values that give it some.

    Args:
        axis: as in `window_axis`.
        size: likewise.
        kernel: likewise.
        slack: one more than what the window may reach beyond the padded input.
        padding: likewise.
        reach: of the kernel with its dilation.
        largest_padding: that may be advised; None for any.
    """
    spread = f", spread to {reach} by its dilation," if reach > kernel else ""
    padded = sum(padding) + size
    around = f", padded to {padded}" if padded > size else ""
    needed = reach - slack + 1
    ways = []
    smallest = -(-(needed - size) // 2)
    if largest_padding is None or smallest <= largest_padding:
        ways.append(f"the smallest padding that works is {smallest}")
    ways.append(f"the smallest {axis} that works is {max(1, needed - sum(padding))}")
    return UsageError(
        f"a kernel of {kernel}{spread} is larger than the input's {axis} of {size}{around}",
        " or ".join(ways),
    )


def _transposed_receptive_field(kernel: int, stride: int, dilation: int) -> int:
    """Return the maximum distance of inputs that reach the same output.

    Weight t of input i reaches output i*stride + dilation*t - padding. Weights that reach the
    same output are stride / gcd apart.
    """
    common = gcd(stride, dilation)
    many = -(-kernel // (stride // common))
    return (many - 1) * (dilation // common) + 1
