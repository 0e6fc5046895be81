"""What is timed is what a loop written by hand would do, no more and no less."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.architecture.input_shapes import InputShape
from cnnkit.bench.device_clock import Processor
from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.sweep import Sweep
from cnnkit.bench.timing import take_batches
from cnnkit.bench.workload import Feed, Workload
from cnnkit.models import build_model
from cnnkit.system.compat import many_compiled

INPUTS = (InputShape((1, 32, 32)),)


def workload(mode: str, precision: str = "fp32", last: bool = False) -> tuple[nn.Module, Workload]:
    torch.manual_seed(0)
    network = build_model("lenet5")
    feed = Feed.random(INPUTS, 4, 10)
    return network, Workload(network, feed, Processor(), mode, precision, last, False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_steps_are_those_of_a_loop_by_hand(precision: str) -> None:
    network, work = workload("train", precision)
    by_hand = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(by_hand.parameters(), 1e-9, momentum=0.9, weight_decay=1e-4,
                                fused=True)  # fmt: skip
    feed = Feed.random(INPUTS, 4, 10)
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = functional.cross_entropy(by_hand(feed.places[0]), feed.labels)
        loss.backward()
        optimizer.step()
    assert len(take_batches(work, 2)) == 2
    assert len(work.take_in_parts()) == 3  # is a step as well
    for ours, theirs in zip(work.network.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(
            work.optimizer.state[ours]["momentum_buffer"],
            optimizer.state[theirs]["momentum_buffer"],
        )


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_inference_is_a_forward_pass_in_the_setting(precision: str, last: bool) -> None:
    _, work = workload("infer", precision, last)
    seen: list[dict[str, Any]] = []
    layout = torch.channels_last if last else torch.contiguous_format

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(
            {
                "inference": torch.is_inference_mode_enabled(),
                "training": module.training,
                "images": inputs[0].dtype,
                "weights": next(module.parameters()).dtype,
                "layout": inputs[0].is_contiguous(memory_format=layout),
                "autocast": torch.is_autocast_enabled("cpu"),
            }
        )

    work.network.register_forward_pre_hook(look)
    take_batches(work, 2)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    expected = {
        "inference": True, "training": False, "images": dtype, "weights": dtype, "layout": True,
        "autocast": False,
    }  # fmt: skip
    assert seen == [expected] * 2


def test_compiled_cells_are_compiled_and_their_compile_time_is_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo import config

    class Peakless:
        per_second = 1e15

    monkeypatch.setattr("cnnkit.bench.peaks.PeakBook.find", lambda *_: Peakless())
    before = (config.recompile_limit, config.fail_on_recompile_limit_hit)
    limits: list[int] = []

    def compile_(network: nn.Module, **options: object) -> nn.Module:
        assert options == {"dynamic": False}
        assert config.fail_on_recompile_limit_hit
        limits.append(config.recompile_limit)
        return network

    monkeypatch.setattr(torch, "compile", compile_)
    sweep = Sweep(("cpu",), ("infer", "train"), (2, 4), compiled=True, threads=(1,))
    cells = benchmark("lenet5", sweep, max_seconds=0.3).cells
    assert len(limits) == 4
    assert min(limits) >= 4 * 4
    assert all(cell.compile and cell.compile_seconds is not None for cell in cells)
    assert (config.recompile_limit, config.fail_on_recompile_limit_hit) == before
    with pytest.raises(ValueError, match="planted"), many_compiled(2):
        raise ValueError("planted")
    assert (config.recompile_limit, config.fail_on_recompile_limit_hit) == before
