"""Building a network for training: adapted, checked, initialized, compiled."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cnnkit.architecture.trace import trace_forward
from cnnkit.data.image_set import ImageSet
from cnnkit.data.loading.batches import epoch_order
from cnnkit.errors import UnavailableError, UsageError, setting
from cnnkit.events import Note, emit
from cnnkit.models.layer_kinds import BATCH_NORMS, DROPOUTS
from cnnkit.runs.model_and_data import ModelAndData
from cnnkit.runs.recipe import Recipe
from cnnkit.runs.resolved import ResolvedRun
from cnnkit.runs.run_data import LoaderConfig
from cnnkit.runs.weights_file import last_layer
from cnnkit.system.compat import lacks_compiler
from cnnkit.system.determinism import deterministic_operations, is_refused
from cnnkit.system.device import AUTO, autocast, choose_precision, has_native_bf16, memory_format
from cnnkit.system.memory import explained_out_of_memory, is_out_of_memory
from cnnkit.system.randomness import own_randomness
from cnnkit.training.optimizers import make_optimizer

NUM_IMAGES = 1000
ORDER = 0  # the pass whose order the images are taken in; training counts its own from 1


class Built(NamedTuple):
    """A network on its device, and the optimizer of its parameters."""

    network: nn.Module
    optimizer: Optimizer


def build_network(run: ResolvedRun, is_new: bool = True) -> Built:
    """Return the network with its first weights, on its device and tried, and its optimizer.

    Args:
        run: the resolved run.
        is_new: its weights will not be read from a checkpoint, so it may look at images.

    Raises:
        UsageError: it cannot be trained on this data, or by this optimizer.
        CheckFailedError: the file of its weights holds others.
        NotFoundError: that file is gone.
        RunFailedError: an image that it looks at is broken.
        UnavailableError: `deterministic` is not possible.
    """
    setup, recipe, device = run.setup, run.recipe, run.place.device
    with deterministic_operations(setup.deterministic):
        torch.manual_seed(recipe.seed)
        network = setup.build(run.model)
        if run.weights is not None:
            emit(Note(run.weights.load_into(network)))
        adapt_network(network, recipe, setup.model)
        network = network.to(device)
        network = network.to(memory_format=memory_format(device, setup.channels_last))
        _check(network, run)
        if is_new and run.weights is None:
            initialize_from_images(network, run.data.train, run.place, setup, recipe.seed)
        return Built(network, make_optimizer(network, recipe))


def in_precision(run: ResolvedRun, network: nn.Module) -> ResolvedRun:
    """Return the run in the precision of its recipe, which may depend on the network.

    Raises:
        UsageError: the network cannot be trained in it.
        UnavailableError: the device does not support it.
    """
    recipe, device, flops = run.recipe, run.place.device, 0
    if recipe.precision == AUTO and has_native_bf16(device):
        num_images = max(1, recipe.batch_size // recipe.accumulate)
        flops = num_images * forward_flops(network, run.setup)
    precision = choose_precision(recipe.precision, device, flops)
    run = replace(run, setup=replace(run.setup, precision=precision))
    if precision != "fp32":
        _check(network, run)
    return run


def _check(network: nn.Module, run: ResolvedRun) -> None:
    with own_randomness(run.place.device):  # dropout must not draw what training will
        num_images = min(2, run.recipe.batch_size, len(run.data.train))
        check_network(network, run.setup, num_images)


def explained(recipe: Recipe) -> AbstractContextManager[None]:
    """Return a context that says what helps where memory runs out."""
    return explained_out_of_memory(
        f"free some, or begin with a smaller {setting('batch_size')} than {recipe.batch_size}, or "
        f"a smaller {setting('input')}"
    )


def check_network(network: nn.Module, setup: ModelAndData, num_images: int) -> None:
    """Check a network with images, in evaluation mode and in training mode.

    Modes and buffers, such as the statistics of batch norm, are put back.

    Args:
        network: takes (N, C, H, W), on any device.
        setup: the input of the network, and the number of classes.
        num_images: images in the smallest batch that it will be trained on.

    Raises:
        UsageError: it cannot take them, returns something else than (N, classes), or has nothing
            to train, or training changes buffers that its checkpoints do not hold.
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


def _forward(network: nn.Module, images: Tensor, setup: ModelAndData) -> object:
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


def _check_output(output: object, num_images: int, setup: ModelAndData) -> None:
    expected = (num_images, len(setup.classes))
    if isinstance(output, Tensor) and tuple(output.shape) == expected:
        return
    got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise UsageError(
        f"{setup.model} returns {got} for {num_images} images, and {len(setup.classes)} classes "
        f"need {expected}",
        "let its factory take num_classes, and its forward return only the logits",
    )


