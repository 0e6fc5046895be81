"""Counts against closed forms written here, and the traps that other tools fall into."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.architecture.looking import look, row


@dataclass(frozen=True)
class ByHand:
    """What a convolution comes to by its formula."""

    output_shape: tuple[int, ...]
    params: int
    macs: int
    other_flops: int


@dataclass(frozen=True)
class Setting:
    """One convolution of one to three axes; what is not channels has a value an axis."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    bias: bool
    transposed: bool

    def build(self) -> nn.Module:
        axes = len(self.kernel)
        plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        kind = (transposed if self.transposed else plain)[axes - 1]
        more = {"output_padding": self.output_padding} if self.transposed else {}
        return kind(
            self.in_channels,
            self.out_channels,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
            **more,
        )

    def by_hand(self, batch: int, sizes: Sequence[int]) -> ByHand:
        axes = range(len(self.kernel))
        reach = [self.dilation[i] * (self.kernel[i] - 1) for i in axes]
        if self.transposed:
            out = [
                (sizes[i] - 1) * self.stride[i]
                - 2 * self.padding[i]
                + reach[i]
                + self.output_padding[i]
                + 1
                for i in axes
            ]
        else:
            out = [
                (sizes[i] + 2 * self.padding[i] - reach[i] - 1) // self.stride[i] + 1 for i in axes
            ]
        taps = math.prod(self.kernel) * self.in_channels * self.out_channels // self.groups
        values = batch * self.out_channels * math.prod(out)
        # A convolution multiplies every tap at each output, a transposed one at each input.
        places = math.prod(sizes) if self.transposed else math.prod(out)
        return ByHand(
            (batch, self.out_channels, *out),
            taps + self.out_channels * self.bias,
            batch * places * taps,
            values * self.bias,
        )


@st.composite
def stacks(draw: st.DrawFn) -> tuple[int, list[int], list[Setting], list[ByHand]]:
    """Return batch size, sizes of the input, convolutions that fit, and what they come to."""
    batch, axes = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 12)) for _ in range(axes)]
    channels = draw(st.integers(1, 6))
    given_sizes, found, expected = list(sizes), [], []
    for _ in range(draw(st.integers(1, 4))):
        transposed = draw(st.booleans())
        stride = [draw(st.integers(1, 3)) for _ in range(axes)]
        dilation = [draw(st.integers(1, 3)) for _ in range(axes)]
        kernel, padding, output_padding = [], [], []
        for i in range(axes):
            if transposed:
                kernel.append(draw(st.integers(1, 3)))
                most = ((sizes[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1)) // 2
                padding.append(draw(st.integers(0, most)))
                output_padding.append(draw(st.integers(0, max(stride[i], dilation[i]) - 1)))
            else:
                padding.append(draw(st.integers(0, 3)))
                room = (sizes[i] + 2 * padding[i] - 1) // dilation[i] + 1
                kernel.append(draw(st.integers(1, min(room, 4))))
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        one = Setting(
            channels,
            groups * draw(st.integers(1, 3)),
            tuple(kernel),
            tuple(stride),
            tuple(padding),
            tuple(dilation),
            tuple(output_padding),
            groups,
            draw(st.booleans()),
            transposed,
        )
        found.append(one)
        expected.append(one.by_hand(batch, sizes))
        channels, sizes = one.out_channels, list(expected[-1].output_shape[2:])
    return batch, given_sizes, found, expected


@settings(max_examples=100, deadline=None)
@given(stacks())
def test_random_convolutions_agree_with_their_formula(
    stack: tuple[int, list[int], list[Setting], list[ByHand]],
) -> None:
    batch, sizes, layers, expected = stack
    network = nn.Sequential(*(one.build() for one in layers))
    result = look(network, layers[0].in_channels, *sizes, batch_size=batch)
    assert result.complete
    for number, (one, by_hand) in enumerate(zip(layers, expected, strict=True)):
        found = row(result, str(number))
        assert found.output_shape == by_hand.output_shape
        assert (found.params, found.macs) == (by_hand.params, by_hand.macs)
        assert (found.flops, found.other_flops) == (2 * by_hand.macs, by_hand.other_flops)
        assert found.activation_bytes == 4 * math.prod(by_hand.output_shape)
        assert found.kernel_size == one.kernel
        assert (found.stride, found.padding, found.dilation) == (
            one.stride,
            one.padding,
            one.dilation,
        )
        assert found.groups == one.groups
    totals = result.totals
    assert totals.params == sum(one.params for one in expected)
    assert totals.macs == sum(one.macs for one in expected)
    assert totals.flops == 2 * totals.macs
    assert totals.other_flops == sum(one.other_flops for one in expected)
    assert totals.activation_bytes == sum(4 * math.prod(one.output_shape) for one in expected)
    assert totals.weight_bytes == 4 * totals.params


OTHER_WORK = [
    (nn.ReLU(), (3, 8, 8), 3 * 64),
    (nn.GELU(), (3, 8, 8), 3 * 64),
    (nn.BatchNorm2d(3), (3, 8, 8), 2 * 3 * 64),
    (nn.BatchNorm2d(3, affine=False), (3, 8, 8), 3 * 64),
    (nn.LayerNorm(10), (5, 10), 5 * 50),
    (nn.LayerNorm(10, elementwise_affine=False), (5, 10), 4 * 50),
    (nn.GroupNorm(2, 4), (4, 6, 6), 5 * 4 * 36),
    (nn.Softmax(dim=1), (3, 8, 8), 5 * 3 * 64),
    (nn.MaxPool2d(3, 2), (3, 9, 9), 3 * 16 * 9),
    (nn.AvgPool2d(2), (3, 8, 8), 3 * 64),
    (nn.AdaptiveAvgPool2d(1), (3, 8, 8), 3 * 64),
    (nn.AdaptiveAvgPool2d(3), (3, 8, 8), 3 * (3 + 4 + 3) ** 2),
    (nn.AdaptiveMaxPool2d(2), (3, 8, 8), 3 * 64),
    (nn.Upsample(scale_factor=2), (3, 4, 4), 0),
    (nn.Upsample(scale_factor=2, mode="bilinear"), (3, 4, 4), 7 * 3 * 64),
    (nn.Flatten(), (3, 8, 8), 0),
    (nn.Dropout(), (3, 8, 8), 0),
    (nn.PixelShuffle(2), (4, 8, 8), 0),
]


@pytest.mark.parametrize(
    ("layer", "shape", "by_hand"), OTHER_WORK, ids=[str(one) for one, _, _ in OTHER_WORK]
)
def test_other_work_by_the_rules(layer: nn.Module, shape: tuple[int, ...], by_hand: int) -> None:
    result = look(layer, *shape, batch_size=2)
    assert (result.totals.macs, result.totals.other_flops) == (0, 2 * by_hand)
    assert result.complete


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x * 2 + x)


