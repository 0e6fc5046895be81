"""Several processes under torchrun: sharing work out, and bringing what they found together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkit.errors import CnnkitError, RunFailedError


class Ranks:
    """The processes that torchrun started, as one of them sees them.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
    """

    def __init__(self) -> None:
        from torch import distributed

        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self._store = distributed.distributed_c10d._get_default_store()
        self._num_works = 0

    def claims(self, size: int) -> Callable[[int], bool]:
        """Return what tells whether a unit of work is this rank's.

        Ranks take `size` units at a time as they come to them, so that a slow one takes fewer, and
        no unit is taken twice.

        Args:
            size: units taken at once.

        Returns:
            A function to be asked for every unit, in ascending order from 0.
        """
        self._num_works += 1
        key = f"cnnkit/claims/{self._num_works}"
        mine = -1

        def is_mine(unit: int) -> bool:
            nonlocal mine
            while mine < unit // size:
                mine = self._store.add(key, 1) - 1
            return mine == unit // size

        return is_mine

    def add_up(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the sum of every rank's integers; they must have the same shape."""
        import torch
        from torch import distributed

        sums = torch.from_numpy(counts.copy())
        with self._named_losses():
            distributed.all_reduce(sums)
        return sums.numpy()

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of the ranks."""
        from torch import distributed

        values: list[Any] = [None] * self.size
        with self._named_losses():
            distributed.all_gather_object(values, value)
        return values

    def agree(self, error: Exception | None) -> None:
        """Go on if no rank has failed.

        Raises:
            RunFailedError: one has; it is named, with its reason.
        """
        self._store.set(f"cnnkit/done/{self.rank}", "yes")
        told = None if error is None else str(error) or type(error).__name__
        failed = [
            f"rank {rank}: {reason}"
            for rank, reason in enumerate(self.gather(told))
            if reason is not None
        ]
        if failed:
            raise RunFailedError(
                f"{len(failed)} of {self.size} ranks failed, {'; '.join(failed)}",
                "nothing was counted",
            ) from error

    @contextmanager
    def _named_losses(self) -> Iterator[None]:
        """Name the ranks that are gone, where one that is gone is waited for."""
        try:
            yield
        except CnnkitError:
            raise
        except RuntimeError as error:
            gone = [
                str(rank)
                for rank in range(self.size)
                if not self._store.check([f"cnnkit/done/{rank}"])
            ]
            which = f"rank {', '.join(gone)}" if gone else "a rank"
            raise RunFailedError(
                f"{which} was lost", "nothing was counted; run it again"
            ) from error


def is_distributed() -> bool:
    """Return whether torchrun started this process."""
    from torch import distributed

    return distributed.is_available() and distributed.is_torchelastic_launched()


@contextmanager
def joined_ranks() -> Iterator[Ranks | None]:
    """Join the processes that torchrun started, over gloo; None where there is only this one."""
    if not is_distributed():
        yield None
        return
    from torch import distributed

    distributed.init_process_group("gloo")
    try:
        yield Ranks()
    finally:
        distributed.destroy_process_group()
