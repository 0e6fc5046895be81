"""`cnnkit bench` against a loop written by hand, both in one process, round by round.

    python tests/benchmarks/bench_hand_loop.py [MODEL ...] [--batch N] [--seconds S]

The loop has the same network, images, layout, threads and optimizer, and `time.perf_counter` around
every batch. Cells of `bench` and loops take turns of a quarter of a second, so that what slows the
machine down slows both. The ratio of the medians is to be 1, within 3 %.
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from cnnkit.architecture.input_shapes import InputShape
from cnnkit.bench.device_clock import Processor
from cnnkit.bench.reference import Reference
from cnnkit.bench.timing import Timed
from cnnkit.bench.torch_state import preserved_state
from cnnkit.bench.workload import Workload
from cnnkit.models import MODELS, build_model

BATCHES = {"resnet18": 4, "mobilenet_v2": 8, "lenet5": 32}
TURN = 0.25  # seconds


def hand_loop(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, train: bool):  # type: ignore[no-untyped-def]
    """Return a function that does batches for a while and returns their seconds."""
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-9, momentum=0.9, weight_decay=1e-4, fused=True
    )

    def infer() -> list[float]:
        times = []
        with torch.inference_mode():
            end = time.perf_counter() + TURN
            while not times or time.perf_counter() < end:
                begin = time.perf_counter()
                network(images)
                times.append(time.perf_counter() - begin)
        return times

    def step() -> list[float]:
        times: list[float] = []
        end = time.perf_counter() + TURN
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            times.append(time.perf_counter() - begin)
        return times

    return step if train else infer


def compare(name: str, mode: str, batch: int, seconds: float) -> float:
    """Return the median of `bench` over that of the loop."""
    entry = MODELS[name]
    reference = Reference(name, build_model(name), (InputShape(entry.input),))
    feed = reference.feed(batch)
    work = Workload(reference.network, feed, Processor(), mode, "fp32", False, False)
    other = Workload(reference.network, feed, Processor(), mode, "fp32", False, False)
    loop = hand_loop(other.network, feed.places[0], feed.labels, mode == "train")
    timed = Timed(work, torch.get_num_threads(), "fp32", seconds)
    timed.warm_up()
    loop()
    by_hand: list[float] = []
    number = 0
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end:
        timed.take_round(number)
        by_hand += loop()
        number += 1
    ours, theirs = statistics.median(timed.times()), statistics.median(by_hand)
    print(
        f"{name:>14} {mode:>5} batch {batch:>3}: bench {1000 * ours:8.3f} ms, "
        f"by hand {1000 * theirs:8.3f} ms, ratio {ours / theirs:.3f}, {number} rounds"
    )
    return ours / theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(BATCHES))
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    with preserved_state():
        ratios = [
            compare(name, mode, given.batch or BATCHES.get(name, 4), given.seconds)
            for name in given.models
            for mode in ("infer", "train")
        ]
    worst = max(abs(ratio - 1) for ratio in ratios)
    print(f"furthest from 1: {100 * worst:.1f} %")


if __name__ == "__main__":
    main()
