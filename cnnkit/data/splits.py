"""Stratified splits of a dataset."""

import numpy as np
import torch
from torch import Tensor

from cnnkit.system.randomness import permutation


def stratified_holdout(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return a stratified split of indices into remaining and held-out ones.

    The held-out number of a class is its share rounded to the nearest image, but at least one and
    never all of them; a class with a single image keeps it.

    Args:
        labels: int64 of shape (N,).
        fraction: share to hold out, from 0 to below 1.
        seed: the same seed and labels give the same split on every platform.

    Returns:
        Sorted indices that stay, and sorted indices held out, int64 of shapes (N - M,) and (M,).
    """
    order = permutation(len(labels), seed)
    shuffled = labels.numpy()[order]
    held_out = np.zeros(len(labels), dtype=bool)
    if fraction > 0:
        for label in np.unique(shuffled):
            members = order[shuffled == label]
            wanted = max(1, int(len(members) * fraction + 0.5))
            held_out[members[: min(wanted, len(members) - 1)]] = True
    chosen = torch.from_numpy(held_out)
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
