"""Counts of other tools for the same network, and why they differ."""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cnnkit.architecture.find_network import Subject
from cnnkit.architecture.input_shapes import make_tensors
from cnnkit.models.description import ModelEntry
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.summary import SecondOpinion, SummaryResult

# What fvcore counts as products; all else that it counts is other work.
_FVCORE_PRODUCTS = ("conv", "linear", "addmm", "bmm", "matmul", "mm", "einsum")
_FVCORE_WORDS = {
    "batch_norm": "batch norm",
    "layer_norm": "layer norm",
    "group_norm": "group norm",
    "adaptive_avg_pool2d": "average pooling",
}


def second_opinions(subject: Subject, result: SummaryResult) -> tuple[SecondOpinion, ...]:
    """Return the counts of torchinfo and fvcore and the published ones, each explained.

    fvcore needs the network with its weights, on the CPU.
    """
    opinions = [*_ask_torchinfo(subject, result), *_ask_fvcore(subject, result)]
    if subject.description is not None and subject.description.entry is not None:
        opinions += _read_catalog(subject.description.entry, result)
    return tuple(opinions)


def _ask_torchinfo(subject: Subject, result: SummaryResult) -> list[SecondOpinion]:
    import torchinfo
    from torchinfo.torchinfo import clear_cached_forward_pass

    network = subject.make().to(getattr(torch, result.dtype))
    try:
        answer = torchinfo.summary(
            network, verbose=0, depth=99, **_torchinfo_input(subject, result, network)
        )
    except Exception as error:  # of its own kinds, or of the network
        return [_failed("torchinfo", result, error)]
    finally:
        clear_cached_forward_pass()  # it would keep the network
    names = {id(module): name for name, module in network.named_modules()}
    theirs = Counter[str]()
    for layer in answer.summary_list:
        if layer.is_leaf_layer and layer.executed:
            theirs[names[id(layer.module)]] += layer.macs
    explained = Counter[str]()
    for row in result.layers:
        explained[_torchinfo_reason(row, theirs[row.name])] += theirs[row.name] - row.macs
    return [
        _opinion("torchinfo", "parameters", result.totals.params, answer.total_params, {}),
        _opinion("torchinfo", "MACs", result.totals.macs, answer.total_mult_adds, explained),
    ]


def _torchinfo_input(subject: Subject, result: SummaryResult, network: nn.Module) -> dict[str, Any]:
    weights = [*network.parameters(), *network.buffers()]
    device = weights[0].device if weights else torch.device("cpu")
    places, names = make_tensors(
        subject.inputs, result.batch_size, getattr(torch, result.dtype), device
    )
    if not places:
        return {"input_data": names}
    return {"input_data": list(places), **names}


def _torchinfo_reason(row: LayerRow, theirs: int) -> str:
    """Return why torchinfo counts a layer differently, in words."""
    if row.kind == "linear" and theirs < row.macs:
        return "positions of linear layers left out"
    if row.kind in ("conv", "transposed conv", "linear"):
        return "biases counted"
    if row.macs:
        return "attention and products outside of layers left out"
    return "norms counted, one value per parameter"


def _ask_fvcore(subject: Subject, result: SummaryResult) -> list[SecondOpinion]:
    with warnings.catch_warnings():  # it scripts functions as it is imported
        warnings.simplefilter("ignore")
        import fvcore.nn

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    network = subject.make_real().to(getattr(torch, result.dtype)).eval()
    places, names = make_tensors(
        subject.inputs, result.batch_size, getattr(torch, result.dtype), torch.device("cpu")
    )
    if names:
        return [
            SecondOpinion("fvcore", "MACs", result.totals.macs, None, "takes no inputs by name")
        ]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            analysis = fvcore.nn.FlopCountAnalysis(network, places)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analysis.tracer_warnings("none")
            counted: Mapping[str, float] = analysis.by_operator()
            unsupported: Mapping[str, int] = analysis.unsupported_ops()
        num_params = fvcore.nn.parameter_count(network)[""]
    except Exception as error:
        return [_failed("fvcore", result, error)]
    total = int(sum(counted.values()))
    explained = Counter[str]()
    for name, value in counted.items():
        if name not in _FVCORE_PRODUCTS:
            explained[f"{_FVCORE_WORDS.get(name, name)} counted"] += int(value)
    missed = int(sum(counted.get(name, 0) for name in _FVCORE_PRODUCTS)) - result.totals.macs
    explained[_fvcore_reason(unsupported)] += missed
    return [
        _opinion("fvcore", "parameters", result.totals.params, num_params, {}),
        _opinion("fvcore", "MACs", result.totals.macs, total, explained, "it calls them flops"),
    ]


def _fvcore_reason(unsupported: Mapping[str, int]) -> str:
    """Return in words which products fvcore does not know."""
    known = {
        "aten::scaled_dot_product_attention": "attention missed",
        "aten::_convolution_mode": 'convolutions with padding="same" missed',
    }
    found = [words for name, words in known.items() if name in unsupported]
    return " and ".join(found) or "products counted otherwise"


def _read_catalog(entry: ModelEntry, result: SummaryResult) -> list[SecondOpinion]:
    """Return what was published of the network at this very input."""
    ours, opinions = result.totals, []
    if result.batch_size != 1:
        return []
    for cost in entry.cost:
        channels = entry.input[0]
        if cost.crop is None or result.input != f"{channels}x{cost.crop}x{cost.crop}":
            continue
        unit = 1 if cost.unit == "MACs" else 2
        theirs = cost.value // unit
        off = abs(theirs - ours.macs) / ours.macs
        words = "equal" if theirs == ours.macs else f"a rounded number, {100 * off:.2g} % off"
        if unit == 2:
            words = f"{words}; printed as {cost.value:,} FLOPs"
        # "torchvision, metadata of the weights": who, and where
        source = cost.source.partition(",")[0]
        opinions.append(SecondOpinion(source, "MACs", ours.macs, theirs, words))
    return opinions


def _opinion(
    source: str,
    figure: str,
    ours: int,
    theirs: int,
    reasons: Mapping[str, int],
    remark: str = "",
) -> SecondOpinion:
    """Return a count with the reasons why it differs, each with its share."""
    parts = [f"{words} {value:+,}" for words, value in reasons.items() if value]
    rest = theirs - ours - sum(reasons.values())
    if rest:
        parts.append(f"not explained {rest:+,}")
    words = "; ".join(parts) or "equal"
    return SecondOpinion(source, figure, ours, theirs, f"{words}; {remark}" if remark else words)


def _failed(source: str, result: SummaryResult, error: Exception) -> SecondOpinion:
    reason = " ".join(str(error.__cause__ or error).split())[:160]
    return SecondOpinion(source, "MACs", result.totals.macs, None, f"it fails: {reason}")
