"""Receptive fields: the input pixels a value depends on, propagated through operators.

Along one axis of the image, each position of a feature map sees pixels from a first to a last. As
long as feature maps only shrink, all positions see as many, and a window of k with dilation d and
stride s after padding p makes

    first - p * jump,   last - first + d * (k - 1) * jump,   jump * s

of them (Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019).
What enlarges makes positions that see differently: behind a transposed convolution of stride s
every s-th sees as many pixels. So what is followed are the positions of one period.

Normalization by the statistics of a batch does not count; that of a group or layer does. Where a
layer mixes positions in a way that is not followed, the receptive field is unknown.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Kind = Literal["sliding", "scattered", "fixed"]
Seen = tuple[int, int] | None  # the first and the last pixel; None for nothing

LONGEST_PERIOD = 4096  # positions


class UnknownFieldError(Exception):
    """Raised if the receptive field cannot be propagated through an operator."""


@dataclass(frozen=True)
class Axis:
    """The pixels along one axis of the image that each position sees.

    Attributes:
        pixels: size of the image along this axis.
        kind: `sliding` as described above; `scattered`: each position sees as many pixels, in no
            simple order; `fixed`: all see the same pixels.
        size: number of positions.
        period: what the first positions see, up to the one from which on it repeats; pixels in the
            padding are negative.
        advance: pixels from a position to the one a period behind it.
        bounds: first and last pixel that any position sees.
    """

    pixels: int
    kind: Kind
    size: int
    period: tuple[Seen, ...]
    advance: int
    bounds: tuple[int, int]

    @classmethod
    def of_pixels(cls, pixels: int) -> "Axis":
        """Return the axis of the image itself."""
        return cls(pixels, "sliding", pixels, ((0, 0),), 1, (0, pixels - 1))

    @property
    def receptive_field(self) -> int:
        """Pixels that a position sees at most, those in the padding included."""
        return max((seen[1] - seen[0] + 1 for seen in self.period if seen is not None), default=0)

    @property
    def distance(self) -> Fraction | None:
        """Pixels between two neighbors, on average; None if they have no order."""
        return Fraction(self.advance, len(self.period)) if self.kind == "sliding" else None

    def seen(self, position: int) -> Seen:
        """Return what a position sees, in the feature map or in its padding."""
        periods, place = divmod(position, len(self.period))
        seen, shift = self.period[place], periods * self.advance
        return None if seen is None else (seen[0] + shift, seen[1] + shift)

    def window(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Axis":
        """Return the axis after a window has slid over it.

        Args:
            kernel: positions of the window.
            stride: distance of two windows.
            padding: positions in front.
            dilation: distance of two positions of a window.
            size: number of windows.

        Raises:
            UnknownFieldError: the positions have no order.
        """
        if self.kind == "fixed":
            return dataclasses.replace(self, size=size)
        if self.kind == "scattered":
            raise UnknownFieldError
        length = len(self.period) // math.gcd(len(self.period), stride)
        period = tuple(
            _hull(self.seen(place * stride - padding + dilation * tap) for tap in range(kernel))
            for place in range(length)
        )
        advance = self.advance * stride * length // len(self.period)
        return self._with_period(period, advance, size)

    def enlarged(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Axis":
        """Return the axis after a transposed convolution, or an interpolation of its taps."""
        if self.kind == "fixed":
            return dataclasses.replace(self, size=size)
        length = len(self.period) * stride
        if self.kind == "scattered" or length > LONGEST_PERIOD:
            raise UnknownFieldError
        period = []
        for place in range(length):
            reached = (divmod(place + padding - dilation * tap, stride) for tap in range(kernel))
            period.append(_hull(self.seen(whole) for whole, rest in reached if rest == 0))
        return self._with_period(tuple(period), self.advance, size)

    def _with_period(self, period: tuple[Seen, ...], advance: int, size: int) -> "Axis":
        bounds = self.hull().bounds
        return Axis(self.pixels, self.kind, size, period, advance, bounds)

    def shifted(self, first: int, step: int, size: int) -> "Axis":
        """Return the axis of every `step`-th position from `first` on, which may be negative."""
        return self.window(1, step, -first, 1, size)

    def hull(self) -> "Axis":
        """Return what all positions together see, clipped to the image."""
        ends = {*range(min(len(self.period), self.size))}
        ends |= {self.size - 1 - place for place in ends}
        first, last = _hull(map(self.seen, ends)) or (0, 0)
        first, last = max(self.bounds[0], first), min(self.bounds[1], last)
        seen = (first, max(first, last))
        return Axis(self.pixels, "fixed", 1, (seen,), 0, seen)

    def scattered(self) -> "Axis":
        """Return the axis when its positions are laid out with those of others."""
        return self if self.kind == "fixed" else dataclasses.replace(self, kind="scattered")

    def in_order(self) -> "Axis":
        """Return the axis when its positions have a dimension of their own again."""
        return self if self.kind == "fixed" else dataclasses.replace(self, kind="sliding")


def _hull(parts: Iterable[Seen]) -> Seen:
    """Return the pixels from the first to the last of several parts."""
    seen = [part for part in parts if part is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


@dataclass(frozen=True)
class Field:
    """The receptive field of every value of a tensor.

    Attributes:
        dims: which axes of the image each dimension of the tensor runs along.
        axes: what its positions see, an axis of the image each.
        layouts: sizes and axes of dimensions that were laid out as one, so that they can be
        separated again.
    """

    dims: tuple[frozenset[int], ...]
    axes: tuple[Axis, ...]
    layouts: tuple[tuple[tuple[int, ...], tuple[frozenset[int], ...]], ...] = ()

    @classmethod
    def of_image(cls, shape: Sequence[int]) -> "Field | None":
        """Return the field of an image (N, C, ...) itself; None if it is not an image."""
        if len(shape) < 3:
            return None
        axes = tuple(Axis.of_pixels(n) for n in shape[2:])
        runs = tuple(frozenset({axis}) for axis in range(len(axes)))
        return cls((frozenset(), frozenset(), *runs), axes)

    @property
    def receptive_field(self) -> int:
        """Side of the smallest square of pixels that holds all that a value sees."""
        return max(axis.receptive_field for axis in self.axes)

    @property
    def jump(self) -> int | float | None:
        """Pixels between two neighbors; None if it differs, or there are none."""
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
        UnknownFieldError: they are not aligned.
    """
    if a == b:
        return a
    if a.kind == "scattered" or a.kind != b.kind:
        whole = next((one for one in (a, b) if _sees_all(one)), None)
        if whole is None:
            raise UnknownFieldError
        return dataclasses.replace(whole, size=max(a.size, b.size))
    if a.kind == "sliding" and (a.size, a.distance) != (b.size, b.distance):
        raise UnknownFieldError
    length = math.lcm(len(a.period), len(b.period))
    period = tuple(_hull((a.seen(place), b.seen(place))) for place in range(length))
    advance = a.advance * (length // len(a.period))
    bounds = (min(a.bounds[0], b.bounds[0]), max(a.bounds[1], b.bounds[1]))
    return Axis(a.pixels, a.kind, max(a.size, b.size), period, advance, bounds)


def _sees_all(axis: Axis) -> bool:
    return axis.kind == "fixed" and axis.bounds == (0, axis.pixels - 1)
