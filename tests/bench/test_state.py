"""Nothing of the machine is changed, also after an error and Ctrl-C."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnnkit.bench.measure_speed import benchmark
from cnnkit.bench.sweep import Sweep
from cnnkit.bench.torch_state import preserved_state, set_state


def state() -> dict[str, Any]:
    backends = torch.backends
    return {
        "threads": torch.get_num_threads(),
        "random": torch.get_rng_state().tolist(),
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": backends.cudnn.allow_tf32,
        "cuda": backends.cuda.matmul.fp32_precision,
        "mkldnn": backends.mkldnn.matmul.fp32_precision,
        "cudnn": (backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default": torch.get_default_dtype(),
    }


@pytest.fixture(params=["highest", "high"])
def unusual(request: pytest.FixtureRequest) -> Iterator[None]:
    """A caller with settings of its own."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    torch.backends.cudnn.deterministic = True
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.deterministic = False


class Failing(nn.Module):
    """Fails on the given call."""

    def __init__(self, error: type[BaseException], at: int) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.error = error
        self.left = [at]

    def __deepcopy__(self, memo: object) -> "Failing":
        copy = Failing(self.error, 0)
        copy.left = self.left
        copy.load_state_dict(self.state_dict())
        return copy

    def forward(self, x: Tensor) -> Tensor:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise self.error("planted")
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def without_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.bench.peaks.PeakBook.find", lambda *_: Peakless())


class Peakless:
    per_second = 1e15


@pytest.mark.parametrize(
    ("error", "at"),
    [(ValueError, 10**9), (ValueError, 5), (ValueError, 30), (KeyboardInterrupt, 30)],
)
def test_the_state_of_torch_is_put_back(unusual: None, error: type[BaseException], at: int) -> None:
    network = Failing(error, at)
    before = state()
    result = benchmark(network, Sweep(("cpu",)), input=(1, 2, 2), max_seconds=0.3)
    assert state() == before
    assert result.interrupted == (error is KeyboardInterrupt)
    if error is ValueError:  # which cells Ctrl-C leaves undone depends on how fast they are
        failed = [cell.error for cell in result.cells if cell.error is not None]
        assert failed == (["ValueError: planted"] if at < 10**9 else [])  # the rest goes on


def test_tf32_is_on_for_its_cell_alone() -> None:
    before = state()
    backends: Any = torch.backends
    with preserved_state():
        torch.rand(3)
        set_state(1, "tf32")
        assert torch.get_num_threads() == 1
        assert backends.cuda.matmul.fp32_precision == "tf32"
        assert backends.cudnn.conv.fp32_precision == "tf32"
        for precision in ("fp32", "bf16", "fp16"):
            set_state(1, precision)
            assert backends.cuda.matmul.fp32_precision == "ieee"
            assert backends.cudnn.conv.fp32_precision == "ieee"
            assert backends.cudnn.benchmark
    assert state() == before
