"""A small suite of every family."""

from __future__ import annotations

from salver.families.suite import Suite

SMALL = {
    "vg_box": [
        {"network": "bandit-6x6", "points": 2, "epsilons": [0.5], "delta_factors": [0.5, 1.1]},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "condition": "signs"},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "condition": "top-k", "k": 2},
        {"network": "bandit-6x6", "points": 1, "epsilons": [0.5], "gradient": "difference", "deltas": [1.0]},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.2], "label": "predicted", "deltas": [1.0]},
        {
            "network": "digits-16x16", "points": 1, "epsilons": [0.2], "label": "predicted",
            "gradient": "difference", "targets": "runner-up", "deltas": [1.0],
        },
    ],
    "cam_topk": [
        {"network": "digits-gap", "points": 1, "epsilons": [0.002], "k": 5},
        {"network": "digits-gap", "points": 1, "epsilons": [0.002], "k": 3, "within": 5},
        {"network": "digits-conv-dense", "points": 1, "epsilons": [0.002], "k": 2, "map": "grad-cam"},
        {
            "network": "digits-gap", "points": 1, "epsilons": [0.002], "k": 2, "map": "layercam",
            "layer": 1,
        },
    ],
    "saliency": [
        {
            "network": "digits-gap", "points": 1, "epsilons": [0.01], "map": {"method": "cam"},
            "question": {"kind": "same-map", "delta": 0.5},
        },
        {
            "network": "digits-conv-dense", "points": 1, "epsilons": [0.01],
            "map": {"method": "grad-cam", "absolute": True},
            "question": {"kind": "entry-moves", "delta": 0.1},
        },
        {
            "network": "bandit-6x6", "points": 1, "epsilon_factors": [1.1],
            "question": {"kind": "sign-changes", "entry": 1},
            "map": {"method": "smoothgrad", "noise": {"draws": 2, "sigma": 0.1}},
        },
        {
            "network": "bandit-6x6", "points": 1, "epsilon_factors": [1.1], "most": 1.0,
            "maps": [{"method": "gradient"}, {"method": "gradient", "absolute": True}],
            "questions": [{"kind": "entry-moves", "delta": 1.0}, {"kind": "top-k-changes", "k": 2}],
        },
    ],
    "topk_rank": [
        {"network": "bandit-6x6", "points": 2, "k": 1, "epsilons": [0.2], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "k": 5, "epsilon_factors": [0.9, 1.1]},
        {
            "network": "digits-16x16", "points": 1, "k": 5, "stay": 3, "gradient": "difference",
            "epsilon_factors": [1.1],
        },
    ],
    "training_pairs": [
        {
            "network": "digits-16x16", "regimes": ["plain", "wd"], "points": 1, "label_epsilons": [0.1],
            "box_epsilons": [0.1], "deltas": [1.0], "rank_epsilons": [0.01],
        },
    ],
    "smoothgrad_topk": [
        {
            "network": "bandit-6x6", "points": 1, "draws": 2, "k": 3, "epsilon_factors": [0.5, 1.1],
            "enumerate": True,
        },
        {"network": "digits-16x16", "points": 1, "draws": 3, "k": 2, "epsilon_factors": [0.6, 1.1]},
        {"network": "digits-16x16", "points": 1, "draws": 2, "k": 2, "map": "raw", "epsilons": [0.01]},
    ],
    "gradient_width": [
        {
            "network": "bandit-6x6", "points": 2, "epsilons": [0.3],
            "delta_factors": [0.9, 1.3], "enumerate": True,
        },
        {"network": "digits-16x16", "points": 1, "epsilons": [0.05], "deltas": [0.5]},
    ],
    "gradient_sign": [
        {"network": "bandit-6x6", "points": 2, "epsilons": [0.3], "levels": [0.0], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.1], "level_factors": [0.9, 1.5]},
    ],
    "label_robustness": [
        {"network": "bandit-6x6", "points": 2, "epsilon_factors": [0.9, 1.1], "enumerate": True},
        {"network": "digits-16x16", "points": 1, "epsilons": [0.05]},
    ],
    "planted_sat": [
        {"network": "digits-16x16", "points": 1, "epsilon": 0.02, "attack_rounds": 1},
        {"network": "digits-conv", "points": 1, "epsilon": 0.02, "attack_rounds": 1},
        {
            "network": "digits-32x32", "points": 1, "epsilon": 0.004, "attack_rounds": 1,
            "question": "topk_rank",
        },
        {"network": "digits-16x16", "points": 1, "epsilon": 0.02, "attack_rounds": 1, "question": "label"},
    ],
    "planted_unsat": [{"network": "digits-16x16", "points": 1, "epsilon": 0.008, "gates": 2}],
    "lifted": [
        {"benchmark": "acasxu", "factors": [0.01], "map": {"method": "gradient"},
         "question": {"kind": "top-k-changes", "k": 2, "same_label": False}},
        {"benchmark": "rl_benchmarks", "only": ["cartpole/*"], "delta_shares": [0.2],
         "map": {"method": "gradient"}, "question": {"kind": "same-map"}},
    ],
    "vg_paper": [
        {"table": "bandit", "deltas": [1.16, 1.17]},
        {"table": "mnist", "deltas": [1e-4], "regions": ["1_0.05"]},
    ],
}  # fmt: skip


def suite(name: str, params: dict) -> Suite:
    return Suite(key="t", title="t", timeout=5, family=({"generator": name, "params": params},))
