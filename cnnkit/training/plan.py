"""The notes and warnings before a training run."""

from typing import Any

import torch
from torch import nn

from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.events import Note, Warned, emit
from cnnkit.models.layer_kinds import has_batch_norm
from cnnkit.runs.resolved import ResolvedRun
from cnnkit.system.device import has_native_bf16, memory_format


def say_plan(resolved: ResolvedRun, network: nn.Module, num_params: int) -> None:
    """Say what will be done, and what about it the user must know."""
    emit(Note(resolved.fit))
    device, setup = resolved.place.device, resolved.setup
    how = [_precision(setup.precision, device)]
    if memory_format(device, setup.channels_last) == torch.channels_last:
        how.append("channels last")
    how += resolved.group.select([], [f"{resolved.group.size} processes{_threads_of_each(device)}"])
    emit(
        Note(
            f"{resolved.data.counts()}; {num_params:,} parameters; on {device} in {', '.join(how)}"
        )
    )
    num_images, batch_size = len(resolved.data.train), resolved.recipe.batch_size
    if batch_size > num_images:
        emit(
            Note(
                f"a batch of {batch_size:,} is all {num_images:,} training images: an epoch is a "
                "single step"
            )
        )
    if has_batch_norm(network):
        for line in resolved.group.select([], [_normalizing(device)]):
            emit(Note(line))
    augmentation = resolved.recipe.augmentation
    if augmentation != Augmentation():
        emit(Note(f"augmentation: {augmentation.sentence()}"))
    if augmentation.mixes:
        emit(
            Note(
                "train loss and accuracy are those of mixed images: one is right where the class "
                "of its larger part scores highest"
            )
        )
    if resolved.recipe.monitor == "test":
        emit(
            Warned(
                "the test set is evaluated every epoch; choose nothing by it, or its results no "
                "longer show how good the network is"
            )
        )
    if resolved.data.test is None:
        emit(Warned("there is no test set, so the result is not tested"))


def _precision(name: str, device: torch.device) -> str:
    """Return a precision with what it comes to on a device."""
    is_native = has_native_bf16(device)
    if name == "bf16" and device.type == "cpu" and not is_native:
        return "bf16 (by way of fp32, and slow)"
    # What multiplies bf16 on a GPU multiplies tf32 as well, and torch lets convolutions do so.
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    has_tf32 = device.type == "cuda" and torch.version.cuda is not None and is_native
    if name == "fp32" and has_tf32 and conv.fp32_precision == "tf32":
        return "fp32 (convolutions multiply in tf32)"
    return name


def _threads_of_each(device: torch.device) -> str:
    if device.type != "cpu":
        return ""
    number = torch.get_num_threads()
    return f" of {number} thread{'s' if number > 1 else ''} each"


def _normalizing(device: torch.device) -> str:
    if device.type == "cuda":
        return "batch norm: over the full batch, synchronized between the processes"
    return (
        "batch norm: each process normalizes its own part of a batch, so the numbers depend on how "
        "many there are"
    )
