"""The configurations to measure: every combination of the settings, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from cnnkit.bench.device_clock import DTYPES, Device, all_devices, open_device
from cnnkit.errors import UnavailableError, UsageError, setting
from cnnkit.registry import did_you_mean
from cnnkit.system.device import num_usable_cores

MODES = ("infer", "train")
PRECISIONS = tuple(DTYPES)
LAYOUTS = ("channels-first", "channels-last")
AUTO = "auto"
ALL = "all"

BatchSize = int | Literal["auto"]

# A batch that suits does about so much arithmetic in a forward pass, and has at most so many
# images: enough to keep a device busy, few enough for the times of many batches.
SUITABLE_FLOPS = {"cpu": 2e10, "mps": 4e11, "xpu": 4e11, "cuda": 2e12}
MOST_SUITABLE = {"cpu": 32, "mps": 128, "xpu": 128, "cuda": 256}


@dataclass(frozen=True)
class CellSetting:
    """A configuration before it is measured.

    Attributes:
        model: number of the network.
        device: where it runs.
        mode: `infer` or `train`.
        batch_size: images a batch; `auto` for the largest, None for the default.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        channels_last: the layout.
        compiled: whether it is compiled.
        threads: of the processor.
    """

    model: int
    device: Device
    mode: str
    batch_size: BatchSize | None
    precision: str
    channels_last: bool
    compiled: bool
    threads: int

    @property
    def layout(self) -> str:
        """The name of the layout."""
        return LAYOUTS[self.channels_last]


@dataclass(frozen=True)
class Sweep:
    """The values of each setting.

    Attributes:
        devices: names; `all` for those of this machine.
        modes: of `MODES`.
        batch_sizes: numbers or `auto`; empty for the default.
        precisions: of `PRECISIONS`.
        layouts: of `LAYOUTS`.
        compiled: whether networks are compiled.
        threads: numbers; empty for what torch uses.
    """

    devices: Sequence[str] = (ALL,)
    modes: Sequence[str] = MODES
    batch_sizes: Sequence[BatchSize] = ()
    precisions: Sequence[str] = ("fp32",)
    layouts: Sequence[str] = ("channels-first",)
    compiled: bool = False
    threads: Sequence[int] = ()

    def check(self) -> None:
        """Check the values.

        Raises:
            UsageError: one of them is invalid.
        """
        _check_known(setting("modes"), self.modes, MODES)
        _check_known(setting("precisions"), self.precisions, PRECISIONS)
        _check_known(setting("layouts"), self.layouts, LAYOUTS)
        if not self.devices:
            raise UsageError(
                f"{setting('devices')} names no device", f"such as {setting('devices')} cpu,cuda"
            )
        for batch_size in self.batch_sizes:
            if isinstance(batch_size, int) and batch_size < 1:
                raise UsageError(
                    f"{setting('batch_sizes')} {batch_size} is below 1",
                    "use 1 or more, or auto",
                )
        for number in self.threads:
            if number < 1:
                raise UsageError(f"{setting('threads')} {number} is below 1", "use 1 or more")
            if number > num_usable_cores():
                raise UsageError(
                    f"{setting('threads')} {number} is more than this process can use",
                    f"it has {num_usable_cores()} cores",
                )

    def open_devices(self) -> list[Device]:
        """Return the devices, each once.

        Raises:
            UsageError: one has an unknown name.
            UnavailableError: this machine lacks one, or all of them lack a precision.
        """
        names = [
            name for given in self.devices for name in (all_devices() if given == ALL else [given])
        ]
        devices = [open_device(name) for name in dict.fromkeys(names)]
        for precision in self.precisions:
            reasons = [device.lacks(precision) for device in devices]
            if all(reasons):
                raise UnavailableError(
                    f"{setting('precisions')} {precision} cannot be had: {reasons[0]}",
                    f"leave it out, or name another {setting('devices')}",
                )
        return devices

    def cells(
        self, num_models: int, devices: Sequence[Device], num_threads: int
    ) -> list[CellSetting]:
        """Return every combination.

        Threads are those of the processor: a GPU is measured only with `num_threads`.
        """
        threads = list(dict.fromkeys(self.threads)) or [num_threads]
        return [
            CellSetting(model, device, mode, batch, precision, layout == LAYOUTS[1],
                        self.compiled, number)
            for model, device, mode, batch, precision, layout in product(
                range(num_models),
                devices,
                dict.fromkeys(self.modes),
                dict.fromkeys(self.batch_sizes or (None,)),
                dict.fromkeys(self.precisions),
                dict.fromkeys(self.layouts),
            )
            for number in (threads if device.torch_device.type == "cpu" else [num_threads])
        ]  # fmt: skip


def suitable_batch(flops_an_image: float, device: Device, is_training: bool) -> int:
    """Return the default batch size: the largest power of two within a budget of arithmetic.

    It depends only on the network and the kind of device, so that another run uses the same.
    """
    kind = device.torch_device.type
    most = MOST_SUITABLE[kind]
    batch = 1
    while batch < most and 2 * batch * flops_an_image <= SUITABLE_FLOPS[kind]:
        batch *= 2
    return max(batch, 2) if is_training else batch  # batch norm cannot train on one image


def _check_known(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    if not given:
        raise UsageError(f"{option} is empty", f"choose from {', '.join(known)}")
    for name in given:
        if name not in known:
            raise UsageError(
                f"{option} {name!r} is unknown",
                did_you_mean(name, known) or f"choose from {', '.join(known)}",
            )
