"""Data sets with pinned contents: the named set or a clear error, never a silent substitute."""

from salver.zoo.datasets.catalogue import NAMES, fetch, fingerprint, load
from salver.zoo.datasets.places import cache_dir, locate_user_data
from salver.zoo.datasets.record import Dataset

__all__ = ["NAMES", "Dataset", "cache_dir", "fetch", "fingerprint", "load", "locate_user_data"]
