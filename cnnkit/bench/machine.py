"""The fingerprint of a machine."""

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from cnnkit import __version__
from cnnkit.bench.device_clock import Device
from cnnkit.results.bench import Machine
from cnnkit.system.device import num_usable_cores, processor_name


def describe_machine(devices: Sequence[Device]) -> Machine:
    """Return the machine, and the devices of it that are measured."""
    names = {device.name: device.hardware for device in devices}
    versions = {
        "python": platform.python_version(),
        "torchvision": version("torchvision"),
        "cnnkit": __version__,
    }
    if torch.cuda.is_available():
        versions["cuda"] = str(torch.version.cuda or torch.version.hip)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    parts = {
        "processor": processor_name(),
        "num_cores": num_usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": str(torch.__version__),
        "versions": {name: text for name, text in versions.items() if name != "cnnkit"},
        "devices": names,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Machine(
        processor=processor_name(),
        device_name=devices[0].hardware,
        devices=names,
        num_cores=num_usable_cores(),
        num_threads=torch.get_num_threads(),
        memory_bytes=_memory_bytes(),
        system=platform.platform(),
        torch=str(torch.__version__),
        versions=versions,
        fingerprint=digest[:16],
    )


def _memory_bytes() -> int | None:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None  # this system does not report it
