"""A network that computes weights from training images gets to see them once, as a run begins."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import cnnkit
from cnnkit import Recipe
from cnnkit.data import open_dataset
from cnnkit.data.image_set import TensorSet
from cnnkit.data.loading.batches import epoch_order
from cnnkit.errors import InterruptedRunError, UsageError
from cnnkit.events import EpochEnded, Event
from cnnkit.models.zoo.speednet import SpeedNet, whitening_filters
from cnnkit.training.lr_finder import find_learning_rate
from tests.training.killing import make_photos

DATASET = "fake:3x16x16:4:1300"
RECIPE = Recipe.of(
    epochs=2,
    batch_size=300,
    optimizer="sgd",
    val_split=0,
    normalize="none",
    flip="random",
    cutout=4,
)
SMALL = {"widths": "4,4,4"}

OWN_NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(3, num_classes)
        self.register_buffer("seen", torch.zeros(2))

    def initialize_from(self, images):
        assert not torch.is_grad_enabled()
        brightness = images.mean(dim=(1, 2, 3))
        self.seen.copy_(torch.stack([brightness.min(), brightness.max()]))

    def forward(self, x):
        return self.fc(x.mean(dim=(2, 3)))
"""


def weights_of(run: str | Path, name: str = "last") -> dict[str, Tensor]:
    return load_file(Path(run) / "checkpoints" / name / "model.safetensors")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What `SpeedNet.initialize_from` was given, call by call."""
    given: list[Tensor] = []
    look = SpeedNet.initialize_from

    def noted(self: SpeedNet, images: Tensor) -> None:
        given.append(images.clone())
        look(self, images)

    monkeypatch.setattr(SpeedNet, "initialize_from", noted)
    return given


def trained(folder: str = "runs", **arguments: object) -> Path:
    result = cnnkit.train(
        "speednet",
        DATASET,
        RECIPE,
        model_arguments=SMALL,
        runs_dir=Path(folder),
        device="cpu",
        **arguments,  # type: ignore[arg-type]
    )
    return Path(result.run)


def stop_after_the_first(event: Event) -> None:
    if isinstance(event, EpochEnded) and event.epoch == 1:
        os.kill(os.getpid(), signal.SIGINT)


def stopped() -> Path:
    with pytest.raises(InterruptedRunError):
        trained("stopped", on_event=stop_after_the_first)
    (run,) = Path("stopped").iterdir()
    return run


def test_the_first_layer_is_that_of_a_thousand_training_images(looks: list[Tensor]) -> None:
    run = trained()
    images = open_dataset(DATASET, "train")
    assert isinstance(images, TensorSet)
    expected = images.images[epoch_order(len(images), RECIPE.seed, 0)[:1000]] / 255
    (given,) = looks
    torch.testing.assert_close(given, expected)
    filters = whitening_filters(expected, 2)
    for name in ("best", "last"):  # training has left it alone
        torch.testing.assert_close(
            weights_of(run, name)["whiten.weight"],
            torch.cat([filters, -filters]),
            rtol=1e-4,
            atol=1e-4,
        )


def test_a_run_that_goes_on_does_not_look_again(looks: list[Tensor]) -> None:
    whole = trained()
    run = stopped()
    looks.clear()
    cnnkit.resume(run)
    assert looks == []
    one, two = weights_of(whole), weights_of(run)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_without_a_checkpoint_begins_anew_and_looks(looks: list[Tensor]) -> None:
    whole = trained()
    run = stopped()
    shutil.rmtree(run / "checkpoints")
    looks.clear()
    cnnkit.resume(run)
    assert len(looks) == 1
    one, two = weights_of(whole), weights_of(run)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_network_of_ones_own_sees_images_of_every_class_of_a_folder() -> None:
    make_photos(Path("photos"))
    Path("net.py").write_text(OWN_NET)
    recipe = Recipe.of(epochs=1, batch_size=8, normalize="none")
    result = cnnkit.train("net.py:Net", "photos", recipe, device="cpu", input=(3, 16, 16))
    darkest, lightest = weights_of(result.run)["seen"].tolist()
    assert darkest == pytest.approx(90 / 255, abs=0.06)
    assert lightest == pytest.approx(150 / 255, abs=0.06)
    assert cnnkit.evaluate(result.run).metrics == result.test


def test_a_method_that_fails_is_told_in_one_line_and_leaves_no_run() -> None:
    Path("net.py").write_text(OWN_NET.replace("dim=(1, 2, 3)", "dim=(1, 2, 3, 4)"))
    with pytest.raises(UsageError, match=r"Net cannot be initialized from images of shape") as told:
        cnnkit.train("net.py:Net", DATASET, RECIPE, device="cpu")
    assert "\n" not in told.value.message
    assert "Dimension out of range" in told.value.message
    assert not Path("runs").exists()


def test_the_search_for_a_learning_rate_looks_as_well(looks: list[Tensor]) -> None:
    find_learning_rate("speednet", DATASET, RECIPE, model_arguments=SMALL, device="cpu")
    assert len(looks) == 1
