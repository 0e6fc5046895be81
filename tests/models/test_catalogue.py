import subprocess
import sys

import pytest
import torch

from cnnkit.models import MODELS, ModelEntry, build_model
from cnnkit.models.own_entries import OWN_ENTRIES
from tests.models.building import count_parameters, run_once, without_weights

OWN = [pytest.param(entry, id=entry.name) for entry in OWN_ENTRIES]


def test_own_networks_come_first() -> None:
    assert list(MODELS)[: len(OWN_ENTRIES)] == [entry.name for entry in OWN_ENTRIES]


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


def test_catalogue_and_lookup_import_nothing_heavy() -> None:
    program = (
        "import sys, cnnkit.models as m; m.find_model('vgg16'); m.find_model('lenet5')\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
