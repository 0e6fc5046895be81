import unicodedata

import pytest

from cnnkit.data.layout import arrange, is_visible, split_of
from cnnkit.errors import UsageError


def folders(*paths: str) -> list[tuple[str, ...]]:
    return [tuple(path.split("/")) if path else () for path in paths]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("train_images", "train"),
        ("images-train", "train"), ("train2017", "train"), ("seg_train", "train"),
        ("trainset", "train"), ("imagesTrain", "train"), ("Training Set", "train"),
        ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("val2017", "val"),
        ("Testing", "test"), ("test-data", "test"), ("testset", "test"), ("eval", "eval"),
        ("cat", None), ("trainer", None), ("contest", None), ("valley", None), ("trains", None),
        ("train_test", None), ("", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_a_set_as_it_is_unpacked_from_the_web() -> None:
    kinds = ("glioma", "meningioma", "notumor")
    layout = arrange(folders(*(f"{s}/{k}" for s in ("Training", "Testing") for k in kinds)))
    assert layout.classes == {"train": kinds, "test": kinds}
    assert layout.places[("Training", "glioma")] == ("train", "glioma")
    assert layout.places[("Testing", "notumor")] == ("test", "notumor")
    assert layout.remarks == (
        "splits inferred from folder names: Training is train, Testing is test",
    )


def test_plain_splits_need_no_words() -> None:
    layout = arrange(folders("train/a", "train/b", "val/a", "val/b", "test/a/x", "test/b"))
    assert layout.classes == {"train": ("a", "b"), "val": ("a", "b"), "test": ("a", "b")}
    assert layout.places[("test", "a", "x")] == ("test", "a")
    assert layout.remarks == ()


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "dev"), ("train", "val")),
        (("train", "eval"), ("train", "test")),
        (("train", "eval", "test"), ("train", "val", "test")),
        (("train", "holdout"), ("train", "test")),
        (("dev", "test"), ("val", "test")),
    ],
)
def test_no_split_is_ignored(names: tuple[str, ...], splits: tuple[str, ...]) -> None:
    layout = arrange(folders(*(f"{name}/{kind}" for name in names for kind in "ab")))
    assert tuple(layout.places[(name, "a")][0] for name in names) == splits
    assert set(layout.classes) == set(splits)


def test_doubled_folders_and_wrappers_mean_nothing() -> None:
    layout = arrange(folders("set/seg_train/seg_train/sea", "set/seg_train/seg_train/ice",
                             "set/seg_test/seg_test/sea", "set/seg_test/seg_test/ice"))  # fmt: skip
    assert layout.classes == {"train": ("ice", "sea"), "test": ("ice", "sea")}
    assert layout.remarks[0] == "all images are in set; its folders are used"


def test_classes_without_splits() -> None:
    layout = arrange(folders("photos/cat", "photos/dog/2020", "photos/dog"))
    assert layout.classes == {"": ("cat", "dog")}
    assert layout.places[("photos", "dog", "2020")] == ("", "dog")


def test_a_class_may_be_called_train() -> None:
    layout = arrange(folders("train", "car", "plane"))
    assert layout.classes == {"": ("car", "plane", "train")}


def test_what_lies_beside_splits_is_said() -> None:
    layout = arrange(
        folders("train/a", "train/b", "test/a", "test/b", "copy/train/a", "copy/test/b")
    )
    assert set(layout.classes) == {"train", "test"}
    assert ("copy", "train", "a") not in layout.places
    assert layout.remarks == ("folders that are not splits are ignored: copy",)


def test_look_alikes_are_said_and_may_be_asked_for() -> None:
    spread = folders("one/a", "one/b", "two/a", "two/b")
    layout = arrange(spread)
    assert layout.classes == {"": ("one", "two")}
    assert "each contains the same folders (a, b)" in layout.remarks[0]
    assert arrange(spread, as_classes=True).remarks == ()
    brain = folders("Training/a", "Training/b", "Testing/a", "Testing/b")
    assert arrange(brain, as_classes=True).classes == {"": ("Testing", "Training")}


def test_names_are_the_same_in_either_form_of_unicode() -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    layout = arrange([("train", composed), ("train", "x"), ("test", apart), ("test", "x")])
    assert layout.classes == {"train": (composed, "x"), "test": (composed, "x")}
    assert layout.places[("test", apart)] == ("test", composed)


def test_empty_class_folders_are_classes_and_flat_sets_have_none() -> None:
    layout = arrange(folders("a"), empty=folders("b"))
    assert layout.classes == {"": ("a", "b")}
    flat = arrange([()])
    assert flat.classes == {"": ()}
    assert flat.places == {(): ("", "")}
    assert arrange([]).places == {}


def test_a_copy_of_the_set_inside_is_no_class() -> None:
    layout = arrange(folders("a", "b", "c", "set/a", "set/b", "set/c", "old/a", "old/b", "old/c"))
    assert layout.classes == {"": ("a", "b", "c")}
    assert layout.remarks == (
        "folders that contain copies of the folders beside them are ignored: old, set",
    )
    assert ("set", "a") not in layout.places
    layout = arrange(
        folders("train/a", "train/b", "train/set/a", "train/set/b", "test/a", "test/b")
    )
    assert layout.classes == {"train": ("a", "b"), "test": ("a", "b")}
    # some of the others only, or asked for
    assert arrange(folders("a", "b", "c", "d/a", "d/b")).classes == {"": ("a", "b", "c", "d")}
    assert arrange(folders("a", "b", "set/a", "set/b"), as_classes=True).classes == {
        "": ("a", "b", "set")
    }


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "$RECYCLE.BIN", "lost+found", "__MACOSX", ".git", "@__thumb", "FOUND.000"],
)
def test_folders_of_systems_are_no_classes(name: str) -> None:
    assert not is_visible(name)
    assert is_visible("cat")


def test_the_plainest_name_is_the_split() -> None:
    layout = arrange(folders("train/a", "train/b", "train_masks/a", "train_masks/b"))
    assert layout.classes == {"train": ("a", "b")}
    assert layout.remarks == ("folders that are not splits are ignored: train_masks",)
    with pytest.raises(UsageError, match="both val and valid are named like the val split"):
        arrange(folders("train/a", "val/a", "valid/a"))


def test_a_single_split_is_no_wrapper() -> None:
    assert arrange(folders("test/a", "test/b")).classes == {"test": ("a", "b")}
    assert arrange(folders("set/train/a", "set/train/b")).classes == {"train": ("a", "b")}
    assert arrange(folders("test/a", "test/b", "control/a")).classes == {"": ("control", "test")}
