"""Graphs are matched by structure: names, order and the sides of sums may differ."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from planted_graphs import changed_layers, inputs_exchanged, renamed

from facenet_validate.diagnosis.blocks import block_names
from facenet_validate.diagnosis.matching import Graph
from facenet_validate.diagnosis.sides import Sides
from facenet_validate.models.passes import set_nodes
from facenet_validate.models.prepared import PreparedModel
from tests.diagnosis.graph_cases import graph_of, int8_of

OPERATORS = 19 + 4 + 3 + 2 + 1  # layers, concatenations, additions, largest and average pools


def test_every_operator_has_its_counterpart_whatever_it_is_called(
    prepared_small: PreparedModel,
) -> None:
    model = graph_of(prepared_small)
    other = renamed(model, np.random.default_rng(0))
    sides = Sides(model, other)
    assert sides.matched.untold == ""
    assert len(sides.operators) == OPERATORS
    for operator in sides.operators:
        ours, theirs = (
            graph.weight(name)
            for graph, node in ((sides.ours, operator.reference), (sides.theirs, operator.engine))
            for name in node.input[1:2]
        ) if operator.reference.op_type in ("Conv", "Gemm") else (None, None)  # fmt: skip
        if ours is not None and theirs is not None:
            assert ours.raw_data == theirs.raw_data


def test_a_quantised_graph_is_matched_behind_its_pairs(prepared_small: PreparedModel) -> None:
    sides = Sides(graph_of(prepared_small), int8_of(graph_of(prepared_small)))
    assert len(sides.operators) == OPERATORS
    names = {operator.name: operator.made.engine for operator in sides.operators}
    assert names["block35/0"] == "block35/0/relu/dequantized"


def test_factors_make_equalized_channels_comparable(prepared_small: PreparedModel) -> None:
    model = graph_of(prepared_small)
    sides = Sides(model, int8_of(model))
    factors = sides.factors["block35/1a"]
    assert factors.max() / factors.min() > 1.5  # there is something to undo
    assert np.allclose(sides.factors["bottleneck"], 1, atol=0.02)
    for name, layer in sides.weights.items():
        ours = layer.reference / sides.factors[name][:, None, None]
        assert np.isfinite(ours).all()


def test_a_wrong_layer_gets_its_factors_from_its_readers(prepared_small: PreparedModel) -> None:
    model = graph_of(prepared_small)
    wrong = changed_layers(model, ["block17/1b"], inputs_exchanged, np.random.default_rng(1))
    factors = Sides(model, wrong).factors
    assert all(np.allclose(found, 1) for found in factors.values())


def test_another_structure_is_told_with_the_place(prepared_small: PreparedModel) -> None:
    model = graph_of(prepared_small)
    other = graph_of(prepared_small)
    for node in other.graph.node:
        for place, name in enumerate(node.input):
            if node.name == "block17/concat" and name == "block17/0/relu":
                node.input[place] = "block17/1c/relu"
    found = Sides(model, other).matched
    assert not found.operators
    assert "block17" in found.untold


def test_integer_operators_are_told(prepared_small: PreparedModel) -> None:
    model, other = graph_of(prepared_small), graph_of(prepared_small)
    next(node for node in other.graph.node if node.op_type == "Conv").op_type = "QLinearConv"
    assert "export it with Q/DQ pairs" in Sides(model, other).matched.untold


def test_blocks_have_the_names_of_the_paper(prepared_onnx: onnx.ModelProto) -> None:
    names = list(dict.fromkeys(block_names(prepared_onnx).values()))
    assert names[:2] == ["stem", "block35 1"]
    assert names[6:8] == ["mixed_6a", "block17 1"]
    assert names[-2:] == ["block8 6", "pool"]
    assert len(names) == 1 + 5 + 1 + 10 + 1 + 6 + 1


def test_another_network_s_blocks_are_numbered(small_onnx: onnx.ModelProto) -> None:
    names = list(dict.fromkeys(block_names(small_onnx).values()))
    assert names == ["stem", "residual 1", "reduction 1", "residual 2", "residual 3", "pool"]


@pytest.mark.parametrize("operator", ["Mul", "Div"])
def test_a_product_of_two_tensors_is_no_known_structure(
    prepared_small: PreparedModel, operator: str
) -> None:
    other = graph_of(prepared_small)
    nodes = list(other.graph.node)
    place = next(i for i, node in enumerate(nodes) if node.name == "block8/add")
    nodes[place].op_type = operator
    set_nodes(other.graph, [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes])
    found = Sides(graph_of(prepared_small), other).matched
    assert "joins tensors in a way of its own" in found.untold
    assert Graph(other).kind(nodes[place]) == ""
