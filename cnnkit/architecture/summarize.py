"""The verb: every layer of a network, its shapes, costs and memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnkit.architecture.activations import NUM_STATES, bytes_by_dtype, optimizer_bytes, saved_bytes
from cnnkit.architecture.find_network import Subject, find_subject
from cnnkit.architecture.forward_pass import ForwardError, run_network
from cnnkit.architecture.input_errors import check_number_of_inputs, refusal
from cnnkit.architecture.input_shapes import FLOAT_DTYPES, InputShape, make_tensors
from cnnkit.architecture.layer_rows import layer_rows
from cnnkit.architecture.lecture_tables import compare_with_print
from cnnkit.architecture.skeleton import META
from cnnkit.architecture.trace import Trace, trace_forward
from cnnkit.errors import UsageError, setting
from cnnkit.events import Note, OnEvent, emit, takes_on_event
from cnnkit.registry import did_you_mean
from cnnkit.results.summary import SummaryResult, Totals, Uncounted
from cnnkit.runs.code import Trusted


@takes_on_event
def summary(
    model: str | nn.Module,
    input: Any = None,  # noqa: A002  # the word for it
    *,
    batch_size: int = 1,
    dtype: str = "float32",
    optimizer: str = "adam",
    cross_check: bool = False,
    num_classes: int | None = None,
    arguments: Mapping[str, str] | None = None,
    runs_dir: str | Path = "runs",
    network: str | None = None,
    trust_code: bool = False,
    on_event: OnEvent | None = None,
) -> SummaryResult:
    """Return the layers of a network with their shapes, costs and memory.

    Nothing is allocated: the network is built, or copied, on torch's meta device. One that needs
    real tensors is run on them, and the result says so. A given module is not changed.

    Args:
        model: a name of the zoo, `timm:NAME`, `FILE.py:FUNCTION`, a run folder, or a module.
        input: shape without the batch, as (3, 224, 224) or `"3x224x224"`, or several of them;
            None for the native one.
        batch_size: images a batch; shapes, counts and memory are for all of it.
        dtype: of weights and images: `float32`, `float64`, `bfloat16` or `float16`.
        optimizer: whose state the memory of training holds.
        cross_check: also ask torchinfo, fvcore and torchvision.
        num_classes: number of logits; None for as published.
        arguments: the network's own arguments, as texts by name.
        runs_dir: where runs are looked for.
        network: of a run: `FILE.py:FACTORY` that makes its network, instead of the copy of the
            user's file in the run folder.
        trust_code: let the code run that a run folder brings, though this user has not trained
            with it.
        on_event: called with each event; None keeps the current handler.

    Raises:
        NotFoundError: there is no such network, file, function or run.
        UsageError: the network cannot take the input, or an argument is wrong.
        UnavailableError: a package is missing.
        CheckFailedError: a run is damaged, or brings code that the user does not trust.
    """
    runs_dir = Path(runs_dir)
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}", "it must be 1 or more")
    if dtype not in FLOAT_DTYPES:
        raise UsageError(
            f"{setting('dtype')} {dtype!r} is not a dtype of weights",
            did_you_mean(dtype, FLOAT_DTYPES) or f"choose one of {', '.join(FLOAT_DTYPES)}",
        )
    if optimizer not in NUM_STATES:
        raise UsageError(
            f"{setting('optimizer')} {optimizer!r} is unknown",
            did_you_mean(optimizer, NUM_STATES) or f"choose one of {', '.join(NUM_STATES)}",
        )
    subject = find_subject(
        model, input, num_classes, arguments or {}, runs_dir, Trusted(network, trust_code)
    )
    with torch.random.fork_rng(devices=[]):  # dropout on real tensors would draw from the caller's
        look = _look_at(subject, batch_size, getattr(torch, dtype))
    result = _result(subject, look, batch_size, dtype, optimizer)
    if cross_check:
        from cnnkit.architecture.cross_check import second_opinions

        result = replace(result, second_opinions=second_opinions(subject, result))
    return result


@dataclass(frozen=True)
class _Look:
    """The results of running a network.

    Attributes:
        network: it ran.
        device: where it ran; meta where that was possible.
        trace: of the forward pass in evaluation mode.
        saved_bytes: what autograd keeps; None where it does not run in training.
        remarks: notes for the user.
    """

    network: nn.Module
    device: torch.device
    trace: Trace
    saved_bytes: int | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Feed:
    """The inputs that a network is run on.

    Attributes:
        inputs: the shapes.
        batch_size: images a batch.
        dtype: of what has no dtype of its own.
        device: of the tensors.
    """

    inputs: tuple[InputShape, ...]
    batch_size: int
    dtype: torch.dtype
    device: torch.device

    def tensors(self) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return the positional and named tensors."""
        return make_tensors(self.inputs, self.batch_size, self.dtype, self.device)


