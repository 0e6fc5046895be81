"""Process groups under torchrun: sharing work and combining results."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from cnnkit.errors import (
    CnnkitError,
    ExitCode,
    RunFailedError,
    ToldElsewhereError,
    UsageError,
    setting,
)
from cnnkit.events import Warned, emit, handled_by, ignore
from cnnkit.system.compat import default_store, without_output_of_gloo
from cnnkit.system.device import check_processes, num_usable_cores

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

MIN_SHARD = 2  # images: batch norm cannot train on one

LAUNCHED_HERE = "cnnkit-"  # how the name of a launch begins that cnnkit itself made
PRECEDENCE_SECONDS = 0.5  # so long the others wait for rank 0 to report what happened to all
# A rank may wait long for another that downloads; one that dies is noticed at once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one of several processes computes.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    def of_images(self, number: int) -> tuple[int, int]:
        """Return where the part of a batch of so many images begins and ends.

        Pairs of images, which augmentation may mix, stay together. So parts differ by two images at
        most, the larger ones first; an odd image is the last process's. A batch too small for parts
        of two images is computed by every process, and counts once; see `counts`.
        """
        if not self._is_divided(number):
            return 0, number
        least, more = divmod(number // 2, self.size)
        start = 2 * (self.rank * least + min(self.rank, more))
        is_last = self.rank == self.size - 1
        return start, number if is_last else start + 2 * (least + (self.rank < more))

    def counts(self, number: int) -> bool:
        """Return whether the part of a batch of so many images counts."""
        return self.rank == 0 or self._is_divided(number)

    def of_units(self, number: int) -> tuple[int, int]:
        """Return the first of so many units that is this process's, and the one after its last.

        Complete batches are such units where no gradient is wanted: what a network says of them is
        then, bit for bit, what it says to one process. So are files that are decoded once.
        """
        return number * self.rank // self.size, number * (self.rank + 1) // self.size

    def _is_divided(self, number: int) -> bool:
        return number >= MIN_SHARD * self.size


ALL = Shard(0, 1)


def check_batch_size(batch_size: int, num_processes: int) -> None:
    """Raise for a batch that is too small to be shared.

    Raises:
        UsageError: it is.
    """
    if num_processes > 1 and batch_size < MIN_SHARD * num_processes:
        raise UsageError(
            f"{setting('batch_size')} {batch_size} is too small for {num_processes} processes: "
            "each takes "
            f"its part of every batch, of at least {MIN_SHARD} images",
            f"use at least {MIN_SHARD * num_processes}, or fewer processes",
        )


class ProcessGroup:
    """The processes that do a piece of work together; this class is the group of a single one.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
        local_rank: which one of this machine this is, from 0.
        local_size: how many there are on this machine.
        num_restarts: how often they were restarted.
        max_restarts: how often they may be.
        is_launched_here: whether `cnnkit` started them, and not torchrun.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1
    num_restarts = 0
    max_restarts = 0
    is_launched_here = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and answers."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """What this process takes of every batch."""
        return Shard(self.rank, self.size)

    def require_one(self, message: str, hint: str) -> None:
        """Refuse what only a single process can do.

        Raises:
            UsageError: there are several; it has this message and hint.
        """

    def select(self, alone: T, together: T) -> T:
        """Return what suits a single process, or what suits several."""
        return alone

    def combined(self, value: T, combine: Callable[[T], T]) -> T:
        """Return what `combine` makes of the values of all processes; of one, its value."""
        return value

    def place_on(self, device: "torch.device") -> "torch.device":
        """Return the device, of which every process has one of its own.

        Raises:
            UsageError, UnavailableError: there is not one for every process.
        """
        return device

    def num_threads(self, current: int) -> int:
        """Return how many threads to compute with.

        Args:
            current: that torch computes with.
        """
        return current

    def claims(self, size: int) -> Callable[[int], bool]:
        """Return a function that says whether a unit of work is this process's.

        Ranks take `size` units at a time as they come to them, so that a slow one takes fewer, and
        no unit is taken twice.

        Args:
            size: units taken at once.

        Returns:
            A function to be asked for every unit, in ascending order from 0.
        """
        return lambda unit: True

    def add_up(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the sum of every rank's integers; they must have the same shape."""
        return counts

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in the order of the ranks."""
        return [value]

    def from_first(self, find: Callable[[], T]) -> T:
        """Return what the function gives on rank 0; it is called only there."""
        return find()

    def in_turn(self, work: Callable[[], T]) -> T:
        """Return what the function gives here; one rank of each machine calls it first.

        For what has to be downloaded, which the others then find.
        """
        return work()

    def num_cores(self) -> int:
        """Return how many cores of this machine are this process's share."""
        return num_usable_cores()

    def wait(self) -> None:
        """Wait until every rank has come here."""

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Return of each flag whether it is set on a rank."""
        return flags

    def largest(self, number: int) -> int:
        """Return the largest of every rank's numbers."""
        return number

    def sum_in_place(self, values: "Tensor") -> None:
        """Replace a tensor, on any device, by the sum over the ranks."""

    def copy_from_first(self, tensors: "list[Tensor]") -> None:
        """Replace tensors, on any device, by those of rank 0."""

    def fill_in(self, tensor: "Tensor", bounds: list[tuple[int, int]]) -> None:
        """Put the rows that other ranks have into a tensor, on any device, of which each has some.

        Args:
            tensor: of shape (N, ...), as long on every rank.
            bounds: of each rank the first of its rows, and the one after its last.
        """

    def remember(self, name: str, value: str) -> None:
        """Keep a text for processes that are restarted after these."""

    def recall(self, name: str) -> str | None:
        """Return what an earlier process remembered; None where none did."""
        return None

    def is_orphaned(self) -> bool:
        """Return whether what started this process is gone, and so cannot end it."""
        return False

    def is_in_step(self, number: int, expected: int) -> bool:
        """Return whether the next batch of this process is the one that the others take.

        Args:
            number: of the next batch that has images left; those that are all broken are left out.
            expected: the number that follows the last one.
        """
        return True

    def agree(self, error: Exception | None) -> None:
        """Continue if no rank has failed.

        Raises:
            RunFailedError: one of several has; it is named, with its reason.
            Exception: the error, of a single process.
        """
        if error is not None:
            raise error

    def settled(self, error: BaseException) -> BaseException:
        """Return what to raise for an error that only one rank reports."""
        return error


