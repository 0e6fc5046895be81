"""cnnkit: datasets, architectures and training of convolutional networks in PyTorch.

The verbs are functions of this package, imported when they are first used:

    import cnnkit
    result = cnnkit.train("lenet5", "digits")
    cnnkit.evaluate(result.run)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.architecture.compare import compare
    from cnnkit.architecture.conv import conv
    from cnnkit.architecture.summarize import summary
    from cnnkit.bench.measure_speed import benchmark
    from cnnkit.data import open_dataset
    from cnnkit.evaluation import evaluate
    from cnnkit.models import build_model
    from cnnkit.runs.load import load
    from cnnkit.runs.recipe import Recipe
    from cnnkit.runs.recipe_files import find_recipe
    from cnnkit.stats import measure_dataset
    from cnnkit.stats.show.samples import show_dataset
    from cnnkit.training.lr_finder import find_learning_rate
    from cnnkit.training.resume import resume
    from cnnkit.training.train import train

__version__ = "0.1.0"

_HOMES = {
    "Recipe": "cnnkit.runs.recipe",
    "benchmark": "cnnkit.bench.measure_speed",
    "build_model": "cnnkit.models",
    "compare": "cnnkit.architecture.compare",
    "conv": "cnnkit.architecture.conv",
    "evaluate": "cnnkit.evaluation",
    "find_learning_rate": "cnnkit.training.lr_finder",
    "find_recipe": "cnnkit.runs.recipe_files",
    "load": "cnnkit.runs.load",
    "measure_dataset": "cnnkit.stats",
    "open_dataset": "cnnkit.data",
    "resume": "cnnkit.training.resume",
    "show_dataset": "cnnkit.stats.show.samples",
    "summary": "cnnkit.architecture.summarize",
    "train": "cnnkit.training.train",
}

__all__ = [
    "Recipe",
    "__version__",
    "benchmark",
    "build_model",
    "compare",
    "conv",
    "evaluate",
    "find_learning_rate",
    "find_recipe",
    "load",
    "measure_dataset",
    "open_dataset",
    "resume",
    "show_dataset",
    "summary",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cnnkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
