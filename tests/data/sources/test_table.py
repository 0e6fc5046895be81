import unicodedata
from pathlib import Path

import pytest

from cnnkit.data.sources.table import is_table, read_table
from cnnkit.errors import NotFoundError, UnavailableError, UsageError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "in/c.png", "d, e.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def read(
    folder: Path, text: str | bytes, name: str = "labels.csv"
) -> dict[str, dict[str, list[str]]]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    table = read_table(str(path))
    return {
        split: {
            label: [str(Path(one).relative_to(folder)) for one in files]
            for label, files in classes.items()
        }
        for split, classes in table.files.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,cat\nb.png,dog\nin/c.png,cat\n",
        "a.png,cat\nb.png,dog\nin/c.png,cat",
        "\ufefffile;class\r\na.png;cat\r\nb.png;dog\r\n\r\nin/c.png;cat\r\n",
        "Label\tFilename\ncat\ta.png\ndog\tb.png\ncat\tin/c.png\n",
        'id,image,target,note\n1,a.png,cat,x\n2,b.png,dog,\n3,./in/../in/c.png,cat,"y, z"\n',
        "path,label\na.png,cat\na.png,cat\nb.png,dog\nin/c.png,cat\n",
        "path,label\ra.png,cat\rb.png,dog\rin/c.png,cat",
        "Image Path,class_name\na.png,cat\nb.png,dog\nin\\c.png,cat\n",
        ",filepaths,labels\n0,a.png,cat\n1,b.png,dog\n2,in\\..\\in\\c.png,cat\n",
        "image_id,Breed,fold\na.png,cat,1\nb.png,dog,2\nin/c.png,cat,1\n",
        '"a.png";"cat"\n"b.png";"dog"\n"in/c.png";"cat"',
    ],
)
def test_tables_as_people_write_them(images: Path, text: str) -> None:
    assert read(images, text) == {"": {"cat": ["a.png", "in/c.png"], "dog": ["b.png"]}}


def test_splits_and_quotes(images: Path) -> None:
    text = 'split,path,label\nTrain,a.png,cat\ndev,b.png,dog\ntest,"d, e.png","big, cat"\n'
    assert read(images, text) == {
        "train": {"cat": ["a.png"]}, "val": {"dog": ["b.png"]}, "test": {"big, cat": ["d, e.png"]}
    }  # fmt: skip
    assert read(images, "a.png,cat,train\nb.png,dog,test\n") == {
        "train": {"cat": ["a.png"]}, "test": {"dog": ["b.png"]}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("splits", "names"),
    [
        (("Train", "validation", "TEST"), ("train", "val", "test")),
        (("trn", "Dev", "testing"), ("train", "val", "test")),
        (("train_set", "val_set", "holdout"), ("train", "val", "test")),
        (("train", "evaluation", "test"), ("train", "val", "test")),
    ],
)
def test_names_of_splits_are_those_of_folders(
    images: Path, splits: tuple[str, str, str], names: tuple[str, str, str]
) -> None:
    files = ("a.png", "b.png", "in/c.png")
    lines = [f"{file},x,{split}" for file, split in zip(files, splits, strict=True)]
    found = read(images, "\n".join(["path,label,split", *lines]))
    assert found == {name: {"x": [file]} for name, file in zip(names, files, strict=True)}


def test_quotes_do_not_count_for_the_separator(images: Path) -> None:
    assert read(images, '"d, e.png";"big, cat"\nb.png;dog\n') == {
        "": {"big, cat": ["d, e.png"], "dog": ["b.png"]}
    }


def test_either_form_of_unicode(images: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    (images / f"{apart}.png").touch()
    found = read(images, f"path,label\na.png,{composed}\nb.png,{apart}\n{composed}.png,x\n")
    assert found == {"": {composed: ["a.png", "b.png"], "x": [f"{apart}.png"]}}


def test_lines_that_repeat_another_are_said(images: Path) -> None:
    (images / "labels.csv").write_text("path,label\na.png,cat\n./a.png,cat\nb.png,dog\n")
    assert read_table(str(images / "labels.csv")).remarks == (
        f"{images / 'labels.csv'}: lines that repeat another are left out: 1",
    )


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("path,label\na.png,cat\ngone.png,dog\n", NotFoundError, "line 3 .*no file '.*gone.png'"),
        ("path,label\na.png,\nb.png,dog\n", UsageError, "line 2 .* has an empty label"),
        ("path,label\n,cat\nb.png,dog\n", UsageError, "line 2 .* has an empty path"),
        ("path,label\na.png,cat\na.png,dog\n", UsageError, "label 'dog', and line 2 'cat'"),
        ("path,label,split\na.png,cat,train\na.png,cat,test\n", UsageError, "split 'test', and"),
        ("path,label,split\na.png,cat,trian\n", UsageError, "'trian'; did you mean train"),
        ("path,label,split\na.png,cat,7\n", UsageError, "'7'; use train, val or test"),
        (b"path,label\na.png,caf\xe9\n", UsageError, "line 2 .* is not UTF-8 text"),
        (b"\xff\xfep\0a\0", UsageError, "line 1 .* is not UTF-8 text"),
        ("path,kind\na.png,cat\n", UsageError, "the header .* has no column 'label'"),
        ("name,label\na.png,cat\n", UsageError, "the header .* has no column 'path'"),
        ("path,label\na.png\n", UsageError, "line 2 .* has 1 fields, not 2"),
        ("a.png\nb.png\n", UsageError, "line 1 .* has 1 fields and is not a header"),
        ("path,label\n", UsageError, "lists no images"),
        ("path,label\nin,cat\n", NotFoundError, "line 2 .*in' is a folder, not a file"),
        ("picture,kind\na.png,cat\n", NotFoundError, "line 1 .*no file '.*picture'"),
        (
            "path,label,split\na.png,x,val\nb.png,x,eval\nin/c.png,x,test\n",
            UsageError,
            "has two splits named like val",
        ),
        ("", UsageError, "is empty"),
        ('path,label\n"a.png,cat\n', UsageError, "not a line of a table"),
        ("path,label\na\0.png,cat\n", UsageError, "line"),
    ],
)  # fmt: skip
def test_bad_tables(images: Path, text: str | bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(images, text)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    assert is_table("labels.CSV")
    assert is_table("x.tsv")
    assert not is_table("photos")
    with pytest.raises(NotFoundError, match="does not exist"):
        read_table(str(tmp_path / "gone.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(NotFoundError, match="is not a file"):
        read_table(str(tmp_path / "folder.csv"))
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(UnavailableError, match="1,073,741,825 bytes"):
        read_table(str(tmp_path / "large.csv"))
