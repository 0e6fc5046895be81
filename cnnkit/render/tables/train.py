"""A training, and the search for its learning rate, as tables."""

from pathlib import PurePath

from cnnkit.errors import setting
from cnnkit.render.format import Kind, format_count, format_seconds, format_value
from cnnkit.render.tables.eval import metric_notes, treatment_notes
from cnnkit.render.tabular import Column, Table, attribute_rows, build_tables
from cnnkit.results.train import LearningRateSearch, TrainResult

MAX_SHOWN_STEPS = 20  # about so many of a search

_EPOCH_COLUMNS: dict[str, tuple[str, Kind, int]] = {
    "epoch": ("epoch", "integer", 0),
    "train_loss": ("train loss", "loss", 0),
    "train_accuracy": ("train acc", "fraction", 0),
    "val_loss": ("val loss", "loss", 0),
    "val_accuracy": ("val acc", "fraction", 0),
    "test_loss": ("test loss", "loss", 0),
    "test_accuracy": ("test acc", "fraction", 0),
    "learning_rate": ("lr", "learning_rate", 2),
    "seconds": ("time", "seconds", 1),
    "images_per_second": ("images/s", "rate", 0),
}


@build_tables.register
def train_tables(result: TrainResult) -> tuple[Table, ...]:
    """Return the epochs as one table, the test metrics below it."""
    records = result.records()
    columns = tuple(Column(name, *_EPOCH_COLUMNS[name]) for name in records.columns)
    title = f"{result.model} on {result.dataset}"
    return (Table("epochs", title, columns, records.rows, _notes(result)),)


def _notes(result: TrainResult) -> tuple[str, ...]:
    chosen = (
        f"epoch {result.best_epoch}, best on the {result.num_val_images:,} validation images"
        if result.num_val_images
        else f"epoch {result.best_epoch}, the last; there was no validation set to choose by"
    )
    test = metric_notes(result.test) if result.test else ("there is none",)
    treated, skipped = treatment_notes(result.tta, result.num_skipped)
    return (
        f"test: {test[0]}",
        *test[1:],
        *treated,
        f"weights: {chosen}",
        *skipped,
        f"{format_count(result.num_params)} parameters, "
        f"{format_seconds(result.seconds)} on {result.device}",
        f"run: {result.run}",
    )


@build_tables.register
def search_tables(search: LearningRateSearch) -> tuple[Table, ...]:
    """Return some of the steps, and what follows from them."""
    every = max(1, round(len(search.points) / MAX_SHOWN_STEPS))
    last = search.points[-1].step
    shown = [one for one in search.points if one.step % every == 0 or one.step == last]
    columns = (
        Column("step", "step", "integer"),
        Column("learning_rate", "lr", "learning_rate"),
        Column("loss", "loss", "loss"),
        Column("smoothed_loss", "smoothed", "loss"),
    )
    rows = attribute_rows(shown, columns)
    return (Table("points", search_title(search), columns, rows, _search_notes(search)),)


def search_title(search: LearningRateSearch) -> str:
    """Return what was searched for, as a heading."""
    return (
        f"learning rates of {PurePath(search.model).name} on {PurePath(search.dataset).name}: "
        f"{search.optimizer}, batch {search.batch_size}"
    )


def _search_notes(search: LearningRateSearch) -> tuple[str, ...]:
    def rate(value: float) -> str:
        return format_value("learning_rate", value)

    ended = (
        f"no divergence up to {rate(search.points[-1].learning_rate)}"
        if search.diverged_at is None
        else f"diverged at {rate(search.diverged_at)}"
    )
    found = "no suggestion: the loss did not fall; look at the network and its input"
    if search.suggestion is not None:
        found = (
            f"suggestion: {setting('lr')} {rate(search.suggestion)}, where the smoothed loss falls "
            "most steeply"
        )
    return (
        found,
        f"lowest at {rate(search.lowest_at)}; a tenth of it, {rate(search.lowest_at / 10)}, is the "
        "other rule in use",
        f"{ended}; the recipe has {rate(search.recipe_lr)}",
        "range test of Smith 2017, section 3.3; both rules as in fastai",
    )
