"""One point, one answer: held against enumeration, against the map's definition, and against bad input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

import salver
from salver.core.errors import SalverError
from salver.families.questions import TopKChanges
from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu
from salver.oracle.enumerate import enumerate_query
from salver.points.check import check_within
from salver.points.decide import QueryFolder, decide
from salver.points.limit import TimeOverError
from salver.points.options import Solving
from salver.points.point_question import ask
from salver.report.axes import entry_name
from salver.solvers.query import Budget
from salver.spec.truth import Truth
from tests.builders.small_network import classifier

QUESTIONS = [
    ("top-k", {"k": 1}),
    ("top-k", {"k": 2, "same_label": False}),
    ("same-top-k", {"k": 2}),
    ("same-map", {"delta": 0.3}),
    ("same-signs", {}),
    ("sign-changes", {"entry": 1}),
    ("entry-moves", {"delta": 0.4}),
    ("label-changes", {}),
]
X = np.array([0.3, -0.2, 0.5], np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("net") / "net.onnx", inputs=3, seed=4)


@pytest.mark.parametrize(("question", "entries"), QUESTIONS)
def test_the_verdict_is_that_of_enumeration(network: Path, question: str, entries: dict[str, object]) -> None:
    verdicts = set()
    for epsilon in (0.01, 2.0):
        asked = ask(network, X, question, **entries)
        found = check_within(asked, epsilon, Solving())
        posed = asked.posed
        truth = enumerate_query(posed.graph, posed.prop(posed.factory.box(X, epsilon))).truth
        assert (truth, found.verdict) in {(Truth.SAT, "not robust"), (Truth.UNSAT, "robust")}
        verdicts.add(found.verdict)
    assert verdicts == {"robust", "not robust"}


def test_a_counterexample_is_one_by_definition(network: Path) -> None:
    found = salver.check(network, X, "top-k", k=1, epsilon=1.0)
    explanation = salver.Gradient(logit=found.point.label, absolute=True)
    here, there = (explanation.reference(read_onnx(network), x[None])[0] for x in (X, found.witness))
    assert np.allclose(found.maps[0], here, atol=1e-6)
    assert np.allclose(found.maps[1], there, atol=1e-6)
    assert here.argmax() != there.argmax()
    assert np.abs(found.witness - X).max() == found.distance <= 1.0
    assert found.sentence == (
        "Not robust: within 1 there is an input at which the largest entry of the map is another one and the "
        f"class is the same; found {found.distance:.4g} away."
    )
    assert (
        f"out of the 1 largest: entry {here.argmax()}; among them instead: entry {there.argmax()}"
        in found.details
    )


def test_a_clearer_counterexample_is_preferred(network: Path, tmp_path: Path) -> None:
    """The solver stops where two entries are equal; within the box they can be far apart."""
    asked = ask(network, X, "top-k", k=1)
    staged = QueryFolder(asked, tmp_path)
    query, decided = staged.at(2.0), decide(staged, 2.0, Solving(solver="milp"), Budget(20))
    assert decided.witness is not None
    assert query.confirm(decided.witness) is not None
    assert decided.margin == pytest.approx(float(query.prop.margin(query.replay(decided.witness))))
    assert decided.margin > 0.1
    assert np.abs(decided.witness - asked.posed.point.centre).max() <= 2.0


def test_what_is_not_known_is_said(network: Path) -> None:
    free, bounded = (salver.check(network, X, k=1, epsilon=0.01, input_range=r) for r in (None, (-1, 1)))
    assert "no range of the inputs is given, so none is assumed" in free.asked.notes
    assert "inputs are from -1 to 1" in bounded.asked.notes


def test_a_range_holds_counterexamples_in(network: Path) -> None:
    found = salver.check(network, X, "top-k", k=1, epsilon=2.0, input_range=(-0.3, 0.6))
    assert found.witness is not None
    assert found.witness.min() >= np.float32(-0.3)
    assert found.witness.max() <= np.float32(0.6)


@pytest.mark.slow
def test_a_claim_is_not_called_a_proof(network: Path) -> None:
    proved, claimed = (
        salver.check(network, X, k=1, epsilon=0.01, solver=name) for name in ("hybrid", "milp")
    )
    assert (proved.robust, claimed.robust) == (True, None)
    assert proved.sentence.endswith("; proved by hybrid.")
    assert claimed.reason == (
        "milp claims that there is none, without a certificate; a checked proof would do"
    )
    assert salver.radius(network, X, k=1, solver="milp", timeout=5).certified == 0


@pytest.mark.slow
def test_a_claim_with_a_checked_proof_is_a_proof(network: Path, tmp_path: Path) -> None:
    found = salver.check(network, X, k=1, epsilon=0.01, solver="milp", proof=tmp_path / "p")
    assert found.robust
    assert found.reason == ""
    assert found.sentence.endswith("; proved by milp, and its proof was checked.")


def test_a_solver_that_proves_nothing_leaves_it_open(network: Path) -> None:
    found = salver.check(network, X, k=1, epsilon=0.01, solver="falsify", timeout=0.2)
    assert found.verdict == "undecided"
    assert found.sentence.startswith("Undecided after ")


@pytest.mark.slow
def test_a_proof_is_checked_and_has_its_files_beside_it(network: Path, tmp_path: Path) -> None:
    from salver.proofs.bounded import CheckReply, check_here

    found = salver.check(network, X, k=1, epsilon=0.01, proof=tmp_path / "p.proof")
    assert found.proof is not None
    assert found.sentence.endswith("proved by hybrid, and its proof was checked.")
    assert check_here(found.proof.network, found.proof.query, found.proof.file).answer is CheckReply.ACCEPTED
    with pytest.raises(SalverError, match="exists already"):
        salver.check(network, X, k=1, epsilon=0.01, proof=tmp_path / "p.proof")


def test_arrays_of_any_shape_are_flattened(network: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X[None])
    (tmp_path / "x.csv").write_text(",".join(map(str, X.tolist())))
    points = (X.tolist(), X.reshape(1, 3), X.reshape(1, 1, 1, 3), tmp_path / "x.npy", tmp_path / "x.csv")
    assert len({salver.check(network, x, k=1, epsilon=0.05).point.map.tobytes() for x in points}) == 1


@pytest.mark.slow
def test_a_row_of_a_data_set_brings_its_range_and_names(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", inputs=30)
    found = salver.check(net, dataset="breast_cancer", index=2, k=3, epsilon=0.01)
    assert "inputs are from 0 to 1" in found.asked.notes
    assert found.entry_name(0) == "mean radius"
    assert re.match(r"class at the point: [01] \((malignant|benign)\)", found.details[2])


BAD = [
    ({"point": None}, "point: no point is given"),
    ({"point": X[:2]}, "the point has 2 entries, net takes 3"),
    ({"point": np.array([0.1, np.nan, 0.2])}, "entry 1 is nan"),
    ({"point": np.array(["a", "b", "c"])}, "holds text, not numbers"),
    ({"point": "none.npy"}, "none.npy: cannot be read"),
    ({"point": "x.txt"}, "x.txt: is neither .npy nor .csv"),
    ({"label": 2}, "class 2 does not exist; choose one of 0 ... 1"),
    ({"label": 0, "minus": 0}, "class 0 minus itself"),
    ({"epsilon": 0.0}, "epsilon: 0.0 is too small"),
    ({"epsilon": -1.0}, "epsilon: -1.0 is too small"),
    ({"epsilon": float("nan")}, "epsilon: nan is not"),
    ({"input_range": (0.0, 1.0)}, "input_range: 0 to 1 excludes the point, which has an entry -0.2"),
    ({"input_range": (1.0, 0.0)}, "input_range: 1 to 0 is no range"),
    ({"question": "top-m"}, "no question is called 'top-m'; did you mean top-k-changes"),
    (
        {"question": "same"},
        "'same' is the beginning of several questions; choose one of same-map, same-signs, same-top-k",
    ),
    ({"method": "gradeint"}, "no method is called 'gradeint'; did you mean gradient"),
    (
        {"delta": 0.1},
        "delta: does not belong to top-k-changes or gradient; it is an entry of same-map, entry-moves",
    ),
    ({"kk": 1}, "kk: there is no entry of that name"),
    ({"range": (0, 1)}, "range: there is no entry of that name; did you mean input_range?"),
    ({"method": "smoothgrad"}, "noise_draws and noise_sigma: are missing; smoothgrad needs them"),
    ({"k": None}, "k: is missing; top-k-changes needs it"),
    ({"question": "entry-moves", "k": None}, "delta: is missing; entry-moves needs it"),
    ({"k": 3}, "k: 3 is not between 1 and 2"),
    ({"k": "two"}, "k: 'two' is not a whole number"),
    ({"question": "entry-moves", "k": None, "delta": -1}, "delta: -1 is too small"),
    ({"question": "same-map", "k": None, "targets": (7,)}, "class 7"),
    ({"question": "sign-changes", "k": None, "entry": 9}, "there is no entry 9"),
    ({"dataset": "digits"}, "the point: has 3 entries, those of digits have 64"),
    ({"dataset": "digits", "index": 1}, "index: a point and the index of a row are given"),
    ({"dataset": "{ path = }"}, "is no table"),
    ({"point": None, "dataset": "digits"}, "index: a data set is named, but no row"),
    ({"point": None, "dataset": "digits", "index": 10**6}, "row 1000000 is not there"),
    ({"point": None, "dataset": "digist", "index": 0}, "did you mean digits"),
    ({"solver": "hybird"}, "did you mean hybrid"),
    ({"timeout": 0.0}, "timeout: 0.0 is too small"),
    ({"timeout": float("inf")}, "timeout: inf is not"),
    ({"seed": -1}, "seed: -1 is too small"),
    ({"epsilon": "far"}, "epsilon: 'far' is not a number"),
    ({"epsilon": float("inf")}, "epsilon: inf is not a finite number"),
    ({"label": 1.5}, "label: 1.5 is not a whole number"),
    ({"input_range": 3}, "input_range: 3 is not"),
    ({"input_range": (1.0,)}, "input_range"),
    ({"point": [[1, 2], [3]]}, "the point: is no array: its rows differ in length"),
    ({"question": 7}, "question: 7 is no name"),
    ({"question": TopKChanges(k=1)}, "k: is in the record that was given"),
    ({"question": "label", "k": None, "label": 1}, "label: label-changes asks about no map"),
    ({"question": "label", "k": None, "method": "cam"}, "method: label-changes asks about no map"),
    ({"method": "cam"}, "class activation map: "),
    ({"model": 7}, "int is no network"),
    ({"model": "none.onnx"}, "none.onnx: cannot be read"),
    ({"solver": "falsify", "proof": Path("p.proof")}, "falsify: writes no proofs"),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_bad_input_is_one_clear_line(network: Path, changes: dict[str, object], said: str) -> None:
    given = {"model": network, "point": X, "question": "top-k", "k": 1, "epsilon": 0.1, **changes}
    given = {name: value for name, value in given.items() if (name, value) != ("k", None)}
    with pytest.raises(SalverError) as raised:
        salver.check(given.pop("model"), given.pop("point"), given.pop("question"), **given)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_own_data_bring_a_range_for_every_entry(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    lower, upper = X - np.array([2, 1, 2]), X + np.array([2, 0.5, 2])
    names = np.array(["age", "height", "weight"])
    path = tmp_path / "own.npz"
    np.savez(path, x=X[None], y=np.array([1]), lower=lower, upper=upper, feature_names=names)
    rows = (
        salver.check(net, dataset=str(path), index=0, k=1, epsilon=2.0),
        salver.check(net, X, dataset=str(path), k=1, epsilon=2.0),
    )
    for found in rows:
        assert found.witness is not None
        assert (found.witness >= lower - 1e-6).all()
        assert (found.witness <= upper + 1e-6).all()
        assert found.entry_name(1) == "height"
        assert "every input has a range of its own, that of the data set" in found.asked.notes
    with pytest.raises(SalverError, match=r"entry 1 is .*, outside of"):
        salver.check(net, X + np.float32(0.6), dataset=str(path), k=1, epsilon=2.0)


def test_a_table_is_named_as_in_a_suite(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", inputs=2)
    (tmp_path / "own.csv").write_text("a,kind,b\n0.5,x,1.5\n0.25,y,1\n")
    named = f'{{ path = "{tmp_path}/own.csv", label = "kind" }}'
    found = salver.check(net, dataset=named, index=1, question="label-changes", epsilon=0.01)
    assert found.point.x.tolist() == [0.25, 1.0]
    assert found.asked.given.features == ("a", "b")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3)])
def test_an_image_is_read_from_0_to_1(tmp_path: Path, mode: str, channels: int) -> None:
    Image.new(mode, (2, 2), 255 if mode == "L" else "white").save(tmp_path / "x.png")
    net = classifier(tmp_path / "net.onnx", inputs=4 * channels)
    found = salver.check(net, tmp_path / "x.png", "label-changes", epsilon=1e-4)
    assert found.point.x.tolist() == [1.0] * 4 * channels
    assert found.asked.given.shape == (channels, 2, 2)


def test_an_image_is_brought_to_what_the_network_sees_of_its_data(tmp_path: Path) -> None:
    """The same image as a file and as a row of its data set is the same point."""
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        colours = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(colours).save(tmp_path / "pets" / name / "a b.png")
    data = {"path": str(tmp_path / "pets"), "size": 2, "mean": [0.2, 0.5, 0.7], "std": 0.25, "layout": "hwc"}
    net = classifier(tmp_path / "net.onnx", inputs=12)
    image = tmp_path / "pets" / "dog" / "a b.png"
    asked = [
        ask(net, None, "label-changes", dataset=data, index=1),
        ask(net, image, "label-changes", dataset=data),
    ]
    assert asked[0].given.x.tolist() == asked[1].given.x.tolist()
    assert asked[1].given.shape == (2, 2, 3)
    assert asked[1].given.x.min() < 0


def test_records_and_numbers_of_numpy_are_taken(network: Path) -> None:
    plain = salver.check(network, X, "top-k", k=1, label=1, absolute=False, epsilon=0.01)
    method, epsilon = salver.Gradient(), np.float32(0.01)
    same = salver.check(
        network, X, TopKChanges(k=1), method=method, label=np.int64(1), absolute=np.False_, epsilon=epsilon
    )
    assert same.asked.posed.question == plain.asked.posed.question
    assert same.asked.posed.map.explanation == plain.asked.posed.map.explanation == salver.Gradient(logit=1)


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_text("<html>not found</html>")
    with pytest.raises(SalverError, match=r"net\.onnx"):
        salver.check(tmp_path / "net.onnx", X, k=1, epsilon=0.1)


def test_a_tie_is_called_one(tmp_path: Path) -> None:
    """Where no neuron is active the map is zero in all entries, and every ranking of it is a tie."""
    weights = np.array([[1.0, 0.0], [2.0, 1.0]], np.float32)
    first, last = Linear(weights, np.zeros(2, np.float32)), Linear(weights[::-1], np.zeros(2, np.float32))
    nodes = (
        Node("a", first, ("X",), (2,)), Node("r", Relu(), ("a",), (2,)), Node("y", last, ("r",), (2,)),
    )  # fmt: skip
    found = salver.check(Network("X", 2, nodes, "y"), [0.5, 0.4], "top-k", k=1, epsilon=3.0)
    assert found.verdict == "not robust"
    assert found.maps[1].tolist() == [0.0, 0.0]
    assert "the condition is just met: a tie counts" in found.details


def test_small_differences_of_large_logits_are_no_fault(tmp_path: Path) -> None:
    """In single precision 1000.01 - 1000 has three digits; the question is about the exact values."""
    generator = np.random.default_rng(0)
    first = Node("z", Linear(generator.normal(size=(6, 3)), np.full(6, 3.0)), ("X",), (6,))
    last = Linear(0.01 * generator.normal(size=(3, 6)), np.array([1001.0, 1000.0, 999.0]))
    network = Network("X", 3, (first, Node("h", Relu(), ("z",), (6,)), Node("Y", last, ("h",), (3,))), "Y")
    path = tmp_path / "large.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    answer = salver.check(path, X, "same-signs", epsilon=0.001, method="feature-ablation")
    assert answer.verdict == "robust"


def test_an_answer_is_a_sentence_in_a_list_and_no_truth_value(network: Path) -> None:
    found = salver.check(network, X, k=1, epsilon=0.01)
    assert repr([found]) == f"[<RobustnessAnswer: {found.sentence}>]"
    with pytest.raises(SalverError, match=r"neither true nor false; ask `answer.robust`"):
        assert found


def test_a_network_with_one_output_has_one_class(tmp_path: Path) -> None:
    net = classifier(tmp_path / "net.onnx", inputs=3, classes=1)
    found = salver.check(net, X, "entry-moves", delta=0.1, epsilon=0.01)
    assert "the network has one output, so its class is always 0" in found.asked.notes[0]


def test_an_image_that_lies_on_its_side_is_refused(tmp_path: Path) -> None:
    weights = ", ".join(f"{value:g}" for value in np.random.default_rng(0).normal(size=96))
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
    g (float[1, 4, 4, 3] x) => (float[1, 2] y) <float[48, 2] w = {{{weights}}}>
    {{ f = Flatten(x) y = MatMul(f, w) }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "net.onnx")
    image = np.linspace(0, 1, 48).reshape(4, 4, 3)
    assert salver.check(tmp_path / "net.onnx", image, "label", epsilon=1e-4).point.x.size == 48
    for given in (image.transpose(2, 0, 1), image.transpose(2, 0, 1)[None]):
        with pytest.raises(SalverError, match="takes images of 4 x 4 x 3, the point has 3 x 4 x 4; turn"):
            salver.check(tmp_path / "net.onnx", given, "label", epsilon=1e-4)


def test_an_entry_of_an_image_in_colour_has_its_channel() -> None:
    assert entry_name(5, (3, 2, 2), ()) == "(0, 1) of channel 1"
    assert entry_name(5, (2, 2, 3), ()) == "(0, 1) of channel 2"
    assert entry_name(3, (1, 2, 2), ()) == "(1, 1)"


def test_names_are_completed_in_a_notebook() -> None:
    assert {"check", "radius", "measure", "unroll"} <= set(dir(salver))


def flips_at(threshold: float) -> Network:
    """Class 1 where an input is that much above 1000."""
    shift = Linear(np.ones((1, 1), np.float32), np.array([-1000], np.float32))
    head = Linear(np.array([[0], [1]], np.float32), np.array([0, -threshold], np.float32))
    return Network("X", 1, (Node("S", shift, ("X",), (1,)), Node("Y", head, ("S",), (2,))), "Y")


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_input_beyond_the_radius_breaks_nothing_within_it(norm: str) -> None:
    """The next number of single precision above 1000 is 6.1e-5 away, and the box of a query holds it."""
    x = np.array([1000.0], np.float32)
    found = salver.check(flips_at(3e-5), x, "label-changes", epsilon=1e-5, norm=norm)
    assert found.robust is not False
    assert found.counterexample is None
    assert found.robust or "a counterexample was found 6.104e-05 away" in found.reason
    beyond = salver.check(flips_at(3e-5), x, "label-changes", epsilon=7e-5, norm=norm)
    assert beyond.robust is False
    assert beyond.distance == 2.0**-14


@pytest.mark.parametrize("epsilon", [0.35 - 0.1, 0.7 - 0.2, 0.25])
def test_a_radius_that_a_sum_rounds_up_loses_no_counterexample(epsilon: float) -> None:
    """0.5 + (0.35 - 0.1) is 0.75 in double precision, and 0.75 is farther from 0.5 than that."""
    found = salver.check(flips_at(-999.3), np.array([0.5], np.float32), "label-changes", epsilon=epsilon)
    assert found.robust is False
    assert found.distance <= epsilon


def test_a_counterexample_lies_within_where_no_time_is_left_for_a_clearer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Single precision holds no 0.8: the attack finds the corner, which lies beyond the radius."""

    def late(*_: object) -> np.ndarray:
        raise TimeOverError

    monkeypatch.setattr("salver.points.decide.clearer", late)
    x = np.array([0.5], np.float32)
    found = salver.check(flips_at(-999.3), x, "label-changes", epsilon=0.3, solver="falsify")
    assert found.robust is False
    assert found.distance <= 0.3


def test_a_radius_is_broken_where_the_counterexample_is() -> None:
    x = np.array([1000.0], np.float32)
    found = salver.radius(flips_at(3e-5), x, "label-changes", most=1.0, timeout=30)
    assert (found.certified, found.attacked) == (0.0, 2.0**-14)
    assert found.questions < 30
