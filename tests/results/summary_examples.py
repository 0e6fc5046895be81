"""Summaries with every corner: frozen, shared, idle, folded and uncounted layers."""

from dataclasses import replace
from math import prod

from cnnkit.render import SummaryView
from cnnkit.results import Totals
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.summary import SecondOpinion, SummaryResult, Uncounted

BATCH = 2


def layer_row(
    name: str,
    type: str,  # noqa: A002
    output: tuple[int, ...] | None = None,
    *,
    kind: str | None = None,
    given: tuple[int, ...] | None = None,
    window: tuple[int, int, int, int, int] | None = None,
    params: int = 0,
    macs: int = 0,
    other_flops: int = 0,
    writes: bool = True,
    count: int = 1,
    field: int | None = None,
    jump: int | None = None,
    trainable: bool | None = None,
    shared: bool = False,
) -> LayerRow:
    """Return a layer; shapes lack the batch; `window` is kernel, stride, pad, dilation, groups."""
    side = [None if window is None else (one, one) for one in (window or ())[:4]] or [None] * 4
    trainable = trainable if trainable is not None else True if params else None
    return LayerRow(
        name=name,
        type=type,
        kind=kind,
        depth=name.count(".") + 1 if name else 0,
        count=count,
        input_shape=None if given is None else (BATCH, *given),
        output_shape=None if output is None else (BATCH, *output),
        kernel_size=side[0],
        stride=side[1],
        padding=side[2],
        dilation=side[3],
        groups=window[4] if window else None,
        params=params,
        macs=macs,
        flops=2 * macs,
        activation_bytes=4 * BATCH * prod(output) * count if output and writes else 0,
        receptive_field=field,
        jump=jump,
        trainable=trainable,
        trainable_params=params if trainable else 0,
        other_flops=other_flops,
        shared=shared,
    )


def block(number: int, field: int) -> list[LayerRow]:
    """Return a block of a grouped convolution and an activation in place."""
    name, size = f"body.blocks.{number}", (64, 56, 56)
    return [
        layer_row(name, "Block", size, given=size, writes=False, field=field, jump=4),
        layer_row(
            f"{name}.conv", "Conv2d", size, kind="conv", given=size, window=(3, 1, 2, 2, 32),
            params=1_216, macs=7_225_344, other_flops=401_408, field=field, jump=4,
        ),
        layer_row(
            f"{name}.relu", "ReLU", size, given=size, writes=False, other_flops=401_408,
            field=field, jump=4,
        ),
    ]  # fmt: skip


LAYERS = (
    layer_row("", "Net", (10,), given=(3, 224, 224), other_flops=401_408, writes=False, field=224),
    layer_row(
        "stem", "Conv2d", (64, 112, 112), kind="conv", given=(3, 224, 224),
        window=(7, 2, 3, 1, 1), params=9_472, macs=236_027_904, other_flops=1_605_632,
        field=7, jump=2, trainable=False,
    ),
    layer_row(
        "pool", "MaxPool2d", (64, 56, 56), kind="max pool", given=(64, 112, 112),
        window=(3, 2, 1, 1, 0), other_flops=3_612_672, field=11, jump=4,
    ),
    layer_row("body", "Body", (64, 56, 56), given=(64, 56, 56), writes=False, field=59, jump=4),
    layer_row(
        "body.blocks", "Sequential", (64, 56, 56), given=(64, 56, 56), writes=False, field=59,
        jump=4,
    ),
    *(row for number in range(3) for row in block(number, 27 + 16 * number)),
    layer_row(
        "head", "Linear", (10,), kind="linear", given=(64,), params=650, macs=1_280,
        other_flops=20, field=224,
    ),
    layer_row(
        "again", "Linear", (64,), kind="linear", given=(10,), macs=1_280, count=2, shared=True
    ),
    layer_row("idle_[bold]100 %_&", "Linear", kind="linear", params=42, count=0),
)  # fmt: skip


def total(figure: str) -> int:
    return sum(getattr(row, figure) for row in LAYERS)


WEIGHTS = 4 * total("params") + 8
SAVED = 12_345_678

SUMMARY = SummaryResult(
    model="net.py:make_net",
    input="3x224x224 ids=16:int64",
    batch_size=BATCH,
    dtype="float32",
    optimizer="adam",
    device="cpu",
    totals=Totals(
        params=total("params"),
        trainable_params=total("trainable_params"),
        weight_bytes=WEIGHTS,
        macs=total("macs"),
        flops=total("flops"),
        other_flops=total("other_flops"),
        activation_bytes=total("activation_bytes"),
        inference_bytes=WEIGHTS + 9_633_792,
        training_bytes=WEIGHTS + 12 * total("trainable_params") + SAVED,
        saved_bytes=SAVED,
    ),
    complete=False,
    uncounted=(Uncounted("mine::mystery", 2, True), Uncounted("sort", 1, False)),
    layers=LAYERS,
    weight_bytes_by_dtype={"float32": WEIGHTS - 8, "int64": 8},
    gradient_bytes=4 * total("trainable_params"),
    optimizer_bytes=8 * total("trainable_params"),
    num_weighted_layers=6,
    second_opinions=(
        SecondOpinion("torchinfo", "parameters", total("params"), total("params"), "equal"),
        SecondOpinion(
            "torchinfo", "MACs", total("macs"), total("macs") - 1_250,
            "biases counted +30; positions of linear layers left out -1,280",
        ),
        SecondOpinion("fvcore", "MACs", total("macs"), None, "takes no inputs by name"),
    ),
    remarks=("computed with real tensors because net.py:make_net needs their values",),
    print_remarks=(
        "equal to the table printed in the lectures in 12 of 13 cells",
        "fc, in: printed 1, here 2: why",
    ),
)  # fmt: skip

# Nothing is known of training, and nothing was left uncounted.
COMPLETE = replace(
    SUMMARY,
    model="resnet18",
    input="3x224x224",
    device="meta",
    totals=replace(SUMMARY.totals, training_bytes=None, saved_bytes=None),
    complete=True,
    uncounted=(),
    second_opinions=None,
    remarks=(),
    print_remarks=(),
)

EXAMPLES = {
    "summary": SUMMARY,
    "summary_complete": SummaryView(fold=False, depth=2).of(COMPLETE),
    "summary_sorted": SummaryView(sort="params", top=3).of(SUMMARY),
    "summary_columns": SummaryView(columns=("params", "flops", "other", "activation")).of(COMPLETE),
    "summary_structure": SummaryView(view="structure").of(SUMMARY),
}
