"""Size limits for untrusted files that torchvision reads completely, without a checksum."""

import bz2
import stat
import zipfile
from pathlib import Path

from cnnkit.data.entry import TorchvisionSource

MEGABYTE = 10**6
CHUNK_BYTES = 1 << 18

# By class of torchvision: how many megabytes a file may come to in memory, and the files. The
# largest published ones are EMNIST byclass (547), QMNIST nist (316) and the scenes of CLEVR.
LIMITS: dict[str, tuple[int, tuple[str, ...]]] = {
    "MNIST": (64, ("MNIST/raw/*-ubyte", "MNIST/processed/*.pt")),
    "FashionMNIST": (64, ("FashionMNIST/raw/*-ubyte", "FashionMNIST/processed/*.pt")),
    "KMNIST": (64, ("KMNIST/raw/*-ubyte", "KMNIST/processed/*.pt")),
    "QMNIST": (400, ("QMNIST/raw/*-ubyte", "QMNIST/raw/*-int", "QMNIST/processed/*.pt")),
    "EMNIST": (600, ("EMNIST/raw/*-ubyte", "EMNIST/processed/*.pt")),
    "USPS": (64, ("usps*.bz2",)),
    "StanfordCars": (16, ("stanford_cars/*.mat", "stanford_cars/devkit/*.mat")),
    "ImageNet": (64, ("meta.bin",)),
    "Food101": (64, ("food-101/meta/*.json",)),
    "OxfordIIITPet": (64, ("oxford-iiit-pet/annotations/*.txt",)),
    "DTD": (64, ("dtd/dtd/labels/*.txt",)),
    "GTSRB": (64, ("gtsrb/*.csv",)),
    "FGVCAircraft": (64, ("fgvc-aircraft-2013b/data/*.txt",)),
    "SUN397": (64, ("SUN397/*.txt",)),
    "CLEVRClassification": (1_000, ("clevr/CLEVR_v1.0/scenes/*.json",)),
}


def check_unverified(source: TorchvisionSource, root: Path) -> None:
    """Raise for files that would hang or fill the memory; missing files are ignored.

    Args:
        source: of the set.
        root: the folder that its class of torchvision gets.

    Raises:
        OSError: a file cannot be read.
        ValueError: a path is not a file, or takes too much memory.
    """
    megabytes, patterns = LIMITS.get(source.class_name, (0, ()))
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError(f"{path} is not a file")
            if _num_bytes(path, megabytes * MEGABYTE) > megabytes * MEGABYTE:
                raise ValueError(
                    f"{path} takes more than {megabytes:,} MB, unlike the published file"
                )


def _num_bytes(path: Path, limit: int) -> int:
    """Return how much of the memory a file takes, or some number above the limit.

    Raises:
        ValueError: it is damaged.
    """
    stored = path.stat().st_size
    if stored > limit:
        return stored
    try:
        if path.suffix == ".bz2":
            return _expanded(path, limit)
        if path.suffix in (".pt", ".bin") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
    except (EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged") from error
    return stored


def _expanded(path: Path, limit: int) -> int:
    num_bytes = 0
    with bz2.open(path) as file:
        while num_bytes <= limit and (chunk := file.read(CHUNK_BYTES)):
            num_bytes += len(chunk)
    return num_bytes
