"""Receptive fields against what the gradient of one output pixel really touches."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.architecture.looking import look, row

SIZE = 96  # pixels along a side of the image
CHANNELS = 2
MARGIN = 12  # pixels that an interior output pixel leaves at each edge


class Apply(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Branches(nn.Module):
    """Several ways from input to output, which are added or laid side by side."""

    def __init__(self, *branches: nn.Module, adds: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self.branches]
        if not self.adds:
            outputs = list(torch.cat(outputs, dim=1).chunk(len(outputs), dim=1))
        return functools.reduce(Tensor.add, outputs)


@dataclass(frozen=True)
class Touched:
    """What was measured at interior output pixels.

    Attributes:
        extent: pixels from the first to the last that one output pixel sees, the most of them.
        jump: pixels between neighbours, along each axis, on average.
    """

    extent: int
    jump: tuple[Fraction, Fraction]


def touched_by(network: nn.Module, period: int) -> Touched | None:
    """Return what gradients touch; None where no output pixel sees the inside of the image alone.

    Args:
        network: with zeros nowhere.
        period: after how many output pixels the pattern repeats.
    """
    network = network.double().eval()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    image = torch.rand(1, CHANNELS, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    out = network(image)
    if out.dim() != 4 or min(out.shape[2:]) < 2 * period + 1:
        return None
    extents, jumps = [], []
    for dim in (2, 3):
        middle = (out.shape[dim] - 2 * period) // 2
        sides = {}
        for place in range(middle, middle + 2 * period):
            line = out.select(dim, place).select(2, out.shape[5 - dim] // 2)
            for offset in range(period):  # the other axis may be in a phase that sees nothing
                line = line + out.select(dim, place).select(2, out.shape[5 - dim] // 2 - offset)
            (gradient,) = torch.autograd.grad(line.sum(), image, retain_graph=True)
            touched = gradient.abs().sum(dim=(0, 1, 5 - dim)).nonzero().flatten().tolist()
            if touched:
                sides[place] = (touched[0], touched[-1])
        if not sides:
            return None
        if any(min(first, SIZE - 1 - last) < MARGIN for first, last in sides.values()):
            return None
        extents.append(max(last - first + 1 for first, last in sides.values()))
        # at an edge within the image, as of a slice, one end would not move on with the other
        distances = {
            sides[place + period][end] - sides[place][end]
            for place in sides
            if place + period in sides
            for end in (0, 1)
        }
        if len(distances) != 1:
            return None
        jumps.append(Fraction(distances.pop(), period))
    return Touched(max(extents), (jumps[0], jumps[1]))


def conv(kernel: object, groups: int = 1, **options: object) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, kernel, groups=groups, **options)  # type: ignore[arg-type]


sides = st.integers(1, 4)
steps = st.integers(1, 2)


@st.composite
def shrinking(draw: st.DrawFn) -> nn.Module:
    """A layer whose windows slide, or a change of place."""
    kind = draw(st.sampled_from(["conv", "pool", "pad", "slice", "add", "branches", "norm"]))
    kernel, stride = (draw(sides), draw(sides)), (draw(steps), draw(steps))
    dilation = (draw(steps), draw(steps))
    if kind == "conv":
        padding = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
        groups = draw(st.sampled_from([1, CHANNELS]))
        return conv(kernel, groups, stride=stride, dilation=dilation, padding=padding)
    if kind == "pool":
        return nn.AvgPool2d(kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2))
    if kind == "pad":
        return nn.ZeroPad2d(tuple(draw(st.integers(-2, 3)) for _ in range(4)))  # type: ignore[arg-type]
    if kind == "slice":
        first, step, end = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(sides)
        return Apply(lambda x: x[:, :, first:-end:step, end::step])
    if kind == "norm":
        return nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU())
    if kind == "add":  # as residual blocks have it
        step, odd = draw(steps), draw(st.sampled_from([1, 3, 5]))
        padding = odd // 2 * dilation[0]
        large = conv(odd, padding=padding, dilation=dilation[0], stride=step)
        return Branches(large, Apply(lambda x: x[:, :, ::step, ::step]), adds=True)
    branches = [same_conv(draw(sides), draw(steps)) for _ in range(draw(st.integers(2, 3)))]
    branches[0] = nn.Sequential(same_conv(draw(sides), 1), branches[0])
    return Branches(*branches, adds=draw(st.booleans()))


def same_conv(kernel: int, dilation: int) -> nn.Module:
    """Return a convolution that keeps the size; an even kernel sees more in front."""
    reach = dilation * (kernel - 1)
    pads = (reach - reach // 2, reach // 2) * 2
    return nn.Sequential(nn.ZeroPad2d(pads), conv(kernel, dilation=dilation))


@st.composite
def enlarging(draw: st.DrawFn) -> tuple[nn.Module, int]:
    """A layer that enlarges, and by how much."""
    factor = draw(st.integers(2, 3))
    if draw(st.booleans()):
        return nn.Upsample(scale_factor=factor, mode="nearest"), factor
    kernel = draw(st.integers(1, 5))
    layer = nn.ConvTranspose2d(
        CHANNELS,
        CHANNELS,
        kernel,
        stride=factor,
        padding=draw(st.integers(0, kernel - 1)),
        output_padding=draw(st.integers(0, factor - 1)),
    )
    return layer, factor


def agree(network: nn.Module, period: int) -> None:
    try:
        touched = touched_by(network, period)
    except RuntimeError:  # nothing is left of the image
        assume(False)
    assume(touched is not None)
    assert touched is not None
    seen = row(look(network, CHANNELS, SIZE, SIZE), "")
    assert seen.receptive_field in (None, touched.extent)
    if seen.jump is not None:
        assert set(touched.jump) == {Fraction(seen.jump).limit_denominator(1000)}


@settings(max_examples=40, deadline=None)
@given(st.lists(shrinking(), min_size=1, max_size=4))
def test_windows_see_what_the_gradient_touches(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    agree(network, 1)
    result = look(network, CHANNELS, SIZE, SIZE)
    assert row(result, "").receptive_field is not None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(shrinking(), max_size=2),
    enlarging(),
    st.lists(shrinking(), max_size=2),
    st.none() | enlarging(),
)
def test_enlarged_maps_see_what_the_gradient_touches(
    before: list[nn.Module],
    first: tuple[nn.Module, int],
    after: list[nn.Module],
    second: tuple[nn.Module, int] | None,
) -> None:
    layers = [*before, first[0], *after, *([second[0]] if second else [])]
    agree(nn.Sequential(*layers), first[1] * (second[1] if second else 1))


class Skip(nn.Module):
    """A small U-Net: what was shrunk is enlarged again, and meets what was not."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(conv(3, padding=1), nn.AvgPool2d(2), conv(3, padding=1), up)
        self.last = conv(3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.inner(x) + x)
        return out


