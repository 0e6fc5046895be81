"""Trainings that begin with the weights of a file, or of another run."""

import hashlib
import json
import math
import os
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import CheckFailedError, NotFoundError, UsageError
from cnnkit.events import Event, Note, ignore
from cnnkit.models import build_model
from cnnkit.runs.weights_file import last_layer, open_weights, weights_file
from tests.conftest import Cnnkit

FAKE = "fake:1x8x8:10:60"
OTHER = "fake:1x8x8:4:60"
RUNS = Path("runs")
LAST = ("11.weight", "11.bias")  # of lenet5


@pytest.fixture
def state() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return dict(build_model("lenet5", num_classes=10, in_channels=1).state_dict())


def trained(
    weights: str | Path, dataset: str = FAKE, on_event: Callable[[Event], None] = ignore,
    **settings: object,
) -> Path:  # fmt: skip
    recipe = Recipe.of(**{"epochs": 1, "batch_size": 16, "weights": weights, **settings})
    return Path(cnnkit.train("lenet5", dataset, recipe, device="cpu", on_event=on_event).run)


def weights_of(run: Path) -> dict[str, Tensor]:
    return load_file(run / "checkpoints/last/model.safetensors")


def assert_kept(run: Path, state: dict[str, Tensor]) -> None:
    """The first layers of a frozen network are those of a file."""
    ours = weights_of(run)
    assert ours.keys() == state.keys()
    for name, value in state.items():
        assert name in LAST or torch.equal(ours[name], value), name


@pytest.mark.parametrize("name", ["w.pt", "w.PTH", "old.pt", "w.safetensors"])
def test_a_run_begins_with_the_weights_of_a_file(name: str, state: dict[str, Tensor]) -> None:
    if name.endswith("safetensors"):
        save_file(state, name)
    else:
        torch.save(state, name, _use_new_zipfile_serialization=name != "old.pt")
    notes: list[str] = []
    run = trained(
        Path(name), freeze=True, schedule="constant", lr=1e-12, optimizer="sgd",
        on_event=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )  # fmt: skip
    path = Path(name).absolute()
    assert f"starts from the weights of {path}" in notes
    assert "850 parameters are trained, the others are frozen" in notes
    assert_kept(run, state)
    torch.testing.assert_close(weights_of(run), state)  # the last layer as well
    description = json.loads((run / "run.json").read_text())
    assert description["weights"] == str(path)
    assert description["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert description["recipe"]["weights"] == name


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_weights_lie_within_what_others_keep(key: str, state: dict[str, Tensor]) -> None:
    torch.save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, "w.pt")
    assert list(open_weights("w.pt", RUNS).read()) == list(state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["mnasnet0_5", "lenet5"])  # one that asks for its versions
def test_the_prefixes_of_wrappers_go(name: str, prefix: str) -> None:
    network = build_model(name, num_classes=10, in_channels=3)
    wrapped: nn.Module = network
    for part in reversed(prefix.split(".")[:-1]):
        outer = nn.Module()
        outer.add_module(part, wrapped)
        wrapped = outer
    torch.save(wrapped.state_dict(), "w.pt")
    assert set(open_weights("w.pt", RUNS).read()) == {prefix + one for one in network.state_dict()}
    fresh = build_model(name, num_classes=10, in_channels=3)
    open_weights("w.pt", RUNS).load_into(fresh)
    torch.testing.assert_close(fresh.state_dict(), network.state_dict())


def test_a_prefix_that_the_network_has_itself_stays() -> None:
    network = nn.Sequential(OrderedDict(module=nn.Linear(3, 2)))
    torch.save(network.state_dict(), "w.pt")
    fresh = nn.Sequential(OrderedDict(module=nn.Linear(3, 2)))
    open_weights("w.pt", RUNS).load_into(fresh)
    assert torch.equal(fresh[0].weight, network[0].weight)