def _look_at(subject: Subject, batch_size: int, dtype: torch.dtype) -> _Look:
    """Run a network on meta, or on real tensors where it needs them.

    Raises:
        UsageError: it cannot take its inputs.
    """
    remarks = []
    network = subject.make().to(dtype)
    check_number_of_inputs(subject.name, network, subject.inputs)
    feed = _Feed(subject.inputs, batch_size, dtype, _device(network, META))
    try:
        trace = _trace(network, feed)
    except ForwardError as failure:
        if not _needs_real_tensors(failure.error):
            raise _refusal(subject, network, feed, failure) from failure
        reason = " ".join(str(failure.error).split()).partition(". ")[0]
        remarks.append(f"computed with real tensors because {subject.name} needs their values")
        emit(Note(f"{remarks[-1]} ({reason[:120]})"))
        network = subject.make_real().to(dtype)
        feed = replace(feed, device=_device(network, torch.device("cpu")))
        try:
            trace = _trace(network, feed)
        except ForwardError as again:
            raise _refusal(subject, network, feed, again) from again
    try:
        saved = saved_bytes(network, *feed.tensors())
    except ForwardError as failure:
        saved = None
        reason = " ".join(str(failure.error).split())
        hint = (
            f"; give a {setting('batch_size')} of 2 or more"
            if "more than 1 value per" in reason
            else ""
        )
        remarks.append(f"it does not run in training: {reason[:160]}{hint}")
    return _Look(network, feed.device, trace, saved, tuple(remarks))


def _device(network: nn.Module, otherwise: torch.device) -> torch.device:
    """Return where the weights of a network are; `otherwise` where it has none."""
    weights = [*network.parameters(), *network.buffers()]
    return weights[0].device if weights else otherwise


def _trace(network: nn.Module, feed: _Feed) -> Trace:
    if any(is_lazy(one) for one in [*network.parameters(), *network.buffers()]):
        _run_plainly(network, feed)  # which gives them their shapes
    return trace_forward(network, *feed.tensors())


def _run_plainly(network: nn.Module, feed: _Feed) -> None:
    with torch.no_grad():
        run_network(network.eval(), *feed.tensors())


def _needs_real_tensors(error: Exception) -> bool:
    """Return whether an error says that a tensor without values was asked for them."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _refusal(subject: Subject, network: nn.Module, feed: _Feed, failure: ForwardError) -> Exception:
    """Return why a network cannot take its inputs, and which size it could take."""

    def works(changed: _Feed) -> bool:
        try:
            _run_plainly(network, changed)
        except ForwardError:
            return False
        return True

    def works_at(side: int) -> bool:
        given = feed.inputs[0]
        square = replace(given, shape=(given.shape[0], side, side))
        return works(replace(feed, inputs=(square,)))

    if works(feed):  # then the counting failed, not the network
        return failure.error
    native = subject.description.input if subject.description is not None else None
    is_image = len(feed.inputs) == 1 and len(feed.inputs[0].shape) == 3
    can_try = is_image and feed.device == META
    return refusal(subject.name, feed.inputs, failure, works_at if can_try else None, native)


def _result(
    subject: Subject, look: _Look, batch_size: int, dtype: str, optimizer: str
) -> SummaryResult:
    """Return rows, totals and memory."""
    network, trace = look.network, look.trace
    rows = layer_rows(network, trace)
    by_dtype = bytes_by_dtype(network)
    weight_bytes = sum(by_dtype.values())
    trained = [one for one in network.parameters() if one.requires_grad]
    gradient_bytes = sum(one.numel() * one.element_size() for one in trained)
    state_bytes = optimizer_bytes(network, optimizer)
    training_bytes = None
    if look.saved_bytes is not None:
        training_bytes = weight_bytes + gradient_bytes + state_bytes + look.saved_bytes
    macs = sum(row.macs for row in rows)
    result = SummaryResult(
        model=subject.name,
        input=" ".join(map(str, subject.inputs)),
        batch_size=batch_size,
        dtype=dtype,
        optimizer=optimizer,
        device=look.device.type,
        totals=Totals(
            params=sum(row.params for row in rows),
            trainable_params=sum(row.trainable_params for row in rows),
            weight_bytes=weight_bytes,
            macs=macs,
            flops=2 * macs,
            other_flops=sum(row.other_flops for row in rows),
            activation_bytes=sum(row.activation_bytes for row in rows),
            inference_bytes=weight_bytes + trace.peak_bytes,
            training_bytes=training_bytes,
            saved_bytes=look.saved_bytes,
        ),
        complete=not trace.uncounted,
        uncounted=tuple(
            Uncounted(name, count, name in trace.heavy)
            for name, count in sorted(trace.uncounted.items())
        ),
        layers=rows,
        weight_bytes_by_dtype=by_dtype,
        gradient_bytes=gradient_bytes,
        optimizer_bytes=state_bytes,
        num_weighted_layers=trace.num_weighted_layers,
        remarks=look.remarks,
    )
    return replace(result, print_remarks=compare_with_print(result))
