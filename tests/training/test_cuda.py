"""What training promises, on a GPU."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import InterruptedRunError, RunFailedError, UnavailableError
from cnnkit.events import EpochEnded, Event
from cnnkit.training.step import Step, Stepper
from tests.training.killing import outcome, same

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA GPU"
)
DEVICE = "cuda"


NETWORK = """
from torch import nn
def make(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(),
        nn.Linear(256, num_classes),
    )
"""


@pytest.fixture(autouse=True)
def network() -> None:
    Path("net.py").write_text(NETWORK)


def recipe(**settings: object) -> Recipe:
    plain = {
        "epochs": 3, "batch_size": 128, "optimizer": "sgd", "crop": 1, "flip": "alternating",
        "mixup": 0.3, "ema": 0.9, "deterministic": True,
    }  # fmt: skip
    return Recipe.of(**{**plain, **settings})


def differing(one: Path, other: Path) -> list[str]:
    first, second = outcome(one), outcome(other)
    return [name for name in first if not same(first[name], second[name])]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(precision: str) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    settings = recipe(precision=precision)
    with pytest.raises(InterruptedRunError):
        cnnkit.train("net.py:make", "digits", settings, device=DEVICE, on_event=stop)
    (run,) = Path("runs").iterdir()
    cnnkit.resume(run)
    whole = cnnkit.train("net.py:make", "digits", settings, device=DEVICE)
    assert differing(run, Path(whole.run)) == []


def test_muon_gives_the_same_numbers_twice() -> None:
    runs = [
        cnnkit.train("net.py:make", "digits", recipe(optimizer="muon"), device=DEVICE).run
        for _ in range(2)
    ]
    assert differing(*map(Path, runs)) == []


def test_eval_gives_what_training_printed() -> None:
    result = cnnkit.train("net.py:make", "digits", recipe(tta="shift"), device=DEVICE)
    assert cnnkit.evaluate(result.run, device=DEVICE).metrics == result.test


def test_a_planted_nan_ends_the_run_before_the_weights_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, taken, before = Stepper.take, [], []

    def take(self: Stepper, images: Tensor, *arguments: object) -> Step:
        taken.append(self)
        if len(taken) == 15:
            before.extend(one.detach().clone() for one in self.model.parameters())
            images = torch.full_like(images, torch.nan)
        return original(self, images, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Stepper, "take", take)
    with pytest.raises(RunFailedError, match="the loss is nan at step 4 of epoch 2"):
        cnnkit.train("net.py:make", "digits", recipe(), device=DEVICE)
    assert all(map(torch.equal, before, taken[0].model.parameters()))


def test_what_has_no_fixed_order_is_refused() -> None:
    with pytest.raises(UnavailableError, match=r"torch has no adaptive_max_pool2d\w* that gives"):
        cnnkit.train("speednet", "digits", recipe(optimizer="muon"), device=DEVICE)
    assert not list(Path("runs").glob("*"))
