import csv
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

import cnnkit
from cnnkit import Recipe
from cnnkit.data import open_dataset
from cnnkit.errors import CheckFailedError, InterruptedRunError, RunFailedError, UsageError
from cnnkit.events import (
    ConfusionCounted,
    EpochEnded,
    Event,
    Note,
    RunStarted,
    TrainingImages,
    Warned,
)
from cnnkit.results import TrainResult
from cnnkit.runs.model_and_data import ModelAndData
from tests.conftest import Cnnkit

QUICK = {"epochs": 2, "batch_size": 64}


def trained(model: str = "lenet5", dataset: str = "digits", **settings: object) -> TrainResult:
    return cnnkit.train(model, dataset, Recipe.of(**{**QUICK, **settings}), device="cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes that a network can tell apart."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(40):
            shape = (rng.integers(36, 60), rng.integers(36, 60), 3)
            pixels = (level + rng.integers(-50, 50, shape)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return tmp_path / "photos"


def test_the_run_folder_is_that_of_the_design() -> None:
    result = trained()
    run = Path(result.run)
    assert run.parent == Path("runs")
    assert run.name.startswith("lenet5-digits-")
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "metrics.csv", "result.json",
        "checkpoints/best/model.safetensors", "checkpoints/best/manifest.json",
        "checkpoints/last/model.safetensors", "checkpoints/last/manifest.json",
        "checkpoints/last/training.pt",
        "checkpoints/previous/model.safetensors", "checkpoints/previous/manifest.json",
        "checkpoints/previous/training.pt",
    }  # fmt: skip
    description = json.loads((run / "run.json").read_text())
    assert description["schema"] == "cnnkit.run/1"
    assert description["recipe"]["lr"] == 0.002
    by_choice = {
        "momentum", "lr_rest", "clip_grad", "ema", "dropout", "patience", "randaugment",
        "channels_last", "weights",
    }  # fmt: skip
    recipe = description["recipe"]
    assert {key for key, value in recipe.items() if value is None} == by_choice
    assert json.loads((run / "result.json").read_text()) == result.to_dict()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [e.val_loss for e in result.epochs]


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    first, second, other = trained(seed=3), trained(seed=3), trained(seed=4)
    assert [e.train_loss for e in first.epochs] == [e.train_loss for e in second.epochs]
    assert first.test == second.test
    assert first.run != second.run
    assert first.epochs[0].train_loss != other.epochs[0].train_loss


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(before, torch.get_rng_state())


def test_the_loop_is_the_plain_one_step_by_step() -> None:
    """The lecture's loop, written out, on the same order: the same weights."""
    result = trained("linear", optimizer="sgd", lr=0.1, momentum=0.0, schedule="constant",
                     val_split=0.0, normalize="none", epochs=1)  # fmt: skip
    ours = load_file(Path(result.run) / "checkpoints/last/model.safetensors")
    from cnnkit.data.loading.batches import epoch_order

    images = open_dataset("digits", "train", data_dir=Path())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cnnkit.build_model("linear", num_classes=10, in_channels=1, image_size=(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for rows in epoch_order(len(images), 0, 1).split(64):
        loss = functional.cross_entropy(
            model(images.images[rows].float() / 255), images.labels[rows]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(rows))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)
    assert result.epochs[0].train_loss == pytest.approx(sum(losses) / len(images), rel=1e-5)


def test_the_best_epoch_is_that_of_the_validation_set() -> None:
    result = trained(epochs=6)
    best = max(result.epochs, key=lambda e: (e.val_accuracy or 0, e.epoch))
    assert result.best_epoch == best.epoch
    run = Path(result.run)
    manifest = json.loads((run / "checkpoints/best/manifest.json").read_text())
    assert manifest["epoch"] == best.epoch
    assert result.num_train_images + result.num_val_images == 1438
    evaluated = cnnkit.evaluate(result.run, split="val")
    assert evaluated.metrics.accuracy == best.val_accuracy
    assert evaluated.metrics.loss == best.val_loss
    assert evaluated.metrics.num_images == result.num_val_images


@pytest.mark.parametrize("dataset", ["digits", "fake:3x20x20:7:100"])
def test_eval_gives_what_train_gave_to_the_last_digit(dataset: str) -> None:
    result = trained(dataset=dataset)
    evaluated = cnnkit.evaluate(result.run)
    assert evaluated.metrics == result.test
    assert sum(map(sum, evaluated.confusion)) == evaluated.metrics.num_images


def test_without_validation_the_last_epoch_is_kept() -> None:
    result = trained(val_split=0.0)
    assert result.best_epoch == 2
    assert result.num_val_images == 0
    assert result.epochs[0].val_loss is None


def test_monitoring_the_test_set_says_so_and_shows_it() -> None:
    events: list[Event] = []
    result = cnnkit.train(
        "linear", "digits", Recipe.of(**QUICK, monitor="test"), on_event=events.append
    )
    assert any("choose nothing by it" in e.text for e in events if isinstance(e, Warned))
    epochs = [e for e in events if isinstance(e, EpochEnded)]
    assert [e.metrics["test_loss"] for e in epochs] == [e.test_loss for e in result.epochs]
    assert result.epochs[-1].test_accuracy is not None


def test_bringing_data_to_a_network_is_said_in_one_line() -> None:
    events: list[Event] = []
    cnnkit.train("vgg16_cifar", "fake:1x28x28:3:8", Recipe.of(epochs=1), on_event=events.append)
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("1x28x28" in note and "resized to 32x32" in note for note in notes), notes
    events.clear()
    cnnkit.train("squeezenet1_1", "fake:1x28x28:3:8", Recipe.of(epochs=1), on_event=events.append)
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("1x28x28, to three channels" in note for note in notes), notes


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_folder_of_photographs_is_learned(photos: Path, num_workers: int) -> None:
    recipe = Recipe.of(epochs=4, batch_size=8)
    result = cnnkit.train("lenet5_relu", str(photos), recipe, num_workers=num_workers)
    assert result.test is not None
    assert result.test.accuracy == 1.0
    evaluated = cnnkit.evaluate(result.run)
    assert evaluated.metrics == result.test
    assert [row.name for row in evaluated.per_class] == ["dark", "light"]


def test_workers_do_not_change_the_numbers(photos: Path) -> None:
    recipe = Recipe.of(epochs=1, batch_size=8)
    runs = [cnnkit.train("lenet5", str(photos), recipe, num_workers=n) for n in (0, 3)]
    assert runs[0].epochs[0].train_loss == runs[1].epochs[0].train_loss
    assert runs[0].test == runs[1].test


def test_broken_images_stop_the_run_or_are_counted(photos: Path) -> None:
    for number in range(20):  # so many that some are trained on
        broken = photos / "dark" / f"{number}.jpg"
        broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(RunFailedError, match="broken image"):
        cnnkit.train("lenet5", str(photos), Recipe.of(epochs=1))
    assert not list(Path().glob("runs/*"))
    result = cnnkit.train("lenet5", str(photos), Recipe.of(epochs=1), skip_bad=True)
    assert result.num_skipped == 20
    assert result.test is not None
    counted = result.num_train_images + result.num_val_images + result.test.num_images
    assert counted == 60


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_nothing_useless() -> None:
    with pytest.raises(RunFailedError, match="diverged; try a smaller lr than 1e"):
        trained("linear", optimizer="sgd", lr=1e38, schedule="constant")
    assert not list(Path("runs").glob("*"))


def interrupt_after(monkeypatch: pytest.MonkeyPatch, num_forwards: int) -> None:
    """Press Ctrl-C in the middle of a forward pass."""
    forward = nn.Linear.forward
    count = [0]

    def counted(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        count[0] += self.training
        if count[0] == num_forwards and self.training:
            count[0] += 1
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, x)

    monkeypatch.setattr(nn.Linear, "forward", counted)


@pytest.mark.parametrize(("num_forwards", "epochs_done"), [(3, 0), (25, 1)])
def test_ctrl_c_leaves_a_run_that_eval_reads(
    monkeypatch: pytest.MonkeyPatch, num_forwards: int, epochs_done: int
) -> None:
    interrupt_after(monkeypatch, num_forwards)
    with pytest.raises(InterruptedRunError, match="all is kept") as caught:
        trained("linear", epochs=5)
    (run,) = Path("runs").iterdir()
    assert str(run) in caught.value.hint
    assert not (run / "result.json").exists()
    evaluated = cnnkit.evaluate(run)
    assert evaluated.checkpoint == ("best" if epochs_done else "last")
    assert evaluated.epoch == epochs_done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def write_net(folder: Path, body: str) -> None:
    (folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n{body}"
    )


def test_a_network_that_changes_what_its_weights_leave_out_is_refused(tmp_path: Path) -> None:
    body = (
        "        self.register_buffer('seen', torch.zeros(()), persistent={})\n"
        "        self.a = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        if self.training:\n            self.seen += x.mean()\n"
        "        return self.a(x.flatten(1))\n"
    )
    write_net(tmp_path, body.format(False))
    with pytest.raises(UsageError, match="changes its buffer 'seen' in training") as caught:
        trained("net.py:Net")
    assert caught.value.hint == "register it with persistent=True"
    write_net(tmp_path, body.format(True))
    trained("net.py:Net", epochs=1)


def test_the_classic_network_with_view_is_trained_and_evaluated(tmp_path: Path) -> None:
    write_net(
        tmp_path,
        "        self.a = nn.Conv2d(1, 4, 3)\n        self.b = nn.Conv2d(4, 8, 3)\n"
        "        self.c = nn.Linear(128, 10)\n"
        "    def forward(self, x):\n"
        "        return self.c(self.b(self.a(x)).view(-1, 128))\n",
    )
    result = trained("net.py:Net")
    assert cnnkit.evaluate(result.run).metrics == result.test


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    write_net(
        tmp_path,
        "        self.a = nn.Linear(64, 64)\n        self.b = nn.Linear(64, 64)\n"
        "        self.b.weight = self.a.weight\n        self.c = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n        return self.c(self.b(self.a(x.flatten(1)).relu()))\n",
    )
    result = trained("net.py:Net")
    assert cnnkit.evaluate(result.run).metrics == result.test


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "        self.a = nn.Linear(64, 10)\n"
            "    def forward(self, x):\n        y = self.a(x.flatten(1))\n"
            "        return (y, y) if self.training else y\n",
            "returns a tuple for 2 images",
        ),
        ("        pass\n    def forward(self, x):\n        return x\n", "no parameter to train"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(tmp_path: Path, body: str, says: str) -> None:
    write_net(tmp_path, body)
    with pytest.raises(UsageError, match=says):
        trained("net.py:Net")
    assert not Path("runs").exists()


def test_batch_norm_on_a_single_image_is_refused() -> None:
    with pytest.raises(UsageError, match="trained on a single image; use a larger batch_size"):
        trained("resnet18", "fake:3x32x32:2:4", batch_size=1)


def test_checking_a_network_leaves_its_buffers_alone() -> None:
    from cnnkit.training.network import check_network

    result = trained("linear")
    setup = ModelAndData.from_dict(json.loads((Path(result.run) / "run.json").read_text())["setup"])
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_network(network, setup, 2)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training


def test_a_network_that_diverges_at_its_last_step_is_no_result() -> None:
    with pytest.raises(RunFailedError, match=r"not finite|diverged"):
        trained("mlp", optimizer="sgd", lr=1e30, epochs=1, batch_size=5000, val_split=0.0)


def test_a_folder_that_changed_is_not_split_anew(photos: Path) -> None:
    result = cnnkit.train("linear", str(photos), Recipe.of(epochs=1))
    extra = photos / "dark" / "00.jpg"
    extra.write_bytes((photos / "dark" / "0.jpg").read_bytes())
    for split in ("test", "val", "train"):
        with pytest.raises(CheckFailedError, match=f"its {split} split may hold images"):
            cnnkit.evaluate(result.run, split=split)
    extra.unlink()
    assert cnnkit.evaluate(result.run).metrics == result.test


def test_another_folder_is_evaluated_whole_and_the_own_one_is_recognised(photos: Path) -> None:
    result = cnnkit.train("linear", str(photos), Recipe.of(epochs=1))
    events: list[Event] = []
    shutil.copytree(photos, photos.parent / "more")
    Image.new("RGB", (20, 20), (9, 8, 7)).save(photos.parent / "more" / "dark" / "00.jpg")
    whole = cnnkit.evaluate(result.run, "./more", on_event=events.append)
    assert result.test is not None
    assert whole.metrics.num_images == result.test.num_images + 1
    assert whole.split == "all"
    assert any("all its images are evaluated" in e.text for e in events if isinstance(e, Note))
    assert cnnkit.evaluate(result.run, "./photos").metrics == result.test
    assert cnnkit.evaluate(result.run, "more/../photos").metrics == result.test
    shutil.copytree(photos, photos.parent / "copy")
    assert cnnkit.evaluate(result.run, "./copy").metrics == result.test
    own = cnnkit.evaluate(result.run, "./photos", split="val")
    assert own.metrics.num_images == result.num_val_images


def test_another_folder_with_only_validation_images_is_evaluated(photos: Path) -> None:
    result = cnnkit.train("linear", str(photos), Recipe.of(epochs=1))
    shutil.copytree(photos, photos.parent / "kept" / "val")
    whole = cnnkit.evaluate(result.run, "./kept")
    assert (whole.split, whole.metrics) == ("all", result.test)
    with pytest.raises(UsageError, match="no split 'test'"):
        cnnkit.evaluate(result.run, "./kept", split="test")
    kept_apart = cnnkit.evaluate(result.run, "./kept", split="val")  # the others were trained on
    assert kept_apart.metrics == result.test


def test_a_file_of_a_network_that_changed_is_said(tmp_path: Path) -> None:
    body = (
        "        self.a = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n        return self.a(x.flatten(1))\n"
    )
    write_net(tmp_path, body)
    result = trained("net.py:Net")
    kept = Path(result.run, "network", "net.py")
    kept.write_text(kept.read_text() + "# changed\n")
    with pytest.raises(CheckFailedError, match="is not what the run kept"):
        cnnkit.evaluate(result.run)
    events: list[Event] = []
    cnnkit.evaluate(result.run, trust_code=True, on_event=events.append)
    assert any("has changed since" in e.text for e in events if isinstance(e, Warned))


def test_ctrl_c_in_the_final_test_keeps_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cnnkit.training.train_and_test.predict_all", pressed)
    with pytest.raises(InterruptedRunError, match="the last checkpoint is kept"):
        trained("linear")
    (run,) = Path("runs").iterdir()
    assert cnnkit.evaluate(run).epoch in (1, 2)


def test_training_works_outside_the_main_thread() -> None:
    results: list[TrainResult] = []
    thread = threading.Thread(target=lambda: results.append(trained("linear", epochs=1)))
    thread.start()
    thread.join()
    assert results[0].best_epoch == 1


def test_a_network_that_returns_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def ten(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))\n"
        "def conv(): return nn.Conv2d(1, 1, 11)\n"
    )
    with pytest.raises(UsageError, match=r"returns \(2, 7\) for 2 images, and 10 classes need"):
        trained("net.py:ten")
    with pytest.raises(UsageError, match=r"cannot take an input of 1x8x8: .*Kernel size"):
        trained("net.py:conv")
    assert not Path("runs").exists()


