"""The result of `conv`: output sizes, cost, stacks, and the sums of a sliding kernel."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Records, Result, Value

Size = int | tuple[int, int]
Number = int | float
Matrix = tuple[tuple[Number, ...], ...]


@dataclass(frozen=True)
class Formula:
    """A formula in symbols, and with the numbers inserted.

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
    """The sizes along the height or the width.

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

    @property
    def padding(self) -> int | str:
        """The padding of each side, or `before+behind` where they differ."""
        return _both(self.padding_start, self.padding_end)


@dataclass(frozen=True)
class StackLayer:
    """A convolution of a stack, with the receptive field of all layers up to it.

    Attributes:
        index: its number, from 1.
        kernel: height and width of its kernel.
        stride: of this layer only.
        dilation: of this layer only.
        padding_start: pixels put above and left.
        padding_end: pixels put below and right.
        output: height and width behind it; None where no size was given.
        receptive_field: pixels of the first input that one of its outputs sees.
        jump: pixels of the first input from one of its outputs to the next.
        weights: its weights; those of one channel in and out where no channels were given.
    """

    index: int
    kernel: int
    stride: int
    dilation: int
    padding_start: int
    padding_end: int
    output: tuple[int, int] | None
    receptive_field: int
    jump: int
    weights: int

    @property
    def padding(self) -> int | str:
        """The padding of each side, or `before+behind` where they differ."""
        return _both(self.padding_start, self.padding_end)


@dataclass(frozen=True)
class Stack:
    """Convolutions one after another.

    Attributes:
        layers: the convolutions.
        weights: of all of them.
        single_kernel: height and width of the one kernel that sees as much.
        single_weights: weights of a convolution with that kernel.
        saved: share of these that the stack does without, a fraction; below 0 where it has more.
    """

    layers: tuple[StackLayer, ...]
    weights: int
    single_kernel: int
    single_weights: int
    saved: float


@dataclass(frozen=True)
class WindowSum:
    """The sum that gives one output value.

    Attributes:
        row: of the output, from 0.
        column: of the output, from 0.
        sum: written out, with what it comes to.
    """

    row: int
    column: int
    sum: str


@dataclass(frozen=True)
class Slide:
    """A small input matrix, the kernel, and the output.

    Attributes:
        image: its rows.
        weight: rows of the kernel; None for a pooling.
        output: rows of the output; None where a window of a max pooling holds only padding,
            which PyTorch calls minus infinity.
        windows: every output written out, row by row; None where that was not asked for.
    """

    image: Matrix
    weight: Matrix | None
    output: tuple[tuple[Number | None, ...], ...]
    windows: tuple[WindowSum, ...] | None


@dataclass(frozen=True)
class ConvResult(Result):
    """The result of `conv`.

    A size is one number where all that it comes from was given as one number, else (height,
    width).

    Attributes:
        operation: `convolution`, `transposed convolution`, `max pooling`, `average pooling`;
            `pooling` where it was not said which; `stack`.
        input: its size; None for a stack without one.
        output: likewise.
        receptive_field: pixels of the input, from the first to the last, that one output sees.
        in_channels: channels of the input; None where they were not given.
        out_channels: likewise of the output.
        groups: into how many groups the channels are parted; None without channels.
        params: weights and biases; None where channels were not given, 0 for a pooling.
        weights: only the weights, likewise.
        biases: only the biases, likewise.
        weight_bytes: of the parameters in float32, likewise.
        macs: multiply-accumulates per image, those with padding included; None where channels or
            the size were not given, 0 for a pooling.
        flops: 2 x MACs.
        ceil: whether sizes are rounded up.
        same: whether the padding was chosen to keep the size.
        formulas: those of the output size, the short one first where it holds; none for a stack.
        axes: height and width; None for a stack.
        stack: its layers; None for a single layer.
        slide: a small matrix and what it became; None without one.
    """

    schema: ClassVar[str] = "cnnkit.conv/1"

    operation: str
    input: Size | None
    output: Size | None
    receptive_field: Size
    in_channels: int | None
    out_channels: int | None
    groups: int | None
    params: int | None
    weights: int | None
    biases: int | None
    weight_bytes: int | None
    macs: int | None
    flops: int | None
    ceil: bool = False
    same: bool = False
    formulas: tuple[Formula, ...] = ()
    axes: tuple[ConvAxis, ConvAxis] | None = None
    stack: Stack | None = None
    slide: Slide | None = None

    @property
    def is_transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.operation.startswith("transposed")

    def records(self) -> Records:
        """Return the output of a sliding kernel, or one row per axis, or per layer of a stack."""
        if self.slide is not None:
            numbers = (str(number) for number in range(len(self.slide.output[0])))
            rows = ((str(number), *row) for number, row in enumerate(self.slide.output))
            return Records(("row", *numbers), tuple(rows))
        if self.stack is not None:
            return _stack_records(self.stack)
        if self.axes is None:
            return Records((), ())
        names = ["input", "kernel", "stride", "padding", "dilation", "output", "unused"]
        if self.is_transposed:
            names[5:] = ["output_padding", "output"]
        names.append("receptive_field")
        if self.axes[0].is_like(self.axes[1]):
            return Records.of(self.axes[:1], names)
        return Records.of(self.axes, ["axis", *names])


def _stack_records(stack: Stack) -> Records:
    names = ["index", "kernel", "stride"]
    if any(layer.dilation > 1 for layer in stack.layers):
        names.append("dilation")
    if stack.layers[0].output is not None:
        names += ["padding", "output"]
    names += ["receptive_field", "jump", "weights"]

    def value(layer: StackLayer, name: str) -> Value:
        found = getattr(layer, name)
        return f"{found[0]}x{found[1]}" if name == "output" else found

    return Records(
        tuple(names),
        tuple(tuple(value(layer, name) for name in names) for layer in stack.layers),
    )


def _both(start: int, end: int) -> int | str:
    return start if start == end else f"{start}+{end}"
