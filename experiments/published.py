"""Published figures that ours are put beside: Le et al., "Towards Robust Saliency Maps" (ACML 2024), and
Gu et al., "Certified Interpretability Robustness for Class Activation Mapping" (CORGI, 2020)."""

from __future__ import annotations

from salver.spec.truth import Truth

SOURCE = "Le et al., ACML 2024"

TABLE_1: dict[float, Truth] = {
    0.5: Truth.UNSAT,
    0.75: Truth.UNSAT,
    1.0: Truth.UNSAT,
    1.25: Truth.SAT,
    1.5: Truth.SAT,
}
"""Table 1, BanditNet at [1, 1, 0, 1, 1]: delta -> verdict. Unsat took 0.8 to 1.3 s, sat 2.2 s and 0.8 s."""

TABLE_1_BRACKET: dict[float, Truth] = {1.16: Truth.UNSAT, 1.17: Truth.SAT}
"""Not in the paper: enumeration of the net's 94 activation regions puts the turning point at 1.1665."""

TABLE_2_SOLVED: dict[float, int] = {1e-4: 4, 5e-4: 2, 1e-3: 3}
"""Table 2, mnist-net_256x2: delta -> regions proved out of ten, with up to 30 cores and 600 s each."""
TABLE_2_REGIONS = 10

CORGI_SOURCE = "Gu et al., 2020"
CORGI_MEDIANS: dict[int, tuple[float, float]] = {12: (3.24e-4, 1.65e-3), 17: (1.51e-4, 9.3e-4)}
"""Class -> medians over 100 images of the certified and of the attack radius, k = 15, 24x24 map."""
