"""The timed workload: a network on a device in one setting, with its inputs there."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnkit.architecture.forward_pass import tensors_in
from cnnkit.architecture.input_shapes import InputShape, make_tensors
from cnnkit.bench.device_clock import DTYPES, Device
from cnnkit.errors import UsageError, setting
from cnnkit.runs.recipe import Recipe
from cnnkit.training.optimizers import make_optimizer

# The usual optimizer of the field. Its steps are so small that the weights stay as they are: a
# network that learns its one batch by heart has gradients of other sizes.
RECIPE = Recipe.of(optimizer="sgd", lr=1e-9, weight_decay=1e-4, schedule="constant").resolved()

# Of the loss in fp16: one that overflows nowhere, so that no step is left out.
INITIAL_SCALE = 2.0**8


@dataclass(frozen=True)
class Feed:
    """The positional and named inputs of a network, and the labels of its images.

    Attributes:
        places: positional tensors, batch dimension leading.
        names: likewise.
        labels: int64 of shape (B,).
    """

    places: tuple[Tensor, ...]
    names: dict[str, Tensor]
    labels: Tensor

    @classmethod
    def random(cls, inputs: tuple[InputShape, ...], batch_size: int, num_classes: int) -> "Feed":
        """Return images of normal random numbers on the CPU, the same each time.

        Integers are zeros, which are valid indices.
        """
        generator = torch.Generator().manual_seed(0)
        places, names = make_tensors(inputs, batch_size, torch.float32, torch.device("cpu"))
        for tensor in (*places, *names.values()):
            if tensor.is_floating_point():
                tensor.normal_(generator=generator)
        labels = torch.randint(num_classes, (batch_size,), generator=generator)
        return cls(places, names, labels)

    def rows(self, chosen: Tensor) -> "Feed":
        """Return some of the images."""
        names = {name: tensor[chosen] for name, tensor in self.names.items()}
        return Feed(tuple(one[chosen] for one in self.places), names, self.labels[chosen])

    def to(self, device: torch.device, dtype: torch.dtype, channels_last: bool) -> "Feed":
        """Return copies on a device; of this dtype and layout where a tensor can have them."""

        def moved(tensor: Tensor) -> Tensor:
            there = tensor.to(device, dtype)
            if channels_last and there.dim() == 4:
                return there.contiguous(memory_format=torch.channels_last)
            return there

        there = Feed(
            tuple(one.to(device) for one in self.places),
            {name: one.to(device) for name, one in self.names.items()},
            self.labels.to(device),
        )
        return there.changed(moved)

    def changed(self, change: Callable[[Tensor], Tensor]) -> "Feed":
        """Return the inputs with a function applied to every floating-point tensor."""

        def new(tensor: Tensor) -> Tensor:
            return change(tensor) if tensor.is_floating_point() else tensor

        names = {name: new(tensor) for name, tensor in self.names.items()}
        return Feed(tuple(map(new, self.places)), names, self.labels)


class Workload:
    """A network on a device, run on the same batch again and again.

    Inference is a forward pass in `inference_mode`, weights and images in the precision asked for.
    A training step is forward, cross entropy, backward and an optimizer step (SGD with momentum);
    its weights are fp32, and bf16 and fp16 mean autocast, for fp16 with scaled gradients. As
    `model.to(dtype)` and autocast are what people use for the one and the other.

    Args:
        prototype: the network on the CPU, which is copied.
        feed: its inputs, on the CPU.
        device: where it is put.
        mode: `infer` or `train`.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        channels_last: the layout of images and weights.
        compiled: whether to compile it.
    """

    def __init__(
        self,
        prototype: nn.Module,
        feed: Feed,
        device: Device,
        mode: str,
        precision: str,
        channels_last: bool,
        compiled: bool,
    ) -> None:
        where = device.torch_device
        self.is_training = mode == "train"
        self.device = device
        dtype = DTYPES[precision]
        kept = torch.float32 if self.is_training else dtype
        layout = torch.channels_last if channels_last else torch.contiguous_format
        network = copy.deepcopy(prototype).to(where, kept).train(self.is_training)
        self.network = network.to(memory_format=layout)
        self.feed = feed.to(where, kept, channels_last)
        self.run: Any = torch.compile(network, dynamic=False) if compiled else self.network
        self._autocast = self.is_training and dtype != torch.float32
        self._dtype = dtype
        self.scaler = torch.amp.GradScaler(
            where.type, INITIAL_SCALE, enabled=self.is_training and precision == "fp16"
        )
        if self.is_training:
            if not any(one.requires_grad for one in self.network.parameters()):
                raise UsageError("it has no parameter to train")
            self.optimizer = make_optimizer(self.network, RECIPE)

    def context(self) -> AbstractContextManager[Any]:
        """Return what batches run in."""
        return nullcontext() if self.is_training else torch.inference_mode()

    def take(self) -> None:
        """Run one batch."""
        if self.is_training:
            self.optimizer.zero_grad()
            self.forward(self.feed)[1].backward()  # type: ignore[no-untyped-call]
            self.update()
        else:
            self.run(*self.feed.places, **self.feed.names)

    def take_in_parts(self) -> tuple[float, float, float]:
        """Run one training step; return the seconds of forward and loss, backward, optimizer."""
        device = self.device
        device.synchronize()
        marks = [device.mark()]
        self.optimizer.zero_grad()
        loss = self.forward(self.feed)[1]
        marks.append(device.mark())
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(device.mark())
        self.update()
        marks.append(device.mark())
        device.synchronize()
        first, second, third = (device.seconds(marks[i], marks[i + 1]) for i in range(3))
        return first, second, third

    def forward(self, feed: Feed) -> tuple[Tensor, Tensor]:
        """Return logits and loss of a batch; of fp16 the loss is scaled.

        Raises:
            UsageError: the network gives no logits to train by.
        """
        kind = self.device.torch_device.type
        with torch.autocast(kind, self._dtype) if self._autocast else nullcontext():
            logits = self.run(*feed.places, **feed.names)
            if not isinstance(logits, Tensor) or logits.dim() != 2:
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise UsageError(
                    f"it returns {shape} in training, not logits (images, classes)",
                    f"use {setting('modes')} infer",
                )
            loss = functional.cross_entropy(logits, feed.labels)
        return logits, self.scaler.scale(loss)

    def update(self) -> None:
        """Run the optimizer step."""
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()


@contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Keep layers from dropping values at random, so that two networks can be compared."""
    dropping = [
        module
        for module in network.modules()
        if module.training
        and (
            "Drop" in type(module).__name__
            or "StochasticDepth" in type(module).__name__
            or (isinstance(module, nn.MultiheadAttention) and module.dropout > 0)
        )
    ]
    for module in dropping:
        module.training = False
    try:
        yield
    finally:
        for module in dropping:
            module.training = True


def float_tensors(output: object) -> list[Tensor]:
    """Return the tensors of numbers in what a network returned."""
    return [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]
