"""What the verbs return: frozen dataclasses that need nothing but the standard library."""

from cnnkit.results.base import Result
from cnnkit.results.catalogues import DatasetList, DatasetRow, ModelList, ModelRow
from cnnkit.results.convolution import ConvResult
from cnnkit.results.doctor import DoctorReport, Finding
from cnnkit.results.evaluation import ClassMetrics, EvalResult, Metrics
from cnnkit.results.table import Column, Kind, Table, format_value
from cnnkit.results.training import EpochMetrics, TrainResult

__all__ = [
    "ClassMetrics",
    "Column",
    "ConvResult",
    "DatasetList",
    "DatasetRow",
    "DoctorReport",
    "EpochMetrics",
    "EvalResult",
    "Finding",
    "Kind",
    "Metrics",
    "ModelList",
    "ModelRow",
    "Result",
    "Table",
    "TrainResult",
    "format_value",
]
