"""What a checkpoint holds beside weights, validated before a training resumes from it."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

import torch
from pydantic import AllowInfNan, Field, model_validator
from torch import Tensor, nn, optim

from cnnkit.results import EpochMetrics
from cnnkit.system.records import List, Record, at_most
from cnnkit.training.muon import Muon, MuonAndAdamW

MOST_EPOCHS = 100_000  # whose values one checkpoint has
MOST_SETS = 16
MOST_FIELDS = 100

Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0, lt=1e12)]

# What torch keeps of a parameter: values in its shape, and in `step` a single number.
_STATES: dict[type[optim.Optimizer], set[str]] = {
    optim.SGD: {"momentum_buffer"},
    optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    Muon: {"momentum_buffer"},
}
_MAY_LACK = {"val_loss", "val_accuracy", "test_loss", "test_accuracy"}


class SavedRunning(Record):
    """The sums of an epoch so far; see `RunningMetrics`."""

    num_images: Count
    loss_sum: float
    num_correct: Count


class SavedProgress(Record):
    """Where a training is; see `Progress`."""

    epoch: Annotated[int, Field(ge=1, le=MOST_EPOCHS + 1)]
    step: Count
    running: SavedRunning
    train_seconds: Amount
    epochs: Annotated[
        List[Annotated[dict[str, int | float | None], at_most(MOST_FIELDS)]], at_most(MOST_EPOCHS)
    ]
    best_epoch: Count
    best_accuracy: Annotated[float, AllowInfNan(True)]
    improved_epoch: Count = 0

    def metrics(self) -> list[EpochMetrics]:
        """Return the values of the epochs that are over."""
        return [EpochMetrics(**values) for values in self.epochs]  # type: ignore[arg-type]

    @model_validator(mode="after")
    def _check(self) -> Self:
        done = self.epoch - 1
        if max(self.best_epoch, self.improved_epoch) > done or len(self.epochs) != done:
            raise ValueError(f"the values of epochs are not those of {done} epochs")
        accuracy = self.best_accuracy
        if not (0 <= accuracy <= 1 if self.best_epoch else accuracy == -math.inf):
            raise ValueError(f"no epoch has an accuracy of {accuracy:g}")
        if self.running.num_correct > self.running.num_images:
            raise ValueError("more images are right than there are")
        for number, values in enumerate(self.epochs, start=1):
            _check_epoch(number, values)
        return self


class SavedStepper(Record):
    """What the next steps depend on; see `Stepper.state`."""

    optimizer: dict[Any, Any]
    schedule: dict[Any, Any] | None
    num_averaged: Count
    learning_rate: Amount
    num_parts: Annotated[int, Field(ge=1, lt=2**31)]
    scaler: dict[Any, Any] | None
    random: list[Any]


class SavedTraining(Record):
    """The state of a training; see `Record.save`."""

    run_id: str
    progress: SavedProgress
    stepper: dict[Any, Any]
    seconds: Amount
    skipped: Annotated[List[List[str]], at_most(MOST_SETS)]
    random: list[Any] | None = None


class _SavedScaler(Record):
    """What changes of the scale of an fp16 loss."""

    scale: Annotated[float, Field(ge=0)]
    growth_tracker: Annotated[Count, Field(alias="_growth_tracker")]


class _SavedSchedule(Record):
    """How many steps a schedule has seen."""

    last_epoch: Count


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network.

    Raises:
        ValueError, RuntimeError: they are of other names, shapes or kinds of numbers.
    """
    for name, own in module.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise ValueError(f"{name} has {weights[name].dtype} and not {own.dtype}")
    module.load_state_dict(dict(weights))


