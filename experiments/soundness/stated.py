"""Test queries as the proof checker reads them: from the bytes of a file, in exact numbers."""

from __future__ import annotations

from dataclasses import replace

from salver.nets.network import Network
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.proofs.graph import Graph
from salver.proofs.onnx_file import NetworkFile, parse_network
from salver.proofs.vnnlib_file import ExactProperty
from salver.solvers.proving.statement import exact
from salver.solvers.query import Query
from salver.spec import Property


def read_again(query: Query) -> Query:
    """The query with its network as the common reader takes it from the file, whose names proofs use."""
    return replace(query, network=read_onnx(query.onnx))


def file_of(network: Network) -> NetworkFile:
    """A network written to ONNX under its own names and read by the checker."""
    model = to_model(network)
    names = {f"t{number}": node.name for number, node in enumerate(network.nodes)}
    names |= {"X": network.input, "Y": network.output}
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
    model.graph.input[0].name, model.graph.output[0].name = network.input, network.output
    return parse_network(to_bytes(model))


def graph_of(network: Network) -> Graph:
    """The checker's graph of a network."""
    return Graph(file_of(network))


def statement_of(query: Query, prop: Property | None = None) -> tuple[NetworkFile, ExactProperty]:
    """The network in a query's file, and its property or another."""
    return parse_network(query.onnx.read_bytes()), exact(query.prop if prop is None else prop)