def test_a_network_of_ones_own_is_trained_and_evaluated(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def make_net(num_classes, in_channels, hidden: int = 8):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, hidden), nn.ReLU(),\n"
        "                         nn.Linear(hidden, num_classes))\n"
    )
    recipe = Recipe.of(epochs=1)
    result = cnnkit.train("net.py:make_net", recipe=recipe, model_arguments={"hidden": "16"})
    assert result.num_params == 64 * 16 + 16 + 160 + 10
    assert cnnkit.evaluate(result.run).metrics == result.test


def test_augmented_images_are_trained_on_and_plain_ones_judged(photos: Path) -> None:
    settings = {"crop": 2, "flip": "alternating", "cutout": 6, "randaugment": 5}
    events: list[Event] = []
    changed = cnnkit.train(
        "lenet5", str(photos), Recipe.of(**QUICK, **settings), on_event=events.append
    )
    plain = trained("lenet5", str(photos))
    assert changed.epochs[0].train_loss != plain.epochs[0].train_loss
    notes = [event.text for event in events if isinstance(event, Note)]
    assert (
        "augmentation: shifted by up to 2 pixels, mirrored in every other epoch, RandAugment of "
        "magnitude 5, a square of 6 pixels cut out"
    ) in notes
    assert not any("mixed" in note for note in notes)
    assert cnnkit.evaluate(changed.run).metrics == changed.test


