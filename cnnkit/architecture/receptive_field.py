"""Which input pixels a value depends on, followed from operator to operator.

Along one axis of the image, position i of a map sees the positions

    offset + step * i  to  offset + step * i + reach

of a coarser map (those that are whole numbers), and position j of that one sees the pixels

    start + jump * j  to  start + jump * j + span.

As long as maps only shrink, the coarser map is the map itself (offset 0, step 1, reach 0) and a
window of k with dilation d and stride s after padding p makes

    start - p * jump,   span + d * (k - 1) * jump,   jump * s

of the second line (Araujo et al., Computing Receptive Fields of Convolutional Neural Networks,
Distill 2019). Transposed convolutions, which enlarge, change the first line, with a step of 1 / s.

Normalisation by the statistics of a batch does not count; that of a group or layer does. Where a
layer mixes positions in a way that is not followed, the receptive field is unknown.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["sliding", "scattered", "fixed"]


class UnknownFieldError(Exception):
    """The receptive field cannot be followed through an operator."""


@dataclass(frozen=True)
class Axis:
    """What the positions along one axis of the image see of it.

    Attributes:
        pixels: size of the image along this axis.
        kind: `sliding` as told above; `scattered`: each position sees as much, in no simple order;
            `fixed`: all see the same pixels, from start to start + span.
        size: number of positions.
        start: first pixel that position 0 of the coarser map sees; negative in the padding.
        span: last pixel of a position of it, less its first.
        jump: pixels between two neighbours of it.
        coarse_size: number of its positions.
        offset: see above.
        step: likewise.
        reach: likewise.
    """

    pixels: int
    kind: Kind
    size: int
    start: int
    span: int
    jump: int
    coarse_size: int
    offset: Fraction = Fraction(0)
    step: Fraction = Fraction(1)
    reach: Fraction = Fraction(0)

    @property
    def is_plain(self) -> bool:
        """Whether the coarser map is the map itself."""
        return self.step == 1 and self.offset == 0 and self.reach == 0

    @property
    def receptive_field(self) -> int:
        """Pixels that a position sees, those in the padding included."""
        return self.span + self.jump * math.floor(self.reach) + 1

    @property
    def distance(self) -> Fraction | None:
        """Pixels between two neighbours; None where they stand in no order."""
        return self.jump * self.step if self.kind == "sliding" else None

    def window(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Axis":
        """Return the axis after a window has slid over it.

        Args:
            kernel: positions of the window.
            stride: distance of two windows.
            padding: positions in front.
            dilation: distance of two positions of a window.
            size: number of windows.

        Raises:
            UnknownFieldError: the positions stand in no order.
        """
        reach = dilation * (kernel - 1)
        if self.kind == "fixed":
            return dataclasses.replace(self, size=size)
        if self.kind == "scattered":
            raise UnknownFieldError
        if self.is_plain:
            return dataclasses.replace(
                self,
                size=size,
                coarse_size=size,
                start=self.start - padding * self.jump,
                span=self.span + reach * self.jump,
                jump=self.jump * stride,
            )
        return dataclasses.replace(
            self,
            size=size,
            offset=self.offset - padding * self.step,
            reach=self.reach + reach * self.step,
            step=self.step * stride,
        )

    def enlarged(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Axis":
        """Return the axis after a transposed convolution, or an interpolation of its taps."""
        if self.kind == "fixed":
            return dataclasses.replace(self, size=size)
        if self.kind == "scattered":
            raise UnknownFieldError
        reach = dilation * (kernel - 1)
        return dataclasses.replace(
            self,
            size=size,
            offset=self.offset + self.step * Fraction(padding - reach, stride),
            step=self.step / stride,
            reach=self.reach + self.step * Fraction(reach, stride),
        )

    def shifted(self, first: int, step: int, size: int) -> "Axis":
        """Return the axis of every `step`-th position from `first` on, which may be negative."""
        return self.window(1, step, -first, 1, size)

    def hull(self) -> "Axis":
        """Return what all positions together see, as far as it lies in the image."""
        first, last = self.start, self.start + self.span
        if self.kind != "fixed":
            low = max(0, math.ceil(self.offset))
            high = math.floor(self.offset + self.step * (self.size - 1) + self.reach)
            high = min(high, self.coarse_size - 1)
            first = self.start + self.jump * low
            last = self.start + self.jump * high + self.span
        first, last = max(0, first), min(self.pixels - 1, last)
        return Axis(self.pixels, "fixed", 1, first, max(0, last - first), 1, 1)

    def scattered(self) -> "Axis":
        """Return the axis when its positions are laid out with those of others."""
        return self if self.kind == "fixed" else dataclasses.replace(self, kind="scattered")

    def in_order(self) -> "Axis":
        """Return the axis when its positions are laid out alone again."""
        return self if self.kind == "fixed" else dataclasses.replace(self, kind="sliding")


@dataclass(frozen=True)
class Field:
    """What every value of a tensor sees.

    Attributes:
        dims: which axes of the image each dimension of the tensor runs along.
        axes: what its positions see, an axis of the image each.
        layouts: sizes and axes of dimensions that were laid out as one, so that they can be told
            apart again.
    """

    dims: tuple[frozenset[int], ...]
    axes: tuple[Axis, ...]
    layouts: tuple[tuple[tuple[int, ...], tuple[frozenset[int], ...]], ...] = ()

    @classmethod
    def of_image(cls, shape: Sequence[int]) -> "Field | None":
        """Return the field of an image (N, C, ...) itself; None for what is none."""
        if len(shape) < 3:
            return None
        axes = tuple(Axis(n, "sliding", n, 0, 0, 1, n) for n in shape[2:])
        runs = tuple(frozenset({axis}) for axis in range(len(axes)))
        return cls((frozenset(), frozenset(), *runs), axes)

    @property
    def receptive_field(self) -> int:
        """Side of the smallest square of pixels that holds all that a value sees."""
        return max(axis.receptive_field for axis in self.axes)

    @property
    def jump(self) -> int | float | None:
        """Pixels between two neighbours; None where it differs, or there are none."""
        distances = {axis.distance for axis in self.axes}
        distance = distances.pop() if len(distances) == 1 else None
        if distance is None or all(not runs for runs in self.dims):
            return None
        return int(distance) if distance.denominator == 1 else float(distance)

    def with_axis(self, number: int, axis: Axis) -> "Field":
        """Return the field with one axis changed."""
        axes = (*self.axes[:number], axis, *self.axes[number + 1 :])
        return dataclasses.replace(self, axes=axes)

    def with_dims(self, dims: Sequence[frozenset[int]]) -> "Field":
        """Return the field of the same axes laid out otherwise."""
        return dataclasses.replace(self, dims=tuple(dims))

    def axis_along(self, dim: int) -> int | None:
        """Return the one axis along a dimension; None where there is none.

        Raises:
            UnknownFieldError: there are several.
        """
        runs = self.dims[dim]
        if len(runs) > 1 and any(self.axes[axis].kind != "fixed" for axis in runs):
            raise UnknownFieldError
        return min(runs, default=None)

    def collapsed(self, gone: Iterable[int]) -> "Field":
        """Return the field when all positions along some dimensions are mixed.

        Raises:
            UnknownFieldError: an axis runs along another dimension as well.
        """
        field = self
        gone = [dim % len(self.dims) for dim in gone]
        for number in frozenset().union(*(self.dims[dim] for dim in gone)):
            axis = field.axes[number]
            elsewhere = any(number in runs for dim, runs in enumerate(self.dims) if dim not in gone)
            if elsewhere and axis.kind != "fixed":
                raise UnknownFieldError
            field = field.with_axis(number, axis.hull())
        return field


def merged(fields: Sequence[Field]) -> Field:
    """Return the field of a value that depends on values at the same place of several tensors.

    Dimensions are aligned at the last, as in broadcasting.

    Raises:
        UnknownFieldError: the tensors are laid out otherwise.
    """
    num_dims = max(len(field.dims) for field in fields)
    dims = [frozenset[int]()] * num_dims
    for field in fields:
        for dim, runs in enumerate(field.dims, num_dims - len(field.dims)):
            if dims[dim] and runs and dims[dim] != runs:
                raise UnknownFieldError
            dims[dim] = dims[dim] or runs
    axes = fields[0].axes
    for field in fields[1:]:
        axes = tuple(merged_axis(a, b) for a, b in zip(axes, field.axes, strict=True))
    return Field(tuple(dims), axes, fields[0].layouts)


def merged_axis(a: Axis, b: Axis) -> Axis:
    """Return what a position sees that depends on the same position of two axes.

    Raises:
        UnknownFieldError: they do not lie over each other.
    """
    if a == b:
        return a
    if a.kind == "scattered" or b.kind == "scattered":
        whole = next((one for one in (a, b) if _sees_all(one)), None)
        if whole is None:
            raise UnknownFieldError
        return whole
    if a.kind == "fixed" or b.kind == "fixed":
        if a.kind != b.kind:
            whole = next((one for one in (a, b) if _sees_all(one)), None)
            if whole is None:
                raise UnknownFieldError
            return dataclasses.replace(whole, size=max(a.size, b.size))
        first = min(a.start, b.start)
        last = max(a.start + a.span, b.start + b.span)
        return dataclasses.replace(a, start=first, span=last - first, size=max(a.size, b.size))
    if (a.size, a.jump, a.step) != (b.size, b.jump, b.step):
        raise UnknownFieldError
    if a.is_plain and b.is_plain:
        first = min(a.start, b.start)
        last = max(a.start + a.span, b.start + b.span)
        return dataclasses.replace(a, start=first, span=last - first)
    if (a.start, a.span, a.coarse_size) != (b.start, b.span, b.coarse_size):
        raise UnknownFieldError
    offset = min(a.offset, b.offset)
    end = max(a.offset + a.reach, b.offset + b.reach)
    return dataclasses.replace(a, offset=offset, reach=end - offset)


def _sees_all(axis: Axis) -> bool:
    return axis.kind == "fixed" and axis.start == 0 and axis.span == axis.pixels - 1
