"""What the verbs return: frozen dataclasses that need nothing but the standard library."""

from cnnkit.results.base import Result
from cnnkit.results.catalogues import DatasetList, DatasetRow, ModelList, ModelRow
from cnnkit.results.doctor import DoctorReport, Finding
from cnnkit.results.evaluation import ClassMetrics, EvalResult, Metrics
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
from cnnkit.results.table import Column, Kind, Table, format_value
from cnnkit.results.training import EpochMetrics, TrainResult

__all__ = [
    "BadFile",
    "ChannelFigures",
    "ClassFigures",
    "ClassMetrics",
    "Column",
    "Comparison",
    "DatasetList",
    "DatasetRow",
    "DatasetStatistics",
    "DoctorReport",
    "EpochMetrics",
    "EvalResult",
    "Finding",
    "Kind",
    "Metrics",
    "ModelList",
    "ModelRow",
    "PublishedFigures",
    "Quartiles",
    "Result",
    "Sample",
    "SampleList",
    "SizeFigures",
    "Table",
    "TrainResult",
    "format_value",
]