def test_mixed_images_are_said_to_be_what_the_train_figures_are_of() -> None:
    events: list[Event] = []
    recipe = Recipe.of(epochs=6, batch_size=64, mixup=0.3, cutmix=1.0, label_smoothing=0.1)
    result = cnnkit.train("linear", "digits", recipe, on_event=events.append)
    assert any(
        isinstance(event, Note)
        and "one is right where the class of its larger part scores highest" in event.text
        for event in events
    )
    assert result.epochs[-1].val_accuracy > 0.5  # type: ignore[operator]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": 32}, "crop 32 is too large for images of 32x32"),
        ({"cutout": 33}, "cutout 33 is larger than images of 32x32"),
    ],
)
def test_augmentation_that_the_size_does_not_allow_is_refused_before_the_work(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trained(**settings)
    assert not Path("runs").exists()


def test_test_time_augmentation_is_that_of_the_run_and_may_be_changed(cnnkit: Cnnkit) -> None:
    result = trained("linear", tta="shift")
    assert result.to_dict()["tta"] == "shift"
    answer = cnnkit("eval", result.run, "--json")
    assert answer.json["tta"] == "shift"
    assert result.test is not None
    assert answer.json["loss"] == result.test.loss
    assert cnnkit("eval", result.run, "--split", "val", "--json").json["loss"] == (
        result.epochs[result.best_epoch - 1].val_loss
    )
    plain = cnnkit("eval", result.run, "--tta", "none", "--json").json
    assert plain["tta"] == "none"
    assert plain["loss"] != answer.json["loss"]
    # Without validation images it changes nothing about the weights.
    weights = trained("linear", tta="mirror", val_split=0)
    same_weights = trained("linear", val_split=0)
    assert same_weights.test is not None
    plain = cnnkit("eval", weights.run, "--tta", "none", "--json").json
    assert plain["loss"] == same_weights.test.loss
    assert "both shifted by a pixel" in cnnkit("eval", result.run).stdout
    assert "both shifted" not in cnnkit("eval", result.run, "--tta", "mirror").stdout


@pytest.mark.parametrize("batch_size", [16, 64])
def test_the_first_batch_is_told_as_the_network_gets_it(batch_size: int) -> None:
    events: list[Event] = []
    cnnkit.train(
        "linear", "digits", Recipe.of(epochs=2, batch_size=batch_size, val_split=0.0),
        on_event=events.append,
    )  # fmt: skip
    (told,) = [event for event in events if isinstance(event, TrainingImages)]
    from cnnkit.data.loading.batches import epoch_order

    images = open_dataset("digits", "train", data_dir=Path())
    rows = epoch_order(len(images), 0, 1)[: min(batch_size, 32)]
    assert (told.epoch, told.width, told.height, told.channels) == (1, 8, 8, 1)
    assert list(told.pixels) == [bytes(images.images[row].flatten().tolist()) for row in rows]
    assert list(told.labels) == images.labels[rows].tolist()


def test_the_start_and_the_confusions_are_told() -> None:
    events: list[Event] = []
    result = cnnkit.train("linear", "digits", Recipe.of(**QUICK), on_event=events.append)
    (start,) = [event for event in events if isinstance(event, RunStarted)]
    assert start == RunStarted(
        result.run, "linear", "digits", tuple(map(str, range(10))), 2, (), None
    )
    *val, test = [event for event in events if isinstance(event, ConfusionCounted)]
    assert [(event.split, event.epoch) for event in val] == [("val", 1), ("val", 2)]
    for event, epoch in zip(val, result.epochs, strict=True):
        right = sum(event.counts[index][index] for index in range(10))
        assert right / result.num_val_images == epoch.val_accuracy
    assert (test.split, test.epoch) == ("test", result.best_epoch)
    assert test.counts == cnnkit.evaluate(result.run).confusion
