import math
import warnings

import pytest
import torch
from torch import nn

from cnnkit.runs.recipe import Recipe
from cnnkit.training.optimizers import make_optimizer, make_schedule


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> list[float]:
    """Return the learning rate of every step, as the loop would use it."""
    recipe = recipe.resolved()
    optimizer = make_optimizer(nn.Linear(1, 1), recipe)
    schedule = make_schedule(optimizer, recipe, steps_per_epoch)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(recipe.epochs * steps_per_epoch):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule is not None:
                schedule.step()
    return rates


def test_constant() -> None:
    assert set(learning_rates(Recipe.of(schedule="constant", lr=0.1, epochs=3), 4)) == {0.1}


def test_cosine_is_the_closed_form() -> None:
    rates = learning_rates(Recipe.of(schedule="cosine", lr=0.1, epochs=5), 10)
    wanted = [0.05 * (1 + math.cos(math.pi * step / 50)) for step in range(50)]
    assert rates == pytest.approx(wanted, rel=1e-12)


def test_step_falls_at_a_half_and_at_three_quarters() -> None:
    rates = learning_rates(Recipe.of(schedule="step", lr=1.0, epochs=8), 5)
    assert rates == pytest.approx([1.0] * 20 + [0.1] * 10 + [0.01] * 10)


def test_warm_up_rises_in_a_line() -> None:
    rates = learning_rates(Recipe.of(schedule="constant", lr=1.0, epochs=2, warmup_epochs=1.0), 4)
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0])


def test_one_cycle_peaks_after_its_warm_up_and_ends_near_nothing() -> None:
    rates = learning_rates(Recipe.of(schedule="onecycle", lr=0.1, epochs=10), 100)
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates.index(max(rates)) == pytest.approx(300, abs=2)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle", "step"])
def test_the_shortest_runs_work(schedule: str, steps: int) -> None:
    recipe = Recipe.of(schedule=schedule, epochs=1, lr=0.1, warmup_epochs=0)
    assert all(0 < rate <= 0.1 for rate in learning_rates(recipe, steps))


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        # One step from w with gradient g, by the formulas of the papers, in float64.
        ({"optimizer": "sgd", "lr": 0.1}, lambda w, g: w - 0.1 * g),
        (
            {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.5},
            lambda w, g: w - 0.1 * (g + 0.5 * w),
        ),
        ({"optimizer": "adam", "lr": 0.1}, lambda w, g: w - 0.1 * g / (g.abs() + 1e-8)),
        (
            {"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.5},
            lambda w, g: w * (1 - 0.1 * 0.5) - 0.1 * g / (g.abs() + 1e-8),
        ),
    ],
)
def test_one_step_is_the_one_by_hand(settings: dict[str, object], step: object) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    before = model.weight.detach().double().clone()
    optimizer = make_optimizer(model, Recipe.of(**settings).resolved())
    model(torch.ones(1, 5)).square().sum().backward()
    assert model.weight.grad is not None
    wanted = step(before, model.weight.grad.double())  # type: ignore[operator]
    optimizer.step()
    torch.testing.assert_close(model.weight.detach().double(), wanted, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert len(make_optimizer(model, Recipe().resolved()).param_groups[0]["params"]) == 2