@pytest.mark.parametrize(
    "up", [nn.Upsample(scale_factor=2), nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2)]
)
def test_a_unet_sees_what_the_gradient_touches(up: nn.Module) -> None:
    network = Skip(up)
    touched = touched_by(network, 2)
    assert touched is not None
    seen = row(look(network, CHANNELS, SIZE, SIZE), "")
    assert (seen.receptive_field, seen.jump) == (touched.extent, 1)


def test_published_receptive_fields() -> None:
    """Those of Araujo et al., Distill 2019, table of popular networks."""
    assert row(look("alexnet_2012"), "pool5").receptive_field == 195
    last_pool = row(look("vgg16"), "features.30")
    assert (last_pool.receptive_field, last_pool.jump) == (212, 32)


def test_a_stack_of_three_sees_as_much_as_one_of_seven() -> None:
    result = look(nn.Sequential(*(nn.Conv2d(1, 1, 3) for _ in range(3))), 1, 32, 32)
    assert [one.receptive_field for one in result.layers] == [7, 3, 5, 7]
    assert {one.jump for one in result.layers} == {1}


@pytest.mark.parametrize("size", [(40, 40), (40, 24)])
def test_after_global_pooling_all_of_the_image_is_seen(size: tuple[int, int]) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    result = look(network, 1, *size)
    assert [one.receptive_field for one in result.layers[1:]] == [3, 40, 40, 40]
    assert [one.jump for one in result.layers[1:]] == [1, None, None, None]


def test_pixels_that_a_stride_skips_are_not_seen() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 2, stride=4), nn.Flatten(), nn.Linear(100, 1))
    assert [one.receptive_field for one in look(network, 1, 40, 40).layers] == [38, 2, 2, 38]


def test_attention_sees_all_of_the_image() -> None:
    result = look("vit_b_32")
    assert row(result, "conv_proj").receptive_field == 32
    assert row(result, "encoder.layers.encoder_layer_0.ln_1").receptive_field == 32
    assert row(result, "encoder.layers.encoder_layer_0.self_attention").receptive_field == 224
    assert row(result, "heads.head").receptive_field == 224


def test_squeeze_and_excitation_sees_all_of_the_image() -> None:
    result = look("mobilenet_v3_small")
    first = next(one for one in result.layers if one.type == "SqueezeExcitation")
    before = row(result, first.name.removesuffix(".1") + ".0")
    assert before.receptive_field == 7
    assert first.receptive_field == 224


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.flip(x, [2]),
        lambda x: torch.fft.fft2(x).real,
        lambda x: x.unfold(2, 3, 1).sum(dim=-1).transpose(1, 2).reshape(1, 2, -1, 7),
        lambda x: nn.functional.grid_sample(
            x, torch.zeros(1, 9, 9, 2, device=x.device), align_corners=False
        ),
        lambda x: torch.cat([x, x], dim=2),
        lambda x: x.clone().index_fill_(2, torch.zeros(1, dtype=torch.int64, device=x.device), 1),
        lambda x: x.clone()[:, :, 1:].mul_(x[:, :, :-1]),
    ],
)
def test_what_is_not_followed_is_unknown(function: Callable[[Tensor], Tensor]) -> None:
    result = look(nn.Sequential(Apply(function), nn.Conv2d(2, 2, 1)), 2, 30, 30)
    assert [(one.receptive_field, one.jump) for one in result.layers[1:]] == [(None, None)] * 2


def test_what_was_written_over_in_part_is_unknown() -> None:
    def paste(x: Tensor) -> Tensor:
        out = nn.functional.avg_pool2d(x, 5, 1, 2)
        out[:, :, ::2] = nn.functional.avg_pool2d(x, 11, 1, 5)[:, :, ::2]
        return out

    assert row(look(Apply(paste), 2, 64, 64), "").receptive_field is None


def test_without_an_image_there_is_none() -> None:
    result = look(nn.Sequential(nn.Linear(7, 3), nn.ReLU()), 7)
    assert {one.receptive_field for one in result.layers} == {None}


@pytest.mark.parametrize(
    "layers",
    [
        [nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, stride=3, dilation=2)],
        [nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, stride=2), Apply(lambda x: x[:, :, 1::2, 1::2])],
    ],
)
def test_positions_between_those_that_see_more(layers: list[nn.Module]) -> None:
    network = nn.Sequential(*layers)
    touched = touched_by(network, 3)
    assert touched is not None
    assert touched.extent == 1
    assert row(look(network, CHANNELS, SIZE, SIZE), "").receptive_field == 1
