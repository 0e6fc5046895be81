"""Results of the verbs: frozen dataclasses that need only the standard library."""

from cnnkit.results.base import Records, Result
from cnnkit.results.compare import (
    COMPARE_SORT_KEYS,
    ComparedModel,
    ComparisonResult,
    Difference,
    PrintedCount,
)
from cnnkit.results.conv import ConvResult
from cnnkit.results.doctor import DoctorReport, Finding
from cnnkit.results.eval import ClassMetrics, EvalResult, Metrics
from cnnkit.results.listings import (
    DatasetList,
    DatasetRow,
    ModelList,
    ModelRow,
    RecipeList,
    RecipeRow,
)
from cnnkit.results.show import SampleList
from cnnkit.results.stats import DatasetStatistics
from cnnkit.results.summary import SummaryResult, Totals
from cnnkit.results.train import EpochMetrics, LearningRatePoint, LearningRateSearch, TrainResult

__all__ = [
    "COMPARE_SORT_KEYS", "ClassMetrics", "ComparedModel", "ComparisonResult", "ConvResult",
    "DatasetList", "DatasetRow", "DatasetStatistics", "Difference", "DoctorReport", "EpochMetrics",
    "EvalResult", "Finding", "LearningRatePoint", "LearningRateSearch", "Metrics", "ModelList",
    "ModelRow", "PrintedCount", "RecipeList", "RecipeRow", "Records", "Result", "SampleList",
    "SummaryResult", "Totals", "TrainResult",
]  # fmt: skip
