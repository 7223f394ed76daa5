"""cam_topk: the k most activated pixels of a class activation map stay the same (Gu et al., CORGI, 2020).

An instance asks for a point of the box with xhat's label at which some pixel outside the top-k set of
CAM(xhat) is at or above some pixel inside. Points with tied ranks k and k + 1 are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.datasets import load
from salver.errors import SalverError
from salver.generator import Generator, InstanceDraft, Parameters
from salver.model import Facts
from salver.nets.evaluate import evaluate
from salver.nets.torch_bridge import from_torch
from salver.saliency.cam import cam_graph
from salver.saliency.conditions import UndefinedConditionError, class_is, top_k
from salver.spec import Atom, Property, float32_down, float32_up


class CamTopkParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key of a network with global average pooling")
    points: int = Field(default=10, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box")
    k: int = Field(default=15, gt=0, description="size of the top-k set")
    same_label: bool = Field(default=True, description="the label of xhat must be kept")


class CamTopk(Generator):
    name = "cam_topk"
    title = "the top pixels of the class activation map stay the same"
    parameters = CamTopkParameters

    def instances(self, params: CamTopkParameters, seed: int) -> Iterator[InstanceDraft]:
        from salver.nets.zoo import ZOO, trained

        if params.network not in ZOO:
            raise SalverError("no network of that name", f"cam_topk: {params.network}", "use digits-gap")
        if any(not (np.isfinite(e) and e > 0) for e in params.epsilons):
            raise SalverError("an epsilon is not positive", "cam_topk", "give positive epsilons")
        spec = ZOO[params.network]
        data = load(spec.dataset, params.data_dir)
        net = from_torch(trained(spec, seed, params.data_dir), data.test_x.shape[1])
        wins = np.argmax(evaluate(net, data.test_x.astype(np.float64)), axis=1)
        order = np.random.default_rng([seed, 17]).permutation(len(data.test_x))
        used = 0
        for index in [int(i) for i in order if wins[i] == data.test_y[i]][params.skip :]:
            label, x = int(data.test_y[index]), data.test_x[index].astype(np.float64)
            graph, m = cam_graph(net, label), net.output_size
            try:
                inside = top_k(evaluate(graph, x)[0, m:], params.k)
            except UndefinedConditionError:
                continue
            outside = np.setdiff1d(np.arange(graph.output_size - m), inside)
            moved = tuple((Atom(m + int(j), ">=", other=m + int(i)),) for i in inside for j in outside)
            clauses = (moved, *(class_is(label, m) if params.same_label else ()))
            for epsilon in params.epsilons:
                lower = np.maximum(float32_down(x - epsilon), data.clip[0])
                upper = np.minimum(float32_up(x + epsilon), data.clip[1])
                facts = Facts(
                    family="cam_topk", network=params.network, dataset=data.name, index=index, label=label,
                    gradient_of=f"CAM_{label}", condition=f"top-{params.k} set of CAM changes",
                    targets=(label,), epsilon=epsilon, clip=data.clip, input_shape=data.input_shape,
                    logits=m, saliencies=graph.output_size - m,
                    tie_rule="a tie CAM_j = CAM_i counts as a violation",
                    options={"map": "cam", "k": params.k, "same_label": params.same_label},
                )  # fmt: skip
                stem = f"{params.network}-cam{label}"
                kept = "" if params.same_label else "-any"
                name = f"{stem}-i{index}-e{epsilon:g}-top{params.k}{kept}"
                prop = Property(lower, upper, clauses, graph.output_size)
                yield InstanceDraft(name, net, params.network, graph, stem, prop, facts)
            used += 1
            if used == params.points:
                return
        if used == 0:
            raise SalverError("no test point has a defined top-k set", "cam_topk", "choose another k")
