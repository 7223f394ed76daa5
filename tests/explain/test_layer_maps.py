"""Maps of a layer's activations against Captum and pytorch-grad-cam, in all their forms."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from salver.core.errors import SalverError
from salver.explain import activation_map
from salver.explain.activation_map import WeighedActivations
from salver.explain.cam import Cam
from salver.explain.explanation import Explanation
from salver.explain.grad_cam import GradCam
from salver.explain.hirescam import HiResCam
from salver.explain.layercam import LayerCam
from salver.explain.layers import images, layer_of, number_of
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import EntryMoves
from salver.families.search import Found
from salver.nets.network import Network, evaluate
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Conv, Linear, Mul, Node, Relu, Reshape, Sign
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_bridge import from_torch
from salver.nets.torch_export import read_module
from salver.oracle.enumerate import enumerate_query
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query
from salver.spec.truth import Truth
from tests.builders.image_networks import with_drawn_statistics
from tests.builders.networks import gap_net

Array = np.ndarray


class Residual(nn.Module):
    """Batch normalisation, a maximum, a shortcut, an average and a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.inner = nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1))
        self.joined = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.stem(x)
        return self.head(self.pool(self.joined(self.inner(before) + before)))


def residual(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return with_drawn_statistics(Residual(), seed)


def plain(seed: int = 0) -> nn.Module:
    """Of weights and biases in quarters: at whole inputs many z are 0, and many maxima are ties."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3, 1, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter * 6).round() / 4)
    return module


LAYERS = [
    (residual, "stem.2", "/stem/stem.2/Relu_output_0"),
    (residual, "stem.3", "/stem/stem.3/MaxPool_output_0"),
    (residual, "inner.2", "/inner/inner.2/Relu"),
    (residual, "inner.3", "/inner/inner.3/Conv_output_0"),
    (residual, "joined", None),
    (residual, "pool", "/pool/AveragePool"),
    (plain, "0", "/0/Conv_output_0"),
    (plain, "1", 1),
    (plain, "2", "/2/MaxPool_output_0"),
    (plain, "4", -1),
]
"""A network, a module of it, and the layer that is its output."""


@pytest.fixture(scope="module")
def peers() -> Iterator[object]:
    """pytorch-grad-cam, whose import needs names of torchvision that it does not use here."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            patch.setitem(sys.modules, name, MagicMock())
        import pytorch_grad_cam

        yield pytorch_grad_cam


def points(module: nn.Module) -> torch.Tensor:
    """On kinks where the network's weights allow it, and at points drawn from a range."""
    rng = np.random.default_rng(0)
    drawn = rng.uniform(-1, 1, (6, 1, 8, 8))
    even = rng.integers(-1, 2, (6, 1, 8, 8))
    zero = np.zeros((1, 1, 8, 8))
    x = np.concatenate([drawn, *([even, zero] if isinstance(module, nn.Sequential) else [])])
    return torch.tensor(x.astype(np.float32).astype(np.float64))


def check(explanation: WeighedActivations, network: Network, x: torch.Tensor, expected: Array) -> None:
    """Definition, graph and file give what another package gives."""
    flat = x.flatten(1).numpy()
    scale = max(1e-3, float(np.abs(expected).max()))
    expected = expected.reshape(len(flat), -1)
    graph = explanation.graph(network)
    np.testing.assert_allclose(explanation.reference(network, flat), expected, atol=1e-5 * scale)
    np.testing.assert_allclose(evaluate(graph, flat)[:, 3:], expected, atol=1e-5 * scale)
    file = Runtime(to_bytes(with_free_batch(to_model(graph))))
    logits, found = np.split(file.rows(flat.astype(np.float32)), [3], axis=1)
    np.testing.assert_allclose(logits, evaluate(network, flat), atol=1e-4)
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "module", "layer"), LAYERS)
def test_grad_cam_of_any_layer_is_captums(build, module, layer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import LayerGradCam

    net = build()
    network = read_module(net, torch.zeros(1, 1, 8, 8)).network
    net.double()
    x = points(net)
    for rectified in (False, True):
        captum = LayerGradCam(net, net.get_submodule(module))
        expected = captum.attribute(x, target=1, relu_attributions=rectified).detach().numpy()
        check(GradCam(logit=1, layer=layer, rectified=rectified), network, x, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "module", "layer"), LAYERS)
