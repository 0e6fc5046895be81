"""Steps against the same steps by hand, in float64."""

import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from cnnkit.events import Event, Warned, handled_by
from cnnkit.runs.recipe import Recipe
from cnnkit.training.step import NotFiniteError, Step, Stepper
from cnnkit.training.training_progress import DivergedError, RunningMetrics

CPU = torch.device("cpu")
STEPS = 3  # so that momentum, bias correction, schedule and average have something to do
Array = np.ndarray
Rule = Callable[[Array, Array, float, dict[str, Array], int], Array]


def make_stepper(model: nn.Module, **settings: object) -> Stepper:
    recipe = Recipe.of(**{"epochs": 1, "batch_size": 64, "schedule": "constant", **settings})
    return Stepper(model, recipe.resolved(), STEPS, CPU)


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(64, 5, generator=generator, dtype=torch.float64),
            torch.randint(0, 4, (64,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 4).double()


def gradient(weight: Array, bias: Array, x: Array, y: Array, smoothing: float) -> list[Array]:
    """The gradient of the mean cross entropy of a linear network, by the chain rule."""
    logits = x @ weight.T + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    target = np.eye(4)[y] * (1 - smoothing) + smoothing / 4
    below = (shares - target) / len(y)
    return [below.T @ x, below.sum(0)]


def sgd(momentum: float, decay: float, nesterov: bool = False) -> Rule:
    """Sutskever et al. 2013 in torch's form: v = mu v + g; w = w - lr v.

    Nesterov's looks one step ahead: w = w - lr (g + mu v).
    """

    def rule(w: Array, g: Array, lr: float, state: dict[str, Array], step: int) -> Array:
        g = g + decay * w
        state["v"] = momentum * state["v"] + g if step else g
        return w - lr * (g + momentum * state["v"] if nesterov else state["v"])

    return rule


def adam(decay: float, is_decoupled: bool) -> Rule:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2."""

    def rule(w: Array, g: Array, lr: float, state: dict[str, Array], step: int) -> Array:
        if is_decoupled:
            w = w * (1 - lr * decay)
        else:
            g = g + decay * w
        state["m"] = 0.9 * state.get("m", np.zeros_like(g)) + 0.1 * g
        state["s"] = 0.999 * state.get("s", np.zeros_like(g)) + 0.001 * g**2
        m = state["m"] / (1 - 0.9 ** (step + 1))
        s = state["s"] / (1 - 0.999 ** (step + 1))
        return w - lr * m / (np.sqrt(s) + 1e-8)

    return rule


CASES: list[tuple[dict[str, object], Rule]] = [
    ({"optimizer": "sgd", "lr": 0.3, "momentum": 0.0}, sgd(0.0, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3}, sgd(0.9, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3, "weight_decay": 0.2}, sgd(0.9, 0.2)),
    ({"optimizer": "sgd", "lr": 0.3, "nesterov": True}, sgd(0.9, 0.0, True)),
    (
        {"optimizer": "sgd", "lr": 0.2, "momentum": 0.7, "weight_decay": 0.1, "nesterov": True,
         "ema": 0.8, "clip_grad": 0.2, "label_smoothing": 0.1, "accumulate": 4},
        sgd(0.7, 0.1, True),
    ),
    ({"optimizer": "adam", "lr": 0.1}, adam(0.0, False)),
    ({"optimizer": "adam", "lr": 0.1, "weight_decay": 0.2}, adam(0.2, False)),
    ({"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.2}, adam(0.2, True)),
    ({"optimizer": "sgd", "lr": 0.3, "schedule": "linear"}, sgd(0.9, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3, "label_smoothing": 0.2}, sgd(0.9, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3, "clip_grad": 0.05}, sgd(0.9, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3, "clip_grad": 1e9}, sgd(0.9, 0.0)),
    ({"optimizer": "sgd", "lr": 0.3, "accumulate": 4}, sgd(0.9, 0.0)),
    ({"optimizer": "adam", "lr": 0.1, "ema": 0.7}, adam(0.0, False)),
    (
        {"optimizer": "adam", "lr": 0.1, "weight_decay": 0.2, "ema": 0.9, "clip_grad": 0.1,
         "label_smoothing": 0.1, "accumulate": 4},
        adam(0.2, False),
    ),
    (
        {"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.2, "schedule": "linear", "ema": 0.9,
         "clip_grad": 0.1, "label_smoothing": 0.1, "accumulate": 7},
        adam(0.2, True),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "rule"), CASES, ids=[str(settings) for settings, _ in CASES])
def test_the_steps_are_those_by_hand(settings: dict[str, object], rule: Rule) -> None:
    model = linear()
    hand = [parameter.detach().numpy().copy() for parameter in model.parameters()]
    states: list[dict[str, Array]] = [{}, {}]
    average = hand
    stepper = make_stepper(model, **settings)
    for step, (x, y) in enumerate(batches()):
        stepper.take(x, y)
        smoothing = float(str(settings.get("label_smoothing", 0.0)))
        gradients = gradient(hand[0], hand[1], x.numpy(), y.numpy(), smoothing)
        norm = np.sqrt(sum((one**2).sum() for one in gradients))
        longest = float(str(settings.get("clip_grad", "inf")))
        if norm > longest:
            # torch adds 1e-6 to the norm before it divides
            gradients = [one * longest / (norm + 1e-6) for one in gradients]
        lr = float(str(settings["lr"]))
        if settings.get("schedule") == "linear":
            lr *= 1 - step / STEPS
        assert stepper.learning_rate == pytest.approx(lr, rel=1e-12)
        hand = [
            rule(w, g, lr, state, step) for w, g, state in zip(hand, gradients, states, strict=True)
        ]
        decay = float(str(settings.get("ema", 0.0)))
        average = hand if step == 0 else [
            decay * a + (1 - decay) * w for a, w in zip(average, hand, strict=True)
        ]  # fmt: skip
    for ours, theirs in zip(model.parameters(), hand, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(stepper.evaluated.parameters(), average, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("num_images", "accumulate"), [(64, 4), (50, 4), (5, 4), (64, 64)])
def test_parts_of_a_batch_make_the_step_of_the_batch(num_images: int, accumulate: int) -> None:
    x, y = (part[:num_images] for part in batches()[0])
    whole, in_parts = linear(), linear()
    one = make_stepper(whole, optimizer="sgd", label_smoothing=0.1).take(x, y)
    other = make_stepper(
        in_parts, optimizer="sgd", label_smoothing=0.1, accumulate=accumulate
    ).take(x, y)
    torch.testing.assert_close(other.loss, one.loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(other.logits, one.logits, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(in_parts.weight, whole.weight, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("accumulate", [1, 7])
def test_mixed_labels_weigh_the_losses_of_both(smoothing: float, accumulate: int) -> None:
    x, y = batches()[0]
    others = y.roll(1)
    share = torch.linspace(0, 1, 64, dtype=torch.float64)[:, None]
    shares = share * nn.functional.one_hot(y, 4) + (1 - share) * nn.functional.one_hot(others, 4)
    model = linear()
    weight, bias = (parameter.detach().numpy().copy() for parameter in model.parameters())
    logits = x.numpy() @ weight.T + bias
    scores = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(64)

    def losses(labels: Array) -> Array:
        return -(1 - smoothing) * scores[rows, labels] - smoothing * scores.mean(1)

    one, two = losses(y.numpy()), losses(others.numpy())
    wanted = share[:, 0].numpy() * one + (1 - share[:, 0].numpy()) * two
    step = make_stepper(
        model, optimizer="sgd", lr=0.3, label_smoothing=smoothing, accumulate=accumulate
    ).take(x, shares)
    assert float(step.loss) == pytest.approx(wanted.mean(), rel=1e-12)
    below = np.exp(scores) - (1 - smoothing) * shares.numpy() - smoothing / 4
    np.testing.assert_allclose(
        model.weight.detach().numpy(), weight - 0.3 * below.T @ x.numpy() / 64, rtol=1e-9
    )


def test_of_a_mixed_image_the_class_of_the_larger_part_is_right() -> None:
    logits = torch.eye(4)[[0, 1, 2, 3, 0]]
    shares = torch.tensor(
        [[0.7, 0.3, 0, 0], [0.7, 0.3, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1], [0, 0.6, 0.2, 0.2]]
    )
    running = RunningMetrics()
    running.add(1, Step(torch.tensor(1.0), torch.tensor(0.0), logits, 5), shares)
    assert running.means() == (1.0, 3 / 5)


class Narrow(nn.Module):
    """Has no memory for more than so many images, and finds out late."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4)
        ).double()
        self.most = most

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        if self.training and len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return result


