"""Where to compute: choosing a device, and naming it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnnkit.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    import torch

AUTO = "auto"


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
                "use --device cpu or auto; `cnnkit doctor` tells what is missing",
            )
        if number and int(number) >= count:
            raise UnavailableError(
                f"device {name} is not there: this machine has {count}",
                f"choose cuda:0{f' to cuda:{count - 1}' if count > 1 else ''}",
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UnavailableError(
            "device mps is not there: this machine has no Apple GPU that torch can use",
            "use --device cpu or auto",
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
            f"--device {device} is one GPU, and {number} processes need one each",
            f"use --device {device.type}",
        )
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if number > count:
        raise UnavailableError(
            f"{number} processes are more than the {count} GPU{'s' if count > 1 else ''} of this "
            "machine",
            f"use --nproc {count}, or --device cpu",
        )


def memory_format(device: "torch.device", channels_last: bool) -> "torch.memory_format":
    """Return the layout of images and weights; MPS has had wrong kernels for channels last."""
    import torch

    wanted = channels_last and device.type != "mps"
    return torch.channels_last if wanted else torch.contiguous_format


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
    from pathlib import Path

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
