"""Distributed steps: gradients and metrics of a batch over several processes."""

from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from cnnkit.models.layer_kinds import has_batch_norm
from cnnkit.system.compat import copy_all
from cnnkit.system.distributed import ProcessGroup
from cnnkit.system.memory import is_out_of_memory
from cnnkit.training.step import MIN_PART, Stepper, WholeBatch, are_right

# What newer versions of torch call the exchange of buffers before a pass.
_SYNC = ("forward_sync_buffers", "broadcast_buffers")
_NO_SYNC: dict[str, Any] = {
    next(name for name in _SYNC if name in signature(DistributedDataParallel).parameters): False
}


class DistributedStep:
    """Combines the steps of several processes into one.

    torch's `DistributedDataParallel` adds up the gradients while the rest of them are computed.
    It begins with `start`; before, the model is only this process's.

    Args:
        model: the network, on its device.
        group: the processes.
        device: where the network is.
    """

    def __init__(self, model: nn.Module, group: ProcessGroup, device: torch.device) -> None:
        self._group = group
        self.size = group.size
        self.is_started = False
        self._model = model
        self._is_synchronised = device.type == "cuda" and has_batch_norm(model)
        self._buffers = [one for one in model.buffers() if one.is_floating_point()]

    def start(self, has_unused: bool) -> None:
        """Share gradients from here on.

        Args:
            has_unused: whether some parameters do nothing for the output.
        """
        if self._is_synchronised:  # the parameters and buffers stay the same objects
            nn.SyncBatchNorm.convert_sync_batchnorm(self._model)  # type: ignore[no-untyped-call]
        self._network = DistributedDataParallel(
            self._model,
            find_unused_parameters=has_unused,
            gradient_as_bucket_view=True,
            **_NO_SYNC,  # see `share_buffers`
        )
        self.is_started = True

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits of images; the gradients that follow from them are added up."""
        logits: Tensor = self._network(images)
        return logits

    def reducing(self, is_last: bool) -> AbstractContextManager[None]:
        """Return a context for one part of a batch: gradients are reduced after the last."""
        return nullcontext() if is_last else self._network.no_sync()

    def add_up(self, loss: Tensor, num_right: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and number of correct predictions of the full batch, on the device.

        Args:
            loss: what this process adds to it, of shape ().
            num_right: right answers here, of shape ().
        """
        metrics = torch.stack([loss, num_right.to(loss.dtype)])
        self._group.sum_in_place(metrics)
        return metrics[0], metrics[1]

    def share_buffers(self) -> None:
        """Give everybody the statistics of batch norm that rank 0 has.

        Where batch norm is synchronised they are the same already.
        """
        if self._is_synchronised or not self._buffers:
            return
        flat = torch.cat([one.reshape(-1) for one in self._buffers])
        self._group.copy_from_first([flat])
        parts = flat.split_with_sizes([one.numel() for one in self._buffers])
        copy_all(
            self._buffers,
            [part.view_as(one) for part, one in zip(parts, self._buffers, strict=True)],
        )


class DistributedStepper(Stepper):
    """Optimizer steps that several processes take together.

    Args:
        given: as for `Stepper`.
        group: the processes.
    """

    def __init__(self, *given: Any, group: ProcessGroup) -> None:
        super().__init__(*given)
        self._group = group
        self._shared = DistributedStep(self.model, group, self.device)

    def _set_gradients(
        self, images: Tensor, labels: Tensor, whole: WholeBatch
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        if not self._shared.is_started:
            self._start(images, labels)
        loss, logits = self._accumulate(images, labels, whole, self._shared)
        right = are_right(logits, labels).sum() * whole.counts
        loss, num_correct = self._shared.add_up(loss, right)
        self._shared.share_buffers()
        return loss, logits, num_correct

    def _start(self, images: Tensor, labels: Tensor) -> None:
        """Split batches as finely as every process has memory for, and begin to share gradients.

        Once they are shared, nobody can begin a batch again: the others would wait for it. So the
        first one is rehearsed without them, with as much memory taken as the optimizer will take.
        """
        random = self._state_before()
        was_split = has_unused = False
        while True:
            is_short, finer = False, 2 * self._num_parts_of(len(labels))
            try:
                room = self._room_for_optimizer()
                self._accumulate(images, labels)
                del room
                has_unused = any(one.grad is None for one in self._parameters)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                is_short = True
            self._take_back(random)
            if not any(self._group.any_of(is_short)):
                break
            self.num_parts, was_split = self._group.largest(finer), True
            if self.num_parts * MIN_PART > len(labels):
                raise MemoryError
        if was_split:
            self._say_split()
        self._shared.start(has_unused)
        # After its first pass torch arranges the gradients again, by the order in which they came.
        # How they are added depends on it, so that pass must not be one that counts.
        loss = functional.cross_entropy(self._shared(images[:MIN_PART]), labels[:MIN_PART])
        loss.backward()  # type: ignore[no-untyped-call]
        self._take_back(random)
