"""Building a network by its name in the zoo, in timm, or in a user's own file."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.errors import UsageError
from cnnkit.models.description import ModelDescription, ModelEntry
from cnnkit.models.networks import MODELS
from cnnkit.system.trust import TIMM, names_code

if TYPE_CHECKING:  # torch is imported when a network is built, for it takes seconds
    from torch import nn


def find_model(spec: str | ModelDescription) -> ModelDescription:
    """Return the description of a network, without building it.

    A name of the catalog is looked up without importing torch; for a user's own network its file
    is run.

    Args:
        spec: a name of the catalog, `timm:NAME`, or `path/to/net.py:FUNCTION`; a description is
            returned as it is.

    Raises:
        NotFoundError: there is no such network, file or function.
        UsageError: a user's file cannot be used.
        UnavailableError: timm is not installed.
    """
    if isinstance(spec, ModelDescription):
        return spec
    if spec.startswith(TIMM):
        from cnnkit.models.timm_models import describe_timm

        return describe_timm(spec)
    if names_code(spec):
        from cnnkit.models.custom import describe_custom

        return describe_custom(spec)
    entry = MODELS.find(spec)
    return ModelDescription(
        spec=entry.name,
        name=entry.name,
        input=entry.input,
        min_size=entry.min_size,
        fixed_size=entry.fixed_size,
        takes_classes=True,
        takes_channels=entry.takes_channels,
        takes_size=entry.takes_size,
        num_classes=entry.num_classes,
        entry=entry,
    )


def build_model(
    spec: str | ModelDescription,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: tuple[int, int] | None = None,
    arguments: Mapping[str, str] | None = None,
) -> "nn.Module":
    """Return a network with fresh weights, drawn from torch's global generator.

    What is None is as published, or as a user's function has it by default. A user's function is
    given what its signature names of `num_classes`, `in_channels` and `image_size`.

    Args:
        spec: a name of the catalog, `timm:NAME`, or `path/to/net.py:FUNCTION`; or what
            `find_model` returned for it.
        num_classes: number of logits.
        in_channels: channels of an image.
        image_size: height and width of an image.
        arguments: the network's own arguments, as texts by name.

    Raises:
        NotFoundError: there is no such network, file or function.
        UsageError: the network does not take such images or such arguments, or a user's file
            cannot be used.
        UnavailableError: timm is not installed.
    """
    description = find_model(spec)
    check_request(description, num_classes, in_channels, image_size)
    arguments = arguments or {}
    wanted: dict[str, object] = {
        "num_classes": num_classes,
        "in_channels": in_channels,
        "image_size": image_size,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if description.entry is not None:
        return _build_entry(description.entry, wanted, arguments)
    if description.spec.startswith(TIMM):
        from cnnkit.models.timm_models import build_timm

        return build_timm(description.spec, num_classes, in_channels, arguments)
    from cnnkit.models.custom import build_custom

    return build_custom(description.spec, wanted, arguments)


def code_files(spec: str) -> dict[str, Path]:
    """Return the files that a network's code was imported from; none for one without such a file.

    They are the file that is named and the modules beside it that it has imported so far, by their
    names relative to the folder.

    Raises:
        NotFoundError: there is no such file or function.
        UsageError: the file cannot be used.
    """
    if not names_code(spec):
        return {}
    from cnnkit.models.custom import imported_files

    return imported_files(spec)


def check_request(
    model: ModelDescription,
    num_classes: int | None,
    in_channels: int | None,
    image_size: tuple[int, int] | None,
) -> None:
    """Raise if a network cannot be built for these values; None is not checked.

    Args:
        model: what the network takes.
        num_classes: number of logits.
        in_channels: channels of an image.
        image_size: height and width of an image.

    Raises:
        UsageError: it takes other channels or sizes, or a number is below 1.
    """
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value is not None and value < 1:
            raise UsageError(f"{what} is {value}", "it must be at least 1")
    if in_channels is not None and model.input is not None and not model.takes_channels:
        channels = model.input[0]
        if in_channels != channels:
            raise UsageError(
                f"{model.name} takes images of {channels} channels, not {in_channels}",
                f"bring the images to {channels} channels, or choose another network",
            )
    if image_size is None:
        return
    height, width = image_size
    if min(image_size) < 1:
        raise UsageError(f"an image of {height}x{width} has no pixels", "sizes must be at least 1")
    if model.fixed_size and model.input is not None and image_size != model.input[1:]:
        native = f"{model.input[1]}x{model.input[2]}"
        raise UsageError(
            f"{model.name} only takes images of {native}, not {height}x{width}",
            f"resize the images to {native}",
        )
    if model.min_size is not None and min(image_size) < model.min_size:
        raise UsageError(
            f"images of {height}x{width} are too small for {model.name}",
            f"it takes {model.min_size}x{model.min_size} and larger",
        )


def _build_entry(
    entry: ModelEntry, wanted: Mapping[str, object], arguments: Mapping[str, str]
) -> "nn.Module":
    """Return a network of the zoo."""
    from cnnkit.models.arguments import builder_parameters, convert_arguments

    module_name, _, function_name = entry.builder.partition(":")
    builder = getattr(importlib.import_module(module_name), function_name)
    fixed = dict(entry.keywords)
    own = convert_arguments(entry.name, builder_parameters(builder), arguments, fixed=tuple(fixed))
    taken = {
        "num_classes": True,
        "in_channels": entry.takes_channels,
        "image_size": entry.takes_size,
    }
    keywords = fixed | {name: value for name, value in wanted.items() if taken[name]} | own
    try:
        network: nn.Module = builder(**keywords)
    except Exception as error:
        if not arguments:  # then it is a bug, not a usage error
            raise
        given = " ".join(f"{name}={text}" for name, text in arguments.items())
        words = " ".join(str(error).split())
        raise UsageError(f"{entry.name} cannot be built with {given}", words) from error
    return network
