"""One class an operator: it means the same in ONNX Runtime, numpy, torch, ranges, programs and gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.onnx.reader import SUPPORTED, from_model
from salver.nets.operators import OPERATORS, Node, Operator, Relu, operator
from salver.oracle.exact import exact_outputs
from salver.runners.embedded import EmbeddedRunner
from salver.testkit.declarations import sample_instance
from tests.builders.operators import check_gradient, check_meaning, check_verdicts, network_of
from tests.conftest import ROOT


@dataclass(frozen=True)
class Passed(Operator):
    """x, as an operator that nothing but this file knows."""

    onnx = "Passed"
    evaluate = range = lower = in_torch = None


class Own(EmbeddedRunner):
    name = "hybrid"
    version = command = parse = None


@pytest.mark.parametrize("kind", ["Relu", "Abs", "Neg"])
def test_an_operator_means_the_same_everywhere(kind, tmp_path):
    model = network_of(kind)
    check_meaning(model)
    check_verdicts(model, tmp_path, "milp")


@pytest.mark.parametrize("kind", ["Relu", "Abs"])
def test_the_gradient_is_that_of_automatic_differentiation(kind):
    check_gradient(from_model(network_of(kind)))


def test_the_oracle_refuses_what_it_has_no_reading_of():
    network = Network("X", 2, (Node("Y", Passed(), ("X",), (2,)),), "Y")
    with pytest.raises(SalverError, match="operator Passed has no exact answer"):
        exact_outputs(network, np.zeros(2))


def test_embedded_solvers_take_what_the_reader_reads():
    assert Own().supports(sample_instance(("Gemm", "Passed"))) == "operators not supported: Passed"
    assert Own().supports(sample_instance(("Gemm", "LeakyRelu"))) is None


def test_no_operator_is_a_kind_of_another():
    """The oracle and the engines would take it for that one."""
    with pytest.raises(TypeError, match="Shifted is a Relu"):

        @operator
        @dataclass(frozen=True)
        class Shifted(Relu):
            pass

    assert "Shifted" not in OPERATORS


def test_the_page_names_every_operator_that_is_read():
    page = (ROOT / "docs" / "networks.md").read_text()
    assert [kind for kind in sorted(SUPPORTED) if kind not in page] == []


def test_an_operator_that_cannot_be_written_is_refused():
    with pytest.raises(TypeError, match="Silent has neither `onnx` nor `write`"):

        @operator
        @dataclass(frozen=True)
        class Silent(Operator):
            pass

    assert "Silent" not in OPERATORS
