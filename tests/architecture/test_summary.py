"""The totals of networks that others have counted, and rows of unusual ones."""

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import get_args

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

import cnnkit
from cnnkit.architecture import summarize as summarising
from cnnkit.architecture.activations import NUM_STATES
from cnnkit.architecture.summarize import summary
from cnnkit.errors import UsageError
from cnnkit.events import Event, Note
from cnnkit.models import ModelEntry, build_model
from cnnkit.render import build_tables
from cnnkit.runs.recipe import Optimizer, Recipe
from cnnkit.training.optimizers import make_optimizer
from tests.architecture.looking import look, row
from tests.models.building import TORCHVISION

# Multiply-accumulates of one image, as others have counted them exactly.
KNOWN_MACS = {
    "vit_b_16": 17_563_828_224,
    "alexnet": 714_188_480,
    "vgg16": 15_470_264_320,
    "googlenet": 1_498_376_192,
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "mobilenet_v2": 300_774_272,
    "alexnet_2012": 1_135_256_096,
    "vgg19": 19_632_062_464,
    "resnet152": 11_513_626_624,
}
# The metadata counts them with the auxiliary heads, which take part in training alone.
AUXILIARY_PARAMS = {"inception_v3": 27_161_264 - 23_834_568}


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_networks_of_torchvision_agree_with_their_metadata(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what autograd keeps is measured elsewhere, and takes as long as all the rest
    monkeypatch.setattr(summarising, "saved_bytes", lambda *_: None)
    weights = next(
        one
        for one in torchvision.models.get_model_weights(entry.name)
        if one.transforms().crop_size[0] == entry.input[1]
    )
    result = look(entry.name)
    more = AUXILIARY_PARAMS.get(entry.name, 0)
    assert result.totals.params == weights.meta["num_params"] - more
    published = weights.meta["_ops"] * 1e9
    assert abs(result.totals.macs - published) <= max(0.002 * published, 0.6e6)
    assert result.totals.macs == KNOWN_MACS.get(entry.name, result.totals.macs)
    assert result.device == "meta"
    assert not result.is_lower_bound
    assert result.remarks == ()
    totals = result.totals
    assert totals.flops == 2 * totals.macs
    for figure in ("params", "trainable_params", "macs", "other_flops", "activation_bytes"):
        assert sum(getattr(one, figure) for one in result.layers) == getattr(totals, figure)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32"])
def test_memory_of_training_is_the_sum_of_its_parts(name: str) -> None:
    result = look(name)
    totals = result.totals
    assert totals.training_bytes is not None
    assert totals.saved_bytes is not None
    assert result.gradient_bytes == 4 * totals.params
    assert result.optimizer_bytes == 2 * result.gradient_bytes
    assert totals.training_bytes == (
        totals.weight_bytes + result.gradient_bytes + result.optimizer_bytes + totals.saved_bytes
    )


def test_the_2012_network_has_its_counts() -> None:
    assert look("alexnet_2012").totals.macs == KNOWN_MACS["alexnet_2012"]
    grouped = look("alexnet_2012", arguments={"groups": "2"}).totals
    assert (grouped.params, grouped.macs) == (60_965_224, 724_406_816)


def test_everything_grows_with_the_batch_but_the_weights() -> None:
    one, five = look("resnet18").totals, look("resnet18", batch_size=5).totals
    for figure in ("macs", "flops", "other_flops", "activation_bytes"):
        assert getattr(five, figure) == 5 * getattr(one, figure)
    assert five.params == one.params
    assert five.weight_bytes == one.weight_bytes
    assert look("resnet18", batch_size=5).layers[1].output_shape == (5, 64, 112, 112)


def test_halved_numbers_take_half_the_bytes() -> None:
    full, half = look("vgg11"), look("vgg11", dtype="bfloat16")
    for figure in ("weight_bytes", "activation_bytes"):
        assert getattr(half.totals, figure) * 2 == getattr(full.totals, figure)
    assert half.weight_bytes_by_dtype == {"bfloat16": half.totals.weight_bytes}
    assert half.totals.macs == full.totals.macs


@pytest.mark.parametrize(
    ("optimizer", "states"), [("adam", 2), ("adamw", 2), ("sgd", 1), ("plain-sgd", 0)]
)
def test_state_of_optimizers_is_what_torch_keeps(optimizer: str, states: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 4))
    torch_optimizer: torch.optim.Optimizer
    if optimizer == "adam":
        torch_optimizer = torch.optim.Adam(network.parameters())
    elif optimizer == "adamw":
        torch_optimizer = torch.optim.AdamW(network.parameters())
    else:
        momentum = 0.9 if optimizer == "sgd" else 0
        torch_optimizer = torch.optim.SGD(network.parameters(), momentum=momentum)
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    torch_optimizer.step()
    kept = sum(
        value.numel() * value.element_size()
        for state in torch_optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.dim()
    )
    gradients = sum(one.grad.nbytes for one in network.parameters() if one.grad is not None)
    result = look(network, 3, 8, 8, optimizer=optimizer)
    assert (result.optimizer_bytes, result.gradient_bytes) == (kept, gradients)
    assert kept == states * gradients