ONE = ProcessGroup()


class TorchrunGroup(ProcessGroup):
    """The processes that torchrun started, as one of them sees them.

    Args:
        lasting: what outlives these processes where they are restarted.
    """

    def __init__(self, lasting: Any) -> None:
        from torch import distributed

        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        self.local_rank = distributed.get_node_local_rank()
        self.local_size = int(_said_by_torchrun("LOCAL_WORLD_SIZE"))
        self.num_restarts = int(_said_by_torchrun("TORCHELASTIC_RESTART_COUNT"))
        self.max_restarts = int(_said_by_torchrun("TORCHELASTIC_MAX_RESTARTS"))
        self.is_launched_here = _said_by_torchrun("TORCHELASTIC_RUN_ID").startswith(LAUNCHED_HERE)
        self._store = default_store()
        self._lasting = lasting
        self._num_works = 0
        self._launcher = os.getppid()

    @override
    def claims(self, size: int) -> Callable[[int], bool]:
        self._num_works += 1
        key = f"cnnkit/claims/{self._num_works}"
        mine = -1

        def is_mine(unit: int) -> bool:
            nonlocal mine
            while mine < unit // size:
                mine = self._store.add(key, 1) - 1
            return mine == unit // size

        return is_mine

    @override
    def add_up(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        import torch
        from torch import distributed

        sums = torch.from_numpy(counts.copy())
        with self._named_losses():
            distributed.all_reduce(sums)
        return sums.numpy()

    @override
    def gather(self, value: T) -> list[T]:
        from torch import distributed

        values: list[Any] = [None] * self.size
        with self._named_losses():
            distributed.all_gather_object(values, value)
        return values

    @override
    def from_first(self, find: Callable[[], T]) -> T:
        from torch import distributed

        values: list[Any] = [find() if self.rank == 0 else None]
        distributed.broadcast_object_list(values, src=0)
        found: T = values[0]
        return found

    @override
    def in_turn(self, work: Callable[[], T]) -> T:
        is_first = self.local_rank == 0
        found = work() if is_first else None
        self.wait()
        return found if is_first else work()  # type: ignore[return-value]

    @override
    def num_cores(self) -> int:
        return max(1, num_usable_cores() // self.local_size)

    @override
    def wait(self) -> None:
        self.gather(None)

    @override
    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        import torch
        from torch import distributed

        together = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(together, distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in together.tolist())

    @override
    def largest(self, number: int) -> int:
        return max(self.gather(number))

    @override
    def sum_in_place(self, values: "Tensor") -> None:
        from torch import distributed

        distributed.all_reduce(values)

    @override
    def copy_from_first(self, tensors: "list[Tensor]") -> None:
        from torch import distributed

        for tensor in tensors:
            distributed.broadcast(tensor, src=0)

    @override
    def fill_in(self, tensor: "Tensor", bounds: list[tuple[int, int]]) -> None:
        from torch import distributed

        for rank, (start, end) in enumerate(bounds):
            if start < end:
                distributed.broadcast(tensor[start:end], src=rank)

    @override
    def remember(self, name: str, value: str) -> None:
        self._lasting.set(f"cnnkit/{name}", value)

    @override
    def recall(self, name: str) -> str | None:
        key = f"cnnkit/{name}"
        return self._lasting.get(key).decode() if self._lasting.check([key]) else None

    @override
    def is_orphaned(self) -> bool:
        return os.getppid() != self._launcher

    @override
    def require_one(self, message: str, hint: str) -> None:
        if self.size > 1:
            raise UsageError(message, hint)

    @override
    def select(self, alone: T, together: T) -> T:
        return alone if self.size == 1 else together

    @override
    def combined(self, value: T, combine: Callable[[T], T]) -> T:
        return combine(value)

    @override
    def place_on(self, device: "torch.device") -> "torch.device":
        import torch

        check_processes(device, self.local_size)
        if device.type == "cuda":  # then "cuda" is that one
            torch.cuda.set_device(self.local_rank)
        return device

    @override
    def num_threads(self, current: int) -> int:
        cores = num_usable_cores()
        if self.local_size > cores:
            their = f"{cores} core{'s' if cores > 1 else ''}"
            emit(Warned(f"{self.local_size} processes on {their}: they wait for each other"))
        # By default torch takes all cores, and torchrun sets one for each of several.
        is_by_torchrun = self.size > 1 and current == 1 and not self.is_launched_here
        if is_by_torchrun or current * self.local_size > cores:
            return self.num_cores()
        return current

    @override
    def is_in_step(self, number: int, expected: int) -> bool:
        return number == expected or self.size == 1

    @override
    def agree(self, error: Exception | None) -> None:
        """Continue if no rank has failed.

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

    @override
    def settled(self, error: BaseException) -> BaseException:
        """Return what to raise for an error that only one rank reports.

        That is the first one, and rank 0 of several that fail alike. The others end with the same
        exit code, in silence. An error of ours would come again if the processes were started
        again, so they are not; a lost process, or a bug, may not.
        """
        if isinstance(error, ToldElsewhereError):
            return error
        can_restart = self.num_restarts < self.max_restarts
        if isinstance(error, KeyboardInterrupt) and (self.is_launched_here or can_restart):
            # So torch ends those that are left where one is lost; who started them knows.
            return ToldElsewhereError(ExitCode.INTERRUPTED)
        if self.rank:
            time.sleep(PRECEDENCE_SECONDS)
        is_lost = isinstance(error, RankLostError) or (
            isinstance(error, RuntimeError) and _is_of_a_lost_rank(error)
        )
        code = int(error.exit_code if isinstance(error, CnnkitError) else ExitCode.BUG)
        if isinstance(error, KeyboardInterrupt):
            code = int(ExitCode.INTERRUPTED)
        try:
            if is_lost and not self._store.check(["cnnkit/failed"]):
                return self._after_a_loss()
            teller = self._store.compare_set("cnnkit/failed", "", f"{self.rank} {code}").decode()
        except RuntimeError:  # what started the processes is gone, and with it the store
            return error
        rank, _, its_code = teller.partition(" ")
        if int(rank) != self.rank:
            return ToldElsewhereError(ExitCode(int(its_code)))
        _ignore_the_end()
        if not isinstance(error, CnnkitError | KeyboardInterrupt):
            what = f"{type(error).__name__}: {error}"
            if can_restart:
                self.remember("loss", f"rank {self.rank} failed, {what}")
                return ToldElsewhereError(ExitCode.BUG)
            if self.rank:
                error = CnnkitError(f"this is a bug in cnnkit: {what}")
        self.remember("ended", str(code))
        if isinstance(error, CnnkitError):
            error.rank = self.rank
        return error

    def _after_a_loss(self) -> BaseException:
        """Return what to raise where another rank is gone without a word."""
        if self.is_launched_here or self.num_restarts < self.max_restarts:
            return ToldElsewhereError(ExitCode.RUN_FAILED)  # who started it knows more
        which = f"rank {1 - self.rank}" if self.size == 2 else "a rank"
        self._store.compare_set("cnnkit/failed", "", f"{self.rank} {int(ExitCode.RUN_FAILED)}")
        _ignore_the_end()
        error = RankLostError(f"{which} was lost", "its machine may have run out of memory")
        error.rank = 0
        return error

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
            raise RankLostError(f"{which} was lost", "nothing was counted; run it again") from error


class RankLostError(RunFailedError):
    """A rank was lost without an error message."""


def is_distributed() -> bool:
    """Return whether torchrun started this process."""
    from torch import distributed

    return distributed.is_available() and distributed.is_torchelastic_launched()


@contextmanager
def joined_group(device: str = "cpu") -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started; without it the group is of this process only.

    Events are handled on rank 0 only. Tensors on the CPU travel over gloo, those on a GPU over
    nccl.

    Args:
        device: `cpu`, or `cuda` where tensors on GPUs will travel as well.
    """
    if not is_distributed():
        yield ProcessGroup()
        return
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    lasting, rank, size = next(iter(rendezvous("env://", timeout=PATIENCE)))
    # The store outlives the processes: those that are restarted must not read in it where the
    # ones before them could be reached.
    attempt = _said_by_torchrun("TORCHELASTIC_RESTART_COUNT")
    with without_output_of_gloo():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
            timeout=PATIENCE,
            store=distributed.distributed_c10d.PrefixStore(f"cnnkit/attempt-{attempt}", lasting),
            rank=rank,
            world_size=size,
        )
    group = TorchrunGroup(lasting)
    try:
        with handled_by(None if group.is_first else ignore):
            yield group
    except BaseException:
        if device != "cuda":  # nccl would wait for ranks that are gone
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


@contextmanager
def telling_once(group: ProcessGroup) -> Iterator[None]:
    """Let one rank report an error that happens to several; see `ProcessGroup.settled`."""
    try:
        yield
    except BaseException as error:
        settled = group.settled(error)
        if settled is error:
            raise
        raise settled from error


@contextmanager
def joined_processes() -> Iterator[ProcessGroup]:
    """Join the processes that train together; an error that happens to all is reported once."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with joined_group(device) as group, telling_once(group):
        yield group


def _said_by_torchrun(name: str) -> str:
    """Return what torchrun sets for each process."""
    from torch.distributed.elastic.utils.api import get_env_variable_or_raise

    return str(get_env_variable_or_raise(name))


def _is_of_a_lost_rank(error: RuntimeError) -> bool:
    """Return whether an error of torch says that another process is gone."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or any(
        words in str(error) for words in ("gloo/transport", "Connection closed by peer")
    )


def _ignore_the_end() -> None:
    """Let nothing cut short what is said at the end, as torch would that sees another rank end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
