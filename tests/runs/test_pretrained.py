"""Weights of torchvision: their file made here from a random network, and served on 127.0.0.1."""

import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn
from torchvision.models import get_model_weights

import cnnkit
from cnnkit import Recipe
from cnnkit.errors import CheckFailedError, InterruptedRunError, UnavailableError, UsageError
from cnnkit.events import Event, Note, ignore
from cnnkit.models import MODELS, build_model, find_model
from cnnkit.runs.pretrained import find_weights
from cnnkit.runs.weights_file import WeightsFile, last_layer
from cnnkit.training.network import adapt_network, set_training_mode

NAME = "shufflenet_v2_x0_5"  # small, with batch norm
FAKE = "fake:3x32x32:4:60"
TORCHVISION = [one for one in MODELS.values() if one.builder.startswith("torchvision")]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's folder of weights, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on 127.0.0.1 with weights of a network, which torchvision takes for its own."""
    folder = tmp_path / "served"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = torchvision.models.get_model(NAME)
    torch.save(network.state_dict(), folder / "weights")
    digest = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()
    file = (folder / "weights").rename(folder / f"{NAME}-{digest[:8]}.pth")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/{file.name}"
        monkeypatch.setattr(get_model_weights(NAME).DEFAULT.value, "url", url)
        yield file
        http.shutdown()
        thread.join()


