import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.data.splits import stratified_holdout

labels = st.lists(st.integers(0, 4), min_size=1, max_size=300).map(torch.tensor)


@given(labels, st.floats(0.01, 0.9), st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_every_image_is_in_one_part_and_every_class_in_both(
    labels: torch.Tensor, fraction: float, seed: int
) -> None:
    stay, held_out = stratified_holdout(labels, fraction, seed)
    assert sorted(torch.cat([stay, held_out]).tolist()) == list(range(len(labels)))
    for label in labels.unique():
        total = int((labels == label).sum())
        out = int((labels[held_out] == label).sum())
        assert abs(out - total * fraction) <= 1
        assert out < total
        if total > 1:
            assert out >= 1


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    labels = torch.arange(1000) % 10
    first, second, other = (stratified_holdout(labels, 0.1, seed)[1] for seed in (1, 1, 2))
    assert first.equal(second)
    assert not first.equal(other)
    assert np.bincount(labels[first]).tolist() == [10] * 10


def test_the_split_never_changes() -> None:
    """Test sets of runs that exist hang on it; computed once with numpy 2.4's frozen stream."""
    assert stratified_holdout(torch.arange(20) % 2, 0.2, 7)[1].tolist() == [9, 14, 16, 17]


def test_nothing_is_held_out_of_nothing() -> None:
    stay, held_out = stratified_holdout(torch.arange(5), 0.0, 0)
    assert stay.tolist() == [0, 1, 2, 3, 4]
    assert held_out.tolist() == []
