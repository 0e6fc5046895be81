"""The time of each layer, and its share of the multiply-accumulates."""

import statistics
from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnkit.bench.workload import Workload
from cnnkit.results import SummaryResult
from cnnkit.results.bench import LayerTime

MIN_BATCHES = 3
MOST_BATCHES = 50


def time_layers(
    work: Workload, costs: SummaryResult, cell: int, seconds: float
) -> tuple[LayerTime, ...]:
    """Return the time of each layer in a forward pass, in execution order.

    A layer is a module without others in it. What the network computes outside of them, and its own
    Python, is the row without a name.

    Args:
        work: the network, not compiled; in training it runs as in training.
        costs: what its layers cost.
        cell: index of the configuration.
        seconds: how long to measure.
    """
    leaves = {
        name: module
        for name, module in work.network.named_modules()
        if name and not any(True for _ in module.children())
    }
    macs = {row.name: row.macs for row in costs.layers}
    marks: dict[str, list[tuple[Any, Any]]] = {}
    begun: list[Any] = []
    device = work.device

    def enter(module: nn.Module, inputs: object) -> None:
        begun.append(device.mark())

    def leave_as(name: str) -> Any:
        def leave(module: nn.Module, inputs: object, output: object) -> None:
            marks.setdefault(name, []).append((begun.pop(), device.mark()))

        return leave

    times: dict[str, list[float]] = {}
    rests: list[float] = []
    handles = []
    try:
        for name, module in leaves.items():
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave_as(name)))
        end = device.now() + seconds
        with work.context():
            while len(rests) < MIN_BATCHES or (len(rests) < MOST_BATCHES and device.now() < end):
                marks.clear()
                device.synchronize()
                first = device.mark()
                work.network(*work.feed.places, **work.feed.names)
                last = device.mark()
                device.synchronize()
                rest = device.seconds(first, last)
                for name, pairs in marks.items():
                    own = sum(
                        device.seconds(*one) for one in pairs
                    )  # a layer may run several times
                    times.setdefault(name, []).append(own)
                    rest -= own
                rests.append(max(0.0, rest))
    finally:
        for handle in handles:
            handle.remove()
    return _rows(times, statistics.median(rests), leaves, macs, cell)


def _rows(
    times: Mapping[str, list[float]],
    rest: float,
    leaves: Mapping[str, nn.Module],
    macs: Mapping[str, int],
    cell: int,
) -> tuple[LayerTime, ...]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    whole = sum(medians.values()) + rest
    total = sum(macs.values())

    def row(name: str, kind: str, seconds: float, own_macs: int) -> LayerTime:
        share = own_macs / total if total else None
        return LayerTime(cell, name, kind, 1000 * seconds, seconds / whole, own_macs, share)

    rows = [
        row(name, type(leaves[name]).__name__, seconds, macs.get(name, 0))
        for name, seconds in medians.items()
    ]
    rest_macs = total - sum(one.macs for one in rows)
    return (*rows, row("", "the rest", rest, rest_macs))
