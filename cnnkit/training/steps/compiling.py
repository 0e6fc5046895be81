"""Letting torch compile a network for training."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnkit.errors import UnavailableError, setting
from cnnkit.evaluation import Setup
from cnnkit.events import Note, emit
from cnnkit.runs.recipe import Recipe
from cnnkit.system.compat import lacks_compiler
from cnnkit.system.determinism import is_refused
from cnnkit.system.device import autocast, is_out_of_memory, memory_format
from cnnkit.training.network.network_check import left_as_it_was


@dataclass(frozen=True)
class Compiled:
    """A network that was compiled for one number of images.

    Attributes:
        forward: takes (N, C, H, W), returns logits; shares its weights with the network.
        num_images: N.
    """

    forward: Callable[[Tensor], Tensor]
    num_images: int


def compiled(
    network: nn.Module,
    setup: Setup,
    recipe: Recipe,
    num_train_images: int,
) -> Compiled:
    """Compile the forward and backward pass of a whole batch, or of a part with `accumulate`.

    They are run once on zeros, so that what cannot be compiled is said before the first step.

    Raises:
        UnavailableError: there is no compiler, or torch cannot compile the network.
    """
    device = next(network.parameters()).device
    if device.type == "mps":
        raise UnavailableError(f"{setting('compile')} is not for the device mps", "leave it out")
    num_images = -(-min(recipe.batch_size, num_train_images) // recipe.accumulate)
    start = time.perf_counter()
    torch.compiler.reset()  # what other networks of this process were compiled to counts as well
    forward = torch.compile(network, dynamic=False)
    images = torch.zeros(num_images, setup.in_channels, *setup.image_size, device=device)
    images = images.contiguous(memory_format=memory_format(device, setup.channels_last))
    with (
        left_as_it_was(network),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
    ):
        try:
            network.train()
            with autocast(device, setup.precision):
                logits = forward(images)
            logits.float().sum().backward()
        except Exception as error:  # it runs a compiler, and may raise anything
            if is_out_of_memory(error) or is_refused(error):
                raise
            if lacks_compiler(error):
                raise UnavailableError(
                    f"{setting('compile')} needs a C++ compiler, and this machine has none",
                    f"install g++ or clang, or leave {setting('compile')} out",
                ) from error
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UnavailableError(
                f"torch cannot compile {setup.model}: {reason[0]}",
                f"leave {setting('compile')} out",
            ) from error
    network.zero_grad()
    emit(Note(f"compiled in {time.perf_counter() - start:.1f} s"))
    return Compiled(forward, num_images)
