"""What other tools say of a network, and that every difference is explained to the last unit."""

import re

import pytest
from torch import Tensor, nn

from cnnkit.architecture.summarize import summary
from cnnkit.models import MODELS
from cnnkit.render import build_tables
from cnnkit.results.summary import SecondOpinion, SummaryResult
from tests.architecture.looking import look


def opinion(result: SummaryResult, source: str, figure: str = "MACs") -> SecondOpinion:
    (found,) = (
        one for one in result.second_opinions or () if (one.source, one.figure) == (source, figure)
    )
    return found


def shares(one: SecondOpinion) -> list[int]:
    """Return what the words say that each reason adds."""
    return [int(text.replace(",", "")) for text in re.findall(r" ([+-][\d,]+)", one.explanation)]


NETWORKS = ["resnet18", "swin_t", "mobilenet_v3_small", "resnet20"]


@pytest.fixture(scope="module", params=NETWORKS)
def checked(request: pytest.FixtureRequest) -> SummaryResult:
    return look(request.param, cross_check=True)


@pytest.mark.parametrize("source", ["torchinfo", "fvcore"])
@pytest.mark.parametrize("figure", ["parameters", "MACs"])
def test_every_difference_is_explained(checked: SummaryResult, source: str, figure: str) -> None:
    one = opinion(checked, source, figure)
    assert one.ours == (checked.totals.params if figure == "parameters" else checked.totals.macs)
    assert one.theirs is not None
    assert one.theirs - one.ours == sum(shares(one))
    assert "not explained" not in one.explanation
    assert ("equal" in one.explanation) == (not shares(one))


def test_torchvision_is_told_what_it_publishes(checked: SummaryResult) -> None:
    sources = {one.source for one in checked.second_opinions or ()}
    costs = MODELS[checked.model].cost
    assert ("torchvision" in sources) == any("torchvision" in cost.source for cost in costs)


def test_asking_others_changes_nothing_else(checked: SummaryResult) -> None:
    from dataclasses import replace

    assert replace(checked, second_opinions=None) == look(checked.model)


def test_biases_and_norms_are_what_torchinfo_counts_more() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 4))
    one = opinion(look(network, 3, 8, 8, cross_check=True), "torchinfo")
    assert one.theirs == one.ours + 8 * 36 + 16 + 4
    assert "biases counted +292" in one.explanation
    assert "norms counted, one value per parameter +16" in one.explanation


def test_tokens_are_what_torchinfo_leaves_out() -> None:
    one = opinion(look(nn.Linear(16, 32), 50, 16, cross_check=True), "torchinfo")
    assert one.ours == 50 * 16 * 32
    assert one.theirs == 16 * 32 + 32
    assert "positions of linear layers left out" in one.explanation


def test_attention_is_what_both_miss() -> None:
    result = look("vit_b_32", cross_check=True)
    assert "attention" in opinion(result, "torchinfo").explanation
    assert "attention missed" in opinion(result, "fvcore").explanation


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_same_padding_is_what_fvcore_misses() -> None:
    network = nn.Conv2d(3, 8, 3, padding="same")
    one = opinion(look(network, 3, 8, 8, cross_check=True), "fvcore")
    assert one.theirs == 0
    assert 'convolutions with padding="same" missed' in one.explanation
    assert "it calls them flops" in one.explanation


def test_fvcore_counts_norms_and_pooling() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1))
    one = opinion(look(network, 3, 8, 8, cross_check=True), "fvcore")
    assert "batch norm counted +384" in one.explanation
    assert "average pooling counted +256" in one.explanation


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.linear(x + y)
        return out


def test_inputs_by_name_are_nothing_for_fvcore() -> None:
    result = summary(Named(), ["x=4:float32", "y=4:float32"], cross_check=True)
    one = opinion(result, "fvcore")
    assert (one.theirs, one.explanation) == (None, "takes no inputs by name")
    assert opinion(result, "torchinfo").theirs == 10


class Asking(Named):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        out: Tensor = self.linear(x)
        return out * float(x.sum().item() + 1)


def test_a_tool_that_fails_is_said_to_fail() -> None:
    result = look(Asking(), 3, 4, cross_check=True)
    assert result.totals.macs == 3 * 4 * 2
    one = opinion(result, "torchinfo")
    assert one.theirs is None
    assert one.explanation.startswith("it fails: ")
    tables = build_tables(result)
    assert tables[-1].name == "second_opinions"
    assert tables[-1].rows[0][2] is None


def test_the_published_figure_belongs_to_its_crop() -> None:
    at_native = look("resnet18", cross_check=True)
    elsewhere = look("resnet18", 3, 192, 192, cross_check=True)
    batch = look("resnet18", batch_size=2, cross_check=True)
    assert opinion(at_native, "torchvision").theirs == 1_814_000_000
    for result in (elsewhere, batch):
        assert {one.source for one in result.second_opinions or ()} == {"torchinfo", "fvcore"}


def test_nobody_is_asked_unless_it_is_wanted() -> None:
    result = look("lenet5")
    assert result.second_opinions is None
    assert [table.name for table in build_tables(result)] == ["layers", "totals"]
