"""A cell that computes something else than the CPU in fp32 is reported wrong, and not timed."""

import pytest
import torch
from torch import Tensor, nn

from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.sweep import LAYOUTS, Sweep
from cnnkit.results.bench import BenchCell


class Net(nn.Module):
    """A network that is right."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)
        )
        self.last = nn.Linear(8 * 8 * 8, 5)

    def features(self, x: Tensor) -> Tensor:
        return self.first(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.features(x).flatten(1))  # type: ignore[no-any-return]


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class WrongForward(Net):
    """Wrong in one layout: its values are those of the memory in the order of the other."""

    def features(self, x: Tensor) -> Tensor:
        out = super().features(x)
        if is_channels_last(x):
            shape = out.shape
            out = out.permute(0, 2, 3, 1).reshape(shape)
        return out


class _Zeroed(torch.autograd.Function):
    @staticmethod
    def forward(context, x):  # type: ignore[no-untyped-def]
        return x.clone()

    @staticmethod
    def backward(context, gradient):  # type: ignore[no-untyped-def]
        return 0 * gradient


class WrongBackward(Net):
    """Right forward, and without a gradient of its first layers in one layout."""

    def features(self, x: Tensor) -> Tensor:
        out = super().features(x)
        return _Zeroed.apply(out) if is_channels_last(x) else out  # type: ignore[no-any-return]


class NotFinite(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (float("nan") if is_channels_last(x) else 1)


class RandomNet(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(())


def cells(
    network: nn.Module, batch: int = 4, **settings: object
) -> dict[tuple[str, str], BenchCell]:
    sweep = Sweep(("cpu",), batch_sizes=(batch,), layouts=LAYOUTS, threads=(1,), **settings)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnnkit.bench.peaks.PeakBook.find", lambda *_: Peakless())
        found = benchmark(network, sweep, input=(3, 8, 8), max_seconds=0.3).cells
    return {(cell.mode, cell.layout): cell for cell in found}


class Peakless:
    per_second = 1e15


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("batch", [4, 40])
def test_a_network_that_is_right_is_timed(precision: str, batch: int) -> None:
    for cell in cells(Net(), batch, precisions=(precision,)).values():
        assert cell.error is None
        assert cell.correct is True, cell
        assert cell.images_per_second is not None
        assert cell.mark in ("", "noisy")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_that_is_wrong_in_one_layout_is_reported_wrong(precision: str) -> None:
    found = cells(WrongForward(), precisions=(precision,))
    for mode in ("infer", "train"):
        right, wrong = (found[mode, layout] for layout in LAYOUTS)
        assert right.correct is True
        assert right.images_per_second is not None
        assert wrong.correct is False
        assert wrong.mark == "wrong"
        assert wrong.images_per_second is None
        assert wrong.batch_ms_median is None
        assert wrong.max_error is not None
        assert wrong.max_error > 0.2


def test_a_gradient_that_is_wrong_is_seen_in_training() -> None:
    found = cells(WrongBackward())
    assert found["infer", "channels-last"].correct is True
    assert found["train", "channels-first"].correct is True
    assert found["train", "channels-last"].correct is False


def test_what_is_not_finite_is_wrong() -> None:
    found = cells(NotFinite())
    assert found["infer", "channels-first"].correct is True
    wrong = found["infer", "channels-last"]
    assert (wrong.correct, wrong.max_error) == (False, None)
    assert found["train", "channels-last"].correct is False


def test_random_numbers_cannot_be_checked_and_it_is_said() -> None:
    cell = cells(RandomNet())["infer", "channels-first"]
    assert cell.correct is None
    assert "random numbers" in cell.remark
    assert cell.images_per_second is not None


def test_the_network_that_was_given_is_left_as_it_was() -> None:
    network = Net().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cells(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(one.grad is None for one in network.parameters())
