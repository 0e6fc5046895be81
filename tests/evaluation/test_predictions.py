import copy
import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn
from torch.nn import functional

from cnnkit.cli.evaluate import TestTime as OptionTestTime
from cnnkit.data.image_set import TensorSet
from cnnkit.data.loading.preprocessing import Preprocessing
from cnnkit.data.loading.tensor_batches import TensorBatches
from cnnkit.data.loading.views import TTA_KINDS, check_views, mean_logits
from cnnkit.errors import UsageError
from cnnkit.evaluation import Predictions, predict_all, wilson_interval
from cnnkit.render.tables.eval import TTA_NOTES
from cnnkit.runs.recipe import TestTime

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


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_views_of_an_image_are_averaged_with_their_weights(
    model: nn.Module, layout: torch.memory_format
) -> None:
    seen: list[torch.Tensor] = []

    class Watched(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.is_contiguous(memory_format=layout)
            seen.append(images)
            return model(images.contiguous())  # type: ignore[no-any-return]

    model.eval()
    images = torch.rand(3, 2, 4, 2).to(memory_format=layout)  # 16 values an image
    wanted = torch.zeros(3, 8, dtype=torch.float64)
    exact = copy.deepcopy(model).double()
    for image, row in zip(images.double(), wanted, strict=True):
        padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (1, 1), (1, 1)), "reflect"))
        views = [(image, 1 / 4), (padded[:, :4, :2], 1 / 8), (padded[:, 2:, 2:], 1 / 8)]
        for view, weight in views:
            for one in (view, view.flip(2)):
                row += weight * exact(one[None].contiguous())[0].detach()
    with torch.no_grad():
        torch.testing.assert_close(
            mean_logits(Watched(), images, "shift").double(), wanted, rtol=1e-5, atol=1e-6
        )
        assert len(seen) == 6
        both = (model(images.contiguous()) + model(images.flip(3).contiguous())) / 2
        torch.testing.assert_close(mean_logits(model, images.contiguous(), "mirror"), both)
        assert torch.equal(
            mean_logits(model, images.contiguous(), "none"), model(images.contiguous())
        )


def test_the_kinds_of_views_are_the_same_everywhere() -> None:
    assert get_args(TestTime) == TTA_KINDS == tuple(OptionTestTime)
    assert {"none", *TTA_NOTES} == set(TTA_KINDS)


def test_views_that_cannot_be_had_are_refused() -> None:
    check_views("mirror", 1, 1)
    with pytest.raises(UsageError, match="images of 1x4 cannot be shifted"):
        check_views("shift", 1, 4)
    with pytest.raises(UsageError, match="augmentation 'mirrored'; did you mean mirror"):
        check_views("mirrored", 4, 4)
