"""The state of torch's random numbers, from which dropout draws."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


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


def own_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Return a context whose random numbers leave the caller's alone."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
