import sys
from typing import Any

import pytest
import torch
from torch import nn

from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from cnnkit.models import MODELS, ModelDescription, build_model, find_model
from tests.models.building import run_once, without_weights


def fails(kind: type[Exception], *spec: Any, **keywords: Any) -> tuple[str, str]:
    """Return message and hint of the error that building ends with."""
    with pytest.raises(kind) as caught:
        build_model(*spec, **keywords)
    error: Any = caught.value
    assert type(error) is kind
    assert "\n" not in str(error)
    return error.message, error.hint


def test_an_entry_describes_its_network() -> None:
    found = find_model("LeNet5")
    entry = MODELS["lenet5"]
    assert found == ModelDescription(
        spec="lenet5",
        name="lenet5",
        input=(1, 32, 32),
        min_size=32,
        fixed_size=True,
        takes_classes=True,
        takes_channels=True,
        takes_size=False,
        num_classes=10,
        entry=entry,
    )
    assert not find_model("vgg16").takes_channels


def test_unknown_names() -> None:
    message, hint = fails(NotFoundError, "lenet")
    assert message == "unknown model 'lenet'"
    assert "lenet5" in hint
    with pytest.raises(NotFoundError):
        find_model("resnet19")


def test_arguments_reach_the_network() -> None:
    network = build_model("mlp", arguments={"hidden": "512,128", "activation": "tanh"})
    kinds = [type(layer).__name__ for layer in network.children()]
    assert kinds == ["Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear"]
    assert [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)] == [
        512,
        128,
        10,
    ]
    assert any(
        isinstance(layer, nn.GELU)
        for layer in build_model(
            "mlp", arguments={"activation": "gelu", "dropout": "0.1"}
        ).modules()
    )


def test_networks_without_convolutions_take_any_image() -> None:
    for name in ("mlp", "linear"):
        network = build_model(name, num_classes=3, in_channels=3, image_size=(5, 7))
        assert run_once(network, 3, 5, 7).shape == (2, 3)


def test_weights_come_from_torchs_generator() -> None:
    def drawn(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return list(build_model("resnet20").parameters())

    first, same, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])


def test_arguments_of_torchvision_are_read_as_python_writes_them() -> None:
    with without_weights():
        network = build_model("vgg11", num_classes=2, arguments={"dropout": "0.3"})
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(
    ("name", "arguments", "message", "hint"),
    [
        ("mlp", {"hiden": "3"}, "mlp takes no argument 'hiden'", "did you mean hidden? it takes "),
        ("mlp", {"hidden": "a"}, "hidden of mlp cannot be 'a'", "give integers"),
        ("mlp", {"hidden": "0"}, "mlp cannot be built with hidden=0", "at least one unit"),
        ("mlp", {"activation": "sin"}, "activation of mlp cannot be 'sin'", "one of relu, tanh"),
        ("lenet5", {"depth": "3"}, "lenet5 takes no argument 'depth'", "it takes none"),
        ("lenet5", {"num_classes": "3"}, "num_classes cannot be set", "comes from the dataset"),
        ("vgg11", {"dropuot": "1"}, "vgg11 cannot be built with dropuot=1", "unexpected keyword"),
        ("vgg11", {"dropout": "7"}, "vgg11 cannot be built with dropout=7", "between 0 and 1"),
        ("vgg11", {"weights": "DEFAULT"}, "weights of vgg11 cannot be set", "leave it out"),
        ("googlenet", {"aux_logits": "1"}, "aux_logits of googlenet cannot be set", "leave it"),
        (
            "alexnet_2012",
            {"groups": "5"},
            "alexnet_2012 cannot be built with groups=5",
            "divisible",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    name: str, arguments: dict[str, str], message: str, hint: str
) -> None:
    with without_weights():
        told = fails(UsageError, name, arguments=arguments)
    assert told[0].startswith(message)
    assert hint in told[1]


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("lenet5", {"num_classes": 0}, "num_classes is 0"),
        ("lenet5", {"in_channels": -1}, "in_channels is -1"),
        ("vgg16", {"in_channels": 1}, "vgg16 takes images of 3 channels, not 1"),
        ("mlp", {"image_size": (0, 8)}, "an image of 0x8 has no pixels"),
        ("lenet5", {"image_size": (28, 28)}, "lenet5 only takes images of 32x32, not 28x28"),
        ("vgg16", {"image_size": (64, 31)}, "images of 64x31 are too small for vgg16"),
    ],
)
def test_images_that_do_not_fit(name: str, keywords: dict[str, Any], message: str) -> None:
    told, hint = fails(UsageError, name, **keywords)
    assert told == message
    assert hint


def test_a_mistake_of_ours_is_not_told_as_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(num_classes: int = 10, in_channels: int = 1) -> nn.Module:
        raise TypeError("ours")

    monkeypatch.setattr("cnnkit.models.zoo.lenet.lenet5", broken)
    with pytest.raises(TypeError, match="ours"):
        build_model("lenet5")


class TestTimm:
    """Networks of timm."""

    @pytest.fixture(autouse=True)
    def _with_timm(self) -> None:
        pytest.importorskip("timm")

    def test_description(self) -> None:
        found = find_model("timm:resnet18")
        assert found == ModelDescription(
            spec="timm:resnet18",
            name="timm_resnet18",
            input=(3, 224, 224),
            min_size=None,
            fixed_size=False,
            takes_classes=True,
            takes_channels=True,
            takes_size=False,
            num_classes=1000,
        )
        fixed = find_model("timm:vit_tiny_patch16_224")
        assert (fixed.min_size, fixed.fixed_size) == (224, True)
        assert find_model("timm:vit_base_patch14_dinov2").num_classes is None  # has no head

    def test_building(self) -> None:
        network = build_model(
            "timm:resnet18", num_classes=4, in_channels=1, arguments={"drop_rate": "0.25"}
        )
        assert run_once(network, 1, 64).shape == (2, 4)
        assert network.drop_rate == 0.25

    def test_unknown_names(self) -> None:
        message, hint = fails(NotFoundError, "timm:resnet19")
        assert message == "timm has no model 'resnet19'"
        assert hint.startswith("did you mean resnet1")
        assert "timm.list_models()" in fails(NotFoundError, "timm:")[1]
        message, hint = fails(NotFoundError, "timm:resnet18.no_such_weights")
        assert hint == "did you mean resnet18?"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"in_chans": "1"}, "in_chans cannot be set by model_arguments"),
            ({"img_size": "32"}, "img_size cannot be set by model_arguments"),
            (
                {"pretrained": "true"},
                "pretrained of timm:resnet18 cannot be set by model_arguments",
            ),
            ({"dorp": "1"}, "timm cannot build resnet18: TypeError: "),
        ],
    )
    def test_arguments_that_do_not_fit(self, arguments: dict[str, str], message: str) -> None:
        assert fails(UsageError, "timm:resnet18", arguments=arguments)[0].startswith(message)


def test_timm_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    message, hint = fails(UnavailableError, "timm:resnet18")
    assert message == "networks of timm need the package timm"
    assert hint == "`pip install timm` brings it"
