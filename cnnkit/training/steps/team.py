"""The processes of a training, as its steps see them: gradients and figures of a whole batch."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cnnkit.architecture.layer_kinds import BATCH_NORMS
from cnnkit.data.loading.sharing import MIN_SHARE
from cnnkit.errors import UsageError
from cnnkit.system.compat import copy_all
from cnnkit.system.distributed import Ranks

# What newer versions of torch call the exchange of buffers before a pass.
_SYNC = ("forward_sync_buffers", "broadcast_buffers")
_NO_SYNC: dict[str, Any] = {
    next(name for name in _SYNC if name in signature(DistributedDataParallel).parameters): False
}


@dataclass(frozen=True)
class WholeBatch:
    """The batch of which a process has a part.

    Attributes:
        num_images: how many it has, in all processes together.
        counts: False where the part is one that counts elsewhere; see `Share.counts`.
    """

    num_images: int
    counts: bool


class Team:
    """What makes the steps of several processes one.

    torch's `DistributedDataParallel` adds up the gradients while the rest of them are computed.
    It begins with `start`; before, the model is this process's alone.

    Args:
        model: the network, on its device.
        ranks: the processes.
        device: where the network is.
    """

    def __init__(self, model: nn.Module, ranks: Ranks, device: torch.device) -> None:
        self.ranks = ranks
        self.size = ranks.size
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
        """Return a context for one part of a batch: gradients travel after the last one alone."""
        return nullcontext() if is_last else self._network.no_sync()

    def add_up(self, loss: Tensor, num_right: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and number of right answers of the whole batch, on the device.

        Args:
            loss: what this process adds to it, of shape ().
            num_right: right answers here, of shape ().
        """
        figures = torch.stack([loss, num_right.to(loss.dtype)])
        self.ranks.sum_in_place(figures)
        return figures[0], figures[1]

    def share_buffers(self) -> None:
        """Give everybody the statistics of batch norm that rank 0 has.

        Where batch norm is synchronised they are the same already.
        """
        if self._is_synchronised or not self._buffers:
            return
        flat = torch.cat([one.reshape(-1) for one in self._buffers])
        self.ranks.copy_from_first([flat])
        parts = flat.split_with_sizes([one.numel() for one in self._buffers])
        copy_all(
            self._buffers,
            [part.view_as(one) for part, one in zip(parts, self._buffers, strict=True)],
        )


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a network normalises over the images of a batch."""
    return any(isinstance(one, BATCH_NORMS) for one in model.modules())


def check_batch_size(batch_size: int, num_processes: int) -> None:
    """Refuse a batch that is too small to be shared.

    Raises:
        UsageError: it is.
    """
    if num_processes > 1 and batch_size < MIN_SHARE * num_processes:
        raise UsageError(
            f"-b/--batch-size {batch_size} is too small for {num_processes} processes: each takes "
            f"its part of every batch, of at least {MIN_SHARE} images",
            f"use at least {MIN_SHARE * num_processes}, or fewer processes",
        )