def test_work_outside_of_layers_is_that_of_the_module() -> None:
    result = look(nn.Sequential(Residual()), 3, 4, 4)
    assert [one.other_flops for one in result.layers] == [0, 3 * 48]
    assert [one.activation_bytes for one in result.layers] == [0, 3 * 4 * 48]


# The traps


class FakeConv2d(nn.Module):
    """Not a convolution, whatever its name says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def test_conv_in_a_name_makes_no_convolution() -> None:
    result = look(nn.Sequential(FakeConv2d(), nn.Conv2d(3, 4, 1)), 3, 8, 8)
    fake, real = result.layers[1:]
    assert (fake.kind, fake.kernel_size, fake.groups) == (None, None, None)
    assert (fake.params, fake.macs, fake.other_flops) == (3, 0, 3 * 64)
    assert (real.kind, real.macs) == ("conv", 12 * 64)


def test_a_linear_layer_is_counted_at_every_token() -> None:
    result = look(nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 8, bias=False)), 50, 16)
    assert [one.macs for one in result.layers[1:]] == [50 * 16 * 32, 50 * 32 * 8]
    assert result.totals.other_flops == 50 * 32


class SelfAttention(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return attended


class NeedsValues(nn.Module):
    """Runs on real tensors alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out if x.sum().item() == 0 else -out


def attention_macs(tokens: int, width: int) -> int:
    """Return those of one attention: projections of three and of the output, and two products."""
    return 4 * tokens * width**2 + 2 * tokens**2 * width


@pytest.mark.parametrize("needs_values", [False, True])
@pytest.mark.parametrize("batch_first", [True, False])
def test_fused_attention_hides_nothing(batch_first: bool, needs_values: bool) -> None:
    network: nn.Module = SelfAttention(batch_first)
    # batch and tokens change places where the batch is not first
    result = look(NeedsValues(network) if needs_values else network, 10, 16, batch_size=10)
    assert result.device == ("cpu" if needs_values else "meta")
    assert result.totals.macs == 10 * attention_macs(10, 16)
    assert result.complete


@pytest.mark.parametrize("needs_values", [False, True])
def test_a_fused_encoder_layer_hides_nothing(needs_values: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=64, batch_first=True)
    inside = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    result = look(NeedsValues(inside) if needs_values else inside, 10, 16)
    assert result.device == ("cpu" if needs_values else "meta")
    assert result.totals.macs == 2 * (attention_macs(10, 16) + 2 * 10 * 16 * 64)
    assert result.complete