def test_without_memory_a_batch_is_split_as_if_it_had_been_from_the_start() -> None:
    events: list[Event] = []
    torch.manual_seed(0)
    narrow = Narrow(most=16)
    stepper = make_stepper(narrow)
    torch.manual_seed(5)
    with handled_by(events.append):
        for x, y in batches():
            stepper.take(x, y)
    (warned,) = events
    assert isinstance(warned, Warned)
    assert "a batch of 64 is split into 4 parts" in warned.text
    assert "batch norm sees each part separately" in warned.text

    torch.manual_seed(0)
    wide = Narrow(most=64)
    other = make_stepper(wide, accumulate=4)
    torch.manual_seed(5)
    for x, y in batches():
        other.take(x, y)
    theirs = wide.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in narrow.state_dict().items())
    assert stepper.state()["num_parts"] == 4


def test_the_first_pass_leaves_room_for_what_the_optimizer_will_keep() -> None:
    model = Narrow(most=64)
    stepper = make_stepper(model, optimizer="adam")
    rooms: list[list[weakref.ref[torch.Tensor]]] = []
    during: list[int] = []
    take_room = stepper._room_for_optimizer

    def taken() -> list[torch.Tensor]:
        room = take_room()
        rooms.append([weakref.ref(one) for one in room])
        return room

    stepper._room_for_optimizer = taken  # type: ignore[method-assign]
    model.register_forward_hook(
        lambda *_: during.append(sum(one().numel() for one in rooms[-1] if one() is not None))
    )
    for x, y in batches():
        stepper.take(x, y)
        assert all(one() is None for one in rooms[-1])
    state = stepper.optimizer.state.values()
    kept = sum(one.numel() for each in state for one in each.values() if one.ndim)
    assert during == [kept, *[0] * (len(during) - 1)]