# Unusual networks


class Twice(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.again = self.first

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.again(self.relu(self.first(x)))
        return out


def test_a_module_in_two_places_counts_once_and_runs_twice() -> None:
    result = look(Twice(), 4, 8, 8)
    assert [one.name for one in result.layers] == ["", "first", "relu"]
    first = row(result, "first")
    assert (first.params, first.count) == (4 * 4 * 9 + 4, 2)
    assert first.macs == 2 * 4 * 4 * 9 * 64
    assert result.totals.params == first.params
    shown = " ".join(note for table in build_tables(result) for note in table.notes)
    assert "first" in shown


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.head = nn.Linear(16, 100)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.embedding(ids))
        return out


def test_tied_weights_count_once_and_it_is_said() -> None:
    result = summary(Tied(), "ids=16:int64")
    assert result.totals.params == 1600 + 100
    assert result.totals.weight_bytes == 4 * 1700
    assert (row(result, "embedding").params, row(result, "head").params) == (1600, 100)
    assert [one.name for one in result.layers if one.shared] == ["head"]
    assert row(result, "head").macs == 16 * 16 * 100
    notes = [note for table in build_tables(result) for note in table.notes]
    assert "parameters shared with an earlier layer count once, there: head" in notes


def test_frozen_parameters_are_told_apart() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    for parameter in [*network[0].parameters(), network[1].bias]:
        parameter.requires_grad_(False)
    result = look(network, 3, 8, 8)
    assert (result.totals.params, result.totals.trainable_params) == (112 + 8 + 74, 4 + 74)
    assert [one.trainable for one in result.layers] == [None, False, False, True]
    assert [one.trainable_params for one in result.layers] == [0, 0, 4, 74]
    assert result.gradient_bytes == 4 * 78
    layers, totals = build_tables(result)
    assert "trained" in [column.title for column in layers.columns]
    assert totals.rows[0] == ("parameters", "194", "78 trained, 116 frozen")


def test_a_network_that_is_frozen_keeps_nothing_for_training() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).requires_grad_(False)
    result = look(network, 3, 8, 8)
    assert (result.gradient_bytes, result.optimizer_bytes, result.totals.saved_bytes) == (0, 0, 0)
    assert result.totals.training_bytes == result.totals.weight_bytes


class Idle(nn.Module):
    """A network with a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Sequential(nn.Linear(3, 5))
        self.used = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


def test_modules_that_never_run_have_parameters_and_no_cost() -> None:
    result = look(Idle(), 4, 3)
    assert [one.name for one in result.layers] == ["", "used", "idle", "idle.0"]
    idle = row(result, "idle.0")
    assert (idle.count, idle.input_shape, idle.output_shape) == (0, None, None)
    assert (idle.params, idle.macs, idle.receptive_field) == (20, 0, None)
    assert result.totals.params == 20 + 8


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.embedding = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, image: Tensor, ids: Tensor, scale: float = 1.0) -> Tensor:
        pooled = self.conv(image).mean(dim=(2, 3)) * scale
        out: Tensor = self.head(pooled + self.embedding(ids).sum(dim=1))
        return out


@pytest.mark.parametrize(
    "inputs",
    [
        ["3x8x8", "16:int64"],
        [(3, 8, 8), "ids=16:int64"],
        ["ids=16:int64", "image=3x8x8"],
    ],
)
def test_several_inputs(inputs: list[object]) -> None:
    result = summary(TwoInputs(), inputs, batch_size=2)
    assert result.totals.macs == 2 * (3 * 8 * 9 * 36 + 16)
    assert row(result, "embedding").input_shape == (2, 16)
    assert row(result, "conv").input_shape == (2, 3, 8, 8)
    assert result.complete


@pytest.mark.parametrize("given", [(7,), [7]])
def test_a_sequence_of_one_size_is_a_vector(given: object) -> None:
    result = summary(nn.Linear(7, 3), given)
    assert result.layers[0].input_shape == (1, 7)
    assert {one.receptive_field for one in result.layers} == {None}


def test_a_number_is_the_side_of_a_square() -> None:
    result = summary("vgg11", 64)
    assert result.input == "3x64x64"


class Branching(nn.Module):
    """Asks for the values of its images."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        if self.how == "if" and x.sum() > 0:
            return out * 2
        if self.how == "item":
            return out * float(x.sum().item())
        if self.how == "list":
            return out * len(x.sum(dim=(1, 2, 3)).tolist())
        if self.how == "nonzero":
            return out[(x.sum(dim=(1, 2, 3)) >= 0).nonzero().flatten()]
        if self.how == "numpy":
            return out * float(x.sum().numpy())
        return out


