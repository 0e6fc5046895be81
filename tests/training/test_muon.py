"""Muon with AdamW against the same steps by hand, in float64."""

import copy
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnkit
from cnnkit.errors import InterruptedRunError, UsageError
from cnnkit.events import EpochEnded, Event
from cnnkit.models.layer_kinds import hidden_weights
from cnnkit.runs.recipe import Recipe
from cnnkit.training.muon import Muon, orthogonalized
from cnnkit.training.optimizers import make_optimizer, make_schedule
from cnnkit.training.step import Stepper
from tests.training.killing import outcome, same

Array = np.ndarray
STEPS = 3
FORMATS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def network(form: str = "channels first") -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, padding=1),  # muon's, (6, 36)
        nn.Tanh(),
        nn.Conv2d(6, 3, 1),  # muon's, (3, 6)
        nn.Flatten(),
        nn.Linear(48, 8),  # muon's
        nn.Tanh(),
        nn.Linear(8, 5),
    ).to(dtype=torch.float64, memory_format=FORMATS[form])


def batches(number: int = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(64, 2, 4, 4, generator=generator, dtype=torch.float64),
            torch.randint(0, 5, (64,), generator=generator),
        )
        for _ in range(number)
    ]


def make_stepper(model: nn.Module, **settings: object) -> Stepper:
    given = {"epochs": 1, "batch_size": 64, "schedule": "constant", "optimizer": "muon", **settings}
    recipe = Recipe.of(**given).resolved()
    return Stepper(model, recipe, STEPS, torch.device("cpu"))


def by_formula(update: Array) -> Array:
    """Jordan et al. 2024, five steps of the quintic iteration."""
    x = update.T if len(update) > update.shape[1] else update
    x = x / np.sqrt((x**2).sum())
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if len(update) > update.shape[1] else x


@pytest.mark.parametrize("shape", [(6, 36), (48, 8), (3, 6), (1, 9), (16, 16)])
def test_the_orthogonalisation_is_the_published_one(shape: tuple[int, int]) -> None:
    update = np.random.default_rng(0).standard_normal(shape)
    found = orthogonalized(torch.from_numpy(update)).numpy()
    np.testing.assert_allclose(found, by_formula(update), atol=1e-9)
    assert np.linalg.svd(found, compute_uv=False).min() > 0.6
    assert np.linalg.svd(found, compute_uv=False).max() < 1.3


@pytest.mark.parametrize("is_native", [True, False])
def test_bf16_is_taken_where_it_is_native(is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.training.muon.has_native_bf16", lambda device: is_native)
    update = torch.randn(6, 36, generator=torch.Generator().manual_seed(0))
    found = orthogonalized(update)
    assert found.dtype == (torch.bfloat16 if is_native else torch.float32)
    torch.testing.assert_close(
        found.double(), torch.from_numpy(by_formula(update.double().numpy())), rtol=0, atol=0.03
    )


@pytest.mark.parametrize("shape", [(6, 36), (48, 8)])
def test_the_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    settings = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(*shape, generator=generator)
    theirs = ours.clone()
    one, other = Muon([ours], **settings), torch.optim.Muon([theirs], **settings)
    for _ in range(5):
        ours.grad = torch.randn(*shape, generator=generator)
        theirs.grad = ours.grad.clone()
        one.step()
        other.step()
    longest_step = 0.02 * max(1, shape[0] / shape[1]) ** 0.5
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5 * 0.03 * longest_step)


