"""One training step: forward, backward, checks, clipping, and the optimizer step."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from cnnkit.events import Warned, emit
from cnnkit.models.layer_kinds import has_batch_norm
from cnnkit.runs.recipe import Recipe
from cnnkit.system.compat import copy_all, find_not_finite, norms
from cnnkit.system.device import autocast
from cnnkit.system.memory import is_out_of_memory
from cnnkit.system.randomness import random_state, set_random_state
from cnnkit.training.network import Compiled
from cnnkit.training.optimizers import make_optimizer, make_schedule
from cnnkit.training.saved_state import (
    SavedStepper,
    checked_random,
    load_optimizer,
    load_scaler,
    load_schedule,
)
from cnnkit.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from cnnkit.training.distributed_step import DistributedStep

MIN_PART = 2  # images: batch norm cannot train on one


@dataclass(frozen=True, eq=False)
class Step:
    """The result of a step, on the device.

    Attributes:
        loss: mean over the batch, of shape ().
        found_inf: of shape (); 1 where the loss or a gradient is not finite, and then no weight is
            changed.
        logits: of shape (B, K).
        num_images: of the full batch.
        num_correct: correct predictions in the full batch, of shape (); None where all its
            logits are here.
    """

    loss: Tensor
    found_inf: Tensor
    logits: Tensor
    num_images: int
    num_correct: Tensor | None = None


@dataclass(frozen=True)
class WholeBatch:
    """The full batch of which a process has a part.

    Attributes:
        num_images: how many it has, in all processes together.
        counts: False where the part is one that counts elsewhere; see `Shard.counts`.
    """

    num_images: int
    counts: bool = True


class NotFiniteError(Exception):
    """The loss or the norm of the gradient is not finite; the weights were not changed.

    Attributes:
        what: `the loss is nan`.
    """

    def __init__(self, loss: float) -> None:
        self.what = (
            "the norm of the gradient is not finite"
            if math.isfinite(loss)
            else f"the loss is {loss}"
        )
        super().__init__(self.what)


class Stepper:
    """One optimizer step after another, as a recipe says.

    On a GPU nothing waits for the metrics of a step. There a flag on the device stops the
    optimizer from the first step whose loss or gradient is not finite, which is found when the
    metrics are read; see `NotFiniteError`.

    The weights and the loss are fp32 in every precision. In fp16 small gradients would be 0, so the
    loss is scaled up, and a step whose gradients that made infinite is left out (Micikevicius et
    al., Mixed precision training, 2018).

    Args:
        model: the network, on its device.
        recipe: every setting, resolved.
        steps_per_epoch: how many batches a pass has.
        device: where the network is.
        precision: in which the network computes; see `autocast`.
        compiled: the network compiled for one number of images; others are taken as they are, so
            that each number has one way to be computed. None for none.
        optimizer: of the parameters of the network; None to make the one of the recipe.

    Attributes:
        device: where the network is.
        learning_rate: that of the last step.
        num_parts: number of parts that a batch is split into.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        steps_per_epoch: int,
        device: torch.device,
        precision: str = "fp32",
        compiled: Compiled | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.model = model
        self.optimizer = make_optimizer(model, recipe) if optimizer is None else optimizer
        self.schedule = make_schedule(self.optimizer, recipe, steps_per_epoch)
        self.average = WeightAverage(model, recipe.ema) if recipe.ema is not None else None
        self.learning_rate = float(self.optimizer.param_groups[0]["lr"])
        self.num_parts = recipe.accumulate
        self._recipe = recipe
        self.device = device
        self._parameters = [one for one in model.parameters() if one.requires_grad]
        self._buffers = list(model.buffers())
        self._kept_buffers = [torch.empty_like(buffer) for buffer in self._buffers]
        self._precision = precision
        self._compiled = compiled
        self._is_gated = device.type == "cuda"
        self._found_inf = torch.zeros((), device=device)
        self._one = torch.ones((), device=device)
        self._scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
        self._has_stepped = False
        # The optimizers do nothing where this is 1. In fp16 the scaler holds them back: gradients
        # are infinite with a loss that is not finite, and now and then with one that is.
        if self._is_gated and self._scaler is None:
            self.optimizer.found_inf = self._found_inf  # type: ignore[attr-defined]

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated: the average where there is one."""
        return self.model if self.average is None else self.average.model

    def take(self, images: Tensor, labels: Tensor, whole: WholeBatch | None = None) -> Step:
        """Take a step.

        Args:
            images: of shape (B, C, H, W).
            labels: class indices of shape (B,), or class probabilities of shape (B, K).
            whole: the batch that these are part of; these are all of it by default.

        Raises:
            NotFiniteError: before the weights change; on a GPU the metrics show it instead.
        """
        whole = whole or WholeBatch(len(labels))
        loss, logits, num_correct = self._set_gradients(images, labels, whole)
        gradients = [one.grad for one in self._parameters if one.grad is not None]
        judged = gradients
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
            judged = []
        if self._recipe.clip_grad is not None:
            # as torch's get_total_norm, which imports the distributed half of torch first
            norm = torch.linalg.vector_norm(norms(gradients))
            clip_grads_with_norm_(self._parameters, self._recipe.clip_grad, norm)
            judged = [norm] if self._scaler is None else []
        find_not_finite([loss, *judged], self._found_inf, self._one)
        if not self._is_gated and self._found_inf:  # the CPU needs no synchronization
            raise NotFiniteError(float(loss))
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self._has_stepped = True
        self.learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.schedule is not None:
            self.schedule.step()
        if self.average is not None:
            self.average.update()
        found_inf = self._found_inf.clone() if self._is_gated else self._found_inf
        return Step(loss, found_inf, logits, whole.num_images, num_correct)

    def has_finite_weights(self) -> bool:
        """Return whether every parameter that is trained is a number; waits for the device."""
        return bool(torch.stack([torch.isfinite(one).all() for one in self._parameters]).all())

    def has_scale(self) -> bool:
        """Return whether gradients are finite for some scale of an fp16 loss; waits for it."""
        return self._scaler is None or self._scaler.get_scale() > 0

    def state(self) -> dict[str, Any]:
        """Return all but the weights that the next steps depend on."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "num_averaged": 0 if self.average is None else self.average.num_updates,
            "learning_rate": self.learning_rate,
            "num_parts": self.num_parts,
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, state: Mapping[str, Any], num_steps: float = math.inf) -> None:
        """Restore what `state` returned; the caller restores the weights.

        Args:
            state: what it returned.
            num_steps: how many steps were done in all epochs, as far as that is known.

        Raises:
            ValueError: it is not the state of this network and recipe.
        """
        saved = SavedStepper.from_plain(state)
        load_optimizer(self.optimizer, saved.optimizer)
        if self.schedule is not None:
            load_schedule(self.schedule, saved.schedule, num_steps)
        if self.average is not None:
            self.average.num_updates = saved.num_averaged
        self.learning_rate = saved.learning_rate
        self.num_parts = saved.num_parts
        if self._scaler is not None:
            load_scaler(self._scaler, saved.scaler)
        set_random_state(checked_random(saved.random, random_state(self.device)), self.device)

    def _set_gradients(
        self, images: Tensor, labels: Tensor, whole: WholeBatch
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Set the gradients of the batch; return what `Step` keeps of it.

        Where memory runs out, the batch is begun again in twice as many parts.

        Returns:
            The loss of the batch, the logits of these images, and `Step.num_correct`.
        """
        random = self._state_before()
        was_split = False
        while True:
            try:
                room = self._room_for_optimizer()
                found = self._accumulate(images, labels)
                del room
                break
            except (MemoryError, RuntimeError) as error:
                finer = 2 * self._num_parts_of(len(labels))
                if not is_out_of_memory(error) or finer * MIN_PART > len(labels):
                    raise
            # Here the error is gone, and with it its references to the device's memory.
            self.num_parts, was_split = finer, True
            self._take_back(random)
        if was_split:
            self._say_split()
        return *found, None

    def _room_for_optimizer(self) -> list[Tensor]:
        """Allocate the memory that the optimizer will need from its first step."""
        if self._has_stepped:
            return []
        return [torch.empty_like(one) for one in 2 * self._parameters]

    def _state_before(self) -> list[Tensor]:
        """Keep what a pass through the network changes; return the random state."""
        if self._buffers:
            copy_all(self._kept_buffers, self._buffers)
        return random_state(self.device)

    def _take_back(self, random: list[Tensor]) -> None:
        """Undo what was done since `_state_before`, and give free memory back to the device."""
        for parameter in self._parameters:
            parameter.grad = None
        if self.device.type != "cpu":
            torch.accelerator.empty_cache()
        if self._buffers:
            copy_all(self._buffers, self._kept_buffers)
        set_random_state(random, self.device)

    def _say_split(self) -> None:
        if has_batch_norm(self.model):
            difference = "batch norm sees each part separately, so the numbers differ"
        else:
            difference = "the step equals that of the full batch up to rounding and dropout"
        emit(
            Warned(
                f"out of memory: from now on a batch of {self._recipe.batch_size} is split into "
                f"{self.num_parts} parts whose gradients are added up; {difference}"
            )
        )

    def _num_parts_of(self, num_images: int) -> int:
        return max(1, min(self.num_parts, num_images // MIN_PART))

    def _logits(self, images: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the logits, at least fp32."""
        forward = network
        if self._compiled is not None and len(images) == self._compiled.num_images:
            forward = self._compiled.forward
        with autocast(self.device, self._precision):
            logits = forward(images)
        return logits if self._precision == "fp32" else logits.float()

    def _backward(self, loss: Tensor) -> None:
        scaled = loss if self._scaler is None else self._scaler.scale(loss)
        scaled.backward()  # type: ignore[no-untyped-call]

    def _accumulate(
        self, images: Tensor, labels: Tensor, whole: WholeBatch | None = None,
        shared: "DistributedStep | None" = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Set the gradients; return the loss and the logits.

        Args:
            images: of shape (B, C, H, W).
            labels: of shape (B,), or (B, K).
            whole: the batch that these are part of: the loss is their contribution to its
                loss. None where they are all of it.
            shared: adds the gradients up over several processes, so that they are those of the
                full batch; None where there is nothing to add.
        """
        smoothing = self._recipe.label_smoothing
        num_parts = self._num_parts_of(len(labels))
        for parameter in self._parameters:  # as zero_grad does, in a tenth of its time
            parameter.grad = None
        if num_parts == 1 and whole is None:
            logits = self._logits(images, self.model)
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
            self._backward(loss)
            return loss.detach(), logits.detach()
        # Of the full batch, so that parts of different sizes are weighted correctly.
        num_images = len(labels) if whole is None else whole.num_images
        losses: list[Tensor] = []
        found: list[Tensor] = []
        parts = zip(images.tensor_split(num_parts), labels.tensor_split(num_parts), strict=True)
        for number, (some, their_labels) in enumerate(parts, 1):
            with nullcontext() if shared is None else shared.reducing(number == num_parts):
                logits = self._logits(some, shared or self.model)
                total = functional.cross_entropy(
                    logits, their_labels, reduction="sum", label_smoothing=smoothing
                )
                loss = total / num_images
                if whole is not None and not whole.counts:
                    loss = 0 * loss
                # torch takes the mean over the processes, where the sum is wanted.
                self._backward(loss if shared is None else loss * shared.size)
            losses.append(loss.detach())
            found.append(logits.detach())
        return torch.stack(losses).sum(), torch.cat(found)


def are_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Return for each image whether the prediction is correct.

    Args:
        logits: of shape (B, K).
        labels: class indices of shape (B,), or class probabilities of shape (B, K). Of a
            mixed image the class with the largest share is correct; of several, each is.

    Returns:
        bool of shape (B,).
    """
    predicted = logits.argmax(1)
    if labels.ndim == 1:
        return predicted == labels
    return labels.gather(1, predicted[:, None]).squeeze(1) == labels.amax(1)
