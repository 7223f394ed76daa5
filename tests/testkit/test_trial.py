"""`salver test-runner`: what it finds in runners that break the contract, each in one way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from salver.families.generate import drafts
from salver.families.instance import Manifest
from salver.families.instance_set import write_set
from salver.families.suite import read_suite
from salver.nets.runtime import Runtime, with_free_batch
from salver.runners.answers import Answer, Claim
from salver.runners.contract import answer_from_words
from salver.runners.registry import runners
from salver.spec.truth import Truth
from salver.testkit.batches import LAYOUTS, LEAST, probe_batches, split_network
from salver.testkit.check import Check
from salver.testkit.declarations import check_declarations
from salver.testkit.probe import probe_operators
from salver.testkit.trial import check_tool, chosen_instances
from tests.builders.tiny_suite import tiny_suite
from tests.fake_solvers.runner import FakeRunner

COUNT = itertools.count()
SUITE = tiny_suite(2, [0.3], [0.5, 1.1])


class Set(NamedTuple):
    folder: Path
    manifest: Manifest


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Set:
    """Four queries, two of each answer."""
    root = tmp_path_factory.mktemp("kit")
    (root / "tiny.toml").write_text(SUITE)
    suite = read_suite(str(root / "tiny.toml"))
    return Set(root / "set", write_set(root / "set", suite, drafts(suite), lambda _: None))


def failures(checks: Iterator[Check] | list[Check]) -> dict[str, str]:
    return {check.subject: check.detail for check in checks if check.status == "FAIL"}


def tried(runner: FakeRunner, known: Set) -> dict[str, str]:
    return failures(check_tool(runner, known.manifest.instances, known.folder, 2.0, 2))


def fake(behaviour: str, tmp_path: Path, **changes) -> FakeRunner:
    """A fake whose methods are replaced as told."""
    kind = type("Changed", (FakeRunner,), changes)
    return kind(behaviour, tmp_path)


def shell(script: str):
    """A `command` that hands the paths to a shell without quoting them."""
    return lambda self, staged, workdir, limits: ["sh", "-c", script.format(onnx=staged.onnx)]


def test_half_of_the_queries_are_sat_and_refused_ones_are_left_out(known, tmp_path):
    runner = fake("unknown", tmp_path)
    chosen = chosen_instances(known.manifest.instances, runner, 2)
    assert [i.facts.expected for i in chosen] == [Truth.SAT, Truth.UNSAT]
    assert chosen == chosen_instances(known.manifest.instances[::-1], runner, 2)
    refuses = fake("unknown", tmp_path, supports=lambda self, instance: "cannot read it")
    assert chosen_instances(known.manifest.instances, refuses, 2) == []
    assert "cannot read it" in tried(refuses, known)["queries"]


def test_a_modest_tool_keeps_the_contract(known, tmp_path):
    assert tried(fake("unknown", tmp_path), known) == {}


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (
            "unsat",
            {
                "known answers": "says unsat, the answer is sat (enumerated)",
                "broken network": "says 'unsat' of a file that is no network",
            },
        ),
        (
            "sat_no_witness",
            {
                "known answers": "says sat, the answer is unsat (enumerated)",
                "witnesses": "2 of 2 do not stand",
            },
        ),
        ("sat_wrong_witness", {"witnesses": "do not stand"}),
        ("crashes", {"every run ends": "2 of 2 runs are errors"}),
        ("garbage", {"every run ends": "no verdict"}),
    ],
)
def test_a_tool_that_breaks_it_is_told_how(known, tmp_path, behaviour, told):
    failed = tried(fake(behaviour, tmp_path), known)
    for subject, words in told.items():
        assert words in failed[subject]


def test_paths_that_are_not_quoted_are_found(known, tmp_path):
    careless = fake("", tmp_path, command=shell("ls {onnx} > /dev/null && echo unknown"))
    assert set(tried(careless, known)) == {"folder with a space"}


def test_tools_that_disturb_each_other_are_found(known, tmp_path):
    alone = f"mkdir {tmp_path}/lock || exit 1; sleep 0.3; rmdir {tmp_path}/lock; echo unknown"
    assert "runs twice at once" in tried(fake("", tmp_path, command=shell(alone)), known)["two at once"]


def test_a_tool_that_knows_no_limit_is_stopped(known, tmp_path):
    checks = check_tool(fake("sleeps", tmp_path), known.manifest.instances, known.folder, 0.2, 1)
    stopped = next(check for check in checks if check.subject == "time limit")
    assert (stopped.status, stopped.detail) == ("ok", "stopped at 1 s")


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("unsat", "says unsat of a query that every input satisfies"),
        ("sat_wrong_witness", "says sat with a point that does not stand"),
        ("unknown", "declared in `operators`, but unknown"),
    ],
)
def test_an_operator_that_is_declared_and_not_read_is_found(tmp_path, behaviour, told):
    assert told in failures(probe_operators(fake(behaviour, tmp_path), 2.0, ["Relu"]))["operator Relu"]


def test_an_operator_that_is_neither_declared_nor_read_is_no_failure(tmp_path):
    modest = fake("unknown", tmp_path, operators=frozenset({"Gemm"}))
    (check,) = probe_operators(modest, 2.0, ["Abs"])
    assert (check.status, check.detail) == ("ok", "neither declared nor read (unknown: gave up)")


def test_operators_that_are_read_are_seen_to_be(tmp_path):
    checks = list(probe_operators(runners()["milp"](), 20.0, ["Mul", "ReduceMean"]))
    assert [(check.status, check.detail) for check in checks] == [("ok", "read")] * 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_query_of_the_batch_probe_is_unsat_and_takes_any_batch(layout):
    model = split_network(layout)
    corners = np.array(list(itertools.product((0.25, 0.625, 1.0), repeat=4)), np.float32)
    outputs = Runtime(with_free_batch(model).SerializeToString()).rows(corners)
    assert outputs.max() == 1.5 < LEAST  # the function is convex, so the corners are its largest values


def test_a_tool_that_splits_is_seen_to_take_batches():
    checks = list(probe_batches(runners()["hybrid"](), 20.0))
    assert [(check.subject, check.status) for check in checks] == [
        ("batches of vectors", "ok"), ("batches of images", "ok"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "status", "told"),
    [
        ("unsat", "ok", "decides"),
        ("unknown", "skip", "not decided"),
        ("crashes", "FAIL", "fails where it has to split"),
        ("sat_wrong_witness", "FAIL", "no input satisfies"),
    ],
)
def test_what_a_tool_makes_of_batches_is_told(tmp_path, behaviour, status, told):
    for check in probe_batches(fake(behaviour, tmp_path), 5.0):
        assert (check.status, told in check.detail) == (status, True), check


def raising(self, *arguments):
    raise ValueError("out of luck")


@pytest.mark.parametrize(
    ("changes", "subject", "told"),
    [
        ({"name": "My Solver"}, "name", "small letters"),
        ({"devices": frozenset({"tpu"})}, "declarations", "unknown device"),
        ({"vnnlib_versions": ("3.0",)}, "declarations", "vnnlib_versions"),
        ({"result_files": ("/elsewhere/result",)}, "declarations", "plain file names"),
        ({"version": lambda self: ""}, "version", "one line of text"),
        ({"version": lambda self: str(next(COUNT))}, "version", "no run could resume"),
        ({"supports": lambda self, instance: False}, "operators", "a reason, or None"),
        ({"command": lambda self, *rest: "tool --flag"}, "command", "list of strings"),
        ({"command": lambda self, *rest: ["tool"]}, "command", "does not name the n.onnx file"),
        ({"environment": lambda self, limits: {"N": 1}}, "environment", "dict of strings"),
        ({"parse": lambda self, *rest: Answer(claim=Claim.UNSAT)}, "nothing printed", "into 'unsat'"),
        ({"parse": lambda self, *rest: "sat"}, "nothing printed", "should return an Answer"),
        ({"parse": raising}, "garbage printed", "raised ValueError: out of luck"),
        (
            {"parse": lambda self, i, f: answer_from_words(f.stdout.replace("unsat", "sat"))},
            "verdict words",
            "reads 'unsat' as 'sat'",
        ),
    ],
)
def test_a_declaration_that_breaks_it_is_told_how(tmp_path, changes, subject, told):
    assert told in failures(check_declarations(fake("unknown", tmp_path, **changes)))[subject]


def test_a_parse_that_remembers_is_found(tmp_path):
    seen: list[str] = []

    def parse(self, instance, finished):
        seen.append(finished.stdout)
        told = answer_from_words(finished.stdout)
        return told.model_copy(update={"reason": str(len(seen))})

    assert "reads the same twice" in failures(check_declarations(fake("unknown", tmp_path, parse=parse)))
