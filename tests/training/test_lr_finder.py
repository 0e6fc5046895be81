"""The range test is the plain loop with a rate that grows, and finds what can be worked out."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnkit
from cnnkit import Recipe
from cnnkit.data import open_dataset
from cnnkit.data.loading.batches import epoch_order
from cnnkit.errors import RunFailedError
from cnnkit.events import Event, TaskAdvanced, Warned
from cnnkit.results import LearningRateSearch
from cnnkit.training.lr_finder import HIGHEST, LOWEST, NUM_STEPS, find_learning_rate, judge


def found(model: str = "linear", dataset: str = "digits", **settings: object) -> LearningRateSearch:
    return find_learning_rate(model, dataset, Recipe.of(**settings), device="cpu")


def test_the_losses_are_those_of_the_plain_loop() -> None:
    result = found(
        optimizer="sgd", momentum=0.0, val_split=0.0, normalize="none", batch_size=64, seed=3
    )
    images = open_dataset("digits", "train", data_dir=Path())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = cnnkit.build_model("linear", num_classes=10, in_channels=1, image_size=(8, 8))
    factor = (HIGHEST / LOWEST) ** (1 / (NUM_STEPS - 1))
    rows = [part for epoch in range(1, 10) for part in epoch_order(1438, 3, epoch).split(64)]
    mean = 0.0
    for number, (point, some) in enumerate(zip(result.points, rows, strict=False)):
        optimizer = torch.optim.SGD(model.parameters(), LOWEST * factor**number)
        loss = functional.cross_entropy(
            model(images.images[some].float() / 255), images.labels[some]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert point.step == number + 1
        assert point.learning_rate == pytest.approx(LOWEST * factor**number)
        assert point.loss == pytest.approx(loss.item(), rel=1e-3)
        mean = 0.9 * mean + 0.1 * point.loss
        assert point.smoothed_loss == pytest.approx(mean / (1 - 0.9 ** (number + 1)))
    assert len(result.points) > 100  # several epochs of 23 batches


def test_nothing_is_written_and_nothing_is_touched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = found(seed=1), found(seed=1), found(seed=2)
    assert one == two
    assert one.points != other.points
    assert torch.equal(before, torch.get_rng_state())
    assert not Path("runs").exists()


def test_the_recipe_decides() -> None:
    adam, sgd = found("mlp"), found("mlp", optimizer="sgd", batch_size=64)
    assert (adam.optimizer, adam.batch_size, adam.recipe_lr) == ("adam", 32, 0.002)
    assert (sgd.optimizer, sgd.batch_size, sgd.recipe_lr) == ("sgd", 64, 0.05)
    assert adam.suggestion is not None
    assert sgd.suggestion is not None
    assert adam.suggestion < sgd.suggestion  # a step of adam is as long as its rate
    with_average = found("mlp", ema=0.9, patience=3, warmup_epochs=2, schedule="cosine", lr=1.0)
    assert with_average.points == adam.points
    assert with_average.recipe_lr == 1.0


def test_both_rates_of_muon_grow_alike() -> None:
    result = found("lenet5", optimizer="muon")
    assert result.suggestion is not None
    assert 1e-3 < result.suggestion < 1
    assert result.diverged_at is None or result.diverged_at > 0.05


def test_the_suggestion_is_the_middle_of_the_fall_and_the_lowest_its_end() -> None:
    """A loss of 1 / (1 + exp(x)) falls most steeply at 0."""
    falling = [1 / (1 + math.exp((step - 60) / 5)) for step in range(120)]
    rising = [0.001 * 1.2**step for step in range(30)]
    assert judge(falling + rising) == (119, 60)
    assert judge([*falling, 1.0])[1] == 60


def test_no_fall_is_no_suggestion() -> None:
    assert judge([2.3] * 200) == (0, None)
    assert judge([2.3 - 0.0001 * step for step in range(200)])[1] is None
    assert judge([2.3, 4.0, 9.0]) == (0, None)
    assert judge([1.0]) == (0, None)


def test_it_stops_where_it_diverges() -> None:
    result = found(optimizer="sgd")
    assert result.diverged_at is not None
    lowest = min(one.smoothed_loss for one in result.points)
    assert result.points[-1].smoothed_loss > 4 * lowest
    assert len(result.points) < NUM_STEPS
    assert result.lowest_at < result.diverged_at
    assert f"diverged at {result.diverged_at:.3g}" in str(result)


def test_a_set_of_few_images_is_gone_through_again() -> None:
    result = found("mlp", "fake:1x8x8:2:40", batch_size=16)
    assert len(result.points) > 30


def test_a_loss_that_is_not_finite_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Linear.forward
    planted_at, count = 30, [0]

    def planted(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        count[0] += self.training
        return forward(self, x) * (math.nan if count[0] > planted_at else 1.0)

    monkeypatch.setattr(nn.Linear, "forward", planted)
    result = found()
    assert len(result.points) == planted_at - 1  # the check of the network comes first
    assert result.diverged_at == pytest.approx(
        result.points[-1].learning_rate * (HIGHEST / LOWEST) ** (1 / (NUM_STEPS - 1))
    )
    planted_at, count[0] = 1, 0
    with pytest.raises(RunFailedError, match="the first loss is not finite"):
        found()


def test_the_progress_is_told() -> None:
    events: list[Event] = []
    find_learning_rate("linear", "digits", Recipe.of(monitor="test"), on_event=events.append)
    steps = [one for one in events if isinstance(one, TaskAdvanced)]
    assert [one.completed for one in steps] == list(range(1, len(steps) + 1))
    assert set(steps[0].values) == {"lr", "loss"}
    assert not [one for one in events if isinstance(one, Warned)]
