"""What makes a training come out otherwise: random numbers, and operations without an order."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from cnnkit.errors import UnavailableError


@contextmanager
def deterministic_operations(wanted: bool) -> Iterator[None]:
    """Compute with operations that give the same numbers every time alone, if that is wanted.

    On a GPU others are the default, such as gradients that are added up in no fixed order. What
    torch is set to otherwise is put back at the end.

    Raises:
        UnavailableError: torch has no such operation for something within.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    deterministic: Any = torch.utils.deterministic  # a module whose attributes are properties
    earlier = torch.get_deterministic_debug_mode(), cudnn.benchmark
    fills_memory = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = False  # the fastest kernel of a moment may be another the next time
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        if found is None:
            raise
        raise UnavailableError(
            f"torch has no {found[1]} that gives the same numbers every time on this device",
            "leave --deterministic out",
        ) from error
    finally:
        torch.set_deterministic_debug_mode(earlier[0])
        cudnn.benchmark = earlier[1]
        deterministic.fill_uninitialized_memory = fills_memory


def random_state(device: torch.device) -> list[Tensor]:
    """Return the state on the CPU, and on a GPU where that is the device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Go on from where `random_state` was called."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
