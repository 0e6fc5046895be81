"""The devices that are there, and what their clocks are made of."""

from pathlib import Path

import pytest
import torch

from cnnkit.bench import device_clock as devices
from cnnkit.bench.device_clock import Processor, all_devices, open_device


class Kernels:
    """Work on a GPU that is not there: `wait` moves a clock to its end."""

    def __init__(self) -> None:
        self.clock, self.end = 0.0, 0.0

    def wait(self, *_: object) -> None:
        self.clock = max(self.clock, self.end)


class Event:
    kernels: Kernels

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        self.at = max(self.kernels.clock, self.kernels.end)

    def elapsed_time(self, other: "Event") -> float:
        assert max(self.at, other.at) <= self.kernels.clock, "not completed"
        return 1000 * (other.at - self.at)  # milliseconds, as CUDA has it


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    made = Kernels()
    Event.kernels = made
    monkeypatch.setattr(devices, "choose_device", torch.device)
    monkeypatch.setattr(devices, "device_name", str)
    monkeypatch.setattr(torch.mps, "synchronize", made.wait)
    for module in (torch.cuda, torch.xpu):
        monkeypatch.setattr(module, "synchronize", made.wait)
        monkeypatch.setattr(module, "current_stream", lambda device: None)
        monkeypatch.setattr(module, "Event", Event)
    monkeypatch.setattr(devices.time, "perf_counter", lambda: made.clock)
    return made


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "xpu", "xpu:1", "mps"])
def test_clocks_of_gpus_wait_for_their_kernels(name: str, kernels: Kernels) -> None:
    gpu = open_device(name)
    assert gpu.name == name
    first = gpu.mark()
    kernels.end = kernels.clock + 0.25  # a kernel of which the call has returned at once
    last = gpu.mark()
    gpu.synchronize()
    assert gpu.seconds(first, last) == pytest.approx(0.25)
    assert gpu.now() == 0.25


def test_the_processor_is_always_there() -> None:
    assert all_devices()[0] == "cpu"
    processor = open_device("cpu")
    assert isinstance(processor, Processor)
    first, last = processor.mark(), processor.mark()
    assert processor.seconds(first, last) >= 0
    assert processor.lacks("tf32")
    assert processor.lacks("bf16") is None
    assert processor.peak_bytes() is None
    if Path("/proc/meminfo").exists():
        assert (processor.free_bytes() or 0) > 2**20


@pytest.mark.parametrize(
    ("kind", "count", "names"),
    [
        (None, 0, ["cpu"]),
        ("mps", 1, ["cpu", "mps"]),
        ("xpu", 1, ["cpu", "xpu"]),
        ("cuda", 2, ["cpu", "cuda:0", "cuda:1"]),
    ],
)
def test_all_devices_are_those_that_torch_reports(
    kind: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "accelerator", lambda: kind)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    assert all_devices() == names


def test_memory_of_an_intel_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "choose_device", torch.device)
    monkeypatch.setattr(devices, "device_name", str)
    for name, number in (
        ("memory_allocated", 3), ("max_memory_allocated", 9), ("memory_reserved", 5)
    ):  # fmt: skip
        monkeypatch.setattr(torch.xpu, name, lambda device, number=number: number)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (100, 200))
    gpu = open_device("xpu")
    assert (gpu.held_bytes(), gpu.peak_bytes(), gpu.free_bytes()) == (3, 9, 102)
    assert gpu.lacks("tf32")

    def silent(device: torch.device) -> tuple[int, int]:
        raise RuntimeError("The device does not support querying the available free memory")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", silent)
    assert gpu.free_bytes() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_a_cuda_gpu_tells_time_and_memory() -> None:
    gpu = open_device("cuda")
    held = gpu.held_bytes() or 0
    gpu.forget_peak()
    first = gpu.mark()
    some = torch.ones(2**20, device="cuda")
    last = gpu.mark()
    gpu.synchronize()
    assert gpu.seconds(first, last) > 0
    assert (gpu.held_bytes() or 0) - held >= some.numel() * 4
    assert (gpu.peak_bytes() or 0) >= (gpu.held_bytes() or 0)
    assert (gpu.free_bytes() or 0) > 0
