import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn
from torch.nn import functional

from cnnkit.data.batches import TensorBatches
from cnnkit.data.image_set import TensorSet
from cnnkit.data.preprocessing import Preprocessing
from cnnkit.evaluation import Predictions, predict_all, wilson_interval

PLAIN = Preprocessing(1, 4, 4, (0.0,), (1.0,))


def made(number: int, num_classes: int) -> TensorSet:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (number, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, num_classes, (number,), generator=generator)
    return TensorSet("x", "test", tuple(map(str, range(num_classes))), labels, 1, (4, 4), images)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 8))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(*counts)
    assert math.isclose(low, expected.low, abs_tol=1e-12)
    assert math.isclose(high, expected.high, abs_tol=1e-12)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_the_figures_are_those_of_float64_over_the_whole_set(
    model: nn.Module, batch_size: int
) -> None:
    images = made(203, 8)
    batches = TensorBatches(images, PLAIN, batch_size, torch.device("cpu"))
    predictions = predict_all(model, batches, 8)
    model.eval()
    logits = model.double()(images.images.double() / 255)
    expected = functional.cross_entropy(logits, images.labels).item()
    metrics = predictions.metrics()
    assert math.isclose(metrics.loss, expected, rel_tol=1e-5)
    right = logits.argmax(1) == images.labels
    assert metrics.accuracy == int(right.sum()) / 203
    assert metrics.num_images == 203
    ranks = (logits > logits.gather(1, images.labels[:, None])).sum(1)
    assert metrics.top5_accuracy == int((ranks < 5).sum()) / 203


def test_the_modes_of_every_submodule_are_put_back(model: nn.Module) -> None:
    model.train()
    model[2].eval()
    predict_all(model, TensorBatches(made(5, 8), PLAIN, 4, torch.device("cpu")), 8)
    assert [module.training for module in model] == [True, True, False, True]
    assert model.training


def test_classes_agree_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (500,), generator=generator)
    predicted = torch.randint(0, 4, (500,), generator=generator)
    predicted[predicted == 2] = 1  # a class that is never called
    predictions = Predictions(
        labels, predicted, labels == predicted, torch.zeros(500).double(), 5, 1.0
    )
    names = ("a", "b", "c", "d", "absent")
    wanted = confusion_matrix(labels, predicted, labels=range(5))
    assert predictions.confusion().tolist() == wanted.tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=0.0
    )
    for i, row in enumerate(predictions.per_class(names)):
        assert row.name == names[i]
        assert row.num_images == support[i]
        assert math.isclose(row.precision or 0.0, precision[i])
        assert math.isclose(row.recall or 0.0, recall[i])
        assert math.isclose(row.f1 or 0.0, f1[i])
    rows = predictions.per_class(names)
    assert rows[2].precision is None
    assert rows[2].recall == 0.0
    assert rows[4].recall is None


def test_five_classes_have_no_top5() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    batches = TensorBatches(made(20, 5), PLAIN, 8, torch.device("cpu"))
    assert predict_all(model, batches, 5).metrics().top5_accuracy is None
