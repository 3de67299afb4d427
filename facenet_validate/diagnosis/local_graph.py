"""Every operator of an engine's graph by itself: fed with the model's tensors, not the engine's."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from facenet_validate.diagnosis.matching import Graph, Operator
from facenet_validate.models.operands import tensors_of_graph

_THROUGH = ("QuantizeLinear", "DequantizeLinear", "Cast")


def unrounded(graph: Graph, tensor: str) -> str:
    """Return the tensor that a Q/DQ pair rounds; the tensor itself where there is no pair."""
    name = tensor
    while (node := graph.makers.get(name)) is not None and node.op_type in _THROUGH:
        name = node.input[0]
        if node.op_type == "QuantizeLinear":
            tensor = name
    return tensor


def local_graph(graph: Graph, operators: Sequence[Operator]) -> onnx.ModelProto:
    """Return a graph in which no operator reads what another one has made.

    An operator stands in it with the Q/DQ pairs of what it reads and gives, and with its
    activation. The inputs have the names of the model's tensors, behind ``fed/``; the outputs are
    called as `local_output` says.
    """
    types = tensors_of_graph(graph.model)
    constant = [node for node in graph.nodes if graph.constant.issuperset(node.output)]
    nodes: list[onnx.NodeProto] = []
    fed: dict[str, None] = {}
    for place, operator in enumerate(operators):
        mark = f"local/{place}/"
        cut = {}
        for edge in operator.read:
            tensor = unrounded(graph, edge.engine)
            fed[fed_input(edge.reference)] = None
            cut[tensor] = f"{mark}{tensor}"
            half = types.type_of(tensor) == TensorProto.FLOAT16
            to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            nodes.append(
                helper.make_node("Cast", [fed_input(edge.reference)], [cut[tensor]], to=to)
            )
        nodes += _slice(graph, operator.made.engine, cut, mark)
        nodes.append(
            helper.make_node(
                "Cast", [f"{mark}{operator.made.engine}"], [local_output(operator)], to=1
            )
        )
    made = onnx.ModelProto(ir_version=graph.model.ir_version)
    made.opset_import.extend(graph.model.opset_import)
    made.graph.name = "local"
    made.graph.node.extend([*constant, *nodes])
    made.graph.initializer.extend(graph.model.graph.initializer)
    made.graph.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in fed)
    made.graph.output.extend(onnx.ValueInfoProto(name=local_output(one)) for one in operators)
    return made


def fed_input(tensor: str) -> str:
    """Return the name of the local graph's input for a tensor of the model."""
    return f"fed/{tensor}"


def local_output(operator: Operator) -> str:
    """Return the name of the local graph's output for an operator."""
    return f"{operator.name}/local"


def _slice(graph: Graph, tensor: str, cut: dict[str, str], mark: str) -> list[onnx.NodeProto]:
    """Return copies of the nodes from the tensors that are fed to one that is wanted, in order."""
    names = dict(cut)
    wanted, kept = {tensor}, []
    for node in reversed(graph.nodes):
        if wanted.isdisjoint(set(node.output) - cut.keys()):
            continue
        kept.append(node)
        wanted |= {name for name in node.input if name and name not in graph.constant}
    copies = []
    for node in reversed(kept):
        made = onnx.NodeProto.FromString(node.SerializeToString())
        made.name = f"{mark}{node.name}"
        # An output of a node before the cut is never wanted, so every other name is its own.
        for place, name in enumerate(node.input):
            if name and name not in graph.constant:
                made.input[place] = names[name]
        for place, name in enumerate(node.output):
            if name:
                names[name] = made.output[place] = f"{mark}{name}"
        copies.append(made)
    return copies
