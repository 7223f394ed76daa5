"""Where each data set comes from and under which licence its owners offer it, for what is published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The source of a data set.

    Attributes:
        title: name in words.
        source: who made it, and where it is described.
        url: page of the data; empty where it is made here.
        licence: SPDX identifier as the owners state it; empty where they state none.
    """

    title: str
    source: str
    url: str = ""
    licence: str = ""

    @property
    def licence_text(self) -> str:
        """The licence, or that none is stated."""
        return self.licence or "none stated by its owners"


_MNIST = Origin(
    "MNIST",
    "LeCun, Cortes and Burges, from NIST's special databases 1 and 3",
    "http://yann.lecun.com/exdb/mnist/",
    "CC-BY-SA-3.0",
)
_SIGNS = Origin(
    "Drawn traffic signs",
    "drawn by salver from the icons of the npm package mapillary_sprite_source 1.8.0",
    "https://www.npmjs.com/package/mapillary_sprite_source",
    "MIT",
)
_GTSRB = Origin(
    "GTSRB",
    "Stallkamp, Schlipsing, Salmen and Igel, Man vs. computer, Neural Networks 32 (2012)",
    "https://benchmark.ini.rub.de/gtsrb_dataset.html",
)
ORIGINS: dict[str, Origin] = {
    "bandit": Origin(
        "Bandit",
        "synthetic, after Le, Gurfinkel, Si and Geng (ACML 2024); drawn by salver",
        "",
        "BSD-3-Clause",
    ),
    "digits": Origin(
        "Optical Recognition of Handwritten Digits",
        "Alpaydin and Kaynak, UCI Machine Learning Repository (1998), as shipped with scikit-learn",
        "https://doi.org/10.24432/C50P49",
        "CC-BY-4.0",
    ),
    "breast_cancer": Origin(
        "Breast Cancer Wisconsin (Diagnostic)",
        "Wolberg, Mangasarian, Street and Street, UCI Machine Learning Repository (1995), as shipped with "
        "scikit-learn",
        "https://doi.org/10.24432/C5DW2B",
        "CC-BY-4.0",
    ),
    "mnist": _MNIST,
    "mnist_5k": _MNIST,
    "mnist_fc": Origin(
        "MNIST, boxes of mnist_fc",
        "the benchmark mnist_fc of VNN-COMP 2022 (Henriksen and Lomuscio) on " + _MNIST.source,
        "https://github.com/ChristopherBrix/vnncomp2022_benchmarks",
        _MNIST.licence,
    ),
    "fashion_mnist": Origin(
        "Fashion-MNIST",
        "Xiao, Rasul and Vollgraf, Zalando Research (2017)",
        "https://github.com/zalandoresearch/fashion-mnist",
        "MIT",
    ),
    "adult": Origin(
        "Adult",
        "Becker and Kohavi, UCI Machine Learning Repository (1996)",
        "https://doi.org/10.24432/C5XW20",
        "CC-BY-4.0",
    ),
    "compas": Origin(
        "COMPAS",
        "Larson, Mattu, Kirchner and Angwin, ProPublica (2016)",
        "https://github.com/propublica/compas-analysis",
    ),
    "signs-synthetic": _SIGNS,
    "signs-synthetic-24": _SIGNS,
    "gtsrb48": _GTSRB,
    "gtsrb48-equalized": _GTSRB,
}


def origin_of(dataset: str) -> Origin:
    """The source of a data set by the name an instance's facts give it; one of your own has no stated one."""
    return ORIGINS.get(dataset, Origin(dataset, "not one of salver's data sets"))