def test_the_names_of_torchvision_and_of_no_versions_are_taken() -> None:
    for name in ("mnasnet0_5", "densenet121"):
        network = build_model(name, num_classes=10)
        counters = {one for one in network.state_dict() if one.endswith("num_batches_tracked")}
        plain = {
            one.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
            if "denselayer" in one
            else one: value
            for one, value in network.state_dict().items()
            if one not in counters
        }
        save_file(plain, "w.safetensors")
        fresh = build_model(name, num_classes=10)
        open_weights("w.safetensors", RUNS).load_into(fresh)
        torch.testing.assert_close(fresh.state_dict(), network.state_dict())


def test_other_classes_get_a_new_last_layer_and_a_line_says_so(
    cnnkit: Cnnkit, state: dict[str, Tensor]
) -> None:
    torch.save(state, "w.pt")
    answer = cnnkit("train", "lenet5", OTHER, "--epochs", "1", "--weights", "w.pt", "--freeze")
    assert answer.code == 0, answer.stderr
    said = " ".join(answer.stderr.split())
    assert "w.pt; the last layer is initialized again: 11.weight is 10x84 in the file, 4x84" in said
    (run,) = RUNS.iterdir()
    assert_kept(run, state)
    assert weights_of(run)[LAST[0]].shape == (4, 84)


def test_a_file_without_a_last_layer_gets_a_new_one(state: dict[str, Tensor]) -> None:
    del state["11.weight"]
    torch.save(state, "w.pt")
    network = build_model("lenet5", num_classes=10, in_channels=1)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    said = open_weights("w.pt", RUNS).load_into(network)
    assert said.endswith("the last layer is initialized again: 11.weight is not in the file")
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh[name] if name in LAST else state[name])


