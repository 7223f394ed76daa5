"""Files and names from strangers: nothing is executed, nothing is read from elsewhere."""

from __future__ import annotations

import ast
import csv
import gzip
import os
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.core.errors import SalverError
from salver.core.names import refuse_unsafe_name, refuse_unsafe_path
from salver.core.project import project_root
from salver.families.instance import Manifest
from salver.families.instance_set import read_manifest
from salver.judge.judgement import JudgedRun, WitnessVerdict
from salver.judge.verdicts import judge
from salver.judge.witness import replay
from salver.nets.network import evaluate
from salver.nets.onnx.reader import read_onnx
from salver.run import stage as stage_module
from salver.run.events import EventLog, Work
from salver.run.job import Folders
from salver.run.local import run_local
from salver.run.plan import plan
from salver.run.stage import stage
from salver.runners.answers import Claim
from salver.spec import Property
from salver.supervise.finished import Limits
from tests.builders import judged_runs
from tests.fake_solvers.runner import FakeRunner, fake_instance

FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "yaml"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "torch.load"}
OWN_PIPE = {"src/salver/solvers/marabou/solver.py", "src/salver/solvers/marabou/child.py"}
"""A parent hands its child an object by stdin; no file is involved."""


def complaints(name: str, source: str) -> list[str]:
    """What in a source file could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            found += [n for n in names if n.split(".")[0] in FORBIDDEN_IMPORTS and name not in OWN_PIPE]
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if call in FORBIDDEN_CALLS and options.get("weights_only") != "True":
                found.append(call)
            if call in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
                found.append(f"{call} without allow_pickle=False")
            if options.get("shell", "False") != "False":
                found.append(f"{call} with a shell")
    return [f"{name}: {what}" for what in found]


@pytest.mark.slow
def test_no_code_of_this_project_runs_what_a_file_says() -> None:
    root = project_root()
    paths = [p for part in ("src", "runners", "generators", "scripts") for p in (root / part).rglob("*.py")]
    assert len(paths) > 100
    assert [c for p in paths for c in complaints(p.relative_to(root).as_posix(), p.read_text())] == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from yaml import load", "eval(x)", "torch.load(f)", "np.load(f)", "os.system(c)",
     "subprocess.run(c, shell=True)", "np.load(f, allow_pickle=True)"],
)  # fmt: skip
def test_the_check_itself_notices(source: str) -> None:
    assert complaints("x.py", source)


def outside(folder: Path, location: str, where: str) -> Path:
    """A model whose only weight lies in another file, as an initializer or in an operator's attribute."""
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "W")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    nodes = [helper.make_node("MatMul", ["X", "W"], ["Y"])]
    if where == "attribute":
        nodes.insert(0, helper.make_node("Constant", [], ["W"], value=weight))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "XY"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [weight] if where == "initializer" else [])
    path = folder / "set" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    )
    return path


@pytest.mark.parametrize("location", ["../w.bin", "ABSOLUTE", "link.bin", "pipe", "x/w.bin", "w.bin"])
@pytest.mark.parametrize("where", ["initializer", "attribute"])
def test_weights_beside_a_file_are_read_from_its_own_folder_alone(
    tmp_path: Path, location: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = outside(tmp_path, location.replace("ABSOLUTE", str(tmp_path / "w.bin")), where)
    for folder in (tmp_path, path.parent):
        (folder / "w.bin").write_bytes(np.ones((2, 2), np.float32).tobytes())
    (path.parent / "link.bin").symlink_to(tmp_path / "w.bin")
    (path.parent / "x").symlink_to(tmp_path)
    os.mkfifo(path.parent / "pipe")
    monkeypatch.chdir(path.parent)
    prop = Property(np.zeros(2), np.ones(2), (), 2)
    if location == "w.bin":
        assert evaluate(read_onnx(path), [0.5, 0.5]).tolist() == [[1.0, 1.0]]
        assert replay(path, prop, "((X_0 0.5) (X_1 0.5))").verdict is not WitnessVerdict.UNCHECKABLE
        return
    with pytest.raises(SalverError, match=r"keeps weights in .*, which is"):
        read_onnx(path)
    found = replay(path, prop, "((X_0 0.5) (X_1 0.5))")
    assert found.verdict is WitnessVerdict.UNCHECKABLE
    assert "keeps weights in" in found.detail


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "onnx/-rf",
        "~/x",
        "a\nb",
        "a\0b",
        "a,b",
        'a"b',
        "a\\b",
        "x" * 300,
        "a\u202eb",
    ],
)
def test_paths_that_leave_the_set_or_look_like_options_are_refused(path: str) -> None:
    with pytest.raises(SalverError):
        refuse_unsafe_path(path, "manifest.json")
    with pytest.raises(SalverError):
        refuse_unsafe_name("a/b", "suite")


