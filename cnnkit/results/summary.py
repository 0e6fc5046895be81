"""What a network looks like: its layers, what they cost, and the totals."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from cnnkit.results.base import Result
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.structure import structure_table
from cnnkit.results.summary_tables import (
    SummaryView,
    exact_layer_table,
    layer_table,
    opinion_table,
    total_table,
)
from cnnkit.results.table import Table


@dataclass(frozen=True)
class Totals:
    """Counts of the whole network for the input that was given.

    Attributes:
        params: parameters, each once however often it is used.
        trainable_params: those that a training changes.
        weight_bytes: bytes of parameters and buffers.
        macs: multiply-accumulates of convolutions, linear layers and attention.
        flops: two a MAC.
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
    """An operator whose cost is not known.

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
    """A figure of another tool beside ours.

    Attributes:
        source: the tool, or who published it.
        figure: `parameters` or `MACs`, as we call it.
        ours: our figure.
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
    """The answer of `summary`.

    Attributes:
        model: name of the network.
        input: shapes of the inputs without the batch, as the verb takes them.
        batch_size: images a batch; shapes, counts and memory are for all of it.
        dtype: of weights and activations.
        optimizer: whose state the training memory holds.
        device: `meta`, or `cpu` where the network needs real tensors.
        totals: of the whole network.
        complete: nothing was left uncounted.
        uncounted: the operators that were.
        layers: every module, with the figures that are its own.
        weight_bytes_by_dtype: bytes of parameters and buffers by dtype.
        gradient_bytes: of the parameters that are trained.
        optimizer_bytes: of the optimizer's state.
        num_weighted_layers: layers with weights on the longest way through the network.
        second_opinions: figures of other tools; None where they were not asked.
        remarks: what else has to be known.
        print_remarks: how the structure compares with a printed table of this network.
        view: how people are shown it; not part of the dictionary.
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
    view: SummaryView = field(default_factory=SummaryView)

    @property
    def is_lower_bound(self) -> bool:
        """Whether a heavy operator was left uncounted."""
        return any(one.heavy for one in self.uncounted)

    def viewed(self, view: SummaryView) -> "SummaryResult":
        """Return the same summary shown otherwise."""
        return replace(self, view=view)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result; the view is none of it."""
        plain = super().to_dict()
        del plain["view"]
        return plain

    def tables(self) -> tuple[Table, ...]:
        """Return the layers as the view asks for, the totals, and the second opinions."""
        if self.view.kind == "structure":
            layers = structure_table(self.title(), self.layers)
            notes = (*self.remarks, *self.print_remarks)
            tables: tuple[Table, ...] = (replace(layers, notes=notes),)
        else:
            tables = (layer_table(self), total_table(self))
        return (*tables, opinion_table(self)) if self.second_opinions is not None else tables

    def exact_table(self) -> Table:
        """Return every layer that is shown, exact; the structure view has a form of its own."""
        if self.view.kind == "structure":
            return structure_table(self.title(), self.layers, split=True)
        return exact_layer_table(self)

    def title(self) -> str:
        """Return what was summarised, in one line."""
        batch = "" if self.batch_size == 1 else f", batch of {self.batch_size}"
        dtype = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"{self.model}, input {self.input}{batch}{dtype}"
