"""Convolutions one after another, held against one large one."""

from dataclasses import dataclass

from cnnkit.results.table import Column, Table


@dataclass(frozen=True)
class StackLayer:
    """A convolution of a stack, and what all up to it come to.

    Attributes:
        index: its number, from 1.
        kernel: height and width of its kernel.
        stride: of this layer alone.
        dilation: of this layer alone.
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

    def table(self, params: int | None, biases: int | None, macs: int | None) -> Table:
        """Return a row a layer, and what is saved below.

        Args:
            params: weights and biases of the stack; None where channels are not given.
            biases: the biases alone.
            macs: of the stack; None where channels or the size are not given.
        """
        columns = [
            Column("index", "layer", "integer"),
            Column("kernel", "kernel", "integer"),
            Column("stride", "stride", "integer"),
        ]
        if any(layer.dilation > 1 for layer in self.layers):
            columns.append(Column("dilation", "dilation", "integer", rank=1))
        if self.layers[0].output is not None:
            columns += [Column("padding", "padding", "integer"), Column("output", "out", "name")]
        columns += [
            Column("receptive_field", "receptive field", "integer"),
            Column("jump", "jump", "integer"),
            Column("weights", "weights", "integer"),
        ]
        rows = tuple(tuple(_value(layer, c.key) for c in columns) for layer in self.layers)
        many = len(self.layers)
        title = f"stack of {many} convolution{'' if many == 1 else 's'}"
        return Table("stack", title, tuple(columns), rows, self._notes(params, biases, macs))

    def _notes(self, params: int | None, biases: int | None, macs: int | None) -> tuple[str, ...]:
        size = self.single_kernel
        share = f"{100 * abs(self.saved):.1f}".removesuffix(".0")
        compared = "fewer" if self.saved >= 0 else "more"
        last = self.layers[-1]
        notes = [
            f"one output sees {size}x{size} of the input; neighbouring outputs are {last.jump} "
            "apart there",
            f"{self.weights:,} weights instead of {self.single_weights:,} of one "
            f"{size}x{size} convolution that sees as much, {share} % {compared}",
        ]
        if params is None:
            notes.append("these are for one channel; with C channels in and out, C*C times as many")
        else:
            notes.append(f"parameters: {params:,} = {self.weights:,} weights + {biases:,} biases")
        if macs is not None:
            notes.append(f"MACs: {macs:,}; FLOPs: {2 * macs:,} = 2 x MACs")
        return tuple(notes)


def _value(layer: StackLayer, key: str) -> int | str:
    """Return what stands in a column for a layer."""
    if key == "padding":
        start, end = layer.padding_start, layer.padding_end
        return start if start == end else f"{start}+{end}"
    if key == "output":
        assert layer.output is not None
        return f"{layer.output[0]}x{layer.output[1]}"
    value: int = getattr(layer, key)
    return value