def test_a_manifest_with_such_a_path_is_refused(tmp_path: Path) -> None:
    good = fake_instance(tmp_path)
    for part in ("onnx", "vnnlib", "vnnlib2", "network"):
        bad = good.model_copy(update={part: "../../etc/passwd"})
        manifest = Manifest(
            suite="s", version="1", seed=0, title="", description="", salver="1", recipe="", instances=(bad,)
        )
        (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
        with pytest.raises(SalverError, match="leaves the instance set"):
            read_manifest(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_link_out_of_the_set_is_not_followed(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / "set"
    root.mkdir()
    instance = fake_instance(root, packed=packed)
    target = root / (instance.onnx + (".gz" if packed else ""))
    secret = target.rename(tmp_path / "secret")
    target.symlink_to(secret)
    with pytest.raises(SalverError, match="leaves the instance set"), stage(instance, root, tmp_path):
        pytest.fail("staged a file of somewhere else")


def test_a_set_behind_a_link_is_no_link_out_of_it(tmp_path: Path) -> None:
    root, link = tmp_path / "set", tmp_path / "link"
    root.mkdir()
    instance = fake_instance(root)
    link.symlink_to(root)
    with stage(instance, link, tmp_path) as place:
        assert place.staged.onnx.read_text() == "a network"


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = fake_instance(tmp_path, packed=True)
    monkeypatch.setattr(stage_module, "MOST_BYTES", 1 << 20)
    (tmp_path / f"{instance.onnx}.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    with pytest.raises(SalverError, match="unpacks to more than"), stage(instance, tmp_path, tmp_path):
        pytest.fail("staged a bomb")


NAMES = [
    "a b",
    "it's",
    '"q"',
    ";touch PWNED",
    "$(touch PWNED)",
    "`touch PWNED`",
    "-rf",
    "--help",
    "a\nb",
    "*",
    "=1+1",
    "<script>",
    "&amp;",
    "%s{}",
    "é",
]


@pytest.mark.slow
def test_names_never_become_shell_or_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root, pids, scratch = (tmp_path / name for name in ("set", "pids", "tmp"))
    for folder in (root, pids, scratch):
        folder.mkdir()
    instances = [fake_instance(root, name) for name in NAMES]
    runners = {"fake": FakeRunner("checks_arguments", pids)}
    planned = plan(instances, runners, lambda *_: Limits(wall_s=20), repetitions=1, seed=0)
    run_local(Work(planned, runners, Folders(root, tmp_path / "run", scratch)), 2)
    records = list(EventLog(tmp_path / "run" / "events.jsonl").records())
    assert {r.instance for r in records} == set(NAMES)
    assert [r.reason for r in records if r.claim is not Claim.UNSAT] == []
    assert list(tmp_path.rglob("PWNED")) == []


SOLVERS = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\\input{x}$&#_%~^",
    "<img src=x onerror=alert(1)>",
    "a|b",
]


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.images = 0, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += tag == "img" or any(name.startswith("on") for name, _ in attrs)


def _report(solvers: Sequence[str], suffix: str, folder: Path) -> Path:
    records, instances = [], {}
    for solver in solvers:
        for name in ("box-1", "box-2"):
            one = judged_runs.run(solver, name, Claim.SAT, 1.0)
            records.append(one.model_copy(update={"instance": f"{name}{suffix}", "suite": "=1+1"}))
            instances[name] = judged_runs.INSTANCES[name]
    judgements = judge(records, instances, {})
    judged = [JudgedRun(run=r, judgement=j) for r, j in zip(records, judgements, strict=True)]
    return judged_runs.reported(judged_runs.loaded(folder, judged, instances)).parent


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report over solvers and instances with hostile names."""
    return _report(SOLVERS, "<script>alert(1)</script>", tmp_path_factory.mktemp("run"))


@pytest.mark.slow
def test_no_name_becomes_html(hostile_report: Path, tmp_path: Path) -> None:
    tags, plain = Tags(), Tags()
    tags.feed((hostile_report / "index.html").read_text())
    harmless = _report([f"solver-{number}" for number in range(len(SOLVERS))], "", tmp_path)
    plain.feed((harmless / "index.html").read_text())
    assert tags.images == 0
    assert tags.scripts == plain.scripts
    assert "<img" not in (hostile_report / "leaderboard.md").read_text()


def test_no_cell_of_a_csv_is_a_formula(hostile_report: Path) -> None:
    seen = 0
    for path in [*hostile_report.glob("*.csv"), *(hostile_report / "results").glob("*.csv")]:
        with path.open(newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row if cell[:1] in "=+-@\t\r" and cell):
                float(cell)
        seen += path.read_text().count("'=")
    assert seen > 0


def test_no_name_becomes_latex(hostile_report: Path) -> None:
    text = (hostile_report / "leaderboard.tex").read_text()
    assert r"\input" not in text
    assert r"\textbackslash" in text


def test_a_model_of_a_future_operator_set_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = onnx.ModelProto()
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SalverError) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
