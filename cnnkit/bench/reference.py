"""Reference results on the CPU in fp32, to check a configuration before it is timed."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnkit.architecture.input_shapes import InputShape
from cnnkit.bench.workload import RECIPE, Feed, Workload, float_tensors, without_dropout
from cnnkit.errors import UsageError, setting
from cnnkit.models.layer_kinds import BATCH_NORMS
from cnnkit.training.optimizers import make_optimizer

MOST_CHECKED = 32  # images of a batch
STATISTICS_IMAGES = 4

# Half a step between two neighboring numbers, relative to them.
ROUNDOFF = {"fp32": 2.0**-24, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}
# Relative error that is always allowed; and, in a network that amplifies
# errors, the factor over the error caused by rounding its weights and images once.
TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 2e-2, "bf16": 1e-1}
# A step runs every layer twice, and batch norm of a few values.
TRAINING_TOLERANCES = {"fp32": 5e-2, "tf32": 1e-1, "fp16": 1e-1, "bf16": 2e-1}
FACTOR = 5.0
CONCLUSIVE = 0.7  # an error is about 1; if rounding may cause as much, the check is inconclusive


@dataclass(frozen=True)
class Verdict:
    """Whether the results of a configuration are correct.

    Attributes:
        correct: None if that cannot be determined.
        max_error: the largest relative error; None where nothing could be compared, or a value is
            not finite.
        remark: why it cannot be determined; else empty.
    """

    correct: bool | None
    max_error: float | None
    remark: str = ""


class Reference:
    """A network with its weights on the CPU, and its results there.

    Args:
        name: what it is called.
        network: the network, whose weights every configuration starts with.
        inputs: its inputs.
    """

    def __init__(self, name: str, network: nn.Module, inputs: tuple[InputShape, ...]) -> None:
        self.name = name
        self.network = network
        self.inputs = inputs
        self.num_classes = 1
        self._known: dict[tuple[str, int], _Expected] = {}
        one = self.feed(2)
        network.eval()
        with torch.no_grad():  # lazy layers find their sizes
            out = float_tensors(network(*one.places, **one.names))
            if out and out[0].dim() == 2:
                self.num_classes = out[0].shape[1]
            _settle_batch_norm(network, self.feed(STATISTICS_IMAGES))

    def feed(self, batch_size: int) -> Feed:
        """Return the images of a batch."""
        return Feed.random(self.inputs, batch_size, self.num_classes)

    def judge(self, work: Workload, batch_size: int, precision: str, whole: bool) -> Verdict:
        """Run a configuration once, and compare it with the CPU.

        Of a large batch some images are compared.

        Args:
            work: the configuration.
            batch_size: its images.
            precision: its precision.
            whole: run it only with the complete batch, as compiled networks require.
        """
        feed = self.feed(batch_size)
        mode = "train" if work.is_training else "infer"
        if batch_size > MOST_CHECKED and not (whole and work.is_training):
            half = MOST_CHECKED // 2
            rows = torch.cat([torch.arange(half), torch.arange(batch_size - half, batch_size)])
        else:
            rows = torch.arange(batch_size)
        key = (mode, batch_size)
        if key not in self._known:
            self._known[key] = _Expected(self.network, mode, feed.rows(rows))
        expected = self._known[key]
        if expected.is_random:
            return Verdict(None, None, "it draws random numbers, so it is not checked")
        if not expected.tensors:
            return Verdict(None, None, "it returns no numbers, so it is not checked")
        if not all(bool(torch.isfinite(one).all()) for one in expected.tensors):
            return Verdict(None, None, "its values are not finite in fp32, so it is not checked")
        found = _trained(work, rows) if work.is_training else _inferred(work, rows)
        if len(found) != len(expected.tensors):
            return Verdict(False, None)
        errors = [_error(one, other) for one, other in zip(found, expected.tensors, strict=True)]
        limits = expected.limits(precision)
        conclusive = [pair for pair in zip(errors, limits, strict=True) if pair[1] <= CONCLUSIVE]
        worst = max((error for error, _ in conclusive or zip(errors, limits, strict=True)))
        shown = worst if worst < float("inf") else None
        if not all(error <= limit for error, limit in conclusive):
            return Verdict(False, shown)
        if not conclusive:
            return Verdict(
                None, shown, f"not checked: rounding to {precision} changes all its values too much"
            )
        if len(conclusive) < len(limits) and work.is_training:
            return Verdict(
                True, shown, f"its gradients are not checked: rounding to {precision} "
                "changes them as much as an error would"
            )  # fmt: skip
        return Verdict(True, shown)


class _Expected:
    """The reference for some images, and the error caused by rounding.

    Args:
        network: on the CPU, in fp32.
        mode: `infer` or `train`.
        feed: the images.

    Attributes:
        tensors: outputs, or logits, loss and all gradients as one vector.
        is_random: random numbers were drawn for them.
    """

    def __init__(self, network: nn.Module, mode: str, feed: Feed) -> None:
        self._network = network
        self._mode = mode
        self._feed = feed
        self._limits: dict[str, list[float]] = {}
        before = torch.get_rng_state()
        self.tensors = self._computed(copy.deepcopy(network), feed)
        self.is_random = not torch.equal(before, torch.get_rng_state())

    def limits(self, precision: str) -> list[float]:
        """Return the allowed relative error of each tensor in a precision."""
        if precision not in self._limits:
            generator = torch.Generator().manual_seed(0)
            unit = ROUNDOFF[precision]

            def rounded(tensor: Tensor) -> Tensor:
                noise = torch.empty_like(tensor).uniform_(-unit, unit, generator=generator)
                return tensor + tensor * noise

            network = copy.deepcopy(self._network)
            feed = self._feed.changed(rounded)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.copy_(rounded(parameter))
            allowed = (TRAINING_TOLERANCES if self._mode == "train" else TOLERANCES)[precision]
            self._limits[precision] = [
                # no information if the rounded result is not finite
                max(allowed, FACTOR * error) if error == error else float("inf")
                for error in map(_error, self._computed(network, feed), self.tensors)
            ]
        return self._limits[precision]

    def _computed(self, network: nn.Module, feed: Feed) -> list[Tensor]:
        network.train(self._mode == "train")
        if self._mode == "train":
            return _gradients(network, feed)
        with torch.inference_mode():
            return float_tensors(network(*feed.places, **feed.names))


def _settle_batch_norm(network: nn.Module, feed: Feed) -> None:
    """Set the batch norm statistics from the images.

    Those of a fresh network are mean 0 and variance 1 in every layer. With them the values of a
    deep network exceed the range of fp16, or become so small that processors are slow.
    """
    norms = [one for one in network.modules() if isinstance(one, BATCH_NORMS)]
    if not norms:
        return
    momenta = [one.momentum for one in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    try:
        network(*feed.places, **feed.names)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _gradients(network: nn.Module, feed: Feed) -> list[Tensor]:
    """Return logits, loss, and all gradients as one vector, of a plain step on the CPU."""
    from torch.nn import functional

    make_optimizer(network, RECIPE).zero_grad()
    with without_dropout(network):
        logits = network(*feed.places, **feed.names)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"it returns {shape} in training, not logits (images, classes)",
                f"use {setting('modes')} infer",
            )
        loss = functional.cross_entropy(logits, feed.labels)
        loss.backward()  # type: ignore[no-untyped-call]
    return [logits.detach(), loss.detach(), _flat_gradients(network)]


def _inferred(work: Workload, rows: Tensor) -> list[Tensor]:
    """Return the outputs of a configuration for some of its images."""
    feed = work.feed
    with work.context():
        outputs = float_tensors(work.run(*feed.places, **feed.names))
        batch = len(feed.labels)
        chosen = rows.to(work.device.torch_device)
        return [
            one[chosen].float().cpu() if one.dim() and len(one) == batch else one.float().cpu()
            for one in outputs
        ]


def _trained(work: Workload, rows: Tensor) -> list[Tensor]:
    """Return logits, loss and gradients of a configuration for some of its images."""
    feed = work.feed
    if len(rows) < len(feed.labels):
        feed = feed.rows(rows.to(work.device.torch_device))
    kept = {name: value.clone() for name, value in work.network.named_buffers()}
    work.optimizer.zero_grad()
    with without_dropout(work.network):
        logits, loss = work.forward(feed)
        loss.backward()  # type: ignore[no-untyped-call]
    scale = work.scaler.get_scale() if work.scaler.is_enabled() else 1.0
    found = [
        logits.detach().float().cpu(),
        (loss.detach() / scale).float().cpu(),
        _flat_gradients(work.network) / scale,
    ]
    work.optimizer.zero_grad()
    for name, value in work.network.named_buffers():
        value.copy_(kept[name])
    return found


def _flat_gradients(network: nn.Module) -> Tensor:
    gradients: Sequence[Tensor] = [
        one.grad.float().cpu().contiguous().flatten()
        for one in network.parameters()
        if one.grad is not None
    ]
    return torch.cat(list(gradients))


def _error(found: Tensor, expected: Tensor) -> float:
    """Return the Euclidean norm of the difference over that of the reference."""
    if found.shape != expected.shape:
        return float("inf")
    size = torch.linalg.vector_norm(expected.double())
    difference = torch.linalg.vector_norm(found.double() - expected.double())
    if size == 0:
        return 0.0 if difference == 0 else float("inf")
    return float(difference / size)