def test_the_best_weights_of_a_run_are_taken(cnnkit: Cnnkit, state: dict[str, Tensor]) -> None:
    torch.save(state, "w.pt")
    run = trained("w.pt")
    best = load_file(run / "checkpoints/best/model.safetensors")
    for name in (run.name, str(run)):
        again = trained(name, freeze=True)
        assert_kept(again, best)
        file = run.absolute() / "checkpoints/best/model.safetensors"
        assert json.loads((again / "run.json").read_text())["weights"] == str(file)
    found = cnnkit("train", "lenet5", FAKE, "--weights", run.name, "--lr-find")
    assert found.code == 0, found.stderr
    assert "starts from the weights of" in found.stderr
    (run / "checkpoints/best/model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckFailedError, match="is not what was saved"):
        trained(run.name)


def test_images_do_not_undo_the_weights() -> None:
    """A network that computes first weights from images has them from the file."""
    network = build_model("speednet", num_classes=4, in_channels=3)
    torch.save(network.state_dict(), "w.pt")
    recipe = Recipe.of(epochs=1, batch_size=30, weights="w.pt", freeze=True)
    run = cnnkit.train("speednet", "fake:3x32x32:4:60", recipe, device="cpu").run
    first = next(name for name in network.state_dict() if name.endswith("weight"))
    assert torch.equal(weights_of(Path(run))[first], network.state_dict()[first])


class Harm:
    """A pickle that makes a file where it is executed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("kind", ["archive", "old", "bare"])
def test_a_crafted_file_is_refused_by_name_and_never_executed(cnnkit: Cnnkit, kind: str) -> None:
    if kind == "bare":
        Path("w.pt").write_bytes(pickle.dumps(Harm()))
    else:
        torch.save({"w": Harm()}, "w.pt", _use_new_zipfile_serialization=kind == "archive")
    answer = cnnkit("train", "lenet5", FAKE, "--weights", "w.pt")
    assert answer.code == 6
    (line,) = answer.stderr.splitlines()
    assert "is refused: it holds more than data: it asks for posix.system; nothing in" in line
    assert not Path("executed").exists()
    assert not RUNS.exists()


def test_files_that_are_none_are_refused(cnnkit: Cnnkit, state: dict[str, Tensor]) -> None:
    torch.save(state, "w.pt")
    save_file(state, "w.safetensors")
    Path("cut.pt").write_bytes(Path("w.pt").read_bytes()[:5000])
    Path("cut.safetensors").write_bytes(Path("w.safetensors").read_bytes()[:5000])
    torch.save({"epoch": 3, "lr": 0.1}, "numbers.pt")
    torch.save([torch.ones(1)], "list.pt")
    torch.save({}, "empty.pt")
    Path("w.bin").touch()
    Path("folder.pt").mkdir()
    for name, code, says in (
        ("cut.pt", 6, "cut.pt is refused: torch finds no data in it: it is damaged"),
        ("cut.safetensors", 6, "is refused: it is damaged, or not a safetensors file"),
        ("numbers.pt", 6, "does not hold weights by name, but epoch, lr; save"),
        ("list.pt", 6, "does not hold weights by name, but list; save"),
        ("empty.pt", 6, "does not hold the weights of the network: it lacks"),
        ("gone.pt", 3, f"cannot read the weights {Path('gone.pt').absolute()}: no such file"),
        ("gone", 3, "there is no file and no run 'gone'; make one"),
        ("w.bin", 2, "w.bin does not have the name of a weights file; cnnkit reads .safetensors"),
        ("folder.pt", 3, "folder.pt is not a run folder: it has no run.json"),
    ):
        answer = cnnkit("train", "lenet5", FAKE, "--weights", name)
        assert answer.code == code, answer.stderr
        (line,) = answer.stderr.splitlines()
        assert says in line
    assert not RUNS.exists()
    with pytest.raises(UsageError, match="pretrained and weights contradict each other"):
        Recipe.of(pretrained=True, weights="w.pt")


@pytest.mark.parametrize("name", ["w.pth.tar", "w.bin", "w.ckpt", "w", "w.safetensors.bak"])
def test_weights_are_known_by_how_they_begin(name: str, state: dict[str, Tensor]) -> None:
    for write in (
        lambda: torch.save({"epoch": 3, "state_dict": state}, name),
        lambda: torch.save(state, name, _use_new_zipfile_serialization=False),
        lambda: save_file(state, name),
    ):
        write()
        assert open_weights(name, RUNS).read().keys() == state.keys()
    Path(name).write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UsageError, match="does not have the name of a weights file; cnnkit reads"):
        open_weights(name, RUNS)
    assert not Path("executed").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_said_to_be_those_of_the_file(
    cnnkit: Cnnkit, state: dict[str, Tensor], value: float
) -> None:
    state["3.weight"].view(-1)[5] = value
    torch.save(state, "w.pt")
    answer = cnnkit("train", "lenet5", FAKE, "--weights", "w.pt")
    assert answer.code == 6
    (line,) = answer.stderr.splitlines()
    assert "w.pt holds weights that are not finite (NaN or infinity): 3.weight; name a" in line
    assert not RUNS.exists()


def test_weights_that_are_not_finite_do_no_harm_where_they_are_not_used(
    state: dict[str, Tensor],
) -> None:
    state["11.weight"].fill_(math.nan)
    torch.save(state, "w.pt")
    network = build_model("lenet5", num_classes=4, in_channels=1)
    assert "the last layer is initialized again" in open_weights("w.pt", RUNS).load_into(network)
    mask = nn.Sequential(nn.Linear(2, 2))
    mask.register_buffer("mask", torch.tensor([-math.inf, 0]))
    torch.save(mask.state_dict(), "w.pt")
    open_weights("w.pt", RUNS).load_into(mask)


def test_a_flipped_bit_in_the_numbers_is_noticed(cnnkit: Cnnkit, state: dict[str, Tensor]) -> None:
    torch.save({"state_dict": state, "optimizer": {"momentum": torch.ones(50)}}, "w.pt")
    whole = Path("w.pt").read_bytes()
    for numbers in (state["3.weight"].numpy().tobytes(), torch.ones(50).numpy().tobytes()):
        flipped = bytearray(whole)
        flipped[whole.index(numbers) + len(numbers) // 2] ^= 4
        Path("w.pt").write_bytes(flipped)
        answer = cnnkit("train", "lenet5", FAKE, "--weights", "w.pt")
        assert answer.code == 6
        (line,) = answer.stderr.splitlines()
        assert "is refused: it is damaged: Bad CRC-32 for file 'w/data/" in line


def test_the_weights_of_another_network_are_refused_by_name(state: dict[str, Tensor]) -> None:
    first, bias = list(state)[:2]
    for changed, says in (
        (
            {first: torch.ones(6, 3, 5, 5)},
            f"{first} is 6x3x5x5 in the file, 6x1x5x5 in the network",
        ),
        ({first: torch.tensor(1.0)}, f"{first} is a single number in the file"),
        ({"more": torch.ones(1)}, "it has more, which the network lacks; name the network"),
        ({first: None, bias: None}, f"it lacks {first}, {bias}; name the network"),
        ({first: None, "x": torch.ones(1)}, f"it has x, which the network lacks; it lacks {first}"),
    ):
        torch.save({k: v for k, v in {**state, **changed}.items() if v is not None}, "w.pt")
        with pytest.raises(CheckFailedError, match="does not hold the weights of") as caught:
            trained("w.pt")
        assert says in str(caught.value)
    assert not RUNS.exists()


def test_a_run_without_a_checkpoint_needs_the_very_file(state: dict[str, Tensor]) -> None:
    torch.save(state, "w.pt")
    run = trained("w.pt")
    wanted = weights_of(run)
    (run / "result.json").unlink()
    kept = shutil.copytree(run, "kept")
    content = Path("w.pt").read_bytes()
    Path("w.pt").unlink()
    assert cnnkit.resume(kept, {"weights": "w.pt"}).best_epoch == 1  # its checkpoint has all
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(NotFoundError, match=r"cannot read the weights .*w\.pt: no such file"):
        cnnkit.resume(run)
    Path("w.pt").write_bytes(content[:-1])
    with pytest.raises(CheckFailedError, match="has changed since the run began with its weights"):
        cnnkit.resume(run)
    with pytest.raises(UsageError, match=r"^weights cannot be changed .* was w\.pt, not none"):
        cnnkit.resume(run, {"weights": None})
    Path("w.pt").write_bytes(content)
    cnnkit.resume(run)
    assert all(torch.equal(value, wanted[name]) for name, value in weights_of(run).items())


def test_a_file_that_changes_meanwhile_is_refused(state: dict[str, Tensor]) -> None:
    torch.save(state, "w.pt")
    file = weights_file(Path("w.pt"))
    Path("w.pt").write_bytes(b"x")
    with pytest.raises(CheckFailedError, match=r"w\.pt is not what it was: its SHA-256"):
        file.read()


def test_settings_from_a_file_name_the_weights(cnnkit: Cnnkit, state: dict[str, Tensor]) -> None:
    torch.save(state, "w.pt")
    arguments = ("train", "lenet5", FAKE, "--epochs", "1", "--weights", "w.pt")
    assert cnnkit(*arguments, "--dry-run", "-o", "kept.toml").code == 0
    assert 'weights = "w.pt"\n' in Path("kept.toml").read_text()
    plain = cnnkit("train", "-c", "kept.toml", "--weights", "none", "--dry-run")
    assert "weights" not in plain.stdout
    assert cnnkit("train", "-c", "kept.toml").code == 0
    (run,) = RUNS.iterdir()
    assert json.loads((run / "run.json").read_text())["recipe"]["weights"] == "w.pt"


def test_a_network_without_layers_has_no_last_one() -> None:
    with pytest.raises(UsageError, match="no linear layer or convolution to be its last layer"):
        last_layer(nn.Sequential(nn.Flatten()))
