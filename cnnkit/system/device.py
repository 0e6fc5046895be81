"""Where to compute: choosing a device, and naming it."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import UnavailableError, UsageError, setting
from cnnkit.system.compat import processor_capabilities

if TYPE_CHECKING:
    import torch

AUTO = "auto"

MIN_FLOPS_OF_BF16 = 10**9
"""A forward pass of a batch below this gains nothing by bf16: every layer casts what it is given,
which takes as long as is saved."""

CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory")  # of a container
CGROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
# Of glibc's malloc.h: give memory back to the system above so many free bytes; map larger blocks.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**30


def choose_device(name: str = AUTO) -> "torch.device":
    """Return the device of this name; `auto` takes cuda, then mps, then cpu.

    Raises:
        UsageError: the name is none of `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
        UnavailableError: this machine does not have it; there is no silent fallback.
    """
    import torch

    if name == AUTO:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (
        number and not (kind == "cuda" and number.isdecimal())
    ):
        raise UsageError(
            f"unknown device {name!r}", "choose one of auto, cpu, cuda, cuda:N (N from 0), mps"
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UnavailableError(
                f"device {name} is not there: this machine has no usable CUDA GPU",
                f"use {setting('device')} cpu or auto; `cnnkit doctor` shows what is missing",
            )
        if number and int(number) >= count:
            raise UnavailableError(
                f"device {name} is not there: this machine has {count}",
                f"choose cuda:0{f' to cuda:{count - 1}' if count > 1 else ''}",
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UnavailableError(
            "device mps is not there: this machine has no Apple GPU that torch can use",
            f"use {setting('device')} cpu or auto",
        )
    return torch.device(name)


def check_processes(device: "torch.device", number: int) -> None:
    """Refuse more processes on this machine than it has devices of a kind.

    Args:
        device: as `choose_device` returned it.
        number: of processes on this machine.

    Raises:
        UsageError: one GPU was named for several processes.
        UnavailableError: there are more processes than GPUs.
    """
    import torch

    if number == 1 or device.type == "cpu":
        return
    if device.index is not None:
        raise UsageError(
            f"{setting('device')} {device} is one GPU, and {number} processes need one each",
            f"use {setting('device')} {device.type}",
        )
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if number > count:
        raise UnavailableError(
            f"{number} processes are more than the {count} GPU{'s' if count > 1 else ''} of this "
            "machine",
            f"use {setting('nproc')} {count}, or {setting('device')} cpu",
        )


def memory_format(device: "torch.device", channels_last: bool) -> "torch.memory_format":
    """Return the layout of images and weights; MPS has had wrong kernels for channels last."""
    import torch

    wanted = channels_last and device.type != "mps"
    return torch.channels_last if wanted else torch.contiguous_format


def choose_precision(name: str, device: "torch.device", flops: int) -> str:
    """Return the precision of this name: `fp32`, `bf16` or `fp16`.

    `auto` takes bf16 where the hardware multiplies it natively (on a processor AVX512_BF16 or AMX,
    on a GPU from compute capability 8 on) and the network is large enough to gain by it.

    Args:
        name: one of these, or `auto`.
        device: where it is computed.
        flops: of the forward pass of a batch.

    Raises:
        UnavailableError: the device does not train in this precision.
    """
    if name == AUTO:
        gains = has_native_bf16(device) and flops >= MIN_FLOPS_OF_BF16
        return "bf16" if gains else "fp32"
    if name == "fp16" and device.type != "cuda":
        raise UnavailableError(
            f"{setting('precision')} fp16 needs a CUDA GPU, and the device is {device}",
            "use bf16, which needs no scaling of the loss, or fp32",
        )
    return name


def has_native_bf16(device: "torch.device") -> bool:
    """Return whether a device multiplies bf16 as it is, and not by way of fp32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = processor_capabilities()
    return device.type == "cpu" and any(
        capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")
    )


def autocast(device: "torch.device", precision: str) -> AbstractContextManager[object]:
    """Return a context in which a network computes in a precision; its weights stay fp32."""
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def keep_freed_memory() -> None:
    """Let the C library keep the memory of tensors for the next ones.

    By default it hands large blocks back to the system, which zeroes every page of the next one:
    8 % of a step of ResNet-20 with 128 images on a processor. Only glibc is told; others go on as
    they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def available_bytes(device: "torch.device") -> int | None:
    """Return how much memory is free for images on their way to a device; None if unknown."""
    import torch

    found = []
    information = Path("/proc/meminfo")
    if information.exists():
        lines = dict(line.split(":", 1) for line in information.read_text().splitlines())
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    found += [free for folder in map(Path, CGROUPS) if (free := _left_in(folder)) is not None]
    if device.type == "cuda":
        found.append(torch.cuda.mem_get_info(device)[0])
    return min(found, default=None)


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


def synchronize(device: "torch.device") -> None:
    """Wait until all that was asked of a device is done; nothing to wait for on the CPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def device_name(device: "torch.device") -> str:
    """Return what the hardware calls itself, or `unknown`."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


def processor_name() -> str:
    """Return the name of the processor, or `unknown`."""
    import platform

    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def num_usable_cores() -> int:
    """Return the number of processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
