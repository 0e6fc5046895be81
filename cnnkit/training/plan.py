"""Saying what a training will do, before it begins."""

from typing import Any

import torch
from torch import nn

from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.events import Note, Warned, emit
from cnnkit.system.device import (
    has_native_bf16,
    memory_format,
)
from cnnkit.training.job import Job
from cnnkit.training.steps.team import has_batch_norm


def say_plan(
    job: Job,
    network: nn.Module,
    num_params: int,
) -> None:
    """Say what will be done, and what about it the user must know."""
    emit(Note(job.fit))
    device, setup = job.place.device, job.setup
    how = [_precision(setup.precision, device)]
    if memory_format(device, setup.channels_last) == torch.channels_last:
        how.append("channels last")
    if job.ranks is not None:
        how.append(f"{job.ranks.size} processes{_threads_of_each(device)}")
    emit(Note(f"{job.data.counts()}; {num_params:,} parameters; on {device} in {', '.join(how)}"))
    num_images, batch_size = len(job.data.train), job.recipe.batch_size
    if batch_size > num_images:
        emit(
            Note(
                f"a batch of {batch_size:,} is all {num_images:,} training images: an epoch is a "
                "single step"
            )
        )
    if job.ranks is not None and has_batch_norm(network):
        emit(Note(_normalising(device)))
    augmentation = job.recipe.augmentation
    if augmentation != Augmentation():
        emit(Note(f"augmentation: {augmentation.sentence()}"))
    if augmentation.mixes:
        emit(
            Note(
                "train loss and accuracy are those of mixed images: one is right where the class "
                "of its larger part scores highest"
            )
        )
    if job.recipe.monitor == "test":
        emit(
            Warned(
                "the test set is followed every epoch; choose nothing by it, or its figures no "
                "longer tell how good the network is"
            )
        )
    if job.data.test is None:
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


def _normalising(device: torch.device) -> str:
    if device.type == "cuda":
        return "batch norm: over the whole batch, synchronised between the processes"
    return (
        "batch norm: each process normalises its own part of a batch, so the numbers depend on how "
        "many there are"
    )
