"""Muon for the filters and matrices of a network, AdamW for the rest, as one optimizer."""

import math
from typing import Any

import torch
from torch import Tensor, nn, optim

from cnnkit.devices import has_native_bf16
from cnnkit.errors import UsageError

# Of x, x^3 and x^5: small values grow fast, and none gets beyond 1.3.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
LEAST_NORM = 1e-7
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class MuonAndAdamW(optim.Optimizer):
    """Orthogonalised momentum for the layers between the first and the last, AdamW for the rest.

    Muon takes matrices alone, so that a filter stands there as (out, in * kernel) in the order of
    its memory: a view, and never a copy. Biases, norms, and what is no weight of a convolution or a
    linear layer are AdamW's, and so are the first and the last layer, whose rows are pixels and
    classes.

    Args:
        model: the network, on its device, its weights laid out as they will stay.
        lr: learning rate of Muon.
        lr_rest: learning rate of AdamW.
        momentum: of Muon, always Nesterov's.
        weight_decay: decoupled, of both.

    Attributes:
        found_inf: a flag of shape () on the device; where it is 1 a step changes no weight. None to
            take every step.

    Raises:
        UsageError: there is nothing for Muon.
    """

    def __init__(
        self, model: nn.Module, lr: float, lr_rest: float, momentum: float, weight_decay: float
    ) -> None:
        self._filters = hidden_weights(model)
        if not self._filters:
            raise UsageError(
                "muon trains the layers between the first and the last, and none is trained here",
                "use --optimizer adamw or sgd",
            )
        chosen = {id(one) for one in self._filters}
        rest = [one for one in model.parameters() if one.requires_grad and id(one) not in chosen]
        self._matrices = [_as_matrix(one.detach()) for one in self._filters]
        self._kept: list[Tensor] = []
        self.found_inf: Tensor | None = None
        self._parts: list[optim.Optimizer] = [
            Muon(self._matrices, lr, momentum=momentum, weight_decay=weight_decay)
        ]
        if rest:
            self._parts.append(optim.AdamW(rest, lr_rest, weight_decay=weight_decay, fused=True))
        super().__init__([*self._matrices, *rest], {})
        self._share_groups()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step of both."""
        for matrix, weights in zip(self._matrices, self._filters, strict=True):
            matrix.grad = None if weights.grad is None else _as_matrix(weights.grad)
        if self.found_inf is None:
            for part in self._parts:
                part.step()
        else:
            self._step_unless(self.found_inf)
        for matrix in self._matrices:  # the memory of a gradient is wanted in the next forward pass
            matrix.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """Let whoever changes a learning rate here change that of the part."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def _step_unless(self, found_inf: Tensor) -> None:
        """Step, and put back what Muon did where the flag is up; nobody waits for the device."""
        muon, *others = self._parts
        if not self._kept:
            self._kept = [torch.empty_like(matrix) for matrix in self._matrices]
        torch._foreach_copy_(self._kept, self._matrices)
        muon.step()
        is_bad = found_inf > 0
        for matrix, kept in zip(self._matrices, self._kept, strict=True):
            torch.where(is_bad, kept, matrix, out=matrix)
        for other in others:  # the fused ones look themselves
            other.found_inf = found_inf  # type: ignore[attr-defined]
            other.step()


class Muon(optim.Optimizer):
    """Orthogonalised momentum: the step of `torch.optim.Muon`, in the precision that is fast.

    Torch's own computes in bf16 everywhere, which a processor without it emulates at a quarter of
    the speed of fp32.

    Args:
        matrices: what is trained, each of shape (rows, columns).
        lr: learning rate; that of a tall matrix is larger, by the root of rows over columns.
        momentum: always Nesterov's, and an average: what is new comes in with 1 - momentum.
        weight_decay: decoupled.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    """

    def __init__(
        self, matrices: list[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                average = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                rows, columns = matrix.shape
                matrix.mul_(1 - lr * group["weight_decay"])
                matrix.add_(
                    orthogonalized(matrix.grad.lerp(average, momentum)),
                    alpha=-lr * math.sqrt(max(1, rows / columns)),
                )


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return a matrix with the singular vectors of another, and singular values near 1.

    They are within 0.6 and 1.3 where those given were not tiny: five steps of a Newton-Schulz
    iteration, whose coefficients are chosen for speed at 0 and not to converge.

    Args:
        matrix: of shape (rows, columns).

    Returns:
        One of the same shape; in bf16 where `matrix` is fp32 and its device multiplies that.
    """
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if x.dtype == torch.float32 and has_native_bf16(x.device):
        x = x.bfloat16()
    x = x / x.norm().clamp(min=LEAST_NORM)
    first, third, fifth = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        odd = torch.addmm(gram, gram, gram, beta=third, alpha=fifth)
        x = torch.addmm(x, odd, x, beta=first)
    return x if x.shape == matrix.shape else x.T


def hidden_weights(model: nn.Module) -> list[Tensor]:
    """Return the trained weights of convolutions and linear layers but the first and the last.

    First and last are so in the order in which the network defines its layers, and whether or not
    they are trained.
    """
    weights: dict[int, Tensor] = {
        id(layer.weight): layer.weight for layer in model.modules() if isinstance(layer, LAYERS)
    }
    return [one for one in list(weights.values())[1:-1] if one.requires_grad]


def _as_matrix(weights: Tensor) -> Tensor:
    """Return (out, in, ...) as (out, the rest in the order of memory), sharing the memory."""
    if weights.ndim > 2 and not weights.is_contiguous():  # channels last: (out, height, width, in)
        weights = weights.movedim(1, -1)
    return weights.view(len(weights), -1)
