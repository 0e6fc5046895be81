"""Random numbers: the state of torch's, and those that a seed fixes on every platform."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """Return the state on the CPU, and on a GPU where that is the device."""
    states = [torch.get_rng_state()]
    if device.type == "mps":
        states.append(torch.mps.get_rng_state())
    elif device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


def set_random_state(states: list[Tensor], device: torch.device) -> None:
    """Continue from where `random_state` was called."""
    torch.set_rng_state(states[0])
    if device.type == "mps":
        torch.mps.set_rng_state(states[1])
    elif device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], device)


@contextmanager
def own_randomness(*devices: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers on the CPU and on some GPUs as they are.

    As `torch.random.fork_rng`, which cannot fork those of mps.
    """
    states = [(device, random_state(device)) for device in (torch.device("cpu"), *devices)]
    try:
        yield
    finally:
        for device, state in states:
            set_random_state(state, device)


def permutation(number: int, seed: int) -> NDArray[np.int64]:
    """Return a permutation of `range(number)` that is a function of (number, seed)."""
    return stable_stream(np.random.SeedSequence(seed)).permutation(number)


def stable_stream(sequence: np.random.SeedSequence) -> np.random.RandomState:
    """Return random numbers that are the same with every version of numpy on every platform.

    RandomState's are promised never to change; those of numpy's newer Generator are not.
    """
    return np.random.RandomState(np.random.MT19937(sequence))
