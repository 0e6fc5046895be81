"""Bytes told from meta against bytes measured on the CPU."""

import json
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.architecture.activations import bytes_by_dtype
from cnnkit.models import build_model
from tests.architecture.looking import look
from tests.models.building import without_weights


def measured_saved_bytes(network: nn.Module, *inputs: Tensor) -> int:
    """Return the bytes of real memory that autograd holds on to, beside that of the network."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    held: dict[int, Tensor] = {}

    def hold(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        network.train()(*inputs)
    return sum(
        tensor.untyped_storage().nbytes() for address, tensor in held.items() if address not in own
    )


def test_saved_bytes_of_resnet50_are_those_of_the_cpu() -> None:
    result = look("resnet50", batch_size=2)
    assert result.device == "meta"
    with without_weights():
        network = build_model("resnet50")
    network.to_empty(device="cpu")
    assert result.totals.saved_bytes == measured_saved_bytes(network, torch.rand(2, 3, 224, 224))


class Ways(nn.Module):
    """Work that is kept once, twice, as a view, as a mask, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(24)
        self.attention = nn.MultiheadAttention(24, 3, batch_first=True)
        self.linear = nn.Linear(24, 24)
        self.frozen = nn.Linear(24, 24).requires_grad_(False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + self.dropout(functional.gelu(self.linear(x)))
        x = x * x.sigmoid() + self.frozen(x)[:, ::2].mean(dim=1, keepdim=True)
        return functional.softmax(x, dim=-1).amax(dim=1)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_saved_bytes_of_many_kinds_of_work(batch_size: int) -> None:
    network = Ways()
    x = torch.rand(batch_size, 10, 24)
    expected = measured_saved_bytes(network, x)
    assert look(network, 10, 24, batch_size=batch_size).totals.saved_bytes == expected


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("lenet5", {}, (1, 32, 32)),
        ("resnet20", {}, (3, 32, 32)),
        ("mobilenet_v3_small", {}, (3, 64, 64)),
        ("squeezenet1_1", {}, (3, 64, 64)),
        ("shufflenet_v2_x0_5", {}, (3, 64, 64)),
        ("densenet121", {}, (3, 32, 32)),
    ],
)
def test_saved_bytes_of_the_zoo(
    name: str, arguments: dict[str, str], shape: tuple[int, ...]
) -> None:
    network = build_model(name, arguments=arguments)
    expected = measured_saved_bytes(network, torch.rand(2, *shape))
    assert look(name, *shape, batch_size=2).totals.saved_bytes == expected


def test_the_profiler_of_torch_sees_as_many_bytes_stay() -> None:
    """After a forward pass in training there are the saved tensors and the logits."""
    code = """
        import json, torch
        from torch.profiler import ProfilerActivity, profile
        from cnnkit.models import build_model
        network = build_model("resnet50").train()
        x = torch.rand(2, 3, 224, 224)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            logits = network(x)
        stay = sum(one.self_cpu_memory_usage for one in profiler.key_averages())
        print(json.dumps({"stay": stay, "input": x.nbytes, "logits": logits.nbytes}))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    saved = look("resnet50", batch_size=2).totals.saved_bytes
    assert saved == seen["stay"] - seen["logits"] + seen["input"]


class Residual(nn.Module):
    """Linear layers whose tensors live for long, or for short."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(16, 100, bias=False)
        self.narrow = nn.Linear(100, 16, bias=False)
        self.last = nn.Linear(32, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.narrow(functional.relu(self.wide(x)))
        y = torch.cat([y, functional.gelu(x)], dim=1)
        out: Tensor = self.last(y).exp()
        return out


def test_the_peak_of_inference_is_what_the_profiler_sees() -> None:
    """The allocations of the CPU, added up in the order in which they were made."""
    network = Residual().eval()
    x = torch.rand(64, 16)
    with (
        torch.no_grad(),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as profiler,
    ):
        network(x)
    live = peak = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert peak > 64 * 100 * 4
    totals = look(network, 16, batch_size=64).totals
    assert totals.inference_bytes == totals.weight_bytes + x.nbytes + peak


def test_the_peak_of_inference_by_hand() -> None:
    network = nn.Sequential(nn.Linear(8, 100), nn.ReLU(), nn.Linear(100, 4))
    totals = look(network, 8, batch_size=2).totals
    # the input, which whoever called still holds, and both sides of the activation
    assert totals.inference_bytes - totals.weight_bytes == 2 * 4 * (8 + 100 + 100)
    # in place there is only one side
    network[1] = nn.ReLU(inplace=True)
    totals = look(network, 8, batch_size=2).totals
    assert totals.inference_bytes - totals.weight_bytes == 2 * 4 * (8 + 100 + 4)


def test_weights_are_told_by_dtype_and_each_memory_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 8), nn.Linear(8, 8))
    network[3].weight = network[2].weight
    network[2].bias = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    floats = (3 * 8 * 9 + 8) + 2 * 8 + 2 * 8 + 64 + 8
    assert bytes_by_dtype(network) == {"float32": 4 * floats, "float64": 64, "int64": 8}
    on_disk = {name: tensor for name, tensor in network.state_dict().items() if name != "3.weight"}
    assert sum(bytes_by_dtype(network).values()) == sum(t.nbytes for t in on_disk.values())