def test_without_memory_for_two_images_there_is_no_way() -> None:
    narrow = Narrow(most=1)
    before = [parameter.clone() for parameter in narrow.parameters()]
    with pytest.raises(torch.OutOfMemoryError):
        make_stepper(narrow).take(*batches()[0])
    assert all(map(torch.equal, before, narrow.parameters()))


def bad_batch() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = batches()[1]
    return torch.where(torch.arange(64)[:, None] == 7, torch.nan, x), y


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_step_that_is_not_finite_is_not_taken(optimizer: str) -> None:
    model = linear()
    stepper = make_stepper(model, optimizer=optimizer)
    stepper.take(*batches()[0])
    before = model.weight.detach().clone()
    with pytest.raises(NotFiniteError, match="the loss is nan"):
        stepper.take(*bad_batch())
    assert torch.equal(before, model.weight)


def test_a_gradient_that_is_not_finite_is_said_to_be_it() -> None:
    class Root(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + (self.weight[0, 0] * 0).sqrt()  # slope 1 / (2 * 0)

    with pytest.raises(NotFiniteError, match="the norm of the gradient is not finite"):
        make_stepper(Root(5, 4).double()).take(*batches()[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_on_a_gpu_a_flag_holds_the_optimizer_back_until_somebody_looks(optimizer: str) -> None:
    """The fused optimizers of the CPU look at the same flag, so that it can be tried here."""
    model = linear()
    stepper = make_stepper(model, optimizer=optimizer)
    stepper._is_gated = True
    stepper.optimizer.found_inf = stepper._found_inf  # type: ignore[attr-defined]
    running = RunningMetrics()
    first, *others = batches()
    running.add(1, stepper.take(*first), first[1])
    before = model.weight.detach().clone()
    for number, batch in enumerate([bad_batch(), *others], 2):
        running.add(number, stepper.take(*batch), batch[1])
        assert torch.equal(before, model.weight)
    with pytest.raises(DivergedError, match="the loss is nan") as caught:
        running.means()
    assert caught.value.step == 2


def test_the_running_loss_does_not_depend_on_when_somebody_looks() -> None:
    def figures(looks: set[int]) -> tuple[float, float]:
        running = RunningMetrics()
        generator = torch.Generator().manual_seed(0)
        stepper = make_stepper(linear())
        for number in range(1, 200):
            x = torch.randn(30, 5, generator=generator, dtype=torch.float64)
            y = torch.randint(0, 4, (30,), generator=generator)
            running.add(number, stepper.take(x, y), y)
            if number in looks:
                running.means()
        return running.means()

    assert figures(set()) == figures({1, 2, 50, 63, 130}) == figures(set(range(200)))


def test_the_average_leaves_indices_alone() -> None:
    class Indexed(nn.Linear):
        def __init__(self) -> None:
            super().__init__(5, 4, dtype=torch.float64)
            self.register_buffer("index", torch.arange(4))

    model = Indexed()
    stepper = make_stepper(model, ema=0.999)
    for batch in batches():
        stepper.take(*batch)
    assert stepper.evaluated.get_buffer("index").tolist() == [0, 1, 2, 3]
    assert not torch.equal(stepper.evaluated.get_parameter("weight"), model.weight)