@pytest.mark.parametrize(
    "options",
    [
        {"attn_mask": True},
        {"is_causal": True},
        {"scale": 0.5},
        {"enable_gqa": True},
        {"value_width": 12},
        {"num_dims": 3},
    ],
)
def test_every_form_of_attention_is_counted(options: dict[str, object]) -> None:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            words = dict(options)
            key = x[:, :2] if words.get("enable_gqa") else x
            value = key[..., : int(str(words.pop("value_width", 8)))]
            if words.pop("num_dims", 4) == 3:
                x, key, value = x.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
            if words.pop("attn_mask", False):
                words["attn_mask"] = torch.zeros(6, 6, device=x.device)
            if x.shape[-1] != value.shape[-1]:
                return functional.scaled_dot_product_attention(x, key, value)
            return functional.scaled_dot_product_attention(x, key, value, **words)  # type: ignore[arg-type]

    width = int(str(options.get("value_width", 8)))
    given_width = 16 if "value_width" in options else 8
    result = look(Attend(), 4, 6, given_width)
    assert result.totals.macs == 4 * 6 * 6 * (given_width + width)
    assert not result.is_lower_bound


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_same_padding_is_counted() -> None:
    result = look(nn.Conv2d(3, 5, 4, padding="same", dilation=(1, 2)), 3, 9, 9)
    (one,) = result.layers
    assert one.output_shape == (1, 5, 9, 9)
    assert one.macs == 3 * 5 * 16 * 81
    assert one.padding == (1.5, 3)
    assert row(look(nn.Conv2d(3, 5, 3, padding="valid"), 3, 9, 9), "").padding == (0, 0)


def test_groups_divide_the_work() -> None:
    result = look(nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False), 8, 10, 10)
    assert result.totals.macs == 8 * 9 * 100
    assert result.layers[0].groups == 8


class Products(nn.Module):
    """Products that are no layers."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(7, 5))
        self.vector = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        a = x[0, 0] @ self.matrix  # mm: (3, 7) by (7, 5)
        b = a @ self.vector  # mv
        c = torch.einsum("nchw,wk->nchk", x, self.matrix)
        d = torch.dot(b, b)
        e = torch.bmm(x[0], x[0].transpose(1, 2))  # (2, 3, 7) by (2, 7, 3)
        f = torch.addmm(a, x[0, 1], self.matrix)
        return c.sum() + d + e.sum() + f.sum()


def test_products_outside_of_layers_are_counted() -> None:
    result = look(Products(), 2, 3, 7)
    by_hand = 3 * 7 * 5 + 3 * 5 + 6 * 7 * 5 + 3 + 2 * 9 * 7 + 3 * 7 * 5
    assert result.totals.macs == by_hand
    assert result.complete


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "swin_t", "mobilenet_v2"])
def test_counts_are_those_of_torch_itself(name: str) -> None:
    """torch's own counter writes attention out on meta, which has the same products."""
    from cnnkit.models import build_model

    with torch.device("meta"):
        network = build_model(name).eval()
        x = torch.zeros(2, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    result = look(name, batch_size=2)
    assert result.totals.flops == counter.get_total_flops()


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers_are_counted(kind: type[nn.RNNBase], gates: int) -> None:
    result = look(Recurrent(kind(5, 6, batch_first=True)), 7, 5)
    assert result.totals.macs == 7 * gates * (5 * 6 + 6 * 6)
    assert result.complete


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out = (x * 2).transpose_(1, 2).unsqueeze_(0).squeeze_(0)
        return out[0].t_()


def test_turning_in_place_costs_nothing() -> None:
    result = look(Turned(), 3, 8)
    assert result.complete
    assert (result.totals.other_flops, result.totals.activation_bytes) == (24, 96)
    assert result.layers[0].output_shape == (3, 8)


class Inferring(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def test_work_in_inference_mode_is_counted() -> None:
    result = look(Inferring(), 3, 8, 8)
    assert result.totals.macs == 3 * 4 * 9 * 36
    assert result.complete


# What has no rule


@torch.library.custom_op("cnnkit_tests::mystery", mutates_args=())
def mystery(x: Tensor) -> Tensor:
    return x @ x


@mystery.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Mysterious(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return mystery(mystery(self.conv(x)))


def test_what_has_no_rule_is_named_and_makes_the_total_a_lower_bound() -> None:
    result = look(Mysterious(), 1, 8, 8)
    assert result.totals.macs == 64
    assert not result.complete
    assert result.is_lower_bound
    assert [(one.operator, one.count, one.heavy) for one in result.uncounted] == [
        ("cnnkit_tests::mystery", 2, True)
    ]


def test_a_fourier_transform_is_heavy_and_sorting_is_light() -> None:
    class Fourier(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real

    class Sort(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(dim=-1).values

    fourier, sort = look(Fourier(), 1, 8, 8), look(Sort(), 1, 8, 8)
    assert fourier.is_lower_bound
    assert (sort.complete, sort.is_lower_bound) == (False, False)
    assert [(one.operator, one.heavy) for one in sort.uncounted] == [("sort", False)]
