"""The machine that was measured, and the most that it can do."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Machine:
    """What a figure of speed hangs on beside the cell.

    Attributes:
        processor: what the processor calls itself.
        device_name: what the first device that was measured calls itself.
        devices: the names of all of them.
        num_cores: cores that the process may run on.
        num_threads: threads that torch uses unless told otherwise.
        memory_bytes: of the machine; None where it is not known.
        system: the operating system.
        torch: version of torch.
        versions: of everything else that counts.
        fingerprint: the same for the same machine with the same versions.
    """

    processor: str
    device_name: str
    devices: Mapping[str, str]
    num_cores: int
    num_threads: int
    memory_bytes: int | None
    system: str
    torch: str
    versions: Mapping[str, str]
    fingerprint: str

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the machine that a dictionary holds.

        Raises:
            TypeError, KeyError: it holds none.
        """
        return cls(**{one.name: plain[one.name] for one in fields(cls)})

    def differences(self, before: "Machine") -> list[str]:
        """Return what is not as it was, each as `torch 2.15.0 for 2.14.0`."""
        pairs = [
            ("processor", self.processor, before.processor),
            ("cores", str(self.num_cores), str(before.num_cores)),
            ("system", self.system, before.system),
            ("torch", self.torch, before.torch),
        ]
        for name in sorted({*self.devices} & {*before.devices} - {"cpu"}):
            pairs.append((name, self.devices[name], before.devices[name]))
        for name in sorted({*self.versions} & {*before.versions}):
            pairs.append((name, self.versions[name], before.versions[name]))
        return [f"{name} {now} for {then}" for name, now, then in pairs if now != then]


@dataclass(frozen=True)
class Peak:
    """The most that a device was seen to do.

    Attributes:
        device: which one.
        threads: of the processor.
        precision: of the numbers; `bytes` for the memory.
        kind: `matmul` and `conv`, or `memory`.
        per_second: FLOPs, two a multiply-accumulate; of memory bytes, read and written.
        how: what reached it: `2048x2048x2048`, or a convolution, or the cell that was faster.
    """

    device: str
    threads: int
    precision: str
    kind: str
    per_second: float
    how: str
