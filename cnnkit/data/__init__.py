"""Where images come from."""

from cnnkit.data.datasets import DATASETS
from cnnkit.data.entry import DatasetEntry
from cnnkit.data.opening import (
    allow_large_files,
    as_data_dir,
    check_split,
    default_data_dir,
    find_dataset,
    lasting_name,
    open_dataset,
    open_images,
    open_labelled,
    split_names,
    split_subset,
)

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "allow_large_files",
    "as_data_dir",
    "check_split",
    "default_data_dir",
    "find_dataset",
    "lasting_name",
    "open_dataset",
    "open_images",
    "open_labelled",
    "split_names",
    "split_subset",
]
