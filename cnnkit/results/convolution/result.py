"""The arithmetic of one convolution or pooling, or of a stack of them."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Result
from cnnkit.results.convolution.axis import ConvAxis, Formula, axes_remarks
from cnnkit.results.convolution.sliding import Slide
from cnnkit.results.convolution.stacking import Stack
from cnnkit.results.table import Column, Table, format_count

Size = int | tuple[int, int]


@dataclass(frozen=True)
class ConvResult(Result):
    """The answer of `conv`.

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
        weights: the weights alone, likewise.
        biases: the biases alone, likewise.
        weight_bytes: of the parameters in float32, likewise.
        macs: multiply-accumulates an image, those with padding included; None where channels or
            the size were not given, 0 for a pooling.
        flops: 2 x MACs.
        ceil: whether sizes are rounded up.
        same: whether the padding was chosen to keep the size.
        formulas: those of the output size, the short one first where it holds; none for a stack.
        axes: height and width; None for a stack.
        stack: its layers; None for one alone.
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

    def tables(self) -> tuple[Table, ...]:
        """Return size, formula and cost; a stack as its layers; a small matrix before all."""
        tables: tuple[Table, ...] = ()
        if self.stack is not None:
            tables = (self.stack.table(self.params, self.biases, self.macs),)
        if self.axes is not None:
            tables = (self._size_table(*self.axes),)
            if self.in_channels is not None:
                tables = (*tables, self._cost_table(*self.axes))
        if self.slide is not None:
            tables = (*self.slide.matrices(), *tables, *self.slide.sums())
        return tables

    @property
    def _is_transposed(self) -> bool:
        return self.operation.startswith("transposed")

    def _size_table(self, height: ConvAxis, width: ConvAxis) -> Table:
        columns = [
            Column("input", "in", "integer"),
            Column("kernel", "kernel", "integer"),
            Column("stride", "stride", "integer"),
            Column("padding", "padding", "integer"),
            Column("dilation", "dilation", "integer"),
            Column("output", "out", "integer"),
            Column("unused", "left over", "integer"),
            Column("receptive_field", "receptive field", "integer"),
        ]
        if self._is_transposed:
            columns[5:7] = [
                Column("output_padding", "out padding", "integer", rank=1),
                Column("output", "out", "integer"),
            ]
        alike = height.is_like(width)
        if not alike:
            columns = [Column("axis", "", "name"), *columns]
        rows = tuple(
            tuple(
                axis.padding_text() if column.key == "padding" else getattr(axis, column.key)
                for column in columns
            )
            for axis in ((height,) if alike else (height, width))
        )
        before, after = f"{height.input}x{width.input}", f"{height.output}x{width.output}"
        if self.in_channels is not None:
            before, after = f"{self.in_channels}x{before}", f"{self.out_channels}x{after}"
        title = f"{self.operation}, {before} to {after}"
        notes = (*self._formula_lines(), *self._remarks(height, width))
        return Table("sizes", title, tuple(columns), rows, notes)

    def _formula_lines(self) -> tuple[str, ...]:
        lines: list[str] = []
        for rule in dict.fromkeys(formula.rule for formula in self.formulas):
            lines += ["with any dilation:"] if lines else []
            lines.append(f"out = {rule}")
            for formula in self.formulas:
                if formula.rule == rule:
                    name = "" if formula.axis == "both" else f"{formula.axis} "
                    lines.append(f"    {name}= {formula.numbers}")
        return tuple(lines)

    def _remarks(self, height: ConvAxis, width: ConvAxis) -> tuple[str, ...]:
        lines = axes_remarks((height, width), same=self.same, transposed=self._is_transposed)
        covers = all(
            (axis.kernel, axis.output, axis.padding_start, axis.padding_end, axis.dilation)
            == (axis.input, 1, 0, 0, 1)
            for axis in (height, width)
        )
        if covers and self.operation == "convolution" and self.in_channels and self.groups == 1:
            num_inputs = height.input * width.input * self.in_channels
            lines.append(
                f"the kernel covers the whole input: a fully connected layer of {num_inputs:,} "
                f"inputs and {self.out_channels:,} outputs"
            )
        return tuple(lines)

    def _cost_table(self, height: ConvAxis, width: ConvAxis) -> Table:
        in_channels, out_channels = self.in_channels or 0, self.out_channels or 0
        groups = self.groups or 1
        area = f"{height.kernel:,}*{width.kernel:,}"
        parted = f"/{groups:,}" if groups > 1 else ""
        outputs = f"{height.output:,}*{width.output:,}*{out_channels:,}"
        rows: list[tuple[str, int | None, str]] = [
            ("outputs", height.output * width.output * out_channels, outputs)
        ]
        notes: tuple[str, ...] = ()
        if not self.weights:
            rows.append(("parameters", 0, "a pooling has none, and multiplies nothing"))
        else:
            if self._is_transposed:
                one, places = out_channels, "inputs"
                where = f"{height.input:,}*{width.input:,}*{in_channels:,}"
            else:
                one, places, where = in_channels, "outputs", outputs
            biases = "one an output channel" if self.biases else "left out"
            rows += [
                ("weights", self.weights, f"{area}*{in_channels:,}*{out_channels:,}{parted}"),
                ("biases", self.biases, biases),
                ("parameters", self.params, f"{self.weights:,} + {self.biases:,}"),
                ("MACs", self.macs, f"{where} {places}, each {area}*{one // groups:,}"),
                ("FLOPs", self.flops, "2 x MACs"),
            ]
            num_bytes = self.weight_bytes or 0
            short = f", {format_count(num_bytes)}B" if num_bytes >= 1000 else ""
            notes = (f"the parameters take {num_bytes:,} bytes in float32, 4 each{short}",)
        columns = (
            Column("cost", "cost", "name"),
            Column("number", "number", "integer"),
            Column("calculation", "calculation"),
        )
        return Table("cost", "", columns, tuple(rows), notes)
