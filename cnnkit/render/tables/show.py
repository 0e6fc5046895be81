"""Images of a dataset as a table, and what is said of them beside it or their pictures."""

from cnnkit.render.format import format_percent
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.show import Normalization, SampleList

_COLUMNS = (
    Column("index", "index", "integer"),
    Column("label", "class", "name"),
    Column("size", "size", "name"),
    Column("mode", "mode", "name"),
    Column("path", "file"),
    Column("reason", "broken"),
)


@build_tables.register
def show_tables(result: SampleList) -> tuple[Table, ...]:
    """Return one row per image."""
    records = result.records()
    columns = tuple(column for column in _COLUMNS if column.key in records.columns)
    return (Table("samples", "", columns, records.rows, sample_notes(result)),)


def sample_notes(result: SampleList) -> tuple[str, ...]:
    """Return what the images are, and how they were treated, in lines for people."""
    part = f"{result.split} images" if result.split != "all" else "images"
    number = len(result.samples)
    text = f"{number:,} of the {result.num_images:,} {part} of {result.dataset}"
    if result.num_candidates != result.num_images:
        text = f"{number:,} of {result.num_candidates:,} in {result.num_images:,} {part} of "
        text += result.dataset
    if result.seed is not None:
        text += f", chosen by seed {result.seed}"
    treated = (f"brought to {result.input}, as a network gets them",) if result.input else ()
    normalized = _normalization_notes(result.normalization) if result.normalization else ()
    augmented = result.augmentation
    changed = (f"augmented, differently in each epoch: {augmented}",) if augmented else ()
    return text, *treated, *normalized, *changed


def _normalization_notes(one: Normalization) -> tuple[str, ...]:
    """Return what was done, and why the outcome looks as it does."""
    mean, std = (" ".join(f"{x:.4f}" for x in values) for values in (one.mean, one.std))
    return (
        f"normalized with mean {mean}, std {std} ({one.source}): from {one.min:.2f} to "
        f"{one.max:.2f}",
        "a picture can only show values from 0 to 1, so a normalized image that is shown is "
        f"clipped: here {format_percent(one.below, 1)} of the values are below 0 and become black, "
        f"{format_percent(one.above, 1)} are above 1 and become white; the network loses nothing, "
        "as the image stretched over its own range shows",
    )
