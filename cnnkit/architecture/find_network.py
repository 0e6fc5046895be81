"""Finding the network to inspect, and its inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnkit.architecture.input_shapes import InputShape, as_input_shapes
from cnnkit.architecture.skeleton import build_skeleton, copy_of, skeleton_of
from cnnkit.errors import UsageError, setting
from cnnkit.models import MODELS, build_model, find_model
from cnnkit.models.description import ModelDescription
from cnnkit.runs.code import Trusted, described_by, network_of
from cnnkit.runs.folder import open_run
from cnnkit.system.compat import uncompiled
from cnnkit.system.files import is_folder

NOTHING_TRUSTED = Trusted()


@dataclass(frozen=True)
class Subject:
    """A network to inspect.

    Attributes:
        name: its display name.
        inputs: its inputs.
        make: returns it without weights, on meta where that can be.
        make_real: returns it with weights.
        description: its description; None for a user's module.
    """

    name: str
    inputs: tuple[InputShape, ...]
    make: Callable[[], nn.Module]
    make_real: Callable[[], nn.Module]
    description: ModelDescription | None = None


def find_subject(
    model: str | nn.Module,
    given: Any,
    num_classes: int | None,
    arguments: Mapping[str, str],
    runs_dir: Path,
    trusted: Trusted = NOTHING_TRUSTED,
) -> Subject:
    """Return a network by its name, a run, or a module.

    Args:
        model: a name of the zoo, `timm:NAME`, `FILE.py:FUNCTION`, a run folder, or a module.
        given: its inputs, see `as_input_shapes`; None for its native input.
        num_classes: number of logits; None for as published.
        arguments: the network's own arguments, as texts by name.
        runs_dir: where runs are looked for.
        trusted: whether the user trusts the code of a run.

    Raises:
        NotFoundError: there is no such network, file, function or run.
        UsageError: an input or an argument is wrong, or no input is known.
        CheckFailedError: the run is damaged, or brings code that the user does not trust.
    """
    inputs = as_input_shapes(given)
    if not isinstance(model, str | nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise UsageError(f"{what} is not a network", "give a torch.nn.Module, or a name")
    if isinstance(model, nn.Module):
        return _own_module(model, inputs)
    if model not in MODELS and (is_folder(runs_dir / model) or is_folder(Path(model))):
        return _network_of_run(model, inputs, runs_dir, trusted)
    if trusted.network is not None:
        raise UsageError(
            f"{setting('network')} is for a run, and {model} is not a run", "leave it out"
        )
    description = find_model(model)
    name = _told_name(model, description)
    inputs = _resolved(name, inputs, description.input)
    return _built(name, model, description, inputs, num_classes, arguments)


def _own_module(network: nn.Module, inputs: tuple[InputShape, ...]) -> Subject:
    inner = uncompiled(network)
    if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = inner.module
    name = type(inner).__name__
    if any(isinstance(module, torch.jit.ScriptModule) for module in inner.modules()):
        raise UsageError(
            f"{name} is compiled by TorchScript, so its layers cannot be hooked",
            "give the network that it was made from",
        )
    inputs = _resolved(name, inputs, None)
    return Subject(name, inputs, lambda: skeleton_of(inner), lambda: copy_of(inner))


def _network_of_run(
    run: str,
    inputs: tuple[InputShape, ...],
    runs_dir: Path,
    trusted: Trusted,
) -> Subject:
    """Return the network of a run, built as it was trained.

    Raises:
        NotFoundError: there is no such run.
        CheckFailedError: it is damaged, or brings code that the user does not trust.
    """
    folder = open_run(run, runs_dir)
    plain = folder.read_description()
    setup = plain["setup"]
    spec = network_of(folder, plain, trusted)
    description = find_model(spec)
    name = _told_name(spec, description)
    resolved = _resolved(name, inputs, (setup["in_channels"], *setup["image_size"]))
    arguments = setup.get("model_arguments", {})
    subject = _built(name, spec, description, resolved, len(setup["classes"]), arguments)
    if inputs:  # then the network may reject them
        return subject

    def described(make: Callable[[], nn.Module]) -> nn.Module:
        with described_by(folder, spec):
            return make()

    return replace(
        subject,
        make=lambda: described(subject.make),
        make_real=lambda: described(subject.make_real),
    )


def _told_name(spec: str, description: ModelDescription) -> str:
    """Return the display name of a network: `vgg16`, `timm:resnet18`, `net.py:make`."""
    if description.entry is not None:
        return description.entry.name
    if spec.startswith("timm:"):
        return spec
    return f"{Path(spec.rpartition(':')[0]).name}:{description.name}"


def _resolved(
    name: str, inputs: tuple[InputShape, ...], native: tuple[int, int, int] | None
) -> tuple[InputShape, ...]:
    """Return the inputs, the native one where none is given, with the channels of squares."""
    if not inputs and native is None:
        raise UsageError(
            f"the input shape of {name} is unknown",
            f"give it with {setting('input')}, such as 3x224x224",
        )
    if not inputs:
        assert native is not None
        return (InputShape(native),)
    if any(one.is_square for one in inputs) and native is None:
        side = next(one.shape[0] for one in inputs if one.is_square)
        raise UsageError(
            f"the number of channels of {name} is unknown",
            f"write {setting('input')} CxHxW, such as 3x{side}x{side}",
        )
    return tuple(
        replace(one, shape=(native[0], *one.shape * 2), is_square=False)
        if one.is_square and native is not None
        else one
        for one in inputs
    )


def _built(
    name: str,
    spec: str,
    description: ModelDescription,
    inputs: tuple[InputShape, ...],
    num_classes: int | None,
    arguments: Mapping[str, str],
) -> Subject:
    image = next((one.shape for one in inputs if len(one.shape) == 3), None)

    def build() -> nn.Module:
        return build_model(
            spec,
            num_classes=num_classes,
            in_channels=None if image is None else image[0],
            # Other networks get any size, so that the layer that refuses it can be reported.
            image_size=image[1:] if image is not None and description.takes_size else None,
            arguments=arguments,
        )

    return Subject(name, inputs, lambda: build_skeleton(build), build, description)
