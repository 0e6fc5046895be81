"""A device of the tests: its kernels take a known time, on a clock that nobody waits for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn

from cnnkit.bench import sweep as settings
from cnnkit.bench.device_clock import Device

LAUNCH_SECONDS = 2e-5  # of the host, for a kernel


@dataclass
class Event:
    """A mark in the stream: known to the host once the device was waited for."""

    at: float


class FakeDevice(Device):
    """A GPU: a call returns at once, and its work is done later.

    `seconds` of two marks is right only if the device was waited for since, as with CUDA, where
    it is an error otherwise.

    Args:
        events: marks are events of the device, as CUDA's; otherwise the time of the host after
            waiting, as MPS's.
        capacity: images that fit into its memory.
    """

    def __init__(self, events: bool = True, capacity: int = 10**9, name: str = "fake") -> None:
        super().__init__(name, torch.device("cpu"), "a device of the tests")
        self.events = events
        self.capacity = capacity
        self.time = 0.0
        self.busy_until = 0.0
        self.is_waited_for = True
        self.num_waits = 0

    def launch(self, seconds: float) -> None:
        """Begin a kernel that takes so long."""
        self.time += LAUNCH_SECONDS
        self.busy_until = max(self.busy_until, self.time) + seconds
        self.is_waited_for = False

    def now(self) -> float:
        self.time += 1e-7  # to look at a clock takes time, or loops on it would never end
        return self.time

    def synchronize(self) -> None:
        self.num_waits += 1
        self.time = max(self.time, self.busy_until)
        self.is_waited_for = True

    def mark(self) -> Event:
        if not self.events:
            self.synchronize()
            return Event(self.now())
        return Event(max(self.now(), self.busy_until))

    def seconds(self, begin: Event, end: Event) -> float:
        if self.events and end.at > self.time:
            raise RuntimeError("both events must be completed before the time between them is had")
        return end.at - begin.at

    def free_bytes(self) -> int | None:
        return None


class KernelNet(nn.Module):
    """A network whose batches take a known time on a fake device.

    Args:
        device: where its kernels run.
        seconds: of the forward pass of an image; called for each batch if it is a function.
    """

    def __init__(self, device: FakeDevice, seconds: float = 1e-4) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.device = [device]  # no part of the module, so that copies share it
        self.others: tuple[FakeDevice, ...] = ()  # which do the same work
        self.seconds = seconds

    def __deepcopy__(self, memo: object) -> "KernelNet":
        copy = type(self)(self.device[0], self.seconds)
        copy.load_state_dict(self.state_dict())
        copy.others = self.others
        return copy

    def batch_seconds(self, number: int) -> float:
        """Return how long the kernels of a batch take."""
        return self.seconds * number

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.device[0].capacity:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for device in (*self.device, *self.others):
            device.launch(self.batch_seconds(len(x)))
        out: Tensor = self.linear(x.flatten(1))
        return out


@contextmanager
def devices(*fakes: Device) -> Iterator[None]:
    """Let the devices of the tests be found by their names."""
    by_name = {fake.name: fake for fake in fakes}
    with (
        patch.object(settings, "open_device", by_name.__getitem__),
        patch.object(settings, "all_devices", lambda: list(by_name)),
    ):
        yield
