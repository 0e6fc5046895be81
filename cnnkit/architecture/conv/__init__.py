"""The arithmetic of a convolution by hand: sizes, cost, stacks, and a kernel that slides."""

from cnnkit.architecture.conv.arithmetic import conv

__all__ = ["conv"]
