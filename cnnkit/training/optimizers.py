"""Optimizers and schedules by name."""

import math
from collections.abc import Callable

from torch import nn, optim

from cnnkit.runs.recipe import Recipe
from cnnkit.training.muon import MuonAndAdamW

STEP_MILESTONES = (0.5, 0.75)  # He et al. 2016, section 4.2: at 32k and 48k of 64k iterations
STEP_FACTOR = 0.1


def make_optimizer(model: nn.Module, recipe: Recipe) -> optim.Optimizer:
    """Return the optimizer of a resolved recipe, over every parameter that is trained.

    Where its `found_inf` is a tensor of 1, a step changes no weight.

    Raises:
        UsageError: the network has no layer for the optimizer.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    lr, weight_decay = recipe.lr, recipe.weight_decay
    assert lr is not None, "resolve the recipe first"
    assert weight_decay is not None
    match recipe.optimizer:
        case "sgd":
            return optim.SGD(
                parameters,
                lr,
                momentum=recipe.momentum or 0.0,
                weight_decay=weight_decay,
                nesterov=recipe.nesterov,
                fused=True,
            )
        case "adam":
            return optim.Adam(parameters, lr, weight_decay=weight_decay, fused=True)
        case "adamw":
            return optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)
        case "muon":
            assert recipe.lr_rest is not None
            assert recipe.momentum is not None
            return MuonAndAdamW(model, lr, recipe.lr_rest, recipe.momentum, weight_decay)


def make_schedule(
    optimizer: optim.Optimizer, recipe: Recipe, steps_per_epoch: int
) -> optim.lr_scheduler.LRScheduler | None:
    """Return the learning rate of a resolved recipe, to be stepped after every optimizer step.

    None for a constant learning rate.

    `constant` stays; `cosine` falls to 0 along half a cosine, `linear` in a line; `step` is divided
    by 10 after a half and after three quarters of the epochs; each of them after a linear rise over
    `warmup_epochs`. `onecycle` rises over them along half a cosine from a twenty-fifth, and falls
    to a 250,000th (Smith and Topin, Super-convergence, 2018).
    """
    assert recipe.lr is not None, "resolve the recipe first"
    assert recipe.warmup_epochs is not None
    if recipe.schedule == "constant" and recipe.warmup_epochs == 0:
        return None
    num_steps = recipe.epochs * steps_per_epoch
    if recipe.schedule == "onecycle":
        return optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[float(group["lr"]) for group in optimizer.param_groups],
            # The scheduler is stepped once more than it is used.
            total_steps=num_steps + 1,
            pct_start=max(recipe.warmup_epochs / recipe.epochs, 2 / (num_steps + 1)),
            # Momentum stays what the recipe says.
            cycle_momentum=False,
        )
    factor = learning_rate_factor(
        recipe.schedule, num_steps, round(recipe.warmup_epochs * steps_per_epoch)
    )
    return optim.lr_scheduler.LambdaLR(optimizer, factor)


def learning_rate_factor(
    schedule: str, num_steps: int, warmup_steps: int
) -> Callable[[int], float]:
    """Return the share of the highest learning rate by step, counted from 0."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        progress = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
        match schedule:
            case "linear":
                return 1 - progress
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * progress))
            case "step":
                return STEP_FACTOR ** sum(step >= share * num_steps for share in STEP_MILESTONES)
            case _:
                return 1.0

    return factor
