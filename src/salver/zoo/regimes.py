"""Training regimes: what is minimised beside (or instead of) cross-entropy, as records.

All share initial weights, row order, optimiser and schedule of the network's record, so that two
networks of one seed differ by their regime alone. Weight decay is no regime: it is the schedule's.
Their losses are in `zoo.objectives`, which needs torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from salver.core.records import Record


class Plain(Record):
    """Cross-entropy of the ReLU network."""

    kind: Literal["plain"] = "plain"


class Softplus(Record):
    """Cross-entropy of the network with softplus(beta) for ReLU; ReLU is put back after training.

    Dombrowski et al., "Explanations can be manipulated and geometry is to blame" (NeurIPS 2019).
    """

    kind: Literal["softplus"] = "softplus"
    beta: float = Field(default=10.0, gt=0)


class Guided(Record):
    """Saliency-guided training (Ismail, Corrada Bravo, Feizi, NeurIPS 2021; Karkehabadi 2023).

    The `share` of features with the lowest signed gradient of the true class is replaced by uniform
    noise within each feature's range; loss = CE(f(x)) + weight * KL(f(x) || f(x~)).
    """

    kind: Literal["guided"] = "guided"
    share: float = Field(default=0.5, gt=0, lt=1)
    weight: float = Field(default=1.0, ge=0)


class R2et(Record):
    """Ranking training (Chen et al., "Provable Robust Saliency-based Explanations", NeurIPS 2024).

    With S_(r) the r-th largest |dz_label/dx|, loss = CE
    + weight * (sum_{i<k} (S_(k) - S_(i)) + sum_{1<=i<=k} (S_(k+i) - S_(k)))
    + curvature * |(grad l(x + h sign grad l) - grad l(x)) / h|_2, through a softplus(beta) network.
    Pairs (k, k + i) end with the last feature: 15 features and k = 8 leave i = 1 ... 7.
    """

    kind: Literal["r2et"] = "r2et"
    k: int = Field(default=8, gt=0)
    weight: float = Field(default=0.01, ge=0)
    curvature: float = Field(default=0.01, ge=0)
    h: float = Field(default=1e-3, gt=0)
    beta: float = Field(default=10.0, gt=0)


class Adversarial(Record):
    """Cross-entropy at PGD points instead of the rows themselves (Madry et al., 2018)."""

    kind: Literal["adversarial"] = "adversarial"
    epsilon: float = Field(default=0.05, gt=0)
    steps: int = Field(default=7, gt=0)


Regime = Annotated[Plain | Softplus | Guided | R2et | Adversarial, Field(discriminator="kind")]
