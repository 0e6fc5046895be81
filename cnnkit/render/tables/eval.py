"""An evaluation as tables: the classes, and the confusion matrix."""

from cnnkit.render.format import counted, format_interval, format_percent, format_rate, format_value
from cnnkit.render.tabular import Column, Table, build_tables
from cnnkit.results.eval import EvalResult, Metrics

TTA_NOTES = {
    "mirror": "logits: mean over each image and its mirror image",
    "shift": "logits: mean over each image, its mirror image, and both shifted by a pixel",
}
MAX_CONFUSION_CLASSES = 10  # a wider matrix no longer fits 80 columns
NUM_CONFUSED_PAIRS = 10


@build_tables.register
def eval_tables(result: EvalResult) -> tuple[Table, ...]:
    """Return the classes, and the confusion matrix or its largest entries."""
    images = "all" if result.split == "all" else f"the {result.split}"
    columns = (
        Column("name", "class", "name"),
        Column("num_images", "images", "integer"),
        Column("precision", "precision", "fraction"),
        Column("recall", "recall", "fraction"),
        Column("f1", "F1", "fraction"),
    )
    title = f"{result.model} on {images} images of {result.dataset}"
    per_class = Table("per_class", title, columns, result.records().rows, _notes(result))
    return per_class, _confusion_table(result)


def metric_notes(metrics: Metrics) -> tuple[str, ...]:
    """Return loss and accuracy in lines for people."""
    interval = format_interval((100 * metrics.accuracy_low, 100 * metrics.accuracy_high))
    images = counted(metrics.num_images, "image")
    if metrics.top5_accuracy is not None:
        images += f", top-5 accuracy {format_percent(metrics.top5_accuracy)}"
    return (
        f"accuracy {format_percent(metrics.accuracy)} (95 % CI {interval}), "
        f"loss {format_value('loss', metrics.loss)}",
        images,
    )


def treatment_notes(tta: str, num_skipped: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what test-time augmentation did, and how many images were left out, if any."""
    treated = (TTA_NOTES[tta],) if tta in TTA_NOTES else ()
    return treated, ((f"broken images left out: {num_skipped}",) if num_skipped else ())


def _notes(result: EvalResult) -> tuple[str, ...]:
    treated, skipped = treatment_notes(result.tta, result.num_skipped)
    return (
        *metric_notes(result.metrics),
        *treated,
        f"{result.checkpoint} weights, after epoch {result.epoch}",
        f"{format_rate(result.images_per_second)} images/s on {result.device}",
        *skipped,
    )


def _confusion_table(result: EvalResult) -> Table:
    names = [c.name for c in result.per_class]
    if len(names) <= MAX_CONFUSION_CLASSES and sum(len(n) + 2 for n in names) <= 64:
        return Table(
            "confusion",
            "true class by row, predicted class by column",
            (Column("class", "", "name"), *(Column(name, name, "integer") for name in names)),
            tuple((name, *row) for name, row in zip(names, result.confusion, strict=True)),
        )
    pairs = sorted(
        (
            (-count, true, predicted)
            for true, row in enumerate(result.confusion)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ),
    )[:NUM_CONFUSED_PAIRS]
    return Table(
        "confusion",
        "most frequent confusions",
        (
            Column("true_class", "true class", "name"),
            Column("predicted_class", "predicted class", "name"),
            Column("num_images", "images", "integer"),
        ),
        tuple((names[true], names[predicted], -count) for count, true, predicted in pairs),
        ("the full matrix is in the JSON",),
    )
