"""Muon for the filters and matrices of a network, AdamW for the rest, as one optimizer."""

import math
from typing import Any

import torch
from torch import Tensor, nn, optim

from cnnkit.models.layer_kinds import hidden_weights
from cnnkit.system.device import has_native_bf16

# Of x, x^3 and x^5: small values grow fast, and none gets beyond 1.3.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
LEAST_NORM = 1e-7


class MuonAndAdamW(optim.Optimizer):
    """Orthogonalized momentum for the layers between the first and the last, AdamW for the rest.

    Biases, norms, and what is no weight of a convolution or a linear layer are AdamW's, and so are
    the first and the last layer, whose rows are pixels and classes.

    Args:
        model: the network, on its device, its weights laid out as they will stay.
        lr: learning rate of Muon.
        lr_rest: learning rate of AdamW.
        momentum: of Muon, always Nesterov's.
        weight_decay: decoupled, of both.

    Attributes:
        parts: Muon, and AdamW where something is left for it.
        found_inf: a flag of shape () on the device; where it is 1 a step changes nothing. None to
            take every step.

    Raises:
        UsageError: there is nothing for Muon.
    """

    found_inf: Tensor | None = None
    _step_supports_amp_scaling = True  # so torch's scaler sets `found_inf`, and does not wait

    def __init__(
        self, model: nn.Module, lr: float, lr_rest: float, momentum: float, weight_decay: float
    ) -> None:
        filters = hidden_weights(model)
        chosen = {id(one) for one in filters}
        rest = [one for one in model.parameters() if one.requires_grad and id(one) not in chosen]
        self.parts: list[optim.Optimizer] = [
            Muon(filters, lr, momentum=momentum, weight_decay=weight_decay)
        ]
        if rest:
            self.parts.append(optim.AdamW(rest, lr_rest, weight_decay=weight_decay, fused=True))
        super().__init__([*filters, *rest], {})
        self._share_groups()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step of both."""
        for part in self.parts:
            part.found_inf = self.found_inf  # type: ignore[attr-defined]
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        """Let whoever changes a learning rate here change that of the part."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]


class Muon(optim.Optimizer):
    """Orthogonalized momentum: the step of `torch.optim.Muon`, in the precision that is fast.

    Torch's own computes in bf16 everywhere, which a processor without it emulates at a quarter of
    the speed of fp32.

    Args:
        filters: what is trained, each of shape (out, in, ...); taken as a matrix of `out` rows.
        lr: learning rate; that of a tall matrix is larger, by the root of rows over columns.
        momentum: always Nesterov's, and an average: what is new comes in with 1 - momentum.
        weight_decay: decoupled.

    Attributes:
        found_inf: a flag of shape () on the device; where it is 1 a step changes nothing, and
            nobody waits for it. None to take every step.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024).
    """

    found_inf: Tensor | None = None

    def __init__(
        self, filters: list[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(filters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                matrix = _rows(weights, weights).view(len(weights), -1)
                gradient = _rows(weights.grad, weights).reshape(matrix.shape)
                state = self.state[weights]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                average = state["momentum_buffer"]
                is_taken: float | Tensor = 1.0
                if self.found_inf is not None:
                    gradient = gradient.where(self.found_inf == 0, 0)
                    is_taken = (self.found_inf == 0).to(matrix.dtype)
                average.lerp_(gradient, is_taken * (1 - momentum))
                update = orthogonalized(gradient.lerp(average, momentum))
                rows, columns = matrix.shape
                matrix.mul_(1 - is_taken * lr * decay)
                matrix.add_(update * is_taken, alpha=-lr * math.sqrt(max(1, rows / columns)))


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


def _rows(tensor: Tensor, weights: Tensor) -> Tensor:
    """Return a tensor of the shape of `weights` whose rows are in the order of their memory."""
    if weights.ndim > 2 and not weights.is_contiguous():  # channels last: (out, height, width, in)
        return tensor.movedim(1, -1)
    return tensor
