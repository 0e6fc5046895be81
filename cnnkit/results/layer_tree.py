"""The layers of a network as rows, which can be folded and cut without losing a count."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cnnkit.results.base import Records, Value, to_plain


@dataclass(frozen=True)
class LayerRow:
    """A module of a network. Its counts are its own, those of its children are in their rows.

    So every column of counts adds up to its total.

    Attributes:
        name: dotted; empty for the network itself.
        type: its class.
        kind: what it does: `conv`, `transposed conv`, `linear`, `max pool`, `avg pool`, `pad`; else
            None.
        depth: 0 for the network itself, 1 for its children.
        count: how often it runs in one forward pass; the counts are of all its runs.
        input_shape: of its first input, batch first; None where it did not run.
        output_shape: of its first output, likewise.
        kernel_size: by axis; None where it has none.
        stride: likewise.
        padding: on one side, by axis; a half is one more at the end.
        dilation: likewise.
        groups: of a convolution.
        params: its parameters that no row before it has.
        macs: multiply-accumulates.
        flops: two per MAC.
        activation_bytes: bytes that it writes to new memory.
        receptive_field: pixels along a side that a value of its output sees, padding included.
        jump: pixels between two neighbours of its output.
        trainable: whether all of its parameters are trained; None where it has none.
        trainable_params: how many of `params` are.
        other_flops: other arithmetic.
        shared: it uses parameters that are counted in an earlier row.
        num_folded: number of equal blocks in the row.
    """

    name: str
    type: str
    kind: str | None
    depth: int
    count: int
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    kernel_size: tuple[int, ...] | None
    stride: tuple[int, ...] | None
    padding: tuple[float, ...] | None
    dilation: tuple[int, ...] | None
    groups: int | None
    params: int
    macs: int
    flops: int
    activation_bytes: int
    receptive_field: int | None
    jump: float | None
    trainable: bool | None
    trainable_params: int
    other_flops: int
    shared: bool = False
    num_folded: int = 1

    @property
    def is_silent(self) -> bool:
        """Whether it has no counts of its own."""
        return not (self.params or self.macs or self.activation_bytes)


# What adds up.
_SUMS = ("params", "trainable_params", "macs", "flops", "other_flops", "activation_bytes", "count")


def total_of(rows: Iterable[LayerRow]) -> LayerRow:
    """Return a row with the sum of every count, and nothing else."""
    rows = list(rows)
    sums = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
    nothing = dict.fromkeys(LayerRow.__dataclass_fields__)
    texts = {"name": "total", "type": "", "depth": 0, "num_folded": 1, "shared": False}
    return LayerRow(**(nothing | sums | texts))  # type: ignore[arg-type]


def layer_records(rows: Iterable[LayerRow]) -> Records:
    """Return rows with all that is known of each; shapes and windows as `64x112x112`."""

    def written(value: object) -> Value:
        plain = to_plain(value)
        return "x".join(map(str, plain)) if isinstance(plain, list) else plain

    names = [name for name in LayerRow.__dataclass_fields__ if name != "shared"]
    return Records(
        tuple(names), tuple(tuple(written(getattr(row, name)) for name in names) for row in rows)
    )


def largest(rows: Iterable[LayerRow], key: str) -> tuple[LayerRow, ...]:
    """Return the rows that have any of this, such as `macs`, those with the most first."""
    found = [row for row in rows if getattr(row, key)]
    return tuple(sorted(found, key=lambda row: getattr(row, key), reverse=True))


def limited(rows: Sequence[LayerRow], depth: int) -> tuple[LayerRow, ...]:
    """Return the rows down to a depth, those at it with the counts of all below them."""
    kept: list[LayerRow] = []
    for row in rows:
        if row.depth <= depth:
            kept.append(row)
        else:
            kept[-1] = _with_figures_of(kept[-1], row)
    return tuple(kept)


def _with_figures_of(row: LayerRow, below: LayerRow) -> LayerRow:
    sums = {name: getattr(row, name) + getattr(below, name) for name in _SUMS if name != "count"}
    trainable = row.trainable
    if below.trainable is not None:
        trainable = below.trainable and row.trainable in (None, True)
    return replace(row, **sums, trainable=trainable)


def folded(rows: Sequence[LayerRow]) -> tuple[LayerRow, ...]:
    """Return the rows, with runs of equal neighbouring blocks as one block of their sums.

    Blocks are equal if they and all in them have the same class, shapes and counts, and their
    names differ by a number: `layer3.1` to `layer3.5` become `layer3.1-5`.
    """
    if not rows:
        return ()
    return tuple(_flat(_folded_tree(_trees(rows))))


@dataclass(frozen=True)
class _Tree:
    row: LayerRow
    children: tuple["_Tree", ...]

    def last_name(self) -> str:
        return self.row.name.rpartition(".")[2]

    def shape(self) -> tuple[object, ...]:
        """Return all that must be equal in two blocks that are folded."""
        row = self.row
        own = replace(row, name="", receptive_field=None, jump=None)
        return (own, tuple((child.last_name(), child.shape()) for child in self.children))


def _trees(rows: Sequence[LayerRow]) -> tuple[_Tree, ...]:
    """Return rows in preorder as trees."""
    trees: list[_Tree] = []
    index = 0
    while index < len(rows):
        end = index + 1
        while end < len(rows) and rows[end].depth > rows[index].depth:
            end += 1
        trees.append(_Tree(rows[index], _trees(rows[index + 1 : end])))
        index = end
    return tuple(trees)


def _folded_tree(trees: tuple[_Tree, ...]) -> tuple[_Tree, ...]:
    trees = tuple(_Tree(tree.row, _folded_tree(tree.children)) for tree in trees)
    out: list[_Tree] = []
    index = 0
    while index < len(trees):
        run = [trees[index]]
        while index + len(run) < len(trees) and _follows(run[-1], trees[index + len(run)]):
            run.append(trees[index + len(run)])
        out.append(_sum_of(run) if len(run) > 1 else run[0])
        index += len(run)
    return tuple(out)


def _follows(tree: _Tree, following: _Tree) -> bool:
    a = re.fullmatch(r"(.*?)(\d+)", tree.last_name())
    b = re.fullmatch(r"(.*?)(\d+)", following.last_name())
    if a is None or b is None or a[1] != b[1] or int(b[2]) != int(a[2]) + 1:
        return False
    return tree.shape() == following.shape()


def _sum_of(run: Sequence[_Tree]) -> _Tree:
    """Return one tree with the sums of equal ones, called `layer3.1-5`."""
    last_number = re.search(r"\d+$", run[-1].row.name)
    assert last_number is not None
    name = f"{run[0].row.name}-{last_number[0]}"
    return _summed(run, name, sum(tree.row.num_folded for tree in run))


def _summed(run: Sequence[_Tree], name: str, num_folded: int) -> _Tree:
    """Return the sums of equal trees; what a layer sees is that of the last."""
    last = run[-1]
    sums = {figure: sum(getattr(tree.row, figure) for tree in run) for figure in _SUMS}
    children = [
        _summed(column, f"{name}.{column[-1].last_name()}", column[-1].row.num_folded)
        for column in zip(*(tree.children for tree in run), strict=True)
    ]
    row = replace(last.row, name=name, num_folded=num_folded, **sums)
    return _Tree(row, tuple(children))


def _flat(trees: Iterable[_Tree]) -> Iterable[LayerRow]:
    """Yield the rows in preorder."""
    for tree in trees:
        yield tree.row
        yield from _flat(tree.children)