@pytest.mark.parametrize(("kind", "name"), [(HiResCam, "HiResCAM"), (LayerCam, "LayerCAM")])
def test_weights_of_single_entries_are_those_of_pytorch_grad_cam(
    peers, kind: type[WeighedActivations], name: str, build, module: str, layer
) -> None:
    net = build()
    network = read_module(net, torch.zeros(1, 1, 8, 8)).network
    net.double()
    x = points(net)
    target = net.get_submodule(module)
    cam = getattr(peers, name)(net, [target])
    cam.activations_and_grads(x)[:, 2].sum().backward()
    (activations,), (gradients,) = cam.activations_and_grads.activations, cam.activations_and_grads.gradients
    expected = cam.get_cam_image(x, target, None, activations.numpy(), gradients.numpy(), False)
    cam.activations_and_grads.release()
    check(kind(logit=2, layer=layer), network, x, expected)
    check(kind(logit=2, layer=layer, rectified=True), network, x, np.maximum(expected, 0))
    check(kind(logit=2, layer=layer, absolute=True), network, x, np.abs(expected))


def counts(graph: Network) -> dict[str, int]:
    """How many entries signs and products have."""
    return {
        kind.__name__: sum(int(np.prod(n.shape)) for n in graph.nodes if isinstance(n.operator, kind))
        for kind in (Sign, Mul)
    }


DERIVATIVES = [GradCam(logit=1), HiResCam(logit=1), HiResCam(logit=1, minus=0, absolute=True)]
MAPS = [*DERIVATIVES, LayerCam(logit=1), LayerCam(logit=1, minus=0, absolute=True)]


@pytest.mark.parametrize("explanation", MAPS)
def test_behind_a_pool_and_a_dense_layer_a_map_is_linear_in_the_layer(explanation: Explanation) -> None:
    network, x = from_torch(gap_net(), 25), np.random.default_rng(0).normal(size=(9, 25))
    graph = explanation.graph(network)
    assert counts(graph) == {"Sign": 0, "Mul": 0}
    np.testing.assert_allclose(evaluate(graph, x), explanation.reference_outputs(network, x), atol=1e-6)


def dense_behind(layers: list[nn.Module]) -> Network:
    torch.manual_seed(3)
    return from_torch(
        nn.Sequential(
            nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(), *layers,
            nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3),
        ).eval(), 16,
    )  # fmt: skip


HEADS = [
    [nn.Flatten(), nn.Linear(48, 6), nn.ReLU()],
    [nn.Conv2d(3, 6, 4), nn.ReLU(), nn.Flatten()],
    [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6)],
]


@pytest.mark.parametrize("explanation", DERIVATIVES)
@pytest.mark.parametrize("layers", HEADS)
def test_small_maps_before_dense_layers_have_masks_alone_and_large_ones_products(
    layers: list[nn.Module], explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = dense_behind(layers), np.random.default_rng(0).normal(size=(9, 16))
    expected = explanation.reference_outputs(network, x)
    relus = sum(n.shape[0] for n in network.nodes if isinstance(n.operator, Relu)) - 3
    by_masks = explanation.graph(network)
    assert counts(by_masks) == {"Sign": relus, "Mul": 16 * relus}
    np.testing.assert_allclose(evaluate(by_masks, x), expected, atol=1e-6)
    in_file = Runtime(to_bytes(with_free_batch(to_model(by_masks)))).rows(x.astype(np.float32))
    np.testing.assert_allclose(in_file, expected, atol=1e-5)
    monkeypatch.setattr(activation_map, "MOST_GATES", 16 * relus - 1)
    by_products = explanation.graph(network)
    last = next(n.shape[0] for n in reversed(network.nodes) if isinstance(n.operator, Relu))
    assert counts(by_products) == {"Sign": relus, "Mul": relus - last + 48}
    assert counts(LayerCam(logit=1).graph(network)) == counts(by_products)
    np.testing.assert_allclose(evaluate(by_products, x), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_without_biases_hirescam_adds_up_to_the_logit(seed: int) -> None:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(), nn.Conv2d(3, 2, 3, bias=False),
        nn.ReLU(), nn.Flatten(), nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False),
    ).eval()  # fmt: skip
    network, x = from_torch(module, 16), np.random.default_rng(seed).normal(size=(5, 16))
    found = evaluate(HiResCam(logit=1, layer=1).graph(network), x)
    np.testing.assert_allclose(found[:, 3:].sum(axis=1), found[:, 1], atol=1e-6)


