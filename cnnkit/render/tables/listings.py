"""What there is as tables: networks, datasets and recipes."""

from cnnkit.render.format import counted
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.listings import DatasetList, ModelList, RecipeList


@build_tables.register
def model_tables(listed: ModelList) -> tuple[Table, ...]:
    """Return one row per network."""
    columns = (
        Column("name", "name", "name"),
        Column("family", "family", rank=5),
        Column("year", "year", "name"),
        Column("input", "input", "name"),
        Column("min_size", "smallest", "integer", rank=4),
        Column("num_params", "parameters", "count"),
        Column("macs", "MACs", "count", rank=1),
        Column("top1", "top-1", "fraction", rank=2),
        Column("top1_dataset", "on", "name", rank=6),
        Column("salient", "salient", rank=3),
    )
    rows = tuple((*row[:2], str(row[2]), *row[3:]) for row in listed.records().rows)
    return (Table("models", "", columns, rows, (counted(len(rows), "network"),)),)


@build_tables.register
def dataset_tables(listed: DatasetList) -> tuple[Table, ...]:
    """Return one row per dataset."""
    columns = (
        Column("name", "name", "name"),
        Column("task", "what", rank=2),
        Column("size", "image", "name"),
        Column("num_classes", "classes", "integer"),
        Column("train", "train", "integer"),
        Column("val", "val", "integer", rank=1),
        Column("test", "test", "integer"),
        Column("obtain", "obtained", "name"),
        Column("requires", "asks for", rank=4),
    )
    rows = listed.records().rows
    return (Table("datasets", "", columns, rows, (counted(len(rows), "dataset"),)),)


@build_tables.register
def recipe_tables(listed: RecipeList) -> tuple[Table, ...]:
    """Return one row per recipe; the machines are below, for a column has no room."""
    columns = (
        Column("name", "name", "name"),
        Column("model", "network", "name", rank=1),
        Column("dataset", "dataset", "name", rank=2),
        Column("what", "what for", rank=3),
        Column("epochs", "epochs", "integer"),
        Column("accuracy", "reached", "fraction"),
        Column("deviation", "std", "fraction"),
        Column("n", "n", "integer"),
        Column("seconds", "time", "seconds"),
    )
    rows = tuple(
        tuple("unknown" if value is None else value for value in row[: len(columns)])
        for row in listed.records().rows
    )
    reached = "reached: accuracy on the test set, mean of n runs with different seeds"
    return (Table("recipes", "", columns, rows, (reached, *_time_notes(listed))),)


def _time_notes(listed: RecipeList) -> tuple[str, ...]:
    """Return on which machine each time was measured; nothing where there is no time."""
    names: dict[str, list[str]] = {}
    for one in listed.recipes:
        if one.seconds is not None:
            names.setdefault(one.machine or "an unknown machine", []).append(one.name)
    what = "time: of a full run, median"
    if len(names) > 1:
        return tuple(f"{what}, of {', '.join(of)}: on {on}" for on, of in names.items())
    return tuple(f"{what}, on {on}" for on in names)