@pytest.mark.parametrize("how", ["if", "item", "list", "nonzero", "numpy"])
def test_networks_that_need_values_are_given_them_and_it_is_said(how: str) -> None:
    events: list[Event] = []
    result = look(Branching(how), 3, 8, 8, on_event=events.append)
    same = look(Branching("never"), 3, 8, 8)
    assert result.device == "cpu"
    assert same.device == "meta"
    (remark,) = result.remarks
    assert remark == "computed with real tensors because Branching needs their values"
    assert [type(one) for one in events] == [Note]
    assert row(result, "conv") == row(same, "conv")
    assert result.totals.macs == same.totals.macs
    assert result.totals.params == same.totals.params
    assert result.totals.saved_bytes is not None


def test_batch_norm_of_one_value_does_not_train() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4))
    result = look(network, 3, 8, 8)
    assert (result.totals.training_bytes, result.totals.saved_bytes) == (None, None)
    (remark,) = result.remarks
    assert remark.startswith("it does not run in training: ")
    assert remark.endswith("; give a batch_size of 2 or more")
    totals = next(table for table in build_tables(result) if table.name == "totals")
    assert ("training step", "unknown") in [one[:2] for one in totals.rows]
    assert look(network, 3, 8, 8, batch_size=2).totals.saved_bytes is not None


def test_a_network_without_layers() -> None:
    result = look(nn.Identity(), 3, 4, 4)
    assert (result.totals.params, result.totals.macs, result.totals.weight_bytes) == (0, 0, 0)
    assert [table.name for table in build_tables(result)] == ["layers", "totals"]


def test_depth_is_the_longest_way_through_layers_with_weights() -> None:
    depths = {"vgg16": 16, "resnet18": 18, "resnet152": 152, "alexnet_2012": 8, "googlenet": 22}
    assert {name: look(name).num_weighted_layers for name in depths} == depths


# Where networks come from


def test_networks_of_timm() -> None:
    timm = pytest.importorskip("timm")
    result = look("timm:resnet18")
    network = timm.create_model("resnet18")
    assert result.totals.params == sum(one.numel() for one in network.parameters())
    assert result.totals.macs == KNOWN_MACS["resnet18"]


def test_a_factory_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        textwrap.dedent(
            """
            from torch import nn

            def make(width=4):
                return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * 36, 2))
            """
        )
    )
    result = look("net.py:make", 3, 8, 8)
    assert result.model == "net.py:make"
    assert result.totals.params == 112 + 290
    wide = look("net.py:make", 3, 8, 8, arguments={"width": "8"})
    assert wide.totals.params == 224 + 578


def test_the_verb_of_the_package_takes_a_module() -> None:
    result = cnnkit.summary(nn.Conv2d(3, 8, 3), input=(3, 224, 224))
    assert result.totals.macs == 3 * 8 * 9 * 222 * 222
    assert result.model == "Conv2d"


def test_wrapped_modules_are_looked_through() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    expected = look(inner, 3, 8, 8)
    for wrapped in (torch.compile(inner), nn.DataParallel(inner)):
        assert look(wrapped, 3, 8, 8) == expected


def test_scripted_modules_are_counted_or_refused_in_one_line() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    try:
        result = look(scripted, 3, 8, 8)
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert result.totals.macs == 3 * 4 * 9 * 36


def test_zoo_networks_built_as_asked() -> None:
    result = look("resnet20", 1, 32, 32, num_classes=7)
    network = build_model("resnet20", num_classes=7, in_channels=1)
    assert result.totals.params == sum(one.numel() for one in network.parameters())
    assert result.layers[0].output_shape == (1, 7)


def test_nothing_is_allocated() -> None:
    """The weights of VGG-16 alone would be 553 MB."""
    code = """
        import resource, sys
        import torch, torchvision
        from cnnkit.architecture.summarize import summary
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        summary("vgg16")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 120_000  # KiB


def test_the_optimizers_of_training_are_known() -> None:
    assert {*get_args(Optimizer), "plain-sgd"} == set(NUM_STATES)


def test_the_state_of_muon_is_what_training_keeps() -> None:
    network = build_model("resnet20")
    recipe = Recipe.of(optimizer="muon").resolved()
    trained = make_optimizer(network, recipe)
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    trained.step()
    kept = sum(
        value.nbytes
        for part in trained.parts  # type: ignore[attr-defined]
        for state in part.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.dim()
    )
    assert look("resnet20", 3, 32, 32, optimizer="muon").optimizer_bytes == kept
    with pytest.raises(UsageError, match="muon trains the layers between the first and the last"):
        look("linear", 1, 8, 8, optimizer="muon")