class ByHand:
    """The weights of `network`, moved by formulas; only the gradient is torch's."""

    def __init__(self) -> None:
        self.model = network()
        self.weights = [one.detach().numpy().copy() for one in self.model.parameters()]
        self.is_hidden = [False, False, True, False, True, False, True, False, False, False]
        self.states: list[dict[str, Array]] = [{} for _ in self.weights]

    def gradients(self, x: torch.Tensor, y: torch.Tensor, smoothing: float) -> list[Array]:
        for parameter, weights in zip(self.model.parameters(), self.weights, strict=True):
            parameter.data = torch.from_numpy(weights)
        loss = functional.cross_entropy(self.model(x), y, label_smoothing=smoothing)
        return [g.numpy() for g in torch.autograd.grad(loss, list(self.model.parameters()))]

    def step(self, gradients: list[Array], factor: float, number: int, **s: float) -> None:
        for index, (w, g) in enumerate(zip(self.weights, gradients, strict=True)):
            rule = self.muon if self.is_hidden[index] else self.adamw
            lr = factor * (s["lr"] if self.is_hidden[index] else s["lr_rest"])
            decayed = w * (1 - lr * s["weight_decay"])
            change = rule(g, self.states[index], number, s["momentum"])
            self.weights[index] = decayed - lr * change

    def muon(self, g: Array, state: dict[str, Array], number: int, momentum: float) -> Array:
        g = g.reshape(len(g), -1)
        state["m"] = momentum * state.get("m", np.zeros_like(g)) + (1 - momentum) * g
        ahead = momentum * state["m"] + (1 - momentum) * g
        scale = np.sqrt(max(1, ahead.shape[0] / ahead.shape[1]))
        shape = {36: (6, 4, 3, 3), 6: (3, 6, 1, 1), 48: (8, 48)}[ahead.shape[1]]
        return scale * by_formula(ahead).reshape(shape)

    def adamw(self, g: Array, state: dict[str, Array], number: int, momentum: float) -> Array:
        state["m"] = 0.9 * state.get("m", np.zeros_like(g)) + 0.1 * g
        state["s"] = 0.999 * state.get("s", np.zeros_like(g)) + 0.001 * g**2
        m, s = state["m"] / (1 - 0.9 ** (number + 1)), state["s"] / (1 - 0.999 ** (number + 1))
        return m / (np.sqrt(s) + 1e-8)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.3, "lr": 0.1, "lr_rest": 0.01, "momentum": 0.8},
        {"schedule": "linear", "clip_grad": 0.05, "label_smoothing": 0.1, "ema": 0.9},
        {"accumulate": 4, "lr_rest": 0.03},
    ],
    ids=str,
)
def test_the_steps_are_those_by_hand(settings: dict[str, float | str]) -> None:
    model = network()
    stepper = make_stepper(model, **settings)
    hand = ByHand()
    average = hand.weights
    numbers = {"lr": 0.02, "lr_rest": 0.002, "momentum": 0.95, "weight_decay": 0.01}
    numbers |= {name: float(value) for name, value in settings.items() if name in numbers}
    for number, (x, y) in enumerate(batches()):
        stepper.take(x, y)
        gradients = hand.gradients(x, y, float(settings.get("label_smoothing", 0)))
        norm = np.sqrt(sum((one**2).sum() for one in gradients))
        longest = float(settings.get("clip_grad", "inf"))
        gradients = [one * min(1, longest / (norm + 1e-6)) for one in gradients]
        factor = 1 - number / STEPS if settings.get("schedule") == "linear" else 1.0
        hand.step(gradients, factor, number, **numbers)
        assert stepper.learning_rate == pytest.approx(numbers["lr"] * factor)
        decay = float(settings.get("ema", 0))
        average = list(hand.weights) if number == 0 else [
            decay * a + (1 - decay) * w for a, w in zip(average, hand.weights, strict=True)
        ]  # fmt: skip
    for ours, theirs in zip(model.parameters(), hand.weights, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(stepper.evaluated.parameters(), average, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-9)


def test_channels_last_takes_the_same_steps() -> None:
    plain, last = network(), network("channels last")
    for model in (plain, last):
        stepper = make_stepper(model)
        for x, y in batches():
            stepper.take(x, y)
    assert last[2].weight.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("form", FORMATS)
def test_the_state_goes_on_bit_for_bit(form: str) -> None:
    settings = {"schedule": "cosine", "weight_decay": 0.1, "ema": 0.9}
    straight, stopped = network(form), network(form)
    stepper = make_stepper(straight, **settings)
    first = make_stepper(stopped, **settings)
    *earlier, last = batches()
    for x, y in earlier:
        stepper.take(x, y)
        first.take(x, y)
    torch.save(first.state(), "state.pt")
    resumed = network(form)
    second = make_stepper(resumed, **settings)
    resumed.load_state_dict(stopped.state_dict())
    second.evaluated.load_state_dict(first.evaluated.state_dict())
    second.restore(torch.load("state.pt", weights_only=True))
    stepper.take(*last)
    second.take(*last)
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(
        stepper.evaluated.parameters(), second.evaluated.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert second.learning_rate == stepper.learning_rate


def test_a_run_that_was_stopped_ends_as_one_that_was_not() -> None:
    recipe = Recipe.of(epochs=2, batch_size=256, optimizer="muon", clip_grad=1.0, ema=0.9)

    def stop(event: Event) -> None:
        if isinstance(event, EpochEnded):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError):
        cnnkit.train("lenet5", "digits", recipe, device="cpu", on_event=stop)
    (run,) = Path("runs").iterdir()
    cnnkit.resume(run)
    straight = Path(cnnkit.train("lenet5", "digits", recipe, device="cpu").run)
    one, other = outcome(run), outcome(straight)
    assert [name for name in one if not same(one[name], other[name])] == []


@pytest.mark.parametrize("schedule", ["linear", "cosine", "onecycle", "step"])
def test_both_learning_rates_follow_the_schedule(schedule: str) -> None:
    recipe = Recipe.of(optimizer="muon", schedule=schedule, lr=0.3, lr_rest=0.01, epochs=4)
    recipe = recipe.resolved()
    optimizer = make_optimizer(network(), recipe)
    rates = make_schedule(optimizer, recipe, 5)
    assert rates is not None
    for _ in range(20):
        muon, rest = (group["lr"] for group in optimizer.param_groups)
        assert muon == pytest.approx(30 * rest)
        optimizer.step()
        rates.step()
    assert rest < 0.01 / 2


def test_first_and_last_layer_are_left_to_adamw_even_where_they_are_frozen() -> None:
    model = network()
    assert [one.shape[0] for one in hidden_weights(model)] == [6, 3, 8]
    model[0].requires_grad_(False)
    assert [one.shape[0] for one in hidden_weights(model)] == [6, 3, 8]
    model[4].requires_grad_(False)
    assert [one.shape[0] for one in hidden_weights(model)] == [6, 8]
    resnet = cnnkit.build_model("resnet20")
    names = [name for name, one in resnet.named_parameters() if one.ndim > 1]
    chosen = {id(one) for one in hidden_weights(resnet)}
    left = [name for name, one in resnet.named_parameters() if id(one) not in chosen]
    assert {names[0], names[-1]} == {name for name in left if name in names}


def test_a_network_without_layers_between_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(UsageError, match="use optimizer adamw or sgd"):
        make_stepper(model)


@pytest.mark.parametrize("form", FORMATS)
def test_a_step_that_a_flag_holds_back_changes_nothing(form: str) -> None:
    model = network(form)
    stepper = make_stepper(model, weight_decay=0.1)
    first, *others = batches()
    stepper.take(*first)
    before = [one.detach().clone() for one in model.parameters()]
    state = copy.deepcopy(stepper.optimizer.state_dict())
    stepper._is_gated = True
    stepper.optimizer.found_inf = stepper._found_inf  # type: ignore[attr-defined]
    stepper.take(torch.full_like(first[0], torch.nan), first[1])
    for batch in others:
        stepper.take(*batch)
    assert all(map(torch.equal, before, model.parameters()))
    assert same(stepper.optimizer.state_dict(), state)


def test_a_flag_that_stays_down_changes_nothing() -> None:
    plain, gated = network(), network()
    one, other = make_stepper(plain), make_stepper(gated)
    other._is_gated = True
    other.optimizer.found_inf = other._found_inf  # type: ignore[attr-defined]
    for x, y in batches():
        one.take(x, y)
        other.take(x, y)
    assert all(map(torch.equal, plain.parameters(), gated.parameters()))


def half_precision(scale: float, **settings: object) -> tuple[nn.Module, Stepper]:
    """Return fp32 weights whose loss is scaled as in fp16."""
    model = network().float()
    recipe = Recipe.of(optimizer="muon", schedule="constant", epochs=1, **settings).resolved()
    stepper = Stepper(model, recipe, STEPS, torch.device("cpu"), "fp16")
    stepper._scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return model, stepper


def test_the_scale_of_an_fp16_loss_is_taken_out_before_clipping() -> None:
    model, stepper = half_precision(2.0**12, clip_grad=0.05)
    exact = network()
    in_float64 = make_stepper(exact, clip_grad=0.05)
    (x, y), *_ = batches()
    stepper.take(x.float(), y)
    in_float64.take(x, y)
    for one, other in zip(model.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad.float(), rtol=0.02, atol=1e-4)
    norm = torch.stack([one.grad.norm() for one in model.parameters()]).norm()
    assert norm == pytest.approx(0.05, rel=1e-3)


def test_an_infinite_gradient_of_a_filter_leaves_an_fp16_step_out() -> None:
    model, stepper = half_precision(2.0**10)
    (x, y), (other_x, other_y), _ = batches()
    stepper.take(x.float(), y)
    before = [one.detach().clone() for one in model.parameters()]
    state = copy.deepcopy(stepper.optimizer.state_dict())
    planted = model[4].weight.register_hook(lambda gradient: gradient + torch.inf)
    stepper.take(other_x.float(), other_y)
    planted.remove()
    assert all(map(torch.equal, before, model.parameters()))
    assert same(stepper.optimizer.state_dict(), state)
    assert stepper._scaler is not None
    assert stepper._scaler.get_scale() == 2.0**9
    stepper.take(other_x.float(), other_y)
    assert not torch.equal(before[4], list(model.parameters())[4])
    assert stepper.has_finite_weights()
