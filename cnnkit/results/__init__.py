"""What the verbs return: frozen dataclasses that need nothing but the standard library."""

from cnnkit.results.base import Records, Result
from cnnkit.results.compare import (
    COMPARE_SORT_KEYS,
    ComparedModel,
    ComparisonResult,
    Difference,
    PrintedFigure,
)
from cnnkit.results.conv import ConvResult
from cnnkit.results.doctor import DoctorReport, Finding
from cnnkit.results.eval import ClassMetrics, EvalResult, Metrics
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.listings import (
    DatasetList,
    DatasetRow,
    ModelList,
    ModelRow,
    RecipeList,
    RecipeRow,
)
from cnnkit.results.show import Sample, SampleList
from cnnkit.results.stats import (
    BadFile,
    ChannelFigures,
    ClassFigures,
    Comparison,
    DatasetStatistics,
    PublishedFigures,
    Quartiles,
    SizeFigures,
)
from cnnkit.results.summary import SecondOpinion, SummaryResult, Totals, Uncounted
from cnnkit.results.train import (
    EpochMetrics,
    LearningRatePoint,
    LearningRateSearch,
    TrainResult,
)

__all__ = [
    "COMPARE_SORT_KEYS",
    "BadFile",
    "ChannelFigures",
    "ClassFigures",
    "ClassMetrics",
    "ComparedModel",
    "Comparison",
    "ComparisonResult",
    "ConvResult",
    "DatasetList",
    "DatasetRow",
    "DatasetStatistics",
    "Difference",
    "DoctorReport",
    "EpochMetrics",
    "EvalResult",
    "Finding",
    "LayerRow",
    "LearningRatePoint",
    "LearningRateSearch",
    "Metrics",
    "ModelList",
    "ModelRow",
    "PrintedFigure",
    "PublishedFigures",
    "Quartiles",
    "RecipeList",
    "RecipeRow",
    "Records",
    "Result",
    "Sample",
    "SampleList",
    "SecondOpinion",
    "SizeFigures",
    "SummaryResult",
    "Totals",
    "TrainResult",
    "Uncounted",
]
