"""Devices by name, as machines with and without a GPU have them."""

import pytest
import torch

from cnnkit.errors import UnavailableError, UsageError
from cnnkit.system.device import check_processes, choose_device, device_name, synchronize
from cnnkit.system.memory import available_bytes
from cnnkit.system.randomness import (
    own_randomness,
    permutation,
    random_state,
    set_random_state,
)


def give(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 1) -> None:
    """Let torch report so many accelerators of a kind."""
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available=False: found
    )
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [(None, "cpu"), ("cuda", "cuda"), ("mps", "mps"), ("xpu", "xpu"), ("mtia", "cpu")],
)
def test_auto_takes_what_torch_reports(
    kind: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, kind)
    assert choose_device() == torch.device(wanted)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda:01", "xpu", "xpu:1", "mps", "cpu"])
def test_a_device_that_is_there_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, _, number = name.partition(":")
    give(monkeypatch, None if kind == "cpu" else kind, 2)
    assert choose_device(name) == (torch.device(kind, 1) if number else torch.device(kind))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        (name, there)
        for name in ("cuda", "cuda:0", "xpu", "xpu:3", "mps")
        for there in (None, "cuda", "mps", "xpu")
        if name.partition(":")[0] != there
    ],
)
def test_a_device_that_is_missing_is_refused(
    name: str, there: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, there)
    with pytest.raises(
        UnavailableError, match=f"device {name} is not available: this machine has no"
    ):
        choose_device(name)


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_a_number_too_high_is_refused_with_those_that_are_there(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, kind, 2)
    with pytest.raises(
        UnavailableError, match=f"{kind}:2 is not available: this machine has 2"
    ) as e:
        choose_device(f"{kind}:2")
    assert e.value.hint == f"choose {kind}:0 to {kind}:1"


@pytest.mark.parametrize(
    "name",
    ["", "gpu", "CUDA", "cpu:0", "mps:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1:2", "xpu:",
     "cuda:²", "cuda:" + "9" * 5000, "cuda\n", "mtia"],
)  # fmt: skip
def test_other_names_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "cuda", 2)
    with pytest.raises(UsageError, match="unknown device"):
        choose_device(name)


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_several_processes_need_cuda(kind: str) -> None:
    check_processes(torch.device(kind), 1)
    with pytest.raises(UnavailableError, match=f"on CPUs or CUDA GPUs, not on {kind}"):
        check_processes(torch.device(kind), 2)


class Numbers:
    """The random numbers of a GPU that is not there."""

    def __init__(self) -> None:
        self.state = torch.zeros(4, dtype=torch.uint8)

    def get(self, *_: object) -> torch.Tensor:
        return self.state.clone()

    def set(self, state: torch.Tensor, *_: object) -> None:
        self.state = state.clone()


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_random_numbers_of_any_gpu_are_kept_and_put_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, device = Numbers(), torch.device(kind)
    module = torch.get_device_module(kind)
    monkeypatch.setattr(module, "get_rng_state", numbers.get)
    monkeypatch.setattr(module, "set_rng_state", numbers.set)
    kept, before = random_state(device), torch.get_rng_state()
    with own_randomness(device):
        torch.rand(3)
        numbers.state += 1
    assert torch.equal(torch.get_rng_state(), before)
    assert not numbers.state.any()
    numbers.state += 2
    set_random_state(kept, device)
    assert not numbers.state.any()


def test_names_clocks_and_memory_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    for device in map(torch.device, ("cpu", "mps", "xpu", "cuda:1")):
        synchronize(device)
    assert [device.type for device in waited] == ["mps", "xpu", "cuda"]
    monkeypatch.setattr(torch.xpu, "get_device_name", lambda device: f"Arc of {device}")
    assert device_name(torch.device("xpu:1")) == "Arc of xpu:1"
    assert device_name(torch.device("mps")) == "Apple GPU"
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (100, 200))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 80)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 30)
    free = [available_bytes(torch.device(name)) for name in ("cuda", "xpu", "mps")]
    assert free == [100, 100, 50]


def test_a_seed_fixes_a_permutation() -> None:
    """The numbers are those of splits and samples since the first version."""
    assert permutation(8, 3).tolist() == [1, 0, 2, 7, 5, 3, 6, 4]
    assert sorted(permutation(1000, 0).tolist()) == list(range(1000))
    assert permutation(0, 1).tolist() == []
