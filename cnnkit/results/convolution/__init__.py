"""What a convolution comes to: sizes, cost, stacks, and the sums of a sliding kernel."""

from cnnkit.results.convolution.result import ConvResult

__all__ = ["ConvResult"]
