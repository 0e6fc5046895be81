"""The same numbers every time, where they are wanted."""

from pathlib import Path

import pytest
import torch
import torch._inductor.config

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import UnavailableError
from cnnkit.events import EpochEnded, Event
from cnnkit.system.determinism import deterministic_operations
from tests.training.killing import outcome, same

State = tuple[int, bool, bool, bool, bool]


def state() -> State:
    return (
        torch.get_deterministic_debug_mode(),
        torch.are_deterministic_algorithms_enabled(),
        torch._inductor.config.deterministic,
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.fixture
def benchmarking(monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    return state()


def test_torch_is_set_and_put_back(benchmarking: State) -> None:
    with deterministic_operations(True):
        assert state() == (2, True, True, False, False)
    assert state() == benchmarking
    with pytest.raises(KeyboardInterrupt), deterministic_operations(True):
        raise KeyboardInterrupt
    assert state() == benchmarking
    with deterministic_operations(False):
        assert state() == benchmarking


def test_what_torch_cannot_do_so_is_named(benchmarking: State) -> None:
    with (
        pytest.raises(
            UnavailableError, match="torch has no median CUDA with indices that"
        ) as error,
        deterministic_operations(True),
    ):
        raise RuntimeError("median CUDA with indices does not have a deterministic implementation,")
    assert error.value.hint == "leave deterministic out"
    assert state() == benchmarking
    with pytest.raises(RuntimeError, match="something else"), deterministic_operations(True):
        raise RuntimeError("something else")


def test_a_training_computes_so_to_its_end_and_keeps_it_in_the_run() -> None:
    seen = []

    def on_event(event: Event) -> None:
        if isinstance(event, EpochEnded):
            seen.append(torch.are_deterministic_algorithms_enabled())

    recipe = Recipe.of(epochs=2, batch_size=256, crop=1, mixup=0.2)
    plain = cnnkit.train("lenet5_relu", "digits", recipe, device="cpu")
    wanted = recipe.model_copy(update={"deterministic": True})
    run = cnnkit.train("lenet5_relu", "digits", wanted, device="cpu", on_event=on_event)
    assert seen == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()
    one, other = outcome(Path(plain.run)), outcome(Path(run.run))  # a processor always does
    assert [name for name in one if not same(one[name], other[name])] == []


class Unordered(torch.autograd.Function):
    """Does what an operation without a fixed order does on a GPU."""

    @staticmethod
    def forward(context: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("pool_backward_cuda does not have a deterministic implementation")
        return gradient


NETWORK = """
from torch import nn
from tests.system.test_determinism import Unordered
class Net(nn.Linear):
    def forward(self, x):
        return super().forward(Unordered.apply(x.flatten(1)) * 1)
def make(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 1, 1), Net(64, num_classes))
"""


@pytest.mark.parametrize("compile_it", [False, True])
def test_a_training_that_cannot_be_so_leaves_nothing_behind(
    compile_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    Path("net.py").write_text(NETWORK)
    plain = Recipe.of(epochs=1, batch_size=256)
    cnnkit.train("net.py:make", "digits", plain, device="cpu", runs_dir=Path("plain"))
    wanted = plain.model_copy(update={"deterministic": True, "compile": compile_it})
    with pytest.raises(UnavailableError, match="torch has no pool_backward_cuda that"):
        cnnkit.train("net.py:make", "digits", wanted, device="cpu")
    assert not Path("runs").exists() or not list(Path("runs").iterdir())
