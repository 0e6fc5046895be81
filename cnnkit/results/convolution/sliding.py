"""A kernel that slides over a small matrix, number by number."""

from dataclasses import dataclass

from cnnkit.results.table import Column, Table

NUM_SUMS_SHOWN = 16
TERMINAL_WIDTH = 80

Number = int | float
Matrix = tuple[tuple[Number, ...], ...]


@dataclass(frozen=True)
class WindowSum:
    """How one output comes about.

    Attributes:
        row: of the output, from 0.
        column: of the output, from 0.
        sum: written out, with what it comes to.
    """

    row: int
    column: int
    sum: str


@dataclass(frozen=True)
class Slide:
    """A small matrix, the kernel, and what it became.

    Attributes:
        image: its rows.
        weight: rows of the kernel; None for a pooling.
        output: rows of the output; None where a window of a max pooling holds padding alone,
            which PyTorch calls minus infinity.
        windows: every output written out, row by row; None where that was not asked for.
    """

    image: Matrix
    weight: Matrix | None
    output: tuple[tuple[Number | None, ...], ...]
    windows: tuple[WindowSum, ...] | None

    def matrices(self) -> tuple[Table, ...]:
        """Return output, image and kernel, the answer first."""
        infinite = any(value is None for row in self.output for value in row)
        notes = ("- is a window of padding alone: minus infinity in PyTorch",) if infinite else ()
        tables = [_matrix_table("output", self.output, notes), _matrix_table("image", self.image)]
        if self.weight is not None:
            note = "the kernel is not turned round (cross-correlation), as in PyTorch"
            tables.append(_matrix_table("kernel", self.weight, (note,)))
        return tuple(tables)

    def sums(self) -> tuple[Table, ...]:
        """Return the first outputs written out, where that was asked for."""
        if self.windows is None:
            return ()
        left = len(self.windows) - NUM_SUMS_SHOWN
        notes = (f"{left:,} more are not written out here; the JSON has all",) if left > 0 else ()
        columns = (
            Column("row", "row", "integer"),
            Column("column", "column", "integer"),
            Column("sum", "sum"),
        )
        rows = tuple((one.row, one.column, one.sum) for one in self.windows[:NUM_SUMS_SHOWN])
        return (Table("sums", "each output, counted from 0", columns, rows, notes),)


def _matrix_table(
    name: str, matrix: tuple[tuple[Number | None, ...], ...], notes: tuple[str, ...] = ()
) -> Table:
    """Return a matrix as a table, with the number of each row and column."""
    num_columns = len(matrix[0])
    # Where there is no room, columns are left out from the right.
    columns = (
        Column("row", "", "name"),
        *(Column(str(index), str(index), "number", rank=index) for index in range(num_columns)),
    )
    rows = tuple((str(index), *row) for index, row in enumerate(matrix))
    table = Table(name, f"{name}, {len(matrix)}x{num_columns}", columns, rows)
    cells = [[column.title for column in columns], *table.formatted()]
    width = sum(2 + max(map(len, column)) for column in zip(*cells, strict=True)) - 2
    if width > TERMINAL_WIDTH:
        notes = ("columns at the right are left out where there is no room for them", *notes)
    return Table(name, table.title, columns, rows, notes)
