"""Networks of timm: `timm:NAME`, with the extra `timm`."""

import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnkit.errors import NotFoundError, UnavailableError, UsageError, setting
from cnnkit.models.arguments import convert_arguments
from cnnkit.models.description import ModelDescription
from cnnkit.registry import did_you_mean

PREFIX = "timm:"

# timm's argument names for what the dataset decides; and its weights are never loaded in passing.
_FROM_DATASET = ("num_classes", "in_chans", "img_size", "in_channels", "image_size")
_FIXED = (
    "pretrained", "checkpoint_path", "model_name", "pretrained_cfg", "pretrained_cfg_overlay",
    "cache_dir",
)  # fmt: skip
_NAME = re.compile(
    r"[\w.-]+"
)  # no hf-hub:NAME or local-dir:PATH, which would load files from there


def describe_timm(spec: str) -> ModelDescription:
    """Return timm's description of a network, without building it.

    Raises:
        UnavailableError: timm is not installed.
        NotFoundError: timm has no such network.
    """
    timm = _import_timm()
    name = spec.removeprefix(PREFIX)
    config = _config(timm, name)
    smallest = config.min_input_size
    if config.fixed_input_size:
        smallest = config.input_size
    return ModelDescription(
        spec=spec,
        name=f"timm_{name}",
        input=tuple(config.input_size),
        min_size=max(smallest[1:]) if smallest else None,
        fixed_size=bool(config.fixed_input_size),
        takes_classes=True,
        takes_channels=True,
        takes_size=False,
        num_classes=config.num_classes or None,  # 0 is a network without a head
    )


def build_timm(
    spec: str,
    num_classes: int | None,
    in_channels: int | None,
    arguments: Mapping[str, str],
) -> nn.Module:
    """Return a network of timm with fresh weights.

    Raises:
        UnavailableError: timm is not installed.
        NotFoundError: timm has no such network.
        UsageError: it does not take the arguments.
    """
    timm = _import_timm()
    name = spec.removeprefix(PREFIX)
    _config(timm, name)
    # create_model takes everything, and hands it on to the network.
    anything = {"kwargs": inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)}
    keywords = convert_arguments(
        spec, anything, arguments, fixed=_FIXED, from_dataset=_FROM_DATASET
    )
    if num_classes is not None:
        keywords["num_classes"] = num_classes
    if in_channels is not None:
        keywords["in_chans"] = in_channels
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **keywords)
    except Exception as error:
        words = " ".join(str(error).split())
        raise UsageError(
            f"timm cannot build {name}: {type(error).__name__}: {words}",
            f"check the {setting('model_arguments')} values" if arguments else "",
        ) from error
    return network


def _import_timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UnavailableError(
            "networks of timm need the package timm", "`pip install timm` brings it"
        ) from None


def _config(timm: Any, name: str) -> Any:
    """Return timm's metadata of a network: its input, and its number of classes.

    Raises:
        NotFoundError: there is no such network, or no such weights of it.
    """
    if not _NAME.fullmatch(name) or not timm.is_model(name):
        raise NotFoundError(
            f"timm has no model {name!r}",
            did_you_mean(name, timm.list_models()) or "timm.list_models() names them all",
        )
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        base = name.partition(".")[0]
        raise NotFoundError(f"timm has no model {name!r}", f"did you mean {base}?") from None