def load_weights(network: nn.Module, path: Path) -> str:
    """Put what is taken for a file of torchvision into a network."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightsFile("X", path, digest, is_published=True).load_into(network)


def trained(on_event: Callable[[Event], None] = ignore, **settings: object) -> Path:
    recipe = {"epochs": 1, "batch_size": 16, "optimizer": "sgd", "pretrained": True, **settings}
    result = cnnkit.train(
        NAME, FAKE, Recipe.of(**recipe), input=(None, 32, 32), device="cpu",
        on_event=on_event,
    )  # fmt: skip
    return Path(result.run)


def test_a_run_begins_with_the_weights_and_a_new_last_layer(served: Path, hub: Path) -> None:
    notes: list[str] = []
    run = trained(lambda event: notes.append(event.text) if isinstance(event, Note) else None,
                  freeze=True)  # fmt: skip
    assert (hub / served.name).read_bytes() == served.read_bytes()
    assert [path.name for path in hub.iterdir()] == [served.name]
    theirs = torch.load(served, weights_only=True)
    ours = load_file(run / "checkpoints/last/model.safetensors")
    assert ours.keys() == theirs.keys()
    assert ours["fc.weight"].shape == (4, 1024)
    for name, value in theirs.items():  # frozen, its batch norm with it
        assert name.startswith("fc.") or torch.equal(ours[name], value), name
    description = json.loads((run / "run.json").read_text())
    assert description["weights"] == "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"
    assert description["weights_sha256"] == hashlib.sha256(served.read_bytes()).hexdigest()
    preprocessing = description["setup"]["preprocessing"]
    assert preprocessing["mean"] == [0.485, 0.456, 0.406]
    assert preprocessing["std"] == [0.229, 0.224, 0.225]
    text = "\n".join(notes)
    assert "as the weights expect" in text
    assert "starts from ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1 of torchvision" in text
    assert "4,100 parameters are trained" in text

    served.unlink()  # what is there is not asked for again
    trained()
    assert cnnkit.evaluate(run, device="cpu").metrics is not None


def test_the_size_is_that_of_the_weights_unless_another_is_asked_for(served: Path) -> None:
    recipe = Recipe.of(epochs=1, batch_size=8, pretrained=True, freeze=True)
    run = cnnkit.train(NAME, "fake:1x8x8:2:20", recipe, device="cpu").run
    setup = json.loads((Path(run) / "run.json").read_text())["setup"]
    assert setup["image_size"] == [224, 224]
    assert setup["in_channels"] == 3


def test_all_but_the_frozen_part_is_trained(served: Path) -> None:
    theirs = torch.load(served, weights_only=True)
    ours = load_file(trained() / "checkpoints/last/model.safetensors")
    same = [name for name, value in theirs.items() if torch.equal(ours[name], value)]
    assert same == []


def test_a_run_goes_on_without_the_file(served: Path, hub: Path) -> None:
    def stop(event: Event) -> None:
        if type(event).__name__ == "EpochEnded":
            os.kill(os.getpid(), 2)

    with pytest.raises(InterruptedRunError):
        trained(stop, epochs=2, freeze=True)
    (run,) = Path("runs").iterdir()
    straight = trained(epochs=2, freeze=True)
    served.unlink()
    (hub / served.name).unlink()
    cnnkit.resume(run)
    files = [one / "checkpoints/last/model.safetensors" for one in (run, straight)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_file_that_is_not_what_its_name_says_is_refused(served: Path, hub: Path) -> None:
    hub.mkdir(parents=True)
    (hub / served.name).write_bytes(served.read_bytes()[:1000])
    with pytest.raises(CheckFailedError, match=r"its SHA-256 begins with .* remove it"):
        trained()
    (hub / served.name).unlink()
    served.write_bytes(b"something else")
    with pytest.raises(UnavailableError, match="wrong checksum"):
        trained()
    assert list(hub.iterdir()) == []
    served.unlink()
    with pytest.raises(UnavailableError, match=r"404 .*put .*\.pth into .*checkpoints"):
        trained()
    assert not Path("runs").exists()


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, ("harmed",)

    torch.save({"conv1.weight": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(CheckFailedError, match=r"it asks for posix\.mkdir; .* remove it"):
        load_weights(build_model(NAME, num_classes=3), tmp_path / "harm.pth")
    assert not Path("harmed").exists()
    torch.save({"strange": torch.ones(1)}, tmp_path / "strange.pth")
    with pytest.raises(
        CheckFailedError, match=r"it has strange, which the network lacks; .* remove it"
    ):
        load_weights(build_model(NAME, num_classes=3), tmp_path / "strange.pth")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("lenet5", "there are no pretrained weights for lenet5"),
        ("resnet18_table", "networks of torchvision, such as resnet18$"),
        ("linear", "such as resnet18, resnet50"),
    ],
)
def test_networks_without_weights_are_refused(model: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        cnnkit.train(model, FAKE, Recipe.of(pretrained=True), device="cpu")


def test_networks_of_timm_are_refused() -> None:
    pytest.importorskip("timm", reason="needs the extra timm")
    with pytest.raises(UsageError, match="no pretrained weights for timm:resnet18"):
        find_weights(find_model("timm:resnet18"))


@pytest.mark.parametrize("name", [one.name for one in TORCHVISION])
def test_every_network_of_torchvision_has_weights_for_a_size_that_it_takes(name: str) -> None:
    description = find_model(name)
    weights = find_weights(description)
    assert re.fullmatch(r"[0-9a-f]{8,10}", weights.sha256)
    assert weights.url.startswith("https://download.pytorch.org/models/")
    assert len(weights.mean) == len(weights.std) == 3
    if description.fixed_size and description.input is not None:
        assert weights.size == description.input[1:]


def test_googlenet_and_inception_get_the_input_that_torchvision_makes_of_it() -> None:
    pixels = torch.rand(2, 3, 75, 75)
    for name in ("googlenet", "inception_v3"):
        network = torchvision.models.get_model(
            name, weights=None, init_weights=False, transform_input=True
        )
        transforms = get_model_weights(name).DEFAULT.transforms()
        mean, std = (torch.tensor(one)[:, None, None] for one in (transforms.mean, transforms.std))
        theirs = network._transform_input((pixels - mean) / std)
        weights = find_weights(find_model(name))
        mean, std = (torch.tensor(one)[:, None, None] for one in (weights.mean, weights.std))
        torch.testing.assert_close((pixels - mean) / std, theirs)


# One of each way in which torchvision builds a last layer, or reads a file.
@pytest.mark.parametrize(
    "name",
    ["squeezenet1_1", "googlenet", "densenet121", "mobilenet_v3_small", "mnasnet0_5",
     "regnet_y_400mf"],
)  # fmt: skip
def test_the_weights_get_into_every_kind_of_network(name: str, tmp_path: Path) -> None:
    keywords = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    published = torchvision.models.get_model(name, **keywords)
    state = published.state_dict()
    if name.startswith("densenet"):  # as in the files that torchvision serves
        for key in list(state):
            old = re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key)
            state[old] = state.pop(key)
        assert any("norm.1." in key for key in state)
    torch.save(state, tmp_path / "weights.pth")
    network = build_model(name, num_classes=3)
    head = last_layer(network)
    fresh = {key: value.clone() for key, value in network.state_dict().items()}
    load_weights(network, tmp_path / "weights.pth")
    wanted = published.state_dict()
    for key, value in network.state_dict().items():
        if key.startswith(f"{head}."):
            assert torch.equal(value, fresh[key])
            assert value.shape[0] == 3
            assert wanted[key].shape[0] == 1000
        else:
            assert torch.equal(value, wanted[key]), key


def test_freezing_leaves_the_last_layer_and_holds_batch_norm_still() -> None:
    network = build_model("resnet18", num_classes=3)
    recipe = Recipe.of(pretrained=True, freeze=True)
    adapt_network(network, recipe, "resnet18")
    trained = [name for name, one in network.named_parameters() if one.requires_grad]
    assert trained == ["fc.weight", "fc.bias"]
    set_training_mode(network, recipe)
    assert network.training
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    set_training_mode(network, Recipe.of(pretrained=True))
    assert all(m.training for m in network.modules())


def test_dropout_sets_every_layer_of_dropout() -> None:
    network = build_model("alexnet", num_classes=3)
    adapt_network(network, Recipe.of(dropout=0.25), "alexnet")
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
    adapt_network(network, Recipe(), "alexnet")
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
    with pytest.raises(UsageError, match="lenet5 has no dropout layer that dropout could set"):
        cnnkit.train("lenet5", "digits", Recipe.of(dropout=0.5), device="cpu")
    assert not Path("runs").exists()
