"""The network of a run in other hands: `cnnkit.load`, plain torch, and timm's `local-dir:`."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import BrokenImageError, CheckFailedError, NotFoundError
from cnnkit.models import MODELS
from tests.training.killing import make_photos


def train(model: str, dataset: str, **settings: object) -> Path:
    recipe = Recipe.of(**{"epochs": 1, "seed": 3, **settings})
    return Path(cnnkit.train(model, dataset, recipe, device="cpu").run)


@pytest.fixture
def photos() -> Path:
    make_photos(Path("photos"))
    return Path("photos")


def test_a_loaded_network_answers_as_eval_does(photos: Path) -> None:
    run = train("linear", str(photos))
    loaded = cnnkit.load(run)
    assert loaded.classes == tuple(sorted(one.name for one in photos.iterdir()))
    assert (loaded.checkpoint, loaded.epoch) == ("best", 1)
    assert not loaded.network.training
    right = number = 0
    for label, name in enumerate(loaded.classes):
        paths = sorted((photos / name).iterdir())
        with torch.inference_mode():
            right += int((loaded.network(loaded.read(paths)).argmax(1) == label).sum())
        number += len(paths)
    metrics = [cnnkit.evaluate(run, split=split).metrics for split in ("train", "val", "test")]
    assert right == sum(round(one.accuracy * one.num_images) for one in metrics)
    assert number == sum(one.num_images for one in metrics)


def test_plain_torch_loads_lenet5_in_two_lines() -> None:
    run = train("lenet5", "digits")
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
        nn.AvgPool2d(2), nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84),
        nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip
    network.load_state_dict(load_file(run / "checkpoints/best/model.safetensors"))
    images = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        ours = cnnkit.load(run, device="cpu").network(images)  # its weights lie channels last
        torch.testing.assert_close(network(images), ours, rtol=1e-5, atol=1e-6)
    with safe_open(run / "checkpoints/best/model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert not (run / "checkpoints/best/config.json").exists()  # timm does not have it


@pytest.mark.parametrize("model", ["resnet18", "timm:resnet10t"])
def test_timm_loads_the_folder_of_a_checkpoint(model: str, photos: Path) -> None:
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    run = train(model, str(photos), normalize="0.4,0.5,0.6/0.2,0.3,0.4", batch_size=16)
    theirs = timm.create_model(f"local-dir:{run / 'checkpoints/best'}", pretrained=True).eval()
    loaded = cnnkit.load(run, device="cpu")
    some = [sorted(one.iterdir())[0] for one in sorted(photos.iterdir())]
    inputs = loaded.read(some)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(inputs), loaded.network(inputs), rtol=1e-5, atol=1e-5)
    config = theirs.pretrained_cfg
    assert tuple(config["label_names"]) == loaded.classes
    assert tuple(config["mean"]) == (0.4, 0.5, 0.6)
    assert tuple(config["std"]) == (0.2, 0.3, 0.4)
    assert tuple(config["input_size"]) == tuple(inputs.shape[1:])


def test_what_timm_is_said_to_have_it_has() -> None:
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    names = [entry.name for entry in MODELS.values() if entry.in_timm]
    assert {"resnet18", "densenet121", "resnext50_32x4d", "wide_resnet50_2"} <= set(names)
    for name in names:
        with torch.device("meta"):
            ours, theirs = cnnkit.build_model(name), timm.create_model(name)
        assert shapes(ours) == shapes(theirs), name


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: one.shape for name, one in network.state_dict().items()}


def test_a_config_that_was_altered_is_noticed(photos: Path) -> None:
    run = train("resnet18", str(photos), batch_size=16)
    path = run / "checkpoints/best/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_classes": 9}))
    with pytest.raises(CheckFailedError, match=r"config\.json is not what was saved"):
        cnnkit.load(run)


def test_files_that_are_no_images_are_named(photos: Path) -> None:
    loaded = cnnkit.load(train("linear", str(photos)), device="cpu")
    (photos / "text.png").write_text("text")
    os.mkfifo(photos / "pipe.png")
    for name, reason in (
        ("none.png", "no such file"), ("text.png", "not an image"), ("pipe.png", "pipe"),
    ):  # fmt: skip
        with pytest.raises(BrokenImageError, match=f"broken image .*{name}: .*{reason}"):
            loaded.read([photos / name])


def test_a_config_of_many_bytes_is_not_read(photos: Path) -> None:
    run = train("resnet18", str(photos), batch_size=16)
    path = run / "checkpoints/best/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["config.json"]["bytes"] = 2**40
    path.write_text(json.dumps(manifest))
    os.truncate(run / "checkpoints/best/config.json", 2**40)
    with pytest.raises(CheckFailedError, match=r"config\.json is too large"):
        cnnkit.load(run)


def test_what_is_no_run_is_not_loaded() -> None:
    with pytest.raises(NotFoundError):
        cnnkit.load("nothing")
