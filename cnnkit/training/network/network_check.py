"""Trying a network on its input, so that what does not fit is said before anything is made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cnnkit.architecture.tracing import trace_forward
from cnnkit.errors import UsageError, setting
from cnnkit.evaluation import Setup
from cnnkit.system.determinism import is_refused
from cnnkit.system.device import autocast, is_out_of_memory


def check_network(network: nn.Module, setup: Setup, num_images: int) -> None:
    """Run images through a network in its evaluation and its training mode.

    Modes and buffers, such as the statistics of batch norm, are put back.

    Args:
        network: takes (N, C, H, W); on any device.
        setup: says what it is given, and how many classes it has to tell apart.
        num_images: images in the smallest batch that it will be trained on.

    Raises:
        UsageError: it cannot take them, returns something else than (N, classes), or has nothing
            to train, or training changes what its checkpoints would lack.
    """
    parameters = list(network.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        raise UsageError(f"{setup.model} has no parameter to train")
    channels, (height, width) = setup.in_channels, setup.image_size
    images = torch.rand(num_images, channels, height, width, device=parameters[0].device)
    with left_as_it_was(network):
        for is_training in (False, True):
            before = _unsaved_buffers(network)
            network.train(is_training)
            _check_output(_forward(network, images, setup), len(images), setup)
        _check_unsaved(before, _unsaved_buffers(network), setup)


def _forward(network: nn.Module, images: Tensor, setup: Setup) -> object:
    channels, height, width = images.shape[1:]
    try:
        with torch.no_grad(), autocast(images.device, setup.precision):
            output: object = network(images)
    except Exception as error:  # the network may be a user's own, and raise anything
        if is_out_of_memory(error) or is_refused(error):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        if "more than 1 value per channel" in reason[0]:
            raise UsageError(
                f"{setup.model} has batch norm, which cannot be trained on a single image",
                f"use a larger {setting('batch_size')}, or more images",
            ) from error
        raise UsageError(
            f"{setup.model} cannot take an input of {channels}x{height}x{width}: {reason[0]}",
            f"choose another {setting('input')}, or another network",
        ) from error
    return output


def _check_output(output: object, num_images: int, setup: Setup) -> None:
    expected = (num_images, len(setup.classes))
    if isinstance(output, Tensor) and tuple(output.shape) == expected:
        return
    got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise UsageError(
        f"{setup.model} returns {got} for {num_images} images, and {len(setup.classes)} classes "
        f"need {expected}",
        "let its factory take num_classes, and its forward return the logits alone",
    )


def _unsaved_buffers(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every buffer that the weights of a network leave out."""
    saved = network.state_dict()
    return {name: one.clone() for name, one in network.named_buffers() if name not in saved}


def _check_unsaved(before: Mapping[str, Tensor], after: Mapping[str, Tensor], setup: Setup) -> None:
    """Refuse a network that would not be the same once it is built anew with its weights."""
    changed = [name for name in before if name in after and _differ(before[name], after[name])]
    if changed:
        raise UsageError(
            f"{setup.model} changes its buffer {changed[0]!r} in training, and its weights leave "
            "that out",
            "register it with persistent=True",
        )


def _differ(one: Tensor, other: Tensor) -> bool:
    # Another shape is that of the input: what is kept for one, and made anew for the next.
    return one.shape == other.shape and not torch.equal(one, other)


def forward_flops(network: nn.Module, setup: Setup) -> int:
    """Return the operations of convolutions and matrix products for an image, two a MAC."""
    device = next(network.parameters()).device
    image = torch.zeros(1, setup.in_channels, *setup.image_size, device=device)
    with left_as_it_was(network):
        trace = trace_forward(network, [image], {})
    return 2 * sum(layer.macs for layer in trace.layers.values())


@contextmanager
def left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Put modes and buffers, such as the statistics of batch norm, back at the end."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for buffer, before in buffers:
            buffer.copy_(before)
