import dataclasses
import io
import json
import math

import pytest
from PIL import Image

from cnnkit.render import build_tables
from cnnkit.results import EpochMetrics, Result
from tests.results.examples import ALL, EVALUATED, MONITORED, TRAINED


def test_train_has_the_fields_that_others_rely_on() -> None:
    plain = TRAINED.to_dict()
    assert plain["schema"] == "cnnkit.train/1"
    assert set(plain) >= {
        "run", "model", "dataset", "device", "num_params", "epochs", "best_epoch", "test", "seconds"
    }  # fmt: skip
    assert list(plain["epochs"][0]) == [
        "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate",
        "seconds", "images_per_second",
    ]  # fmt: skip
    assert set(plain["test"]) == {
        "loss", "accuracy", "accuracy_low", "accuracy_high", "num_images", "top5_accuracy"
    }  # fmt: skip


def test_the_test_set_shows_in_an_epoch_only_where_it_was_monitored() -> None:
    epoch = MONITORED.to_dict()["epochs"][0]
    assert epoch["test_loss"] == 2.254
    assert epoch["test_accuracy"] == 0.3411
    assert epoch["val_loss"] is None
    assert MONITORED.to_dict()["test"] is None


def test_eval_has_its_metrics_at_the_top() -> None:
    plain = EVALUATED.to_dict()
    assert list(plain)[:8] == [
        "schema", "run", "checkpoint", "epoch", "model", "dataset", "split", "device"
    ]  # fmt: skip
    assert plain["loss"] == 0.5
    assert plain["accuracy"] == 0.75
    assert "top5_accuracy" not in plain
    assert "metrics" not in plain
    assert plain["per_class"][2] == {
        "name": "never", "num_images": 0, "precision": None, "recall": None, "f1": None
    }  # fmt: skip
    assert plain["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_a_number_that_is_not_finite_is_null() -> None:
    epoch = EpochMetrics(1, math.inf, 0.1, math.nan, 0.1, 0.1, 1.0, 1.0)
    assert epoch.to_dict()["train_loss"] is None
    assert epoch.to_dict()["val_loss"] is None


@pytest.mark.parametrize("name", ALL)
def test_every_result_is_frozen_and_becomes_json_and_html(name: str) -> None:
    result: Result = ALL[name]
    field = dataclasses.fields(result)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, field, None)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == result.to_dict()
    assert result._repr_html_().count("<table") == len(build_tables(result))


def test_the_confusion_table_adds_up() -> None:
    per_class, confusion = build_tables(EVALUATED)
    sums = [sum(row[1:]) for row in confusion.rows]
    assert sums == [row[1] for row in per_class.rows]
    assert sum(sums) == EVALUATED.metrics.num_images


def test_many_classes_show_the_largest_confusions() -> None:
    names = [f"class {i}" for i in range(12)]
    per_class = tuple(
        dataclasses.replace(EVALUATED.per_class[0], name=name, num_images=10) for name in names
    )
    rows = [[10 if i == j else 0 for j in range(12)] for i in range(12)]
    rows[3] = [0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0]
    rows[5] = [1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]
    many = dataclasses.replace(
        EVALUATED, per_class=per_class, confusion=tuple(tuple(row) for row in rows)
    )
    assert build_tables(many)[1].rows == (("class 3", "class 7", 4), ("class 5", "class 0", 1))


@pytest.mark.parametrize("name", ALL)
def test_a_data_frame_has_the_rows_and_columns_of_the_csv_file(name: str) -> None:
    frame = ALL[name].to_pandas()
    records = ALL[name].records()
    assert list(frame.columns) == list(records.columns)
    assert len(frame) == len(records.rows)
    for row, line in zip(records.rows, frame.itertuples(index=False, name=None), strict=True):
        assert [value for value in row if value is not None] == [
            found for found, value in zip(line, row, strict=True) if value is not None
        ]


@pytest.mark.parametrize("name", ALL)
def test_what_has_a_picture_shows_it_in_a_notebook(name: str) -> None:
    pictured = {
        *("stats", "counted", "train", "monitored", "lr_find", "eval", "compare", "compare_sets"),
        *("bench", "bench_few", "show", "show_augmented", "named"),
    }
    result = ALL[name]
    if name not in pictured:
        with pytest.raises(ValueError, match="there is no picture"):
            result.plot()
        assert "<img" not in result._repr_html_()
        return
    with Image.open(io.BytesIO(result.plot()._repr_png_())) as image:
        assert image.format == "PNG"
    assert result._repr_html_().count('<img src="data:image/png;base64,') == 1
