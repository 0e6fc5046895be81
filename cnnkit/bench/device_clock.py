"""Devices for measurements: synchronization, time stamps and memory."""

import time
from abc import ABC, abstractmethod
from typing import Any

import torch

from cnnkit.system.device import accelerator, choose_device, device_name
from cnnkit.system.memory import available_bytes, free_gpu_bytes

# The dtype of the tensors of each precision; tf32 is fp32 that the device may round in products.
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class Device(ABC):
    """A device that can be timed.

    Work may still run after the call has returned; `synchronize` waits for it.

    Attributes:
        name: its name on the command line.
        torch_device: where tensors are put.
        hardware: its product name.
    """

    def __init__(self, name: str, torch_device: torch.device, hardware: str) -> None:
        self.name = name
        self.torch_device = torch_device
        self.hardware = hardware

    def now(self) -> float:
        """Return the time of the host, in seconds."""
        return time.perf_counter()

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all work is done."""

    @abstractmethod
    def mark(self) -> Any:
        """Return a mark behind all work so far."""

    @abstractmethod
    def seconds(self, begin: Any, end: Any) -> float:
        """Return the time between two marks; the device was synchronized since."""

    def lacks(self, precision: str) -> str | None:
        """Return why a precision is unavailable here; None if it is available."""
        return "only CUDA GPUs have TF32" if precision == "tf32" else None

    def forget_peak(self) -> None:  # noqa: B027  # nothing to forget if nothing is recorded
        """Reset the peak memory."""

    def held_bytes(self) -> int | None:
        """Return the bytes of all tensors on it; None if it does not report them."""
        return None

    def peak_bytes(self) -> int | None:
        """Return the peak bytes of tensors since `forget_peak`; None if it does not report them."""
        return None

    def free_bytes(self) -> int | None:
        """Return the free bytes; None if unknown."""
        return None

    def give_back(self) -> None:  # noqa: B027  # nothing is kept
        """Free cached memory."""


class Processor(Device):
    """The processor: a call returns when its work is done."""

    def __init__(self) -> None:
        device = torch.device("cpu")
        super().__init__("cpu", device, device_name(device))

    def synchronize(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def mark(self) -> float:
        """Return the time."""
        return self.now()

    def seconds(self, begin: float, end: float) -> float:
        """Return the time between two marks."""
        return end - begin

    def free_bytes(self) -> int | None:
        """Return the memory that the system can give without swapping."""
        return available_bytes(self.torch_device)


class Gpu(Device):
    """A GPU of NVIDIA, AMD or Intel: marks are events in its stream, which nobody waits for."""

    def __init__(self, name: str) -> None:
        device = choose_device(name)
        super().__init__(name, device, device_name(device))
        self._module = torch.get_device_module(device)

    def synchronize(self) -> None:
        """Wait until all work is done."""
        self._module.synchronize(self.torch_device)

    def mark(self) -> Any:
        """Return an event behind all work so far."""
        event = self._module.Event(enable_timing=True)
        event.record(self._module.current_stream(self.torch_device))
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the time between two events, by the clock of the GPU."""
        return float(begin.elapsed_time(end)) / 1000

    def lacks(self, precision: str) -> str | None:
        """Return why a precision is unavailable here; None if it is available."""
        if precision == "bf16" and not self._module.is_bf16_supported(including_emulation=False):
            return f"{self.hardware} has no bf16"
        if precision != "tf32" or self.torch_device.type != "cuda":
            return super().lacks(precision)
        major, _ = torch.cuda.get_device_capability(self.torch_device)
        if torch.version.cuda is None or major < 8:
            return f"{self.hardware} has no TF32"
        return None

    def forget_peak(self) -> None:
        """Reset the peak memory."""
        self._module.reset_peak_memory_stats(self.torch_device)

    def held_bytes(self) -> int:
        """Return the bytes of all tensors on it."""
        return int(self._module.memory_allocated(self.torch_device))

    def peak_bytes(self) -> int:
        """Return the peak bytes of tensors since `forget_peak`."""
        return int(self._module.max_memory_allocated(self.torch_device))

    def free_bytes(self) -> int | None:
        """Return the free bytes; None if unknown."""
        free = free_gpu_bytes(self.torch_device)
        kept = int(self._module.memory_reserved(self.torch_device)) - self.held_bytes()
        return None if free is None else free + kept

    def give_back(self) -> None:
        """Free the memory that torch caches."""
        self._module.empty_cache()


class AppleGpu(Device):
    """Apple's GPU: a mark waits for all work, and is the time of the host."""

    def __init__(self) -> None:
        device = choose_device("mps")
        super().__init__("mps", device, device_name(device))

    def synchronize(self) -> None:
        """Wait until all work is done."""
        torch.mps.synchronize()

    def mark(self) -> float:
        """Return the time at which all work so far is done."""
        torch.mps.synchronize()
        return self.now()

    def seconds(self, begin: float, end: float) -> float:
        """Return the time between two marks."""
        return end - begin

    def held_bytes(self) -> int:
        """Return the bytes of all tensors on it."""
        return torch.mps.current_allocated_memory()

    def free_bytes(self) -> int | None:
        """Return the free bytes, as the system recommends."""
        return free_gpu_bytes(self.torch_device)

    def give_back(self) -> None:
        """Free the memory that torch caches."""
        torch.mps.empty_cache()


def open_device(name: str) -> Device:
    """Return the device of this name.

    Raises:
        UsageError: there is no such name.
        UnavailableError: this machine does not have it.
    """
    device = choose_device(name)
    if device.type == "cpu":
        return Processor()
    return AppleGpu() if device.type == "mps" else Gpu(str(device))


def all_devices() -> list[str]:
    """Return the names of the devices of this machine, starting with the CPU."""
    kind = accelerator()
    if kind is None:
        return ["cpu"]
    count = torch.accelerator.device_count()
    return ["cpu", kind] if count == 1 else ["cpu", *(f"{kind}:{i}" for i in range(count))]
