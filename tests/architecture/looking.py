"""What the tests of `summary` share: looking at a network, and at one row of it."""

from typing import Any

from torch import nn

from cnnkit.architecture.summarize import summary
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.summary import SummaryResult


def look(network: nn.Module | str, *shape: int, **options: Any) -> SummaryResult:
    """Return the summary of a network for one input of this shape, or for its native one."""
    return summary(network, shape or None, **options)


def row(result: SummaryResult, name: str) -> LayerRow:
    return next(one for one in result.layers if one.name == name)