@pytest.mark.slow
def test_a_stored_network_knows_the_layer_by_its_number() -> None:
    network = read_module(residual(), torch.zeros(1, 1, 8, 8)).network
    stored = from_model(to_model(network, as_it_is=True))
    x = np.random.default_rng(0).normal(size=(4, 64))
    for node in images(network):
        explanation = HiResCam(logit=1, layer=node.name)
        kept = explanation.as_stored(network)
        assert kept.layer == number_of(network, node.name) == number_of(stored, kept.layer)
        np.testing.assert_allclose(kept.reference(stored, x), explanation.reference(network, x), atol=1e-9)
        assert kept.map_shape(stored, (1, 8, 8)) == explanation.map_shape(network, (1, 8, 8))
    assert GradCam().as_stored(network) == GradCam()
    assert (
        GradCam(layer=-1).as_stored(network).graph_name("net") == f"net-gradcam-l{len(images(network)) - 1}-0"
    )


def test_a_layer_that_is_not_named_leaves_no_trace_in_a_record() -> None:
    assert "layer" not in GradCam().model_dump()
    assert GradCam(layer=0).model_dump()["layer"] == 0


def test_digits_are_a_name_where_there_is_one_and_else_a_number() -> None:
    network = from_torch(gap_net(), 25)
    renamed = replace(network, nodes=tuple(replace_name(node, "n4_4", "0") for node in network.nodes))
    assert layer_of(renamed, "0").name == "0"
    assert layer_of(renamed, 0) is layer_of(network, "0") is images(network)[0]
    assert layer_of(renamed, "-1") is images(renamed)[-1]
    with pytest.raises(ValidationError):
        GradCam(layer=True)


def replace_name(node: Node, old: str, new: str) -> Node:
    if old not in (node.name, *node.inputs):
        return node
    inputs = tuple(new if name == old else name for name in node.inputs)
    return replace(node, name=new if node.name == old else node.name, inputs=inputs)


def test_the_layer_by_default_is_the_last_relu_that_every_path_passes() -> None:
    network = read_module(residual(), torch.zeros(1, 1, 8, 8)).network
    assert layer_of(network, None).name == "/joined/Relu_output_0"
    last = nn.Sequential(*plain()[:5], nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)).eval()
    network = read_module(last, torch.zeros(1, 1, 8, 8)).network
    assert layer_of(network, None).name == "/4/Relu_output_0"


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        ("/inner/inner.2/Rleu_output_0", "did you mean /inner/inner.2/Relu_output_0?"),
        ("joined", "did you mean /joined/Relu_output_0?"),
        ("inner", "choose one of /inner/inner.0/Conv_output_0, /inner/inner.2/Relu_output_0"),
        (99, "there is no layer 99; choose one of -"),
        ("-99", "there is no layer -99; choose one of -"),
        ("/head/head.1/Gemm", "is no image [channels, height, width]: its shape is [5]; choose one of /stem"),
        ("INPUT", "is the input; choose one of /stem"),
        ("INPUT/shaped", "is the input; choose one of /stem"),
        ("OUTPUT", "is no image [channels, height, width]: its shape is [3]"),
    ],
)
def test_a_layer_that_there_is_not_is_one_clear_line(layer: int | str, what: str) -> None:
    network = read_module(residual(), torch.zeros(1, 1, 8, 8)).network
    if isinstance(layer, str):
        layer = layer.replace("INPUT", network.input).replace("OUTPUT", network.output)
    for kind in (GradCam, HiResCam, LayerCam):
        with pytest.raises(SalverError) as caught:
            kind(layer=layer).graph(network)
        assert what in str(caught.value)
        assert "\n" not in str(caught.value)


def test_networks_without_images_and_layers_behind_steps_are_refused() -> None:
    dense = from_torch(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), 4)
    for layer in (None, 0, "nothing"):
        with pytest.raises(SalverError, match="use a classifier with a convolution"):
            LayerCam(layer=layer).graph(dense)
    rng = np.random.default_rng(0)
    kernel = Conv(rng.normal(size=(2, 1, 3, 3)).astype(np.float32), np.zeros(2, np.float32))
    head = Linear(rng.normal(size=(2, 8)).astype(np.float32), np.zeros(2, np.float32))
    binary = Network(
        "X", 16,
        (
            Node("image", Reshape(), ("X",), (1, 4, 4)), Node("z", kernel, ("image",), (2, 2, 2)),
            Node("relu", Relu(), ("z",), (2, 2, 2)), Node("sign", Sign(), ("relu",), (2, 2, 2)),
            Node("flat", Reshape(), ("sign",), (8,)), Node("out", head, ("flat",), (2,)),
        ), "out",
    )  # fmt: skip
    with pytest.raises(SalverError, match="depends on layer 'relu' by signs alone"):
        GradCam().graph(binary)


