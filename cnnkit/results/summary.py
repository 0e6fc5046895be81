"""The result of `summary`: the layers of a network, their costs, and the totals."""

from dataclasses import dataclass
from typing import ClassVar

from cnnkit.results.base import Records, Result
from cnnkit.results.layer_tree import LayerRow, layer_records


@dataclass(frozen=True)
class Totals:
    """Totals of a network for the given input.

    Attributes:
        params: parameters, each once however often it is used.
        trainable_params: those that a training changes.
        weight_bytes: bytes of parameters and buffers.
        macs: multiply-accumulates of convolutions, linear layers and attention.
        flops: two per MAC.
        other_flops: all other arithmetic: biases, norms, activations, pooling, sums.
        activation_bytes: bytes of every tensor that an operator writes to new memory.
        inference_bytes: weights, and the most bytes of tensors alive at one time.
        training_bytes: weights, gradients, the optimizer's state and what autograd saves; None
            where the network cannot be run in training.
        saved_bytes: what autograd saves for the backward pass; likewise.
    """

    params: int
    trainable_params: int
    weight_bytes: int
    macs: int
    flops: int
    other_flops: int
    activation_bytes: int
    inference_bytes: int
    training_bytes: int | None
    saved_bytes: int | None


@dataclass(frozen=True)
class Uncounted:
    """An operator whose cost is unknown.

    Attributes:
        operator: its name.
        count: how often it ran.
        heavy: it may well multiply and accumulate, so that the total is a lower bound.
    """

    operator: str
    count: int
    heavy: bool


@dataclass(frozen=True)
class SecondOpinion:
    """A count of another tool beside ours.

    Attributes:
        source: the tool, or who published it.
        figure: `parameters` or `MACs`, in our terms.
        ours: our count.
        theirs: theirs; None where it has none.
        explanation: why they differ, in words.
    """

    source: str
    figure: str
    ours: int
    theirs: int | None
    explanation: str


@dataclass(frozen=True)
class SummaryResult(Result):
    """The result of `summary`.

    Attributes:
        model: name of the network.
        input: shapes of the inputs without the batch, as the verb takes them.
        batch_size: images per batch; shapes, counts and memory are for all of it.
        dtype: of weights and activations.
        optimizer: whose state the training memory holds.
        device: `meta`, or `cpu` where the network needs real tensors.
        totals: of the network.
        complete: nothing was left uncounted.
        uncounted: the operators that were.
        layers: every module, with the counts that are its own.
        weight_bytes_by_dtype: bytes of parameters and buffers by dtype.
        gradient_bytes: of the parameters that are trained.
        optimizer_bytes: of the optimizer's state.
        num_weighted_layers: layers with weights on the longest way through the network.
        second_opinions: counts of other tools; None where they were not asked.
        remarks: what else has to be known.
        print_remarks: how the structure compares with the table of it that lectures print.
    """

    schema: ClassVar[str] = "cnnkit.summary/1"

    model: str
    input: str
    batch_size: int
    dtype: str
    optimizer: str
    device: str
    totals: Totals
    complete: bool
    uncounted: tuple[Uncounted, ...]
    layers: tuple[LayerRow, ...]
    weight_bytes_by_dtype: dict[str, int]
    gradient_bytes: int
    optimizer_bytes: int
    num_weighted_layers: int
    second_opinions: tuple[SecondOpinion, ...] | None = None
    remarks: tuple[str, ...] = ()
    print_remarks: tuple[str, ...] = ()

    @property
    def is_lower_bound(self) -> bool:
        """Whether a heavy operator was left uncounted."""
        return any(one.heavy for one in self.uncounted)

    def records(self) -> Records:
        """Return every layer with all that is known of it."""
        return layer_records(self.layers)
