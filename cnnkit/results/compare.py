"""The result of `compare`: costs and published accuracy of several networks."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnnkit.results.base import Records, Result, to_plain
from cnnkit.results.summary import Totals

# What networks can be sorted by, and the field of the JSON that it is.
COMPARE_SORT_KEYS = {
    "name": "name",
    "year": "year",
    "params": "params",
    "weights": "weight_bytes",
    "macs": "macs",
    "flops": "flops",
    "activations": "activation_bytes",
    "inference": "inference_bytes",
    "training": "training_bytes",
    "depth": "num_weighted_layers",
    "field": "receptive_field",
    "top1": "top1",
    "top5": "top5",
    "per-gmac": "top1_per_gmac",
    "pareto": "pareto",
}


@dataclass(frozen=True)
class ComparedModel:
    """A network of a comparison.

    Attributes:
        name: what it is called.
        year: of publication; None for one that is not of the zoo.
        salient: what is new about it; likewise.
        input: shapes of the inputs without the batch.
        totals: its costs, for the complete batch.
        num_weighted_layers: layers with weights on the longest way through the network.
        receptive_field: pixels along a side that a value of the last feature map sees, before
            the network combines all positions; None where unknown.
        top1: published share of images whose class comes first; None where there is none at this
            input.
        top5: published share of images whose class is among the first five; likewise.
        dataset: the set that they were measured on; None without them.
        weights: the weights that they belong to; None where these are not public.
        crop: height and width of the images that they were measured at; None where not stated.
        source: who published them.
        top1_per_gmac: top-1 for each 10^9 multiply-accumulates per image.
        pareto: no other of the same dataset is better in top-1 or MACs and as good in the other;
            None without a top-1.
        complete: nothing was left uncounted.
        is_lower_bound: an operator was left uncounted that may well multiply and accumulate.
        remarks: what else has to be known.
    """

    name: str
    year: int | None
    salient: str | None
    input: str
    totals: Totals
    num_weighted_layers: int
    receptive_field: int | None
    top1: float | None
    top5: float | None
    dataset: str | None
    weights: str | None
    crop: int | None
    source: str | None
    top1_per_gmac: float | None
    pareto: bool | None
    complete: bool
    is_lower_bound: bool
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, with those of the totals among them."""
        plain: dict[str, Any] = {}
        for one in fields(self):
            value = to_plain(getattr(self, one.name))
            plain |= value if one.name == "totals" else {one.name: value}
        return plain


@dataclass(frozen=True)
class Difference:
    """A network compared with the first one.

    Costs are ratios, 2.0 for twice as much; None where either is unknown or the first is 0.

    Attributes:
        name: what it is called.
        params: ratio of the parameters.
        weight_bytes: of the bytes of parameters and buffers.
        macs: of the multiply-accumulates, and so of the FLOPs.
        activation_bytes: of what its layers write.
        inference_bytes: of the memory of inference.
        training_bytes: of the memory of a training step.
        num_weighted_layers: of the depths.
        receptive_field: of the receptive fields.
        top1: difference of the top-1 accuracies, a fraction; None where they are not of one set.
        top5: difference of the top-5 accuracies, likewise.
    """

    name: str
    params: float | None
    weight_bytes: float | None
    macs: float | None
    activation_bytes: float | None
    inference_bytes: float | None
    training_bytes: float | None
    num_weighted_layers: float | None
    receptive_field: float | None
    top1: float | None
    top5: float | None


@dataclass(frozen=True)
class PrintedCount:
    """A count in the comparison of networks that lectures print, and what it really is.

    Attributes:
        network: the network as printed.
        model: the network of the zoo it is compared with.
        printed_flop: the printed number of operations, as it is written.
        printed: the same as a number.
        counted: the network that the number was counted of, or comes nearest to.
        arguments: that network's arguments.
        unit: what was counted: `MACs` or `FLOPs`.
        macs: multiply-accumulates of that network, counted here.
        value: the number that should be printed, in the same unit.
        model_macs: multiply-accumulates of that network.
        printed_params: the printed number of parameters, as it is written.
        model_params: parameters of that network.
        params_agree: whether these two agree in all printed digits.
    """

    network: str
    model: str
    printed_flop: str
    printed: int
    counted: str
    arguments: dict[str, str]
    unit: str
    macs: int
    value: int
    model_macs: int
    printed_params: str
    model_params: int
    params_agree: bool


@dataclass(frozen=True)
class ComparisonResult(Result):
    """The result of `compare`.

    Attributes:
        input: the input that was given for all; None where each has its own.
        batch_size: images per batch; costs are for all of it.
        dtype: of weights and activations.
        optimizer: whose state the memory of training holds.
        models: the networks.
        baseline: name of the network that the others are compared with; None where not asked for.
        differences: one row per network, in the order of the models; None without a baseline.
        printed: what the counts of these networks that lectures print really are.
    """

    schema: ClassVar[str] = "cnnkit.compare/1"

    input: str | None
    batch_size: int
    dtype: str
    optimizer: str
    models: tuple[ComparedModel, ...]
    baseline: str | None = None
    differences: tuple[Difference, ...] | None = None
    printed: tuple[PrintedCount, ...] = ()

    @property
    def has_accuracy(self) -> bool:
        """Whether a top-1 is known of any of the networks."""
        return any(one.top1 is not None for one in self.models)

    def records(self) -> Records:
        """Return one row per network, with all that is known of each."""
        plain = [one.to_dict() for one in self.models]
        names = tuple(name for name in plain[0] if name != "remarks")
        return Records(names, tuple(tuple(one[name] for name in names) for one in plain))
