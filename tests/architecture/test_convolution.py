"""The arithmetic against PyTorch itself, and against what is printed in lectures."""

import math
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import cnnkit
from cnnkit.architecture.conv.settings import MAX_NUMBER
from cnnkit.errors import UsageError
from cnnkit.render import build_tables
from cnnkit.results import ConvResult
from cnnkit.results.conv import ConvAxis

SHARED = Path(__file__).parents[3] / "shared" / "published" / "experiments.toml"

# What experiments.toml prints, so that the tests hold without it.
PUBLISHED: dict[str, Any] = {
    "convolution_by_hand": {
        "image": [[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
        "kernel": [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        "output": [[3, 1], [2, 1]],
        "sharpen_image": [
            [60, 113, 56, 139, 85], [73, 121, 54, 84, 128], [131, 99, 70, 129, 127],
            [80, 57, 115, 69, 134], [104, 126, 123, 95, 130],
        ],
        "sharpen_kernel": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
        "sharpen_padding": 1,
        "sharpen_top_left": 114,
    },
    "convolution_sizes": {
        "rule": "out = floor((in + 2 padding - kernel) / stride) + 1",
        "examples": [
            {"in": 4, "kernel": 3, "stride": 1, "padding": 0, "out": 2},
            {"in": 4, "kernel": 3, "stride": 1, "padding": 1, "out": 4},
            {"in": 10, "kernel": 3, "stride": 1, "padding": 0, "out": 8},
            {"in": 227, "kernel": 11, "stride": 4, "padding": 0, "out": 55},
            {"in": 224, "kernel": 3, "stride": 1, "padding": 1, "out": 224},
        ],
    },
    "pooling_by_hand": {
        "image": [[2, 2, 7, 3], [9, 4, 6, 1], [8, 5, 2, 4], [3, 1, 2, 6]],
        "max_2x2_stride_2": [[9, 7], [8, 6]],
        "avg_2x2_stride_2": [[4.25, 4.25], [4.25, 3.5]],
    },
    "stacked_3x3": {
        "claim": "two 3x3 convolutions see 5x5 with 18 weights instead of 25 (28% fewer); three "
        "see 7x7 with 27 instead of 49 (44.9% fewer); five see 11x11 with 45 instead of 121 "
        "(62.8% fewer)"
    },
    "fully_connected_cost": {
        "claim": "one fully connected layer from a 1024 x 1024 image to 1024 units has about 10^9 "
        "weights, 4 GB in float32; a 32x32x3 image is 3072 inputs"
    },
}  # fmt: skip


def test_the_published_examples_are_those_of_the_file() -> None:
    if not SHARED.exists():
        pytest.skip("experiments.toml is not beside the project")
    published = tomllib.loads(SHARED.read_text("utf-8"))
    assert {name: published[name] for name in PUBLISHED} == PUBLISHED


def matrix(values: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values))


def slide_output(result: ConvResult) -> tuple[tuple[float | None, ...], ...]:
    assert result.slide is not None
    return result.slide.output


def test_convolutions_by_hand() -> None:
    example = PUBLISHED["convolution_by_hand"]
    result = cnnkit.conv(image=example["image"], weight=example["kernel"])
    assert slide_output(result) == matrix(example["output"])
    assert result.output == (2, 2)
    sharpened = cnnkit.conv(
        image=example["sharpen_image"],
        weight=example["sharpen_kernel"],
        padding=example["sharpen_padding"],
        show=True,
    )
    assert slide_output(sharpened)[0][0] == example["sharpen_top_left"]
    assert sharpened.slide is not None
    assert sharpened.slide.windows is not None
    assert len(sharpened.slide.windows) == 25


@pytest.mark.parametrize("example", PUBLISHED["convolution_sizes"]["examples"])
def test_sizes_as_printed(example: dict[str, int]) -> None:
    result = cnnkit.conv(
        example["in"],
        kernel=example["kernel"],
        stride=example["stride"],
        padding=example["padding"],
    )
    assert result.output == example["out"]
    assert f"out = {result.formulas[0].rule}" == PUBLISHED["convolution_sizes"]["rule"]
    for formula in result.formulas:
        assert evaluated(formula.numbers) == example["out"]


def test_poolings_by_hand() -> None:
    example = PUBLISHED["pooling_by_hand"]
    for pool in ("max", "avg"):
        result = cnnkit.conv(image=example["image"], kernel=2, pool=pool)
        assert slide_output(result) == matrix(example[f"{pool}_2x2_stride_2"])
        assert cnnkit.conv(image=example["image"], kernel=2, stride=2, pool=pool) == result


@pytest.mark.parametrize(
    ("many", "seen", "weights", "single", "saved"),
    [(2, 5, 18, 25, "28"), (3, 7, 27, 49, "44.9"), (5, 11, 45, 121, "62.8")],
)
def test_stacks_as_printed(many: int, seen: int, weights: int, single: int, saved: str) -> None:
    claim = PUBLISHED["stacked_3x3"]["claim"]
    assert f"see {seen}x{seen} with {weights}" in claim
    assert f"instead of {single} ({saved}% fewer)" in claim
    result = cnnkit.conv(stack=[3] * many)
    assert result.stack is not None
    assert (result.receptive_field, result.stack.single_kernel) == (seen, seen)
    assert (result.stack.weights, result.stack.single_weights) == (weights, single)
    assert result.stack.saved == pytest.approx(1 - weights / single, abs=1e-15)
    assert f"{saved} % fewer" in "\n".join(build_tables(result)[0].notes)
    wide = cnnkit.conv(stack=[3] * many, in_channels=64)
    assert wide.stack is not None
    assert wide.stack.weights == weights * 64**2
    assert wide.stack.saved == result.stack.saved


def test_a_fully_connected_layer_as_printed() -> None:
    result = cnnkit.conv(1024, kernel=1024, in_channels=1, out_channels=1024)
    assert result.weights == 1024**3
    assert result.params == sum(
        p.numel() for p in nn.Linear(1024**2, 1024, device="meta").parameters()
    )
    assert result.weight_bytes == 4 * 1024**3 + 4 * 1024
    text = "\n".join(note for table in build_tables(result) for note in table.notes)
    assert "a fully connected layer of 1,048,576 inputs and 1,024 outputs" in text
    assert "4.295 GB" in text
    small = cnnkit.conv(32, kernel=32, in_channels=3, out_channels=10)
    assert "a fully connected layer of 3,072 inputs" in "\n".join(build_tables(small)[0].notes)


def evaluated(numbers: str) -> int:
    """Return what a formula with its numbers comes to, computed by Python."""
    left, _, right = numbers.rpartition(" = ")
    value = eval(left, {"__builtins__": {}}, {"floor": math.floor, "ceil": math.ceil})
    assert value == int(right), numbers
    return int(right)


def pairs(low: int, high: int) -> st.SearchStrategy[int | tuple[int, int]]:
    numbers = st.integers(low, high)
    return numbers | st.tuples(numbers, numbers)


def both(size: Any) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def check_axes(result: ConvResult, output: torch.Size) -> tuple[ConvAxis, ConvAxis]:
    """Hold sizes and formulas against a real output, `(N, C, H, W)`."""
    assert both(result.output) == tuple(output[2:])
    assert result.axes is not None
    for formula in result.formulas:
        for axis in result.axes:
            if formula.axis in ("both", axis.axis):
                assert evaluated(formula.numbers) == axis.output
    return result.axes


def torch_or_none(module: nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    try:
        output: torch.Tensor = module(x)
    except RuntimeError:
        return None
    return output


@settings(max_examples=1000, deadline=None)
@given(
    size=pairs(12, 40) | pairs(1, 40), kernel=pairs(1, 7), stride=pairs(1, 5), padding=pairs(0, 5),
    dilation=pairs(1, 3), groups=st.integers(1, 3), parts=st.tuples(*[st.integers(1, 3)] * 2),
    bias=st.booleans(), transposed=st.booleans(), output_padding=pairs(0, 2),
)  # fmt: skip
def test_a_thousand_convolutions_of_pytorch(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int,
    parts: tuple[int, int], bias: bool, transposed: bool, output_padding: Any,
) -> None:  # fmt: skip
    in_channels, out_channels = groups * parts[0], groups * parts[1]
    options: dict[str, Any] = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias
    }  # fmt: skip
    if transposed:
        options["output_padding"] = output_padding
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    # Real ones: the meta device of torch 2.14 takes an output padding that the CPU refuses.
    module = kind(in_channels, out_channels, kernel, **options)
    x = torch.zeros(1, in_channels, *both(size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = torch_or_none(module, x)

    def call() -> ConvResult:
        return cnnkit.conv(
            size, kernel=kernel, transposed=transposed, in_channels=in_channels,
            out_channels=out_channels, **options,
        )  # fmt: skip

    if output is None or 0 in output.shape:
        with pytest.raises(UsageError):
            call()
        return
    result = call()
    check_axes(result, output.shape)
    assert isinstance(result.output, int) == all(
        isinstance(one, int) for one in (size, kernel, stride, padding, dilation)
    ) or (transposed and isinstance(output_padding, tuple))
    assert result.params == sum(p.numel() for p in module.parameters())
    assert result.weights == module.weight.numel()
    assert result.biases == (out_channels if bias else 0)
    assert result.macs is not None
    assert result.flops == 2 * result.macs == counter.get_total_flops()


@settings(max_examples=1000, deadline=None)
@given(
    size=pairs(12, 40) | pairs(1, 40), kernel=pairs(2, 6), stride=pairs(1, 7),
    padding=st.just(0) | st.just(1) | pairs(0, 3), dilation=pairs(1, 3), ceil=st.booleans(),
    pool=st.sampled_from(["max", "avg"]),
)  # fmt: skip
def test_a_thousand_poolings_of_pytorch(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, pool: str
) -> None:
    if pool == "avg":
        options: dict[str, Any] = {}
        module: nn.Module = nn.AvgPool2d(kernel, stride, padding, ceil)
    else:
        options = {"dilation": dilation}
        module = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    # Real ones, for the meta device lets a padding through that the CPU refuses.
    output = torch_or_none(module, torch.zeros(1, 1, *both(size)))

    def call() -> ConvResult:
        return cnnkit.conv(
            size, kernel=kernel, stride=stride, padding=padding, pool=pool, ceil=ceil, **options
        )

    if output is None:
        with pytest.raises(UsageError):
            call()
        return
    on_meta = module(torch.zeros(1, 1, *both(size), device="meta"))
    assert on_meta.shape == output.shape
    result = call()
    check_axes(result, output.shape)
    assert (result.params, result.macs) == (0, 0)


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 30), kernel=st.integers(1, 6), stride=st.integers(1, 7),
    padding=st.integers(0, 3), dilation=st.integers(1, 3), pooled=st.booleans(), ceil=st.booleans(),
)  # fmt: skip
def test_what_is_left_over_is_what_no_window_touches(
    size: int, kernel: int, stride: int, padding: int, dilation: int, pooled: bool, ceil: bool
) -> None:
    try:
        result = cnnkit.conv(
            size, kernel=kernel, stride=stride, padding=padding, dilation=dilation,
            pool="max" if pooled else None, ceil=pooled and ceil,
        )  # fmt: skip
    except UsageError:
        assume(False)
        return
    assert result.axes is not None
    axis = result.axes[1]
    last = (axis.output - 1) * stride + dilation * (kernel - 1)  # in the padded input, from 0
    behind = [pixel for pixel in range(size + 2 * padding) if pixel > last]
    assert axis.unused == len(behind)
    assert axis.beyond == max(0, last + 1 - size - 2 * padding)


@settings(max_examples=100, deadline=None)
@given(
    kernel=st.integers(1, 6), stride=st.integers(1, 5), dilation=st.integers(1, 4),
    transposed=st.booleans(),
)  # fmt: skip
def test_receptive_fields_are_what_the_gradient_touches(
    kernel: int, stride: int, dilation: int, transposed: bool
) -> None:
    """A convolution is linear: with weights of one, the gradient is not 0 where it looks."""
    size = 40
    result = cnnkit.conv(
        size, kernel=kernel, stride=stride, dilation=dilation, transposed=transposed
    )
    function = functional.conv_transpose1d if transposed else functional.conv1d
    x = torch.ones(1, 1, size, requires_grad=True)
    output = function(x, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    widest = 0
    for index in range(output.shape[-1]):
        (gradient,) = torch.autograd.grad(output[0, 0, index], x, retain_graph=True)
        touched = gradient.flatten().nonzero().flatten().tolist()
        if touched:
            widest = max(widest, touched[-1] - touched[0] + 1)
    assert result.receptive_field == widest


@settings(max_examples=300, deadline=None)
@given(size=pairs(1, 30), kernel=pairs(1, 6), dilation=pairs(1, 4))
def test_same_is_that_of_pytorch(size: Any, kernel: Any, dilation: Any) -> None:
    result = cnnkit.conv(size, kernel=kernel, dilation=dilation, same=True)
    assert both(result.output) == both(size)
    module = nn.Conv2d(1, 1, kernel, dilation=dilation, padding="same")
    assert result.axes is not None
    height, width = result.axes
    # What PyTorch pads by, from the last axis to the first.
    assert module._reversed_padding_repeated_twice == [
        width.padding_start, width.padding_end, height.padding_start, height.padding_end
    ]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(size=st.integers(1, 60), kernel=st.integers(1, 8), stride=st.integers(2, 5))
def test_same_at_a_stride_says_what_rounds_up(size: int, kernel: int, stride: int) -> None:
    with pytest.raises(UsageError, match=f"no padding keeps the size at stride {stride}") as caught:
        cnnkit.conv(size, kernel=kernel, stride=stride, same=True)
    words = caught.value.hint.split()
    wanted = -(-size // stride)
    assert f"ceil({size} / {stride}) = {wanted}" in caught.value.hint
    paddings = [int(word) for word, before in zip(words[1:], words, strict=False)
                if before in ("padding", "and") and word.isdecimal()]  # fmt: skip
    padded = size + (sum(paddings) if len(paddings) == 2 else 2 * paddings[0])
    assert (padded - kernel) // stride + 1 == wanted


@settings(max_examples=300, deadline=None)
@given(
    size=st.integers(1, 12), kernel=st.integers(1, 12), padding=st.integers(0, 2),
    dilation=st.integers(1, 3), stride=st.integers(1, 3), ceil=st.booleans(),
)  # fmt: skip
def test_the_smallest_that_works_works_and_nothing_smaller(
    size: int, kernel: int, padding: int, dilation: int, stride: int, ceil: bool
) -> None:
    assume(not ceil or 2 * padding <= kernel)

    def works(size: int, padding: int) -> bool:
        try:
            cnnkit.conv(
                size, kernel=kernel, padding=padding, dilation=dilation, stride=stride, ceil=ceil
            )
        except UsageError:
            return False
        return True

    try:
        cnnkit.conv(
            size, kernel=kernel, padding=padding, dilation=dilation, stride=stride, ceil=ceil
        )
    except UsageError as error:
        told = {
            noun: int(error.hint.split(f"{noun} that works is ")[1].split()[0])
            for noun in ("padding", "height")
            if noun in error.hint
        }
        assert works(told["height"], padding)
        assert not works(told["height"] - 1, padding)
        if "padding" in told:
            assert works(size, told["padding"])
            assert not works(size, told["padding"] - 1)
        else:
            assert ceil
            assert not any(works(size, one) for one in range(kernel + 1))


numbers = st.integers(-9, 9) | st.sampled_from([Fraction(1, 2), Fraction(-5, 4), Fraction(1, 3)])


@st.composite
def matrices(draw: st.DrawFn, largest: int) -> list[list[Fraction]]:
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    row = st.lists(numbers.map(Fraction), min_size=width, max_size=width)
    return draw(st.lists(row, min_size=height, max_size=height))


def tensor(values: Any) -> torch.Tensor:
    rows = [[-math.inf if value is None else float(value) for value in row] for row in values]
    return torch.tensor(rows, dtype=torch.float64)[None, None]


@settings(max_examples=400, deadline=None)
@given(
    image=matrices(6), weight=matrices(3), stride=pairs(1, 3), padding=pairs(0, 2),
    dilation=pairs(1, 2), transposed=st.booleans(),
)  # fmt: skip
def test_values_are_those_of_pytorch(
    image: Any, weight: Any, stride: Any, padding: Any, dilation: Any, transposed: bool
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    try:
        result = cnnkit.conv(
            image=image, weight=weight, transposed=transposed, show=True, **options
        )
    except UsageError:
        assume(False)
        return
    function = functional.conv_transpose2d if transposed else functional.conv2d
    output = function(tensor(image), tensor(weight), **options)
    torch.testing.assert_close(tensor(slide_output(result)), output, rtol=1e-12, atol=1e-12)
    check_written_out(result)


@settings(max_examples=400, deadline=None)
@given(
    image=matrices(6), kernel=pairs(1, 4), stride=pairs(1, 4), padding=pairs(0, 2),
    dilation=pairs(1, 3), ceil=st.booleans(), pool=st.sampled_from(["max", "avg"]),
)  # fmt: skip
def test_pooled_values_are_those_of_pytorch(
    image: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, pool: str
) -> None:
    options = {"stride": stride, "padding": padding, "ceil_mode": ceil}
    if pool == "max":
        options["dilation"] = dilation
    try:
        output = getattr(functional, f"{pool}_pool2d")(tensor(image), kernel, **options)
    except RuntimeError:
        assume(False)
    del options["ceil_mode"]
    result = cnnkit.conv(image=image, kernel=kernel, pool=pool, ceil=ceil, show=True, **options)
    torch.testing.assert_close(tensor(slide_output(result)), output, rtol=1e-12, atol=1e-12)
    check_written_out(result)


def check_written_out(result: ConvResult) -> None:
    """Hold what stands before every `=` against the output, computed by Python's fractions."""
    assert result.slide is not None
    assert result.slide.windows is not None
    values = [value for row in result.slide.output for value in row]
    assert len(values) == len(result.slide.windows)
    for value, window in zip(values, result.slide.windows, strict=True):
        assert result.slide.output[window.row][window.column] == value
        if value is None:
            assert window.sum == "only padding"
            continue
        left, _, right = window.sum.partition(" = ")
        if left == "no input reaches it":
            left = "0"
        assert eval(left, {"__builtins__": {}}, {"max": max_of}) == pytest.approx(value, abs=1e-12)
        assert float(Fraction(right.partition(",")[0])) == value


def max_of(*values: float) -> float:
    return max(values)


def test_decimals_are_exact() -> None:
    result = cnnkit.conv(image="0.1 0.2; 0.3 0.4", weight="1 1; 1 -1", show=True)
    assert slide_output(result) == ((0.2,),)
    assert result.slide is not None
    assert result.slide.windows is not None
    assert result.slide.windows[0].sum == "0.1*1 + 0.2*1 + 0.3*1 + 0.4*(-1) = 0.2"
    blurred = cnnkit.conv(image="1 2; 3 4", weight="1/3 0; 0 0", show=True)
    assert blurred.slide is not None
    assert blurred.slide.windows is not None
    assert blurred.slide.windows[0].sum.endswith("= 1/3, about 0.333333")
    assert slide_output(blurred) == ((1 / 3,),)


def test_matrices_may_be_written_in_many_ways() -> None:
    rows = [[0, 1.5], [-2, 3]]
    expected = slide_output(cnnkit.conv(image=rows, weight="1"))
    for text in (
        "0 1.5; -2 3",
        "0,1.5;-2,3;",
        "[[0, 1.5], [-2, 3]]",
        "0 1.5\n-2 3\n",
        "0 3/2; -2 3e0",
    ):
        assert slide_output(cnnkit.conv(image=text, weight=[[1]])) == expected
    assert slide_output(cnnkit.conv(image=torch.tensor([[1, 2]]).tolist(), weight="2")) == ((2, 4),)


@settings(max_examples=200, deadline=None)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4
    ),
    padding=st.integers(0, 2),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(),
)
def test_stacks_are_those_of_pytorch(
    layers: list[tuple[int, int, int]], padding: int, channels: tuple[int, int], bias: bool
) -> None:
    size = 60
    text = ",".join(f"{kernel}s{stride}d{dilation}" for kernel, stride, dilation in layers)
    modules = [
        nn.Conv2d(
            channels[index > 0], channels[1], kernel, stride, padding, dilation, bias=bias,
            device="meta",
        )
        for index, (kernel, stride, dilation) in enumerate(layers)
    ]  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        output = torch_or_none(
            nn.Sequential(*modules), torch.empty(1, channels[0], size, size, device="meta")
        )
    options: dict[str, Any] = {
        "stack": text, "padding": padding, "in_channels": channels[0],
        "out_channels": channels[1], "bias": bias,
    }  # fmt: skip
    if output is None:
        with pytest.raises(UsageError, match="layer"):
            cnnkit.conv(size, **options)
        return
    result = cnnkit.conv(size, **options)
    assert result.output == output.shape[-1]
    assert result.stack is not None
    assert result.params == sum(p.numel() for module in modules for p in module.parameters())
    assert result.flops == counter.get_total_flops()
    x = torch.ones(1, 1, 400, requires_grad=True)
    y = x
    for kernel, stride, dilation in layers:
        y = functional.conv1d(y, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    spans = []
    for index in (0, 1):
        (gradient,) = torch.autograd.grad(y[0, 0, index], x, retain_graph=True)
        touched = gradient.flatten().nonzero().flatten().tolist()
        spans.append((touched[0], touched[-1]))
    assert result.receptive_field == spans[0][1] - spans[0][0] + 1
    assert result.stack.layers[-1].jump == spans[1][0] - spans[0][0]


def test_a_stack_needs_no_size_and_same_keeps_it() -> None:
    assert cnnkit.conv(stack="3,3").output is None
    assert cnnkit.conv(stack="3,3", in_channels=8).macs is None
    kept = cnnkit.conv((20, 31), stack="3,4,5d2", same=True)
    assert kept.output == (20, 31)
    assert cnnkit.conv(227, stack="11s4").output == 55


def test_a_number_where_numbers_were_given_and_a_pair_where_pairs_were() -> None:
    assert cnnkit.conv(227, kernel=11, stride=4).to_dict()["output"] == 55
    assert cnnkit.conv((227, 300), kernel=11, stride=4).to_dict()["output"] == [55, 73]
    assert cnnkit.conv(227, kernel=(11, 3), stride=4).to_dict()["output"] == [55, 57]
    assert cnnkit.conv(4, image=[[0] * 4] * 4, weight="1 1; 1 1").output == 3


def test_without_channels_nothing_is_counted() -> None:
    plain = cnnkit.conv(227, kernel=11, stride=4).to_dict()
    assert plain["receptive_field"] == 11
    for name in ("params", "macs", "flops", "weights", "biases", "weight_bytes"):
        assert plain[name] is None


def test_alexnets_first_layer() -> None:
    result = cnnkit.conv(227, kernel=11, stride=4, in_channels=3, out_channels=96)
    assert (result.params, result.macs) == (34_944, 105_415_200)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 2.5}, "size must be an integer, not 2.5"),
        ({"size": "227"}, "size must be an integer, not '227'"),
        ({"size": True}, "size must be an integer, not True"),
        ({"size": (1, 2, 3)}, "size must be an integer, or a pair"),
        ({"size": 7, "kernel": (3, None)}, "kernel must be an integer, not None"),
        ({"size": 7, "kernel": 3, "pool": "min"}, "pool must be max or avg, not 'min'"),
        ({"size": MAX_NUMBER + 1}, "size must be at most 1,000,000,000"),
        ({"image": 5, "weight": "1"}, "image must be a text, or rows of numbers"),
        ({"image": [1, 2], "weight": "1"}, "image must be a text, or rows of numbers"),
        ({"image": [[True]], "weight": "1"}, "'True' in row 1 of image is not a number"),
        ({"image": [], "weight": "1"}, "image is empty"),
        ({"stack": "3s1", "size": 9, "padding": (1, 2)}, "padding must be an integer"),
        ({"stack": [3, 2.5]}, "'2.5' is no layer of a stack"),
        ({"stack": "1000000000s1"}, "'1000000000s1' is no layer"),
        ({"stack": "3s100000,3s100000"}, "layer 2 sees more than 1,000,000,000"),
        ({"stack": [3] * 1001}, "at most 1,000 layers"),
    ],
)
def test_values_that_only_python_can_give(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        cnnkit.conv(**{"kernel": 3, **options} if "size" in options and "stack" not in options
                    else options)  # fmt: skip
    assert says in caught.value.message


def test_numbers_at_their_bounds_are_exact() -> None:
    result = cnnkit.conv(
        MAX_NUMBER, kernel=1, in_channels=MAX_NUMBER, out_channels=MAX_NUMBER, bias=False
    )
    assert result.macs == MAX_NUMBER**4
    assert build_tables(result)[1].formatted()
