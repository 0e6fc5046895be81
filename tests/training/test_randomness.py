"""What makes a training come out otherwise, and how it is kept from that."""

from pathlib import Path

import pytest
import torch

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import UnavailableError
from cnnkit.events import EpochEnded, Event
from cnnkit.training.randomness import deterministic_operations
from tests.training.killing import outcome, same

State = tuple[bool, bool, bool]


def state() -> State:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.fixture
def benchmarking(monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    return state()


def test_torch_is_set_and_put_back(benchmarking: State) -> None:
    with deterministic_operations(True):
        assert state() == (True, False, False)
    assert state() == benchmarking
    with pytest.raises(KeyboardInterrupt), deterministic_operations(True):
        raise KeyboardInterrupt
    assert state() == benchmarking
    with deterministic_operations(False):
        assert state() == benchmarking


def test_what_torch_cannot_do_so_is_named(benchmarking: State) -> None:
    words = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but"
    with (
        pytest.raises(UnavailableError, match="no adaptive_avg_pool2d_backward_cuda that") as error,
        deterministic_operations(True),
    ):
        raise RuntimeError(words)
    assert error.value.hint == "leave --deterministic out"
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
