"""Data sets with pinned contents: the named set or a clear error, never a silent substitute."""

from salver.datasets.catalogue import NAMES, fetch, fingerprint, load
from salver.datasets.places import cache_dir, locate_user_data
from salver.datasets.record import Dataset

__all__ = ["NAMES", "Dataset", "cache_dir", "fetch", "fingerprint", "load", "locate_user_data"]
