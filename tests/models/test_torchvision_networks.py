import math

import pytest
import torchvision.models
from torch import nn

from cnnkit.models import ModelEntry, build_model
from tests.models.building import TORCHVISION, count_parameters, run_once, without_weights

ENTRIES = [pytest.param(entry, id=entry.name) for entry in TORCHVISION]
BY_NAME = {entry.name: entry for entry in TORCHVISION}


def _native_weights(entry: ModelEntry) -> list[torchvision.models.Weights]:
    weights = torchvision.models.get_model_weights(entry.name)
    return [one for one in weights if one.transforms().crop_size[0] == entry.input[1]]


def _build_shapes(name: str) -> nn.Module:
    with without_weights():
        network = build_model(name)
    return network.to("meta")


def test_the_list_is_the_live_one() -> None:
    live = torchvision.models.list_models(module=torchvision.models)
    assert sorted(BY_NAME) == sorted(live)


@pytest.mark.parametrize("entry", ENTRIES)
def test_networks_are_as_described_and_train_at_their_smallest_input(entry: ModelEntry) -> None:
    network = _build_shapes(entry.name)
    assert count_parameters(network) == entry.num_params
    assert run_once(network, 3, entry.min_size).shape == (2, 1000)


# maxvit_t pads 223 to 224, but takes no other size.
LIMITED = [one for one in BY_NAME.values() if one.min_size > 1 and one.name != "maxvit_t"]


@pytest.mark.parametrize("entry", LIMITED, ids=lambda entry: entry.name)
def test_networks_take_nothing_smaller(entry: ModelEntry) -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        run_once(_build_shapes(entry.name), 3, entry.min_size - 1)


@pytest.mark.parametrize("name", ["vit_b_32", "maxvit_t"])
def test_networks_of_fixed_size_take_nothing_larger(name: str) -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        run_once(_build_shapes(name), 3, 256)


@pytest.mark.parametrize("name", ["alexnet", "swin_t", "swin_v2_t", "squeezenet1_1", "densenet121"])
def test_the_smallest_input_is_the_same_with_real_tensors(name: str) -> None:
    entry = BY_NAME[name]
    network = build_model(name, num_classes=10)
    assert run_once(network, 3, entry.min_size).shape == (2, 10)
    with pytest.raises(RuntimeError):
        run_once(network, 3, entry.min_size - 1)


@pytest.mark.parametrize("entry", ENTRIES)
def test_parameters_are_the_published_ones(entry: ModelEntry) -> None:
    published = {one.meta["num_params"] for one in _native_weights(entry)}
    if entry.name == "inception_v3":  # counted there with the auxiliary head
        with without_weights():
            head = torchvision.models.inception_v3(init_weights=False).AuxLogits
        assert head is not None
        assert published == {entry.num_params + count_parameters(head)} == {27_161_264}
        assert "27,161,264" in entry.note
    else:
        assert published == {entry.num_params}


@pytest.mark.parametrize("entry", ENTRIES)
def test_figures_are_the_published_ones(entry: ModelEntry) -> None:
    weights = {one.name: one for one in torchvision.models.get_model_weights(entry.name)}
    crops = {name: one.transforms().crop_size[0] for name, one in weights.items()}
    metrics = {name: one.meta["_metrics"]["ImageNet-1K"] for name, one in weights.items()}
    assert entry.input == (3, min(crops.values()), min(crops.values()))
    assert entry.accuracy[0].crop == entry.input[1]
    assert {one.weights for one in entry.accuracy} == {
        name for name in weights if not math.isnan(metrics[name]["acc@1"])
    }
    for one in entry.accuracy:
        assert one.crop == crops[one.weights]
        assert one.top1 == pytest.approx(metrics[one.weights]["acc@1"] / 100, abs=1e-9)
        assert one.top5 == pytest.approx(metrics[one.weights]["acc@5"] / 100, abs=1e-9)
    published = {(crops[name], round(one.meta["_ops"] * 1e9)) for name, one in weights.items()}
    assert {(cost.crop, cost.value) for cost in entry.cost} == published
    assert entry.cost[0].crop == entry.input[1]
