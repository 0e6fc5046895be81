"""What a convolution or pooling does along the height, or along the width."""

from dataclasses import dataclass
from math import gcd

# Words for the sides of an image, where both axes are alike and where they are not.
_END = {"both": "bottom and right", "height": "bottom", "width": "right"}
_PIXELS = {"both": "row and column", "height": "row", "width": "column"}
_MANY_PIXELS = {"both": "rows and columns", "height": "rows", "width": "columns"}


@dataclass(frozen=True)
class Formula:
    """A formula by its names, and with the numbers put in.

    Attributes:
        axis: `height`, `width`, or `both` where they are alike.
        rule: the formula by its names.
        numbers: the numbers in their places, and what they come to.
    """

    axis: str
    rule: str
    numbers: str


@dataclass(frozen=True)
class ConvAxis:
    """What happens along the height, or along the width.

    Attributes:
        axis: `height` or `width`.
        input: pixels of the input.
        kernel: of the kernel.
        stride: pixels from one window to the next.
        padding_start: pixels put before the input (above, or left).
        padding_end: pixels put behind it (below, or right).
        dilation: pixels from one weight of the kernel to the next.
        output_padding: pixels put behind the output of a transposed convolution.
        output: pixels of the output.
        unused: pixels at the end of the padded input that no window touches.
        beyond: pixels by which the last window of a pooling reaches beyond the padded input.
        is_dropped: whether rounding up would have given one window more, which PyTorch leaves
            out as it would start in the padding behind the input.
        receptive_field: pixels of the input, from the first to the last, that one output sees.
    """

    axis: str
    input: int
    kernel: int
    stride: int
    padding_start: int
    padding_end: int
    dilation: int
    output_padding: int
    output: int
    unused: int
    beyond: int
    is_dropped: bool
    receptive_field: int

    @property
    def reach(self) -> int:
        """Pixels from the first to the last weight of the kernel."""
        return self.dilation * (self.kernel - 1) + 1

    def is_like(self, other: "ConvAxis") -> bool:
        """Return whether all but the name is the same."""
        return {**vars(self), "axis": ""} == {**vars(other), "axis": ""}

    def padding_text(self) -> int | str:
        """Return the padding of each side, or `before+behind` where they differ."""
        if self.padding_start == self.padding_end:
            return self.padding_start
        return f"{self.padding_start}+{self.padding_end}"


def axes_remarks(
    axes: tuple[ConvAxis, ConvAxis], *, same: bool = False, transposed: bool = False
) -> list[str]:
    """Return what should be known about height and width beside their numbers.

    Args:
        axes: height and width.
        same: whether the padding was chosen to keep the size.
        transposed: whether it is a transposed convolution.
    """
    if axes[0].is_like(axes[1]):
        return _remarks(axes[0], "both", same, transposed)
    names: dict[str, list[str]] = {}
    for axis in axes:
        for remark in _remarks(axis, axis.axis, same, transposed):
            names.setdefault(remark, []).append(axis.axis)
    return [
        remark if len(found) == 2 else f"{found[0]}: {remark}" for remark, found in names.items()
    ]


def _remarks(axis: ConvAxis, name: str, same: bool, transposed: bool) -> list[str]:
    """Return what should be known about an axis.

    Args:
        axis: what happens along it.
        name: `height`, `width`, or `both` where they are alike.
        same: whether the padding was chosen to keep the size.
        transposed: whether it is a transposed convolution.
    """
    remarks = _transposed_remarks(axis) if transposed else _window_remarks(axis, name)
    return [_same_remark(axis), *remarks] if same else remarks


def _same_remark(axis: ConvAxis) -> str:
    if axis.padding_start == axis.padding_end:
        return f"padding {axis.padding_start} on each side keeps the size at stride 1"
    return (
        f"padding {axis.padding_start} before and {axis.padding_end} behind the input keeps the "
        'size at stride 1, as padding="same" of PyTorch does: an even kernel has no middle'
    )


def _window_remarks(axis: ConvAxis, name: str) -> list[str]:
    remarks = []
    if axis.unused:
        pixels = (_PIXELS if axis.unused == 1 else _MANY_PIXELS)[name]
        real = axis.unused - axis.padding_end
        kind = ""
        if axis.padding_end:
            kind = f", {real} of them input" if real > 0 else ", padding alone"
        remarks.append(
            f"left over at the {_END[name]}: {axis.unused} {pixels} of the padded input that no "
            f"window touches{kind}"
        )
    if axis.is_dropped:
        begin = axis.output * axis.stride - axis.padding_start
        remarks.append(
            "one window less than rounding up gives, as in PyTorch: it would start at pixel "
            f"{begin}, counted from 0, in the padding behind the input of {axis.input}"
        )
    if axis.beyond:
        remarks.append(
            f"the last window reaches {axis.beyond} beyond the padded input at the {_END[name]}"
        )
    remarks.append(
        "receptive field = dilation*(kernel - 1) + 1 = "
        f"{axis.dilation}*({axis.kernel} - 1) + 1 = {axis.reach}"
    )
    if axis.stride > axis.reach and axis.output > 1:
        pixels = (_PIXELS if axis.stride - axis.reach == 1 else _MANY_PIXELS)[name]
        remarks.append(
            f"windows skip {axis.stride - axis.reach} {pixels} between them: the stride is larger "
            "than the window"
        )
    return remarks


def _transposed_remarks(axis: ConvAxis) -> list[str]:
    across = axis.receptive_field
    remarks = [
        f"receptive field: one output sees at most {across} across; one input reaches "
        f"{axis.reach} outputs across"
    ]
    # Weights reach every output only if their distances leave every remainder by the stride.
    if min(axis.kernel, axis.stride // gcd(axis.stride, axis.dilation)) < axis.stride:
        remarks.append("some outputs see no input, and are the bias alone")
    return remarks
