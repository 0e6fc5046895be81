import re
from dataclasses import asdict

import pytest

from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.errors import UsageError
from cnnkit.runs.recipe import Recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, not -3"),
        ({"lr": 0.0}, "lr must be above 0, not 0.0"),
        ({"lr": float("nan")}, "lr must be a finite number, not nan"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "momentum must be below 1, not 1.0"),
        ({"weight_decay": -1}, "weight_decay must be at least 0, not -1"),
        ({"optimizer": "lion"}, "optimizer must be 'sgd', 'adam', 'adamw' or 'muon', not 'lion'"),
        (
            {"schedule": "x"},
            "schedule must be 'constant', 'cosine', 'linear', 'onecycle' or 'step'",
        ),
        ({"label_smoothing": 1.0}, "label_smoothing must be below 1, not 1.0"),
        ({"val_split": 1.0}, "val_split must be below 1, not 1.0"),
        ({"accumulate": 0}, "accumulate must be at least 1, not 0"),
        ({"accumulate": 33}, "accumulate must be at most batch_size, and 33 is above 32"),
        ({"clip_grad": 0}, "clip_grad must be above 0, not 0"),
        ({"ema": 1.0}, "ema must be below 1, not 1.0"),
        ({"crop": -1}, "crop must be at least 0, not -1"),
        ({"flip": "up"}, "flip must be 'none', 'random' or 'alternating', not 'up'"),
        ({"randaugment": 31}, "randaugment must be at most 30, not 31"),
        ({"cutout": -1}, "cutout must be at least 0, not -1"),
        ({"mixup": -0.1}, "mixup must be at least 0, not -0.1"),
        ({"cutmix": float("inf")}, "cutmix must be a finite number, not inf"),
        ({"cutmix": 1.0, "batch_size": 1}, "cutmix mixes two images of a batch, and batch_size is"),
        ({"tta": "crop"}, "tta must be 'none', 'mirror' or 'shift', not 'crop'"),
        ({"patience": 0}, "patience must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean epochs?"),
        ({"zzz": 3}, "unknown setting 'zzz'; the settings are epochs, batch_size"),
        ({"momentum": 0.5}, "momentum belongs to the optimizer sgd and muon, not to adam"),
        ({"nesterov": True}, "nesterov belongs to the optimizer sgd, not to adam"),
        ({"nesterov": True, "optimizer": "muon"}, "nesterov belongs to the optimizer sgd"),
        ({"lr_rest": 0.1, "optimizer": "sgd"}, "lr_rest belongs to the optimizer muon, not to sgd"),
        ({"lr_rest": 0.0, "optimizer": "muon"}, "lr_rest must be above 0, not 0.0"),
        (
            {"nesterov": True, "optimizer": "sgd", "momentum": 0.0},
            "nesterov needs a momentum above 0",
        ),
        ({"freeze": True}, "freeze keeps the weights of pretrained or weights: it needs one"),
        (
            {"pretrained": True, "weights": "a.pt"},
            "pretrained and weights contradict each other: leave one out",
        ),
        ({"dropout": 1.0}, "dropout must be below 1, not 1.0"),
        ({"epochs": 2, "warmup_epochs": 2.0}, "warmup_epochs must be below epochs"),
        ({"epochs": "three"}, "epochs must be a valid integer"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        Recipe.of(**settings)
    assert "\n" not in str(caught.value)


def test_the_defaults_of_the_optimizer_and_schedule_are_filled_in() -> None:
    adam = Recipe.of(epochs=10).resolved()
    assert (adam.lr, adam.momentum, adam.weight_decay, adam.warmup_epochs) == (2e-3, None, 0.0, 3.0)
    sgd = Recipe.of(optimizer="sgd", schedule="cosine").resolved()
    assert (sgd.lr, sgd.momentum, sgd.weight_decay, sgd.warmup_epochs) == (0.05, 0.9, 0.0, 0.0)
    assert Recipe.of(optimizer="adamw").resolved().weight_decay == 0.01
    muon = Recipe.of(optimizer="muon").resolved()
    assert (muon.lr, muon.lr_rest, muon.momentum, muon.weight_decay) == (0.02, 2e-3, 0.95, 0.01)


def test_the_augmentation_is_that_of_the_settings() -> None:
    assert Recipe().augmentation == Augmentation()
    settings: dict[str, object] = {
        "crop": 2, "flip": "random", "randaugment": 3, "cutout": 4, "mixup": 0.5, "cutmix": 0.6
    }  # fmt: skip
    assert asdict(Recipe.of(**settings).augmentation) == settings


def test_what_was_given_stays() -> None:
    recipe = Recipe.of(optimizer="sgd", lr=1e-3, momentum=0.0, weight_decay=0.1, warmup_epochs=1)
    assert recipe.resolved() == recipe
    assert recipe.resolved().resolved() == recipe