def test_axes_behind_a_transpose_are_not_taken_for_channels() -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 3, 3), nn.Linear(108, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.conv(x).permute(0, 2, 3, 1)).flatten(1))

    network = read_module(Moved().eval(), torch.zeros(1, 1, 8, 8)).network
    with pytest.raises(SalverError, match="name another layer"):
        HiResCam().graph(network)
    with pytest.raises(SalverError, match="does not have its channels first"):
        HiResCam(layer="/Relu_output_0").graph(network)
    x = np.random.default_rng(0).normal(size=(3, 64))
    explanation = HiResCam(layer="/conv/Conv")
    expected = explanation.reference_outputs(network, x)
    np.testing.assert_allclose(evaluate(explanation.graph(network), x), expected, atol=1e-6)


def test_the_layer_of_a_class_activation_map_is_what_the_pooling_reads() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)
    ).eval()
    network = read_module(module, torch.zeros(1, 1, 8, 8)).network
    with pytest.raises(SalverError, match="reads '/2/MaxPool_output_0', which is no ReLU; name it"):
        Cam(logit=1).graph(network)
    with pytest.raises(SalverError, match=r"'/1/Relu_output_0' is not what .* or the method grad-cam"):
        Cam(logit=1, layer="/1/Relu_output_0").graph(network)
    explanation = Cam(logit=1, layer="/2/MaxPool_output_0")
    x = np.random.default_rng(0).normal(size=(3, 64))
    found = evaluate(explanation.graph(network), x)
    np.testing.assert_allclose(found, explanation.reference_outputs(network, x), atol=1e-6)
    grad_cam = GradCam(logit=1, layer="/2/MaxPool").graph(network)
    np.testing.assert_allclose(found[:, 3:], 9 * evaluate(grad_cam, x)[:, 3:], atol=1e-6)
    assert explanation.map_shape(network, (1, 8, 8)) == (3, 3)


def test_points_lie_on_kinks() -> None:
    """What the comparison with other packages is worth: z = 0 and ties of the maximum do occur."""
    network = read_module(plain(), torch.zeros(1, 1, 8, 8)).network
    x = points(plain())[6:].flatten(1).numpy()
    for node in network.nodes:
        if isinstance(node.operator, Relu):
            z = evaluate(Network(network.input, 64, network.nodes, node.inputs[0]), x)
            assert (z == 0).any(), node.name


@pytest.mark.slow
@pytest.mark.parametrize("explanation", [GradCam(layer=1), HiResCam(layer=1), LayerCam(layer=1)])
def test_solvers_agree_with_enumeration_on_maps_of_inner_layers(
    explanation: WeighedActivations, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Conv2d(2, 2, 2, padding=1), nn.ReLU(),
        nn.AvgPool2d(3), nn.Flatten(), nn.Linear(2, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.0)
    factory = InstanceFactory("saliency", from_torch(module, 9), "net", "none", (1, 3, 3), (-1.0, 1.0))
    x, seen = np.random.default_rng(0).uniform(-1, 1, 9).astype(np.float32), set()
    label = int(factory.predict(x[None])[0])
    asked = factory.pose(Point(0, x, label), EntryMoves(delta=0.01), explanation.of(label))
    assert asked.map.lowered.has_products
    moved = asked.extreme(0.05, 0).value
    for delta in (0.8 * moved, 2.0 * moved):
        draft = asked.asking(delta=delta).draft(0.05, Found(0.0))
        seen.add(exact := enumerate_query(draft.graph, draft.prop).truth)
        path = tmp_path / "g.onnx"
        path.write_bytes(to_bytes(to_model(draft.graph)))
        for solver in (hybrid.solve, milp.solve):
            answer = solver(Query(path, draft.graph, draft.prop), Budget(20.0), Options()).verdict
            assert answer.value == exact.value, solver
    assert seen == {Truth.SAT, Truth.UNSAT}
