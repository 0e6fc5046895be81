"""Checks of the environment: versions, devices, folders and extras."""

import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cnnkit import __version__
from cnnkit.data import DATASETS, default_data_dir
from cnnkit.data.entry import TorchvisionSource
from cnnkit.results import DoctorReport, Finding
from cnnkit.system.compat import processor_capabilities
from cnnkit.system.device import accelerator, has_native_bf16, num_usable_cores, processor_name

PACKAGES = ("torch", "torchvision", "typer", "rich", "pandas", "pydantic", "safetensors")
EXTRAS = ("tensorboard", "timm")
# What makes networks fast on a processor: wide vectors, and bf16 multiplied as it is.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512_f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "bf16": "ARM BF16",
    "sve": "SVE",
}


def examine(data_dir: Path | None = None, runs_dir: Path = Path("runs")) -> DoctorReport:
    """Return findings about versions, CPU, devices, folders and extras.

    Args:
        data_dir: folder of datasets; the user's cache folder by default.
        runs_dir: where runs are kept.
    """
    return DoctorReport(
        (
            *_versions(),
            *_processor(),
            *_devices(),
            *_folders(data_dir or default_data_dir(), runs_dir),
            *_extras(),
        )
    )


def _versions() -> list[Finding]:
    findings = [
        Finding("versions", "cnnkit", __version__),
        Finding("versions", "Python", f"{platform.python_version()} on {platform.platform()}"),
    ]
    return findings + [Finding("versions", name, _version(name) or "missing") for name in PACKAGES]


def _processor() -> list[Finding]:
    import torch

    capabilities = processor_capabilities()
    named = [label for key, label in INSTRUCTIONS.items() if capabilities.get(key)]
    bf16 = has_native_bf16(torch.device("cpu"))
    return [
        Finding("processor", "name", processor_name()),
        Finding("processor", "usable cores", str(num_usable_cores())),
        Finding("processor", "torch threads", str(torch.get_num_threads())),
        Finding("processor", "instructions", ", ".join(named) or "unknown"),
        Finding("processor", "native bf16", "yes" if bf16 else "no"),
    ]


def _devices() -> list[Finding]:
    import torch

    findings = [Finding("devices", "cpu", "yes")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = f"{properties.total_memory / 2**30:.1f} GiB"
            findings.append(
                Finding("devices", f"cuda:{index}", f"{properties.name}, {memory} memory")
            )
    elif torch.version.cuda is None:
        advice = "this torch is built without CUDA; https://pytorch.org/get-started has others"
        findings.append(Finding("devices", "cuda", "no", advice))
    else:
        advice = f"torch is built for CUDA {torch.version.cuda}, but finds no GPU or no driver"
        findings.append(Finding("devices", "cuda", "no", advice))
    for kind in ("mps", "xpu"):
        findings.append(Finding("devices", kind, "yes" if accelerator() == kind else "no"))
    return findings


def _folders(data_dir: Path, runs_dir: Path) -> list[Finding]:
    existing = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    free = f"{shutil.disk_usage(existing).free / 2**30:.1f} GiB free"
    state = "" if data_dir.exists() else ", created when first used"
    present = [name for name in DATASETS if _lies_in(name, data_dir)]
    num_runs = len(list(runs_dir.glob("*/run.json"))) if runs_dir.is_dir() else 0
    return [
        Finding("folders", "data", f"{data_dir} ({free}{state})"),
        Finding("folders", "datasets there", ", ".join(present) or "none"),
        Finding("folders", "runs", f"{runs_dir} ({num_runs:,} runs)"),
    ]


def _lies_in(name: str, data_dir: Path) -> bool:
    """Return whether every file or folder of a dataset exists."""
    source = DATASETS[name].source
    return isinstance(source, TorchvisionSource) and all(
        (data_dir / part.removesuffix("/*.jpg")).exists()
        or (data_dir / part.removesuffix(".gz")).exists()
        for part in source.layout
    )


def _extras() -> list[Finding]:
    findings = []
    for package in EXTRAS:
        found = _version(package)
        advice = "" if found else f"pip install {package}"
        findings.append(Finding("extras", package, found or "no", advice))
    return findings


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
