import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import cnnkit.models.zoo
from cnnkit.models import MODELS, ModelEntry, PublishedAccuracy, PublishedCost, build_model
from cnnkit.models.networks import FILE, read_networks
from cnnkit.registry import Catalog
from tests.field_types import check_fields
from tests.models import building
from tests.models.building import count_parameters, run_once, without_weights

OWN = [pytest.param(entry, id=entry.name) for entry in building.OWN]
ROW = """
[[family]]
name = "Tiny"
module = "small_networks"
year = 2026
salient = "next to nothing"
reference = "Nobody, Next to Nothing (2026)"
input = [3, 8, 8]
networks = [
    {{ name = "tiny", title = "Tiny", min_size = 1, num_params = 40, {more} }},
]
"""


def test_own_networks_come_first() -> None:
    names = [entry.name for entry in building.OWN]
    assert list(MODELS)[: len(names)] == names
    assert len(names) + len(building.TORCHVISION) == len(MODELS)


@pytest.mark.parametrize("entry", MODELS.values(), ids=lambda entry: entry.name)
def test_every_field_is_of_its_type(entry: ModelEntry) -> None:
    check_fields(entry)


def test_a_family_names_what_its_file_makes_and_every_file_is_of_a_family() -> None:
    folder = Path(cnnkit.models.zoo.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "initialization"}
    assert modules == {one.builder.split(":")[0].rpartition(".")[2] for one in building.OWN}


def test_a_network_is_a_function_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small_networks.py").write_text(
        "from torch import nn\n\n\n"
        "def tiny(num_classes=10, in_channels=3):\n"
        "    layers = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, num_classes)\n"
        "    return nn.Sequential(*layers)\n"
    )
    file = tmp_path / "networks.toml"
    published = 'accuracy = [{ dataset = "MNIST", top1 = 12.345, source = "here" }]'
    file.write_text(ROW.format(more=f'{published}, cost = [{{ gflops = 0.002, source = "here" }}]'))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("cnnkit.models.build.MODELS", Catalog("model", lambda: read_networks(file)))
    assert count_parameters(build_model("tiny")) == 40
    assert run_once(build_model("tiny", num_classes=7, in_channels=1), 1, 1).shape == (2, 7)
    [entry] = read_networks(file)
    assert (entry.family, entry.builder, entry.input) == ("Tiny", "small_networks:tiny", (3, 8, 8))
    assert entry.accuracy == (PublishedAccuracy("MNIST", 0.12345, None, "", None, "here"),)
    assert entry.cost == (PublishedCost(2_000_000, "FLOPs", "here"),)


@pytest.mark.parametrize(
    "more", ['nmae = "x"', "cost = [{ teraflops = 1, source = '' }]", "accuracy = [{ top1 = 1 }]"]
)
def test_what_is_misspelled_or_left_out_is_an_error(tmp_path: Path, more: str) -> None:
    file = tmp_path / "networks.toml"
    file.write_text(ROW.format(more=more))
    with pytest.raises((TypeError, KeyError)):
        list(read_networks(file))


def test_the_head_of_the_file_explains_every_key() -> None:
    text = FILE.read_text("utf-8")
    explained = set(re.findall(r"^#   (\w+)", text, re.MULTILINE))
    families = tomllib.loads(text)["family"]
    used = {key for family in families for one in (family, *family["networks"]) for key in one}
    assert used - explained <= {"name", "title", "networks", "year", "reference"}


@pytest.mark.parametrize("entry", MODELS.values(), ids=lambda entry: entry.name)
def test_entries_are_complete(entry: ModelEntry) -> None:
    channels, height, width = entry.input
    assert channels in (1, 3)
    assert height == width >= entry.min_size >= 1
    assert not entry.fixed_size or entry.min_size == height
    assert not (entry.fixed_size and entry.takes_size)
    assert entry.title
    assert entry.family
    assert str(entry.year) in entry.reference or entry.name in ("convnet2", "convnet3")
    assert 0 < len(entry.salient) <= 50
    assert all(one.top1 is None or 0 < one.top1 < 1 for one in entry.accuracy)
    assert all(one.top5 is None or (one.top1 or 0) < one.top5 < 1 for one in entry.accuracy)
    assert all(one.value > 10**6 and one.unit in ("MACs", "FLOPs") for one in entry.cost)


@pytest.mark.parametrize("entry", OWN)
def test_own_networks_are_as_described(entry: ModelEntry) -> None:
    network = build_model(entry.name)
    assert count_parameters(network) == entry.num_params
    channels, height, width = entry.input
    with torch.no_grad():
        logits = network.eval()(torch.randn(1, channels, height, width))
    assert logits.shape == (1, entry.num_classes)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("entry", OWN)
def test_own_networks_train_at_their_smallest_input(entry: ModelEntry) -> None:
    channels = entry.input[0]
    size = (entry.min_size, entry.min_size) if entry.takes_size else None
    network = build_model(entry.name, image_size=size)
    logits = run_once(network, channels, entry.min_size)
    assert logits.shape == (2, entry.num_classes)
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("entry", [one for one in OWN if one.values[0].min_size > 1])
def test_own_networks_take_nothing_smaller(entry: ModelEntry) -> None:
    network = build_model(entry.name)
    with pytest.raises(RuntimeError):
        network(torch.randn(2, entry.input[0], entry.min_size - 1, entry.min_size - 1))


@pytest.mark.parametrize(
    "entry", [one for one in OWN if not one.values[0].fixed_size and not one.values[0].takes_size]
)
def test_own_networks_of_any_size_take_any_size(entry: ModelEntry) -> None:
    with without_weights():
        network = build_model(entry.name).to("meta")
    for size in (entry.min_size + extra for extra in (0, 1, 2, 3, 8, 17)):
        logits = run_once(network, entry.input[0], size, size + 5)
        assert logits.shape == (2, entry.num_classes)


@pytest.mark.parametrize("entry", OWN)
def test_own_networks_take_classes_and_channels(entry: ModelEntry) -> None:
    channels = 4 - entry.input[0]  # grey where the network is for colour, and the reverse
    with without_weights():
        network = build_model(entry.name, num_classes=7, in_channels=channels).to("meta")
    assert run_once(network, channels, entry.input[1]).shape == (2, 7)


def test_catalog_and_lookup_import_nothing_heavy() -> None:
    program = (
        "import sys, cnnkit.models as m; m.find_model('vgg16'); m.find_model('lenet5')\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