def _unsaved_buffers(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every buffer that the weights of a network leave out."""
    saved = network.state_dict()
    return {name: one.clone() for name, one in network.named_buffers() if name not in saved}


def _check_unsaved(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], setup: ModelAndData
) -> None:
    """Raise for a network that would differ once it is rebuilt and its weights are loaded."""
    changed = [name for name in before if name in after and _differ(before[name], after[name])]
    if changed:
        raise UsageError(
            f"{setup.model} changes its buffer {changed[0]!r} in training, and its weights leave "
            "that out",
            "register it with persistent=True",
        )


def _differ(one: Tensor, other: Tensor) -> bool:
    # Another shape is that of the input: what is kept for one, and created again for the next.
    return one.shape == other.shape and not torch.equal(one, other)


def forward_flops(network: nn.Module, setup: ModelAndData) -> int:
    """Return the operations of convolutions and matrix products for an image, two per MAC."""
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


def adapt_network(network: nn.Module, recipe: Recipe, model: str) -> None:
    """Set what the recipe says of dropout and of frozen weights.

    Args:
        network: the network, with its initial weights.
        recipe: every setting.
        model: name of the network, as the user gave it.

    Raises:
        UsageError: it has no dropout layer.
    """
    if recipe.dropout is not None:
        layers = [layer for layer in network.modules() if isinstance(layer, DROPOUTS)]
        if not layers:
            raise UsageError(
                f"{model} has no dropout layer that {setting('dropout')} could set",
                "leave it out, or choose another network",
            )
        for layer in layers:
            layer.p = recipe.dropout
    if recipe.freeze:
        network.requires_grad_(False)
        network.get_submodule(last_layer(network)).requires_grad_(True)


def set_training_mode(network: nn.Module, recipe: Recipe) -> None:
    """Put a network into its training mode; frozen batch norm keeps the statistics that it has."""
    network.train()
    if recipe.freeze:
        for layer in network.modules():
            if isinstance(layer, BATCH_NORMS):
                layer.eval()


@runtime_checkable
class InitializesFromImages(Protocol):
    """A network that computes some of its first weights from training images."""

    def initialize_from(self, images: Tensor) -> None:
        """Set weights, in place.

        Args:
            images: normalized, of shape (N, C, H, W), on the device of the network.
        """


def initialize_from_images(
    network: nn.Module, train: ImageSet, place: LoaderConfig, setup: ModelAndData, seed: int
) -> None:
    """Call the `initialize_from` of a network that has one, with 1,000 images or all there are.

    They are drawn from the complete set, as a function of the seed only: a folder has its classes
    one after another. What the method sets has to be a parameter or a buffer, or a run could not be
    resumed: it is called when a run begins, and never when one is resumed.

    Args:
        network: the network, on its device.
        train: the images that it will be trained on; here they are not augmented.
        place: makes batches of them.
        setup: says how an image becomes an input.
        seed: seed of the run.

    Raises:
        UsageError: the method failed.
        RunFailedError: an image is broken.
    """
    if not isinstance(network, InitializesFromImages):
        return
    some = train.subset(epoch_order(len(train), seed, ORDER)[:NUM_IMAGES])
    drawn = [images for images, _ in place.batches(some, setup, setup.eval_batch_size).ordered()]
    if not drawn:
        return  # every one is broken, and the first epoch reports it
    images = torch.cat(drawn)
    try:
        with torch.no_grad():
            network.initialize_from(images)
    except Exception as error:  # the network may be a user's own, and raise anything
        if is_out_of_memory(error) or is_refused(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{setup.model} cannot be initialized from images of shape {tuple(images.shape)}: "
            f"{reason}",
            "its initialize_from is given normalized images, of shape (N, C, H, W)",
        ) from error


@dataclass(frozen=True)
class Compiled:
    """A network that was compiled for one number of images.

    Attributes:
        forward: takes (N, C, H, W), returns logits; shares its weights with the network.
        num_images: N.
    """

    forward: Callable[[Tensor], Tensor]
    num_images: int


def compiled(network: nn.Module, run: ResolvedRun) -> Compiled | None:
    """Compile the forward and backward pass of a full batch, or of a part with `accumulate`.

    They are run once on zeros, so that what cannot be compiled is said before the first step.

    Returns:
        None where the recipe does not ask for it.

    Raises:
        UnavailableError: there is no compiler, or torch cannot compile the network.
    """
    setup, recipe = run.setup, run.recipe
    if not recipe.compile:
        return None
    device = next(network.parameters()).device
    if device.type == "mps":
        raise UnavailableError(f"{setting('compile')} is not for the device mps", "leave it out")
    num_images = -(-min(recipe.batch_size, len(run.data.train)) // recipe.accumulate)
    start = time.perf_counter()
    torch.compiler.reset()  # what other networks of this process were compiled to counts as well
    forward = torch.compile(network, dynamic=False)
    images = torch.zeros(num_images, setup.in_channels, *setup.image_size, device=device)
    images = images.contiguous(memory_format=memory_format(device, setup.channels_last))
    with (
        left_as_it_was(network),
        own_randomness(device),
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
