"""Another dataset than that of a run: its classes are those of the run by name, or some of them."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix, log_loss

import cnnkit as package
from tests.conftest import Answer, Cnnkit

CLASSES = ("bird", "cat", "dog")
APFEL = "\u00c4pfel"


def draw(folder: Path, label: int, number: int, seed: int) -> None:
    """Write noisy grey pictures that are the brighter the higher the label is."""
    stream = np.random.default_rng((seed, label))
    folder.mkdir(parents=True)
    for index in range(number):
        pixels = stream.integers(0, 190, (8, 8)) + 30 * label
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")


def make(root: Path, number: int = 20, seed: int = 0, names: tuple[str, ...] = CLASSES) -> Path:
    """Write a set whose class folders are called as given; of an empty name there is none."""
    for label, name in enumerate(names):
        if name:
            draw(root / name, label, number, seed)
    return root


@pytest.fixture
def run(tmp_path: Path, cnnkit: Cnnkit) -> Path:
    answer = cnnkit(
        "train", "linear", make(tmp_path / "photos"), "--epochs", 2, "--normalize", "0.25/0.5",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    return Path(answer.json["run"])


def by_hand(run: Path, images: list[tuple[Path, int]]) -> tuple[np.ndarray, list[int]]:
    """Return the probabilities of each class by the weights of a run, and the labels."""
    weights = load_file(run / "checkpoints" / "best" / "model.safetensors")
    weight, bias = (weights[name].double() for name in sorted(weights, reverse=True))
    pixels = np.stack([np.asarray(Image.open(path)).ravel() for path, _ in images])
    logits = (torch.from_numpy(pixels / 255) - 0.25) / 0.5 @ weight.T + bias
    return logits.softmax(1).numpy(), [label for _, label in images]


def files(root: Path, names: tuple[str, ...] = CLASSES) -> list[tuple[Path, int]]:
    return [
        (path, label)
        for label, name in enumerate(names)
        if name
        for path in sorted((root / name).iterdir())
    ]


def said(answer: Answer) -> str:
    return " ".join(answer.stderr.split())


def check(answer: Answer, run: Path, images: list[tuple[Path, int]]) -> None:
    """Compare an answer in JSON with plain torch, numpy and scikit-learn."""
    assert answer.code == 0, answer.stderr
    found = answer.json
    probabilities, labels = by_hand(run, images)
    predicted = probabilities.argmax(1)
    assert found["num_images"] == len(labels)
    assert found["accuracy"] == float((predicted == labels).mean())
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]), 1e-5)
    matrix = confusion_matrix(labels, predicted, labels=[0, 1, 2])
    assert found["confusion"] == matrix.tolist()
    for label, row in enumerate(found["per_class"]):
        number, right = labels.count(label), int(matrix[label, label])
        assert row["num_images"] == number
        if number == 0:
            assert (row["precision"], row["recall"], row["f1"]) == (None, None, None)
        else:
            assert row["recall"] == right / number


def test_some_of_the_classes(run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    other = make(tmp_path / "other", 9, seed=1, names=("", "cat", "dog"))
    answer = cnnkit("eval", run, other, "--json")
    check(answer, run, files(other, ("", "cat", "dog")))
    assert [row["name"] for row in answer.json["per_class"]] == list(CLASSES)
    assert "evaluated 2 of the 3 classes the run knows: cat, dog; none of bird" in said(answer)
    table = cnnkit("eval", run, other)
    (row,) = [line for line in table.stdout.splitlines() if line.startswith("bird ")][:1]
    assert row.split() == ["bird", "0", "-", "-", "-"]


@pytest.mark.parametrize("how", ["folder", "subset", "table", "zip"])
def test_a_single_class(how: str, run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    other = make(tmp_path / "other", 7, seed=1, names=("", "", "dog"))
    images = files(other, ("", "", "dog"))
    spec = str(other)
    if how == "subset":
        draw(other / "bird", 0, 4, 1)
        spec += ":dog"
    elif how == "table":
        spec = str(tmp_path / "labels.csv")
        Path(spec).write_text("".join(f"other/dog/{path.name},dog\n" for path, _ in images))
    elif how == "zip":
        spec = shutil.make_archive(str(other), "zip", other)
    answer = cnnkit("eval", run, spec, "--json")
    check(answer, run, images)
    assert "evaluated 1 of the 3 classes the run knows: dog; none of bird, cat" in said(answer)


@pytest.mark.parametrize(("given", "split"), [((), "all"), (("--split", "all"), "all")])
def test_one_image_a_class(
    given: tuple[str, ...], split: str, run: Path, tmp_path: Path, cnnkit: Cnnkit
) -> None:
    other = make(tmp_path / "other", 1, seed=1)
    answer = cnnkit("eval", run, other, *given, "--json")
    check(answer, run, files(other))
    assert answer.json["split"] == split
    assert "classes the run knows" not in said(answer)
    none = cnnkit("eval", run, other, "--split", "test")
    assert (none.code, "has no test images" in said(none)) == (2, True)


def test_all_images_of_a_set_with_splits(run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    other = tmp_path / "other"
    for seed, split in enumerate(("Training", "valid", "test_set"), 1):
        make(other / split, 4, seed)
    make(other / "extra", 0)
    every = [pair for split in ("Training", "valid", "test_set") for pair in files(other / split)]
    check(cnnkit("eval", run, other, "--split", "all", "--json"), run, every)
    check(cnnkit("eval", run, other, "--json"), run, files(other / "test_set"))
    check(cnnkit("eval", run, other, "--split", "val", "--json"), run, files(other / "valid"))
    shutil.rmtree(other / "test_set")
    answer = cnnkit("eval", run, other, "--json")
    assert (answer.json["split"], answer.json["num_images"]) == ("all", 24)


def test_splits_may_hold_different_classes(run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    other = tmp_path / "other"
    make(other / "train", 2, 1, ("bird", "cat", ""))
    make(other / "test", 2, 2, ("", "cat", "dog"))
    (other / "test" / "zebra").mkdir()  # no image is of this class
    answer = cnnkit("eval", run, other, "--json")
    check(answer, run, files(other / "test", ("", "cat", "dog")))
    assert "none of bird" in said(answer)


def test_all_images_of_the_run(run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    for given in ((), (tmp_path / "photos",)):
        answer = cnnkit("eval", run, *given, "--split", "all", "--json")
        check(answer, run, files(tmp_path / "photos"))
        assert "60 images, most of which were trained on" in said(answer)


def test_names_in_other_case_order_and_form_of_unicode(tmp_path: Path, cnnkit: Cnnkit) -> None:
    names = ("Zebra", "cat", APFEL)  # in this order by their code points
    answer = cnnkit(
        "train", "linear", make(tmp_path / "photos", names=names), "--epochs", 1, "--normalize",
        "0.25/0.5", "--json",
    )  # fmt: skip
    run = Path(answer.json["run"])
    others = ("zebra", "CAT", unicodedata.normalize("NFD", APFEL))
    other = make(tmp_path / "other", 5, 1, others)
    answer = cnnkit("eval", run, other, "--json")
    check(answer, run, files(other, others))
    assert [row["name"] for row in answer.json["per_class"]] == list(names)
    note = "classes whose names differ in case are the same: CAT is cat, zebra is Zebra"
    assert note in said(answer)
    # a table, whose lines are in any order and whose labels are in the decomposed form
    lines = [f"{path.relative_to(tmp_path)},{others[at]}" for path, at in files(other, others)]
    (tmp_path / "labels.csv").write_text("\n".join(reversed(lines)))
    table = cnnkit("eval", run, tmp_path / "labels.csv", "--json")
    assert table.json["confusion"] == answer.json["confusion"]
    assert table.json["loss"] == pytest.approx(answer.json["loss"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("", "cat", "dogs", "zebra"),
            "has the class 'dogs' (and 1 more), which the run does not know; did you mean dog?; "
            "`other:cat` evaluates the classes that it knows",
        ),
        (
            ("bird", "cat", "", "zebra"),
            "has the class 'zebra', which the run does not know; it knows bird, cat, dog; "
            "`other:bird,cat` evaluates the classes that it knows",
        ),
        (("", "x", "y"), "has the class 'x' (and 1 more), which the run does not know"),
        (("", "Cat", "cat"), "has the class 'Cat', which the run does not know; did you mean cat?"),
    ],
)
def test_a_class_that_the_run_does_not_know(
    names: tuple[str, ...], words: str, run: Path, tmp_path: Path, cnnkit: Cnnkit
) -> None:
    make(tmp_path / "other", 2, 1, names)
    answer = cnnkit("eval", run, "./other", "--json")
    assert answer.code == 2
    assert words.replace("`other", "`./other") in said(answer)
    if "evaluates" in words:
        command = words.split("`")[1].replace("other", "./other")
        assert cnnkit("eval", run, command).code == 0


def test_images_without_a_class(run: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
    other = make(tmp_path / "other", 3, 1)
    shutil.copy(other / "cat" / "0.png", other / "0.png")
    answer = cnnkit("eval", run, other, "--json")
    check(answer, run, files(other))
    assert "images without a class left out: 1" in said(answer)
    draw(tmp_path / "flat", 0, 2, 1)
    refused = cnnkit("eval", run, tmp_path / "flat")
    assert (refused.code, "2 images but no classes" in said(refused)) == (2, True)
    (tmp_path / "empty").mkdir()
    assert cnnkit("eval", run, tmp_path / "empty").code == 2
    assert cnnkit("eval", run, tmp_path / "absent").code == 3
    unknown = cnnkit("eval", run, other, "--split", "tset")
    assert unknown.code == 2
    assert "has no split 'tset'" in said(unknown)


def test_classes_of_named_sets_are_matched_by_name_too(cnnkit: Cnnkit) -> None:
    run = package.train("linear", "digits:7,1", package.Recipe.of(epochs=1)).run
    some = package.evaluate(run, "digits:7", split="all")
    assert [row.num_images for row in some.per_class] == [0, some.metrics.num_images]
    answer = cnnkit("eval", run, "digits")
    assert answer.code == 2
    assert "`digits:1,7` evaluates the classes that it knows" in said(answer)
