"""Pretrained weights of torchvision."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from cnnkit.data.sources.download import DownloadError, fetch
from cnnkit.errors import CheckFailedError, UnavailableError, UsageError
from cnnkit.models import MODELS, ModelDescription, ModelEntry
from cnnkit.runs.weights_file import WeightsFile
from cnnkit.system.files import explain_os_error

_BUILDERS = "torchvision.models:"
# What GoogLeNet and Inception do with an input themselves where torchvision loads their weights
# is a mean and a standard deviation of a half.
_SHIFTED = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of torchvision, and the input that they were trained with.

    Attributes:
        name: `ResNet18_Weights.IMAGENET1K_V1`.
        url: where they are.
        size: height and width.
        mean: of each channel, on the scale 0..1.
        std: of each channel, likewise.
    """

    name: str
    url: str
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def path(self) -> Path:
        """Path of the file in torch's cache."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """How the SHA-256 of the file begins; its name says so."""
        found = re.search(r"-([0-9a-f]+)\.", self.path.name)
        return found[1] if found else ""

    def obtain(self) -> WeightsFile:
        """Return the file, which is downloaded where it is not there yet.

        Raises:
            UnavailableError: it cannot be downloaded or written.
            CheckFailedError: the file that is there is another one.
        """
        path = self.path
        try:
            if not path.exists():
                fetch(self.url, path, sha256=self.sha256)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except DownloadError as error:
            raise UnavailableError(
                f"the weights cannot be downloaded: {error}",
                f"put {path.name} into {path.parent}, or try again",
            ) from error
        except OSError as error:
            raise explain_os_error(error, f"keep {path}") from error
        if not digest.startswith(self.sha256):
            raise CheckFailedError(
                f"{path} is not the published file: its SHA-256 begins with "
                f"{digest[: len(self.sha256)]}, not {self.sha256}",
                "remove it, and it is downloaded again",
            )
        return WeightsFile(self.name, path, digest, is_published=True)


def find_weights(model: ModelDescription) -> PretrainedWeights:
    """Return torchvision's default weights of a network, or those for the one size that it takes.

    Raises:
        UsageError: there are none.
    """
    if model.entry is None or not model.entry.builder.startswith(_BUILDERS):
        raise _without_weights(model)
    from torchvision.models import get_model_weights

    enum = get_model_weights(_torchvision_name(model.entry))
    for weights in (enum.DEFAULT, *enum):
        wanted = weights.transforms()
        size = int(wanted.crop_size[0])
        if not model.fixed_size or (size, size) == model.entry.input[1:]:
            break
    else:
        raise _without_weights(model)
    is_shifted = model.entry.name in _SHIFTED
    return PretrainedWeights(
        name=f"{enum.__name__}.{weights.name}",
        url=weights.url,
        size=(size, size),
        mean=(0.5,) * 3 if is_shifted else tuple(wanted.mean),
        std=(0.5,) * 3 if is_shifted else tuple(wanted.std),
    )


def _torchvision_name(entry: ModelEntry) -> str:
    return entry.builder.removeprefix(_BUILDERS)


def _without_weights(model: ModelDescription) -> UsageError:
    names = [one.name for one in MODELS.values() if one.builder.startswith(_BUILDERS)]
    examples = ("resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16")
    near = [name for name in names if name in model.name]  # of resnet18_table
    return UsageError(
        f"there are no pretrained weights for {model.spec}",
        f"there are for the {len(names)} networks of torchvision, such as "
        f"{', '.join(near or examples)}",
    )
