"""Networks without weights: how they are made, and that the caller's own is left as it was."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.nn.utils.parametrize import is_parametrized

from cnnkit.architecture.skeleton import build_skeleton, copy_of, skeleton_of
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.models import build_model
from tests.architecture.looking import look, row


def make_network() -> nn.Module:
    """Return a network with state of every kind, some of it at odds with the rest."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    network.train()
    network[1].eval()
    network[3][1].eval()
    network[3].requires_grad_(False)
    return network


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def hooks(network: nn.Module) -> list[list[object]]:
    kinds = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_pre_hooks_with_kwargs",
    )
    return [list(getattr(module, kind).items()) for module in network.modules() for kind in kinds]


def values(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def identities(network: nn.Module) -> list[int]:
    return [id(tensor) for tensor in [*network.parameters(), *network.buffers()]]


def addresses(network: nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in [*network.parameters(), *network.buffers()]]


def versions(network: nn.Module) -> list[int]:
    """How often torch has seen each tensor written to."""
    return [tensor._version for tensor in [*network.parameters(), *network.buffers()]]


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


def trained(network: nn.Module) -> list[bool]:
    return [parameter.requires_grad for parameter in network.parameters()]


def devices(network: nn.Module) -> list[tuple[torch.device, torch.dtype]]:
    return [(tensor.device, tensor.dtype) for tensor in network.state_dict().values()]


def attributes(network: nn.Module) -> list[list[str]]:
    return [sorted(vars(module)) for module in network.modules()]


def outside(_network: nn.Module) -> list[object]:
    """State that belongs to torch, not to the network."""
    return [
        torch.get_rng_state(),
        torch.backends.mha.get_fastpath_enabled(),
        functional.scaled_dot_product_attention,
        nn.Module.register_parameter,
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.utils._python_dispatch._get_current_dispatch_mode(),
        dict(nn.modules.module._global_forward_hooks),
        dict(nn.modules.module._global_forward_pre_hooks),
    ]


STATES: list[Callable[[nn.Module], Any]] = [
    *(modes, hooks, values, identities, addresses, versions, gradients, trained, devices),
    *(attributes, outside),
]


def asks_for_values(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
    return output if output.sum().item() else output * 2


def fails(_module: nn.Module, _args: object, _output: Tensor) -> Tensor:
    raise ValueError("as it was told to")


@pytest.mark.parametrize("how", ["meta", "real", "error", "cross-check"])
@pytest.mark.parametrize("state", STATES, ids=lambda one: one.__name__)
def test_nothing_of_the_callers_network_changes(
    state: Callable[[nn.Module], Any], how: str
) -> None:
    network = make_network()
    network[3].register_forward_pre_hook(lambda _module, _args: None)
    network[6].register_forward_hook(
        {"real": asks_for_values, "error": fails}.get(how, lambda *_: None)
    )
    if how == "cross-check" and state is not modes:
        import fvcore.nn  # noqa: F401  # it changes much of torch when it is first imported
    before = state(network)
    if how == "error":
        with pytest.raises(CnnkitError, match="as it was told to"):
            look(network, 3, 8, 8)
    else:
        result = look(network, 3, 8, 8, batch_size=2, cross_check=how == "cross-check")
        assert result.device == ("cpu" if how == "real" else "meta")
    after = state(network)
    if state is outside:
        assert torch.equal(after.pop(0), before.pop(0))  # the random generator
    if state in (values, gradients):
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    else:
        assert after == before


def test_hooks_of_the_caller_are_not_told_of_the_look() -> None:
    network = make_network()
    seen: list[object] = []
    network[0].register_forward_hook(lambda _module, _args, output: seen.append(output))
    look(network, 3, 8, 8)
    assert all(isinstance(one, Tensor) and one.is_meta for one in seen)


def test_parametrizations_stay() -> None:
    network = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    before = values(network)
    look(network, 3, 8, 8)
    assert is_parametrized(network[0])
    torch.testing.assert_close(values(network), before, rtol=0, atol=0)


def test_a_random_generator_is_left_where_it_is_by_builders_of_the_zoo() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    look("vgg11")
    assert torch.equal(torch.get_rng_state(), before)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning):
        return weight_norm(layer)


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


@pytest.mark.parametrize(
    ("wrap", "more"),
    [
        (parametrizations.weight_norm, 4),
        (old_weight_norm, 4),
        (parametrizations.spectral_norm, 0),
        (spectral_norm, 0),
        (parametrizations.orthogonal, 0),
        (pruned, 0),
    ],
)
def test_reparametrised_layers(wrap: Callable[[nn.Module], nn.Module], more: int) -> None:
    layer = wrap(nn.Conv2d(3, 4, 3))
    assert sum(one.numel() for one in layer.parameters()) == 112 + more
    result = look(nn.Sequential(layer, nn.ReLU()), 3, 8, 8)
    assert result.totals.params == 112 + more
    assert row(result, "0").macs >= 3 * 4 * 9 * 36
    assert row(result, "0").receptive_field == 3
    assert row(result, "0").kernel_size == (3, 3)


class Constant(nn.Module):
    """A network with tensors that are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = torch.ones(3, 1, 1)
        self.many = [torch.ones(3, 1, 1)]
        self.named = {"one": torch.ones(3, 1, 1)}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.plain + self.many[0] + self.named["one"]


def test_tensors_that_are_plain_attributes() -> None:
    network = nn.Sequential(Constant(), nn.Conv2d(3, 1, 1))
    result = look(network, 3, 8, 8)
    assert result.totals.params == 4
    assert row(result, "0").other_flops == 3 * 3 * 64
    assert torch.equal(network[0].plain, torch.ones(3, 1, 1))
    assert network[0].many[0].device.type == "cpu"


def test_a_network_without_weights_that_needs_values() -> None:
    result = look(Constant(), 3, 8, 8)
    assert result.device == "cpu"
    assert result.totals.other_flops == 3 * 3 * 64


def test_tensors_that_depend_on_others_are_copied() -> None:
    network = nn.Sequential(nn.Linear(3, 3))
    network.cache = network[0].weight * 2  # no leaf: deepcopy alone refuses it
    assert look(network, 5, 3).totals.macs == 5 * 9
    assert network.cache.requires_grad


def make_lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4))


def test_lazy_networks() -> None:
    network = make_lazy()
    result = look(network, 3, 8, 8)
    assert result.totals.params == 3 * 8 * 9 + 8 + 16 + 8 * 36 * 4 + 4
    assert result.totals.macs == 3 * 8 * 9 * 36 + 8 * 36 * 4
    assert any(map(torch.nn.parameter.is_lazy, network.parameters()))


def test_regnets_are_built_without_weights_though_they_compute_as_they_are_built() -> None:
    with pytest.raises(Exception), torch.device("meta"):  # noqa: B017, PT011  # of whatever kind
        build_model("regnet_y_400mf")
    network = build_skeleton(lambda: build_model("regnet_y_400mf"))
    assert {one.device.type for one in network.state_dict().values()} == {"meta"}
    assert look("regnet_y_400mf").totals.params == 4_344_144


def test_builders_that_need_all_on_the_cpu_get_it() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)
            self.scale = float(self.linear.weight.norm())

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.linear(x) * self.scale
            return out

    network = build_skeleton(Normalised)
    assert network.linear.weight.device.type == "cpu"
    assert look(network, 4, 3).totals.macs == 4 * 9


def test_what_a_builder_raises_is_not_swallowed() -> None:
    def build() -> nn.Module:
        raise ZeroDivisionError("of the builder")

    with pytest.raises(ZeroDivisionError, match="of the builder"):
        build_skeleton(build)


@pytest.mark.parametrize("make", [skeleton_of, copy_of])
def test_copies_share_nothing_and_keep_what_is_tied(
    make: Callable[[nn.Module], nn.Module],
) -> None:
    network = make_network()
    network[6].weight = nn.Parameter(torch.zeros(4, 8))
    network.tied = network[6].weight
    copied = make(network)
    assert copied.tied is copied[6].weight
    assert modes(copied) == modes(network)
    assert trained(copied) == trained(network)
    assert not set(identities(copied)) & set(identities(network))
    assert not {id(one) for one in copied.modules()} & {id(one) for one in network.modules()}
    if make is copy_of:
        torch.testing.assert_close(values(copied), values(network), rtol=0, atol=0)
        assert not set(addresses(copied)) & set(addresses(network))
    else:
        assert {device.type for device, _ in devices(copied)} == {"meta"}


def test_networks_that_cannot_be_copied_are_refused() -> None:
    class Stubborn(nn.Module):
        def __deepcopy__(self, memo: object) -> "Stubborn":
            raise TypeError("cannot pickle\nthis")

    with pytest.raises(UsageError, match="Stubborn cannot be copied: cannot pickle this"):
        look(Stubborn(), 3)
    with pytest.raises(TypeError):
        copy.deepcopy(Stubborn())
