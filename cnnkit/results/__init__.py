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
from cnnkit.results.printed_figure import PrintedFigure
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
    "ClassMetrics",
    "Column",
    "ComparedModel",
    "ComparisonResult",
    "ConvResult",
    "DatasetList",
    "DatasetRow",
    "Difference",
    "DoctorReport",
    "EpochMetrics",
    "EvalResult",
    "Finding",
    "Kind",
    "LayerRow",
    "Metrics",
    "ModelList",
    "ModelRow",
    "PrintedFigure",
    "Result",
    "SecondOpinion",
    "SummaryResult",
    "SummaryView",
    "Table",
    "Totals",
    "TrainResult",
    "Uncounted",
    "format_value",
]
