"""Data sets: those with pinned contents by name, never silently another one, and one's own data by path."""

from salver.zoo.datasets.catalogue import NAMES, fetch, fingerprint, load
from salver.zoo.datasets.own.opening import open_dataset, open_point
from salver.zoo.datasets.own.options import DataOptions, DataSource
from salver.zoo.datasets.places import cache_dir, locate_user_data
from salver.zoo.datasets.ranges import Clip, bounds
from salver.zoo.datasets.record import Dataset

__all__ = [
    "NAMES",
    "Clip",
    "DataOptions",
    "DataSource",
    "Dataset",
    "bounds",
    "cache_dir",
    "fetch",
    "fingerprint",
    "load",
    "locate_user_data",
    "open_dataset",
    "open_point",
]
