"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn

from cnnkit.system.compat import copy_all, lerp_all


class WeightAverage:
    """An exponential moving average (EMA) of a network.

    After every step average = decay * average + (1 - decay) * weights, beginning with the weights
    after the first step (Polyak and Juditsky 1992; Izmailov et al. 2018 on networks). Buffers that
    are fractions, such as the statistics of batch norm, are averaged with the weights they belong
    to; integers, such as indices, are copied. torch's `AveragedModel` would average those as
    well, and round an index away.

    Args:
        model: the network that is trained.
        decay: between 0 and 1.

    Attributes:
        model: a network with the average; in its evaluation mode.
        num_updates: how many steps it has seen.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.num_updates = 0
        self._decay = decay
        ours = [*self.model.parameters(), *self.model.buffers()]
        theirs = [*model.parameters(), *model.buffers()]
        pairs = [(a, b.detach()) for a, b in zip(ours, theirs, strict=True)]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the weights after a step."""
        ours = [average for average, _ in self._averaged]
        theirs = [weights for _, weights in self._averaged]
        if self.num_updates == 0:
            copy_all(ours, theirs)
        else:
            lerp_all(ours, theirs, 1 - self._decay)
        for average, weights in self._copied:
            average.copy_(weights)
        self.num_updates += 1
