"""Splits and classes inferred from folder names, in folders and archives."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnnkit.errors import UsageError
from cnnkit.registry import some_of

Parts = tuple[str, ...]
"""A folder, as the names on the way to it from the top of the set."""

SPLIT_OF_WORD = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
EVALUATION_WORDS = ("eval", "evaluation", "holdout")
EVALUATION = "eval"
"""A test split, or a validation split beside a test split."""

SPLIT_ORDER = ("train", "val", "test")

# Folders that systems and programs leave behind, whatever the case of their names.
_FOREIGN = frozenset(
    (
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "recycler",
        "lost+found",
        "found.000",
        "system volume information",
        "@__thumb",
        "@tmp",
        "#snapshot",
        "__pycache__",
    )
)


@dataclass(frozen=True)
class Layout:
    """The split and class of each folder of a set.

    Attributes:
        places: split and class of each folder that was arranged; folders that are left out are not
            in it. Without splits the split is `""`; of images without a class folder the class is.
        classes: the classes of each split, sorted; those without images included.
        remarks: notes on what was assumed and what was ignored.
    """

    places: Mapping[Parts, tuple[str, str]]
    classes: Mapping[str, tuple[str, ...]]
    remarks: tuple[str, ...]


def is_visible(name: str) -> bool:
    """Return whether a file or folder of this name is considered."""
    return not name.startswith(".") and name.lower() not in _FOREIGN


def split_of(name: str) -> str | None:
    """Return the split that a folder is named after: `train` for `Training`, `train_images`.

    The word may be beside others, set off by punctuation, digits or a change of case, as in
    `val2017` and `imagesTest`, and may end in `set`, `data` or `images`. Of two splits it is none.
    """
    words = _words(name)
    splits = {SPLIT_OF_WORD[word] for word in words if word in SPLIT_OF_WORD}
    splits |= {EVALUATION for word in words if word in EVALUATION_WORDS}
    return splits.pop() if len(splits) == 1 else None


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[a-z]+", apart.lower())
    # `trainset` and `testdata` are one word to people who name folders
    return [re.sub(r"(?<=[a-z])(set|data|images|imgs)$", "", word) for word in words]


def arrange(
    folders: Iterable[Parts], empty: Iterable[Parts] = (), as_classes: bool = False
) -> Layout:
    """Return the splits and classes of the folders of a set.

    Where the top level has a `train` folder with folders in it, or nothing but folders of splits,
    these are the splits, in the words and spellings that people use; others there are left out.
    Else the folders at the top are the classes. A folder around all others means nothing.

    Args:
        folders: the folder of every image; `()` for images at the top.
        empty: folders that hold no images, below which there may be some.
        as_classes: use the top-level folders as classes, whatever their names are.

    Raises:
        UsageError: two folders are named like the same split.
    """
    with_images = set(folders)
    tree = _Tree((*with_images, *empty))
    remarks: list[str] = []
    root = tree.without_wrappers((), with_images)
    if root:
        remarks.append(f"all images are in {'/'.join(root)}; its folders are used")
    splits = {} if as_classes else _splits(tree, root, remarks)
    if not splits:
        _note_look_alikes(tree, root, as_classes, remarks)
        splits = {"": root}
    places: dict[Parts, tuple[str, str]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    for split, top in splits.items():
        names: dict[str, None] = {}
        copies = [] if as_classes else _copies(tree.children(top), tree, top, remarks)
        for child in tree.children(top):
            if child in copies:
                continue
            name = unicodedata.normalize("NFC", child)
            names[name] = None
            for below in tree.below((*top, child)):
                places[below] = split, name
        if top in with_images:
            places[top] = split, ""
        classes[split] = tuple(sorted(names))
    return Layout(places, classes, tuple(remarks))


class _Tree:
    """Folders by their parent folder."""

    def __init__(self, folders: Iterable[Parts]) -> None:
        self._children: dict[Parts, dict[str, None]] = defaultdict(dict)
        for folder in sorted(set(folders)):
            for depth in range(len(folder)):
                self._children[folder[:depth]][folder[depth]] = None

    def children(self, folder: Parts) -> list[str]:
        return list(self._children.get(folder, ()))

    def below(self, folder: Parts) -> Iterable[Parts]:
        """Return a folder and all folders in it."""
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            yield current
            waiting += [(*current, child) for child in self.children(current)]

    def without_wrappers(self, folder: Parts, with_images: set[Parts]) -> Parts:
        """Return the folder below which there is more than a single folder of folders."""
        while folder not in with_images:
            children = self.children(folder)
            if len(children) != 1 or not self.children((*folder, children[0])):
                break
            if split_of(children[0]) is not None:
                break
            folder = (*folder, children[0])
        return folder


def _splits(tree: _Tree, root: Parts, remarks: list[str]) -> dict[str, Parts]:
    """Return the folder of each split; nothing where the top level has none."""
    named: dict[str, list[str]] = defaultdict(list)
    for child in tree.children(root):
        split = split_of(child)
        # A class may have such a name, but then it has images where a split has folders.
        if split is not None and tree.children((*root, child)):
            named[split].append(child)
    if EVALUATION in named:
        named["val" if "test" in named else "test"] += named.pop(EVALUATION)
    num_named = sum(map(len, named.values()))
    if "train" not in named and num_named < max(1, len(tree.children(root))):
        return {}
    splits = {}
    for split in SPLIT_ORDER:
        if split in named:
            child = _plainest(split, named[split])
            # Some archives unpack to seg_train/seg_train/...
            inner = (*root, child, child)
            is_doubled = tree.children(inner[:-1]) == [child] and bool(tree.children(inner))
            splits[split] = inner if is_doubled else inner[:-1]
    _note_splits(tree, root, splits, remarks)
    return splits


def _plainest(split: str, names: Sequence[str]) -> str:
    """Return the folder of a split: `train` beside `train_masks`.

    Raises:
        UsageError: two have the same name.
    """
    fewest = min(len(_words(name)) for name in names)
    plain = [name for name in names if len(_words(name)) == fewest]
    if len(plain) > 1:
        raise UsageError(
            f"both {plain[0]} and {plain[1]} are named like the {split} split", "rename one"
        )
    return plain[0]


def _note_splits(tree: _Tree, root: Parts, splits: Mapping[str, Parts], remarks: list[str]) -> None:
    taken = {top[len(root)]: split for split, top in splits.items()}
    if any(name != split for name, split in taken.items()):
        assumed = ", ".join(f"{name} is {split}" for name, split in taken.items())
        remarks.append(f"splits inferred from folder names: {assumed}")
    others = [name for name in tree.children(root) if name not in taken]
    if others:
        remarks.append(f"folders that are not splits are ignored: {some_of(others)}")


def _copies(names: Sequence[str], tree: _Tree, top: Parts, remarks: list[str]) -> list[str]:
    """Return the class folders that contain copies of the other classes."""
    below = {name: set(tree.children((*top, name))) for name in names}
    plain = {name for name in names if len(below[name] & set(names) - {name}) < 2}
    copies = [
        name for name in names if len(plain) > 1 and name not in plain and plain <= below[name]
    ]
    if copies:
        remarks.append(
            f"folders that contain copies of the folders beside them are ignored: {some_of(copies)}"
        )
    return copies


def _note_look_alikes(tree: _Tree, root: Parts, is_asked: bool, remarks: list[str]) -> None:
    """Add a remark if classes look like splits: each contains the same folders."""
    children = tree.children(root)
    below = [tuple(tree.children((*root, child))) for child in children]
    if not is_asked and len(children) > 1 and len(below[0]) > 1 and len(set(below)) == 1:
        remarks.append(
            f"{some_of(children)} are used as classes, although each contains the same folders "
            f"({some_of(below[0])}); if they are splits, name one of them train"
        )
