"""The largest batch that fits, with a margin, and seen to do so twice."""

from cnnkit.bench.prepare import Network
from cnnkit.bench.reference import Reference
from cnnkit.bench.sweep import CellSetting
from cnnkit.bench.timing import take_batches
from cnnkit.bench.torch_state import set_state
from cnnkit.bench.workload import Workload
from cnnkit.errors import UnavailableError
from cnnkit.system.memory import is_out_of_memory

MOST = 65_536
MARGIN = 0.9  # of the largest batch that ran once; fragmented memory holds less
HALF = 0.5  # maximum share of the free memory for the estimate on the CPU
BATCHES = 3  # of each try: the optimizer takes its memory in the first step


def largest_batch(network: Network, setting: CellSetting, max_seconds: float) -> int:
    """Return the largest batch that a configuration runs with, less a margin.

    It is doubled until memory runs out, then halved in between. What is found, less a tenth, has
    to run twice from the beginning. On the CPU nothing is driven out of memory: the estimate of
    `summary` has to fit into half of what is free. Nor may a batch take longer than the time of
    the configuration.

    Raises:
        UnavailableError: not even the smallest batch fits.
        Exception: whatever else the network raises.
    """
    smallest = 2 if setting.mode == "train" else 1  # batch norm cannot train on one image
    search = _Search(network, setting, max_seconds)
    if not search.fits(smallest):
        raise UnavailableError("out of memory", f"a batch of {smallest} does not fit")
    good, bad = smallest, None
    while bad is None and good < MOST:
        good, bad = (2 * good, None) if search.fits(2 * good) else (good, 2 * good)
    while bad is not None and bad - good > max(1, good // 16):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if search.fits(middle) else (good, middle)
    found = max(smallest, int(good * MARGIN) if bad is not None else good)
    while not (search.fits(found) and search.fits(found)):
        if found == smallest:
            raise UnavailableError("out of memory", f"a batch of {smallest} does not always fit")
        found = max(smallest, int(found * MARGIN))
    return found


class _Search:
    """Tries batches of a configuration."""

    def __init__(self, network: Network, setting: CellSetting, max_seconds: float) -> None:
        self._network = network
        self._setting = setting
        self._max_seconds = max_seconds

    def fits(self, batch_size: int) -> bool:
        """Return whether a batch runs, building the network included."""
        device = self._setting.device
        if self._is_too_large(batch_size):
            return False
        try:
            seconds = self._try(self._network.reference(), batch_size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            device.give_back()
            return False
        device.give_back()
        return seconds <= self._max_seconds

    def _try(self, reference: Reference, batch_size: int) -> float:
        """Return the seconds of a batch."""
        setting = self._setting
        set_state(setting.threads, setting.precision)
        work = Workload(
            reference.network, reference.feed(batch_size), setting.device, setting.mode,
            setting.precision, setting.channels_last, setting.compiled,
        )  # fmt: skip
        first = take_batches(work, 1)[0]
        if first > self._max_seconds:
            return first
        return min(take_batches(work, BATCHES))

    def _is_too_large(self, batch_size: int) -> bool:
        """Return whether the batch may exceed the memory of the CPU."""
        free = self._setting.device.free_bytes()
        if self._setting.device.torch_device.type != "cpu" or free is None:
            return False
        totals = self._network.costs(batch_size).totals
        is_training = self._setting.mode == "train"
        needed = totals.training_bytes if is_training else totals.inference_bytes
        return needed is not None and needed > HALF * free
