"""How fast a network is on this machine, against the most that the machine can do."""

from cnnkit.bench.comparing import compare_files
from cnnkit.bench.measuring import benchmark

__all__ = ["benchmark", "compare_files"]
