"""Convolution arithmetic: output sizes, costs, stacks, and sliding a kernel by hand."""

from cnnkit.architecture.conv.arithmetic import conv

__all__ = ["conv"]
