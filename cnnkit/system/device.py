"""Choosing a device and its precision, and naming it."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import UnavailableError, UsageError, setting
from cnnkit.system.compat import processor_capabilities

if TYPE_CHECKING:
    import torch

AUTO = "auto"

_GPUS = {"cuda": "CUDA GPU", "mps": "Apple GPU", "xpu": "Intel GPU"}
_NAME = re.compile(r"(?P<kind>cpu|mps)|(?P<numbered>cuda|xpu)(:(?P<number>[0-9]{1,9}))?")

MIN_FLOPS_OF_BF16 = 10**9
"""A forward pass of a batch below this gains nothing by bf16: every layer casts what it is given,
which takes as long as is saved."""


def choose_device(name: str = AUTO) -> "torch.device":
    """Return the device of this name; `auto` takes the accelerator that torch reports, or the CPU.

    Raises:
        UsageError: the name is none of `auto`, `cpu`, `cuda`, `cuda:N`, `mps`, `xpu`, `xpu:N`.
        UnavailableError: this machine does not have it; there is no silent fallback.
    """
    import torch

    if name == AUTO:
        kind = accelerator()
        return torch.device("cpu" if kind is None else kind)
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError(
            f"unknown device {name!r}",
            "choose one of auto, cpu, cuda, cuda:N (N from 0), mps, xpu, xpu:N",
        )
    kind, number = found["kind"] or found["numbered"], found["number"]
    if kind == "cpu":
        return torch.device(kind)
    if kind != accelerator():
        raise UnavailableError(
            f"device {name} is not available: this machine has no {_GPUS[kind]} that torch can use",
            f"use {setting('device')} cpu or auto; `cnnkit doctor` shows what is missing",
        )
    count = torch.accelerator.device_count()
    if number and int(number) >= count:
        raise UnavailableError(
            f"device {name} is not available: this machine has {count}",
            f"choose {kind}:0{f' to {kind}:{count - 1}' if count > 1 else ''}",
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)


def accelerator() -> str | None:
    """Return the kind of GPU that torch can use here: `cuda`, `mps` or `xpu`; None without one."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found is not None and found.type in _GPUS else None


def check_processes(device: "torch.device", number: int) -> None:
    """Refuse more processes on this machine than it has devices of a kind.

    Args:
        device: as `choose_device` returned it.
        number: of processes on this machine.

    Raises:
        UsageError: one GPU was named for several processes.
        UnavailableError: there are more processes than GPUs, or the GPU is no CUDA GPU.
    """
    import torch

    if number == 1 or device.type == "cpu":
        return
    if device.index is not None:
        raise UsageError(
            f"{setting('device')} {device} is one GPU, and {number} processes need one each",
            f"use {setting('device')} {device.type}",
        )
    if device.type != "cuda":
        raise UnavailableError(
            f"{number} processes compute on CPUs or CUDA GPUs, not on {device.type}",
            f"leave {setting('nproc')} out, or use {setting('device')} cpu",
        )
    count = torch.cuda.device_count()
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
    if device.type == "xpu":
        return torch.xpu.is_bf16_supported(including_emulation=False)
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


def synchronize(device: "torch.device") -> None:
    """Wait until all that was asked of a device is done; nothing to wait for on the CPU."""
    import torch

    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def device_name(device: "torch.device") -> str:
    """Return what the hardware calls itself, or `unknown`."""
    import torch

    if device.type == "cpu":
        return processor_name()
    if device.type == "mps":
        return _GPUS["mps"]
    return str(torch.get_device_module(device).get_device_name(device))


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


@contextmanager
def computing_with(num_threads: int) -> Iterator[None]:
    """Compute with so many threads: sums are added in another order with more or fewer."""
    import torch

    earlier = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)
