"""The parts of torch that it does not promise: what they do, and that nothing else uses any."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import cnnkit
from cnnkit.system import compat
from cnnkit.system.device import has_native_bf16
from tests.architecture.looking import look

PACKAGE = Path(cnnkit.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "compat.py"]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names() -> set[str]:
    """Return every name with an underscore in front that cnnkit itself gives."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            ):
                found.add(node.attr)
    return found


OWN = own_names() | {"_asdict", "_replace"}  # public in spite of their names: of named tuples


def private_uses(path: Path) -> Iterator[str]:
    """Yield what a file uses of others that begins with an underscore."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in OWN:
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("cnnkit"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            if any(map(is_private, names)) or node.module == "unittest.mock":
                yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_parts_of_others_are_used_in_one_place(path: Path) -> None:
    assert list(private_uses(path)) == []


def test_the_instructions_of_the_processor_are_those_of_the_system() -> None:
    found = compat.processor_capabilities()
    information = Path("/proc/cpuinfo")
    if not information.exists() or "avx2" not in found:
        pytest.skip("the system does not list the instructions of an x86 processor")
    flags = information.read_text().split("flags", 1)[1].splitlines()[0].split()
    assert bool(found["avx2"]) == ("avx2" in flags)
    assert bool(found["avx512_bf16"]) == ("avx512_bf16" in flags)
    assert has_native_bf16(torch.device("cpu")) == bool({"avx512_bf16", "amx_bf16"} & set(flags))


def test_operators_on_lists_are_those_on_each() -> None:
    ours = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    ends = [torch.tensor([5.0, 4.0]), torch.tensor([[-1.0]])]
    by_hand = [one + 0.25 * (end - one) for one, end in zip(ours, ends, strict=True)]
    compat.lerp_all(ours, ends, 0.25)
    assert all(map(torch.equal, ours, by_hand))
    compat.copy_all(ours, ends)
    assert all(map(torch.equal, ours, ends))
    assert compat.norms([torch.tensor([3.0, 4.0]), torch.tensor([-2.0])]).tolist() == [5.0, 2.0]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_found(value: float) -> None:
    found, one = torch.zeros(1), torch.ones(1)
    tensors = [torch.tensor([1.0, -3e38])]
    compat.find_not_finite(tensors, found, one)
    assert found.item() == 0
    assert tensors[0].tolist() == torch.tensor([1.0, -3e38]).tolist()
    compat.find_not_finite([torch.ones(2), torch.tensor([0.0, value])], found, one)
    assert found.item() == 1
    compat.find_not_finite([torch.ones(2)], found, one)
    assert found.item() == 1


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_tensors_that_share_memory_share_a_key(device: str) -> None:
    one = torch.zeros(4, device=device)
    other = torch.zeros(4, device=device)
    assert compat.storage_key(one) == compat.storage_key(one[1:].view(3, 1))
    assert compat.storage_key(one) != compat.storage_key(other)


def test_names_of_operators() -> None:
    aten = torch.ops.aten
    assert compat.operator_name(aten.add_.Tensor) == "add_"
    assert compat.overload_name(aten.add_.Tensor) == "Tensor"
    assert compat.is_in_place(aten.add_.Tensor)
    assert not compat.is_in_place(aten.add.Tensor)
    higher = torch.ops.higher_order.cond
    assert compat.operator_name(higher) == "cond"
    assert not compat.is_in_place(higher)


def test_attention_on_meta_is_fused_and_put_back() -> None:
    before = functional.scaled_dot_product_attention
    x = torch.zeros(2, 3, 5, 8, device="meta")
    seen = []

    class Watch(compat.dispatch_mode()):  # type: ignore[misc]
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(compat.operator_name(operator))
            return operator(*args, **(kwargs or {}))

    with compat.fused_attention_on_meta(), Watch():
        assert functional.scaled_dot_product_attention(x, x, x).shape == x.shape
    assert seen == ["_scaled_dot_product_flash_attention_for_cpu"]
    assert functional.scaled_dot_product_attention is before


def test_recurrent_layers_on_real_tensors_are_counted() -> None:
    """oneDNN would run them as one operator without a count."""

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(5, 6, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.lstm(x)[0]
            return out if x.sum().item() == 0 else -out

    enabled = torch._C._get_mkldnn_enabled()
    result = look(Branching(), 7, 5)
    assert (result.device, result.complete) == ("cpu", True)
    assert result.totals.macs == 7 * 4 * (5 * 6 + 6 * 6)
    assert torch._C._get_mkldnn_enabled() == enabled


def test_versions_of_layers_are_kept_by_a_state_dictionary() -> None:
    state = nn.Sequential(nn.BatchNorm2d(3)).state_dict()
    assert compat.layer_versions(state) == {"": {"version": 1}, "0": {"version": 2}}
    compat.set_layer_versions(state, {"0": {"version": 1}})
    assert compat.layer_versions(state) == {"0": {"version": 1}}
    assert compat.layer_versions({}) is None


def test_a_compiled_network_is_found_again() -> None:
    network = nn.Linear(2, 2)
    assert compat.uncompiled(torch.compile(network)) is network  # type: ignore[arg-type]
    assert compat.uncompiled(network) is network
