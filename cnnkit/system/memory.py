"""Memory: how much is free, keeping what was freed, and saying that it ran out."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import UnavailableError

if TYPE_CHECKING:
    import torch

CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")  # of a container
CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# Of glibc's malloc.h: give memory back to the system above so many free bytes; map larger blocks.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**30


def available_bytes(device: "torch.device") -> int | None:
    """Return how many bytes of a device's memory are free; None where unknown.

    Of Linux for the processor, without swapping, and where containers may be allowed less than the
    machine has; of a GPU no more than it has free itself, for all comes by way of the processor.
    """
    free = free_gpu_bytes(device)
    found = [] if free is None else [free]
    information = Path("/proc/meminfo")
    if information.exists():
        for line in information.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    found += [free for folder in map(Path, CGROUPS) if (free := _left_in(folder)) is not None]
    return min(found, default=None)


def free_gpu_bytes(device: "torch.device") -> int | None:
    """Return how many bytes a GPU has free; None for the processor, and where that is unknown."""
    import torch

    if device.type == "cpu":
        return None
    if device.type == "mps":  # by the advice of the system
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    try:
        return int(torch.accelerator.get_memory_info(device)[0])
    except RuntimeError:
        if device.type == "xpu":  # some Intel GPUs do not say
            return None
        raise


def _left_in(folder: Path) -> int | None:
    """Return how many bytes the limit of a container leaves; None where there is no limit.

    What it holds of files is given back when it is wanted, and counts as free.
    """
    for limit, used, reclaimable in CGROUP_FILES:
        files = [folder / name for name in (limit, used, "memory.stat")]
        if not all(file.exists() for file in files):
            continue
        texts = [file.read_text() for file in files]
        if not texts[0].strip().isdecimal():  # max
            return None
        held = dict(line.split() for line in texts[2].splitlines())
        return max(0, int(texts[0]) - int(texts[1]) + int(held.get(reclaimable, 0)))
    return None


def keep_freed_memory() -> None:
    """Let the C library keep the memory of tensors for the next ones.

    By default it hands large blocks back to the system, which zeroes every page of the next one:
    8 % of a step of ResNet-20 with 128 images on a processor. Only glibc is configured; others
    stay as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


@contextmanager
def explained_out_of_memory(hint: str) -> Iterator[None]:
    """Turn the several ways in which memory runs out into one line.

    Args:
        hint: what to do about it.

    Raises:
        UnavailableError: memory ran out in the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UnavailableError("out of memory", hint) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out: CUDA, MPS and the CPU each say it so."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in ("MPS backend out of memory", "DefaultCPUAllocator")
    )