def load_optimizer(optimizer: optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Let an optimizer resume from a state; its settings stay those of the recipe.

    Raises:
        ValueError: it is not the state of such an optimizer, of these parameters.
    """
    if isinstance(optimizer, MuonAndAdamW):
        parts = saved.get("parts")
        if not isinstance(parts, list) or len(parts) != len(optimizer.parts):
            raise ValueError("the optimizer has other parts")
        optimizer.load_state_dict(
            {
                "parts": [
                    _checked(own, part) for own, part in zip(optimizer.parts, parts, strict=True)
                ]
            }
        )
    else:
        optimizer.load_state_dict(_checked(optimizer, saved))


def load_schedule(
    schedule: optim.lr_scheduler.LRScheduler, saved: Mapping[str, Any] | None, num_steps: float
) -> None:
    """Let a schedule resume from a state.

    Raises:
        ValueError: it is none, or of more steps than the training has done.
    """
    done = _SavedSchedule.from_plain(saved).last_epoch
    if done > num_steps:
        raise ValueError(f"the schedule is after {done:,} steps, the training after {num_steps:,}")
    rates = [float(group["lr"]) for group in schedule.optimizer.param_groups]
    schedule.load_state_dict(
        {
            **schedule.state_dict(),
            "last_epoch": done,
            "_step_count": done + 1,
            "_last_lr": rates,
        }
    )


def load_scaler(scaler: torch.amp.GradScaler, saved: Mapping[str, Any] | None) -> None:
    """Let a scaler of the loss resume from a state.

    Raises:
        ValueError: it is none.
    """
    if scaler.is_enabled():
        found = _SavedScaler.from_plain(saved)
        scaler.load_state_dict(
            {
                **scaler.state_dict(),
                "scale": found.scale,
                "_growth_tracker": found.growth_tracker,
            }
        )


def checked_random(states: list[Any], own: list[Tensor]) -> list[Tensor]:
    """Return states of random numbers, once they are like those of this device.

    Raises:
        ValueError: they are not.
    """
    if not all(
        map(_is_like, states, [one.shape for one in own], [one.dtype for one in own])
    ) or len(states) != len(own):
        raise ValueError("the states of random numbers are not those of this device")
    return states


def _check_epoch(number: int, values: Mapping[str, int | float | None]) -> None:
    """Refuse values that no epoch has.

    Raises:
        ValueError: there are such.
    """
    try:
        metrics = EpochMetrics(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"the values of epoch {number} are incomplete: {error}") from error
    wrong = [name for name, value in values.items() if value is None and name not in _MAY_LACK]
    wrong += [
        name
        for name, value in values.items()
        if value is not None and (value < 0 or (name.endswith("_accuracy") and value > 1))
    ]
    if type(metrics.epoch) is not int or metrics.epoch != number:
        wrong.append("epoch")
    if wrong:
        raise ValueError(f"the values of epoch {number} are invalid: {', '.join(wrong)}")


def _checked(optimizer: optim.Optimizer, saved: Any) -> dict[str, Any]:
    """Return the state of one of torch's optimizers, its settings replaced by those it has.

    Raises:
        ValueError: it is not the state of this one.
    """
    own = optimizer.state_dict()
    groups, states = (
        (saved.get("param_groups"), saved.get("state")) if isinstance(saved, dict) else (None, None)
    )
    if not isinstance(groups, list) or len(groups) != len(own["param_groups"]):
        raise ValueError("the optimizer has other groups of parameters")
    if not isinstance(states, dict):
        raise ValueError("the optimizer has no state")
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for number, state in states.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError("the optimizer has the state of a parameter that does not exist")
        _check_state(optimizer, number, state, parameters[number])
    if isinstance(optimizer, optim.SGD):
        states = _with_all_buffers(states, parameters)
    rates = [group.get("lr") if isinstance(group, dict) else None for group in groups]
    if not all(type(rate) is float and 0 <= rate < math.inf for rate in rates):
        raise ValueError("the optimizer has an invalid learning rate")
    return {
        "state": states,
        "param_groups": [
            {**group, "lr": rate} for group, rate in zip(own["param_groups"], rates, strict=True)
        ],
    }


def _with_all_buffers(states: dict[int, Any], parameters: list[Tensor]) -> dict[int, Any]:
    """Return the state of SGD with momentum for every parameter, or for none.

    A parameter that no step has used has none yet, and torch would refuse to begin one later.
    """
    buffers = {number: state["momentum_buffer"] for number, state in states.items()}
    if all(one is None for one in buffers.values()):
        return states
    return {
        number: {
            "momentum_buffer": torch.zeros_like(parameter)
            if buffers.get(number) is None
            else buffers[number]
        }
        for number, parameter in enumerate(parameters)
    }


def _check_state(optimizer: optim.Optimizer, number: int, state: Any, parameter: Tensor) -> None:
    names = _STATES[type(optimizer)]
    if not isinstance(state, dict) or set(state) != names:
        raise ValueError(f"the optimizer has another state of parameter {number}")
    shape = tuple(parameter.shape)
    if isinstance(optimizer, Muon):
        shape = (len(parameter), parameter.numel() // len(parameter))
    for name, value in state.items():
        if name == "step":
            is_right = _is_like(value, (), torch.float32) and 0 <= float(value) < math.inf
        else:
            is_right = _is_like(value, shape, parameter.dtype)
        if not is_right and not (value is None and isinstance(optimizer, optim.SGD)):
            raise ValueError(f"the optimizer has another {name} of parameter {number}")


def _is_like(value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Return whether a value is a tensor of this shape that can be changed in place."""
    return (
        isinstance(value, Tensor)
        and tuple(value.shape) == tuple(shape)
        and value.dtype == dtype
        and torch.empty_like(value).stride() == value.stride()  # no two numbers share their place
    )
