"""Pictures of results: charts of matplotlib in one style, and grids of images."""

from pathlib import PurePath

from cnnkit.render.result_views import ShownStats
from cnnkit.results import (
    ComparisonResult,
    DatasetStatistics,
    EvalResult,
    LearningRateSearch,
    Result,
    SampleList,
    TrainResult,
)
from cnnkit.results.bench import BenchResult


class PngFile(bytes):
    """The content of a PNG file, which a notebook shows."""

    def _repr_png_(self) -> bytes:
        return self


def picture_of(result: Result) -> bytes | None:
    """Return the picture that belongs to a result as a PNG file; None where there is none."""
    from cnnkit.render.plots import confusion_matrix, curves, overview, throughput, tradeoff
    from cnnkit.render.plots.sample_grid import samples_picture

    match result:
        case DatasetStatistics() if result.channels or result.classes:
            return overview.stats_picture(result)
        case ShownStats():
            return picture_of(result.measured)
        case SampleList() if result.samples:
            return samples_picture(result)
        case ComparisonResult() if result.has_accuracy:
            return tradeoff.draw_comparison(result, ".png")
        case BenchResult() if any(cell.images_per_second for cell in result.cells):
            return throughput.draw_throughput(result, ".png")
        case LearningRateSearch():
            return curves.learning_rate_picture(result)
        case TrainResult():
            title = f"{PurePath(result.model).name} on {PurePath(result.dataset).name}"
            best = result.best_epoch if result.num_val_images else None
            return curves.training_curves(
                title, result.epochs, best, result.best_epoch, result.test
            )
        case EvalResult():
            names = [one.name for one in result.per_class]
            return confusion_matrix.confusion_picture(names, result.confusion)
    return None
