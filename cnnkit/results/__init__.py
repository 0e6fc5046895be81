"""What the verbs return: frozen dataclasses that need nothing but the standard library."""

from cnnkit.results.base import Result
from cnnkit.results.catalogues import DatasetList, DatasetRow, ModelList, ModelRow
from cnnkit.results.comparison import (
    COMPARE_SORT_KEYS,
    ComparedModel,
    ComparisonResult,
    Difference,
)
from cnnkit.results.convolution import ConvResult
from cnnkit.results.doctor import DoctorReport, Finding
from cnnkit.results.evaluation import ClassMetrics, EvalResult, Metrics
from cnnkit.results.layer_tree import LayerRow
from cnnkit.results.learning_rate import LearningRatePoint, LearningRateSearch
from cnnkit.results.printed_figure import PrintedFigure
from cnnkit.results.recipes import RecipeList, RecipeRow
from cnnkit.results.samples import Sample, SampleList
from cnnkit.results.statistics import (
    BadFile,
    ChannelFigures,
    ClassFigures,
    Comparison,
    DatasetStatistics,
    PublishedFigures,
    Quartiles,
    SizeFigures,
)
from cnnkit.results.summary import (
    SecondOpinion,
    SummaryResult,
    Totals,
    Uncounted,
)
from cnnkit.results.summary_tables import SummaryView
from cnnkit.results.table import ABSENT, Column, Kind, Table, format_value
from cnnkit.results.training import EpochMetrics, TrainResult

__all__ = [
    "ABSENT",
    "COMPARE_SORT_KEYS",
    "BadFile",
    "ChannelFigures",
    "ClassFigures",
    "ClassMetrics",
    "Column",
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
    "Kind",
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
    "Result",
    "Sample",
    "SampleList",
    "SecondOpinion",
    "SizeFigures",
    "SummaryResult",
    "SummaryView",
    "Table",
    "Totals",
    "TrainResult",
    "Uncounted",
    "format_value",
]
