"""Timing of batches: after warm-up, in rounds of all configurations, until the median is precise.

`torch.utils.benchmark` times blocks of calls and keeps their means. Percentiles of single batches,
rounds that configurations share, and the clock of a GPU need the loop below.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from cnnkit.bench.device_clock import Device
from cnnkit.bench.median_intervals import half_width, steady_interval
from cnnkit.bench.torch_state import set_state
from cnnkit.bench.workload import Workload
from cnnkit.errors import UsageError, setting

ROUND_SECONDS = 0.25  # of one configuration, before the turn of the next
MIN_ROUNDS = 9  # of so many medians an interval leaves the highest and the lowest out
NARROW = 0.01  # half-width at which an interval is narrow enough
QUOTABLE = 0.025  # and up to which it is not called noisy
SETTLED = 0.97  # times that fall by less than this are stable
WARM_SECONDS = 0.1  # of batches whose median is compared with the one before
WARM_SHARE = 0.25  # of the seconds of a configuration
COLD_SHARE = 0.1  # a first batch shorter than this share of a round is not timed
MOST_IN_A_ROUND = 1000


@dataclass(eq=False)
class Timed:
    """A configuration that is being timed.

    Attributes:
        work: what to do.
        threads: of the processor.
        precision: `tf32` is switched on for its turn.
        max_seconds: how long it may take.
        rounds: seconds of its batches, by number of the round.
        parts: seconds of forward, backward and optimizer of some training steps.
        spent: seconds that it took so far.
        error: the exception that ended it.
        is_done: the median is precise enough, or the time is spent.
    """

    work: Workload
    threads: int
    precision: str
    max_seconds: float
    rounds: dict[int, list[float]] = field(default_factory=dict)
    parts: list[tuple[float, float, float]] = field(default_factory=list)
    spent: float = 0.0
    error: Exception | None = None
    is_done: bool = False
    _per_round: int = 1

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.work.device

    def times(self) -> list[float]:
        """Return the seconds of all batches."""
        return [one for values in self.rounds.values() for one in values]

    @property
    def _round_seconds(self) -> float:
        return min(ROUND_SECONDS, self.max_seconds / (2 * MIN_ROUNDS))

    def warm_up(self) -> None:
        """Warm up: run batches until their times are stable.

        Raises:
            UsageError: one batch takes longer than a configuration may.
        """
        set_state(self.threads, self.precision)
        begin = self.device.now()
        number, before = 1, math.inf
        while True:
            times = take_batches(self.work, number, 2 * WARM_SECONDS)
            typical = max(statistics.median(times), 1e-9)
            self.spent = self.device.now() - begin
            if typical > self.max_seconds:
                raise UsageError(
                    f"a batch takes {typical:.2g} s, longer than the {self.max_seconds:g} s of "
                    f"{setting('max_seconds')}",
                    "increase it",
                )
            has_settled = SETTLED * before <= typical
            number = max(1, min(MOST_IN_A_ROUND, round(WARM_SECONDS / typical)))
            next_seconds = number * typical
            if has_settled or self.spent + next_seconds > WARM_SHARE * self.max_seconds:
                break
            before = typical
        self._per_round = max(1, min(MOST_IN_A_ROUND, round(self._round_seconds / typical)))

    def take_round(self, number: int) -> None:
        """Time the batches of one round, and every time one training step in parts."""
        set_state(self.threads, self.precision)
        begin = self.device.now()
        is_short = self._per_round >= 1 / COLD_SHARE
        if is_short:  # after one batch the caches no longer hold another's data
            take_batches(self.work, 1)
        self.rounds[number] = take_batches(self.work, self._per_round, 1.2 * self._round_seconds)
        if self.work.is_training and (is_short or len(self.parts) < 3):
            self.parts.append(self.work.take_in_parts())
        self.spent += self.device.now() - begin
        self.is_done = self.spent >= self.max_seconds or self._is_known_well()

    def _is_known_well(self) -> bool:
        if len(self.rounds) < MIN_ROUNDS:
            return False
        interval = steady_interval(list(self.rounds.values()))
        return half_width(interval, statistics.median(self.times())) <= NARROW


def take_batches(work: Workload, number: int, within: float = math.inf) -> list[float]:
    """Return the seconds of batches that follow one another without a pause.

    Args:
        work: what to do.
        number: how many batches at most.
        within: seconds after which no other is begun; a machine may be much slower for a while.
    """
    device = work.device
    with work.context():
        device.synchronize()
        end = device.now() + within
        marks = [device.mark()]
        for _ in range(number):
            work.take()
            marks.append(device.mark())
            if device.now() > end:
                break
        device.synchronize()
        return [device.seconds(begin, end) for begin, end in pairwise(marks)]


def time_in_rounds(
    cells: Sequence[Timed],
    first_round: int,
    guard: Callable[[Timed, Callable[[], None]], None],
    on_progress: Callable[[], None],
) -> int:
    """Time configurations in turn, a round each, until all are done.

    What slows the machine down for a while thus slows all of them.

    Args:
        cells: what to time.
        first_round: number of the first round.
        guard: runs something for a configuration, and stores its error.
        on_progress: called after every round of a configuration.

    Returns:
        The number of the next round.
    """
    for cell in cells:
        guard(cell, cell.warm_up)
        on_progress()
    number = first_round
    while active := [cell for cell in cells if not cell.is_done]:
        for cell in active:
            guard(cell, partial(cell.take_round, number))
            on_progress()
        number += 1
    return number
