"""A prepared model, rewritten as exporters write the same network.

Every function takes a model in canonical form, or one that another function here returned, and
returns a changed copy that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Style = Callable[[onnx.ModelProto], onnx.ModelProto]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.metadata_props[:]
    return copied


def _replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _weights(model: onnx.ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _set(tensor: TensorProto, value: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def chained(*styles: Style) -> Style:
    """Return one style after the other."""

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        for each in styles:
            model = each(model)
        return model

    return style


# -- names, batch, layout --------------------------------------------------------------------------


def numeric_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """Old PyTorch: tensors are numbers, nodes have no names."""
    model = _copy(model)
    renamed: dict[str, str] = {}
    graph = model.graph
    for value in [*graph.input, *graph.initializer]:
        renamed[value.name] = str(len(renamed))
        value.name = renamed[value.name]
    for node in graph.node:
        node.name = ""
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = renamed.setdefault(name, str(1000 + len(renamed)))
    for value in graph.output:
        value.name = renamed[value.name]
    return model


def fixed_batch(batch: int) -> Style:
    """A batch in the input's shape, and in the reshape behind the pool."""

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        model = _copy(model)
        for value in [*model.graph.input[:1], *model.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_value = batch
        for node in model.graph.node:
            if node.op_type == "Flatten":
                node.op_type = "Reshape"
                node.ClearField("attribute")
                node.input.append(_constant(model, "view", np.array([batch, -1], np.int64)))
        return model

    return style


def torchscript_view(model: onnx.ModelProto) -> onnx.ModelProto:
    """``x.view(x.shape[0], -1)``: Shape, Gather, Unsqueeze, Concat, Reshape."""
    model = _copy(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Flatten":
            nodes.append(node)
            continue
        _constant(model, "v/0", np.array(0, np.int64))
        _constant(model, "v/axis", np.array([0], np.int64))
        _constant(model, "v/rest", np.array([-1], np.int64))
        nodes += [
            _node("Shape", [node.input[0]], "v/shape"),
            _node("Gather", ["v/shape", "v/0"], "v/size", axis=0),
            _node("Unsqueeze", ["v/size", "v/axis"], "v/list"),
            _node("Concat", ["v/list", "v/rest"], "v/target", axis=0),
            _node("Reshape", [node.input[0], "v/target"], node.output[0]),
        ]
    return _replace_nodes(model, nodes)


def strided_flatten(model: onnx.ModelProto) -> onnx.ModelProto:
    """dynamo's ``as_strided``: all values in a row, gathered by computed places."""
    model = _copy(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Flatten":
            nodes.append(node)
            continue
        width = _weights(model)["bottleneck/weight"].dims[0]
        _constant(model, "s/row", np.array([-1], np.int64))
        _constant(model, "s/0", np.array(0, np.int64))
        _constant(model, "s/1", np.array(1, np.int64))
        _constant(model, "s/width", np.array(width, np.int64))
        _constant(model, "s/axis", np.array([1], np.int64))
        _constant(model, "s/places", np.arange(width))
        _constant(model, "s/target", np.array([-1, width], np.int64))
        nodes += [
            _node("Shape", [node.input[0]], "s/shape"),
            _node("Gather", ["s/shape", "s/0"], "s/batch"),
            _node("Range", ["s/0", "s/batch", "s/1"], "s/faces"),
            _node("Mul", ["s/faces", "s/width"], "s/starts"),
            _node("Unsqueeze", ["s/starts", "s/axis"], "s/column"),
            _node("Add", ["s/column", "s/places"], "s/indices"),
            _node("Reshape", [node.input[0], "s/row"], "s/values"),
            _node("Gather", ["s/values", "s/indices"], "s/strided"),
            _node("Reshape", ["s/strided", "s/target"], node.output[0]),
        ]
    return _replace_nodes(model, nodes)


def strided_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same, the places being rows already: no reshape follows."""
    model = strided_flatten(model)
    last = next(node for node in model.graph.node if "s/target" in node.input)
    gather = next(node for node in model.graph.node if "s/strided" in node.output)
    gather.output[0] = last.output[0]
    model.graph.node.remove(last)
    return model


def nhwc_input(model: onnx.ModelProto) -> onnx.ModelProto:
    """tf2onnx, optimised: interleaved images and one Transpose."""
    model = _copy(model)
    value = model.graph.input[0]
    size = value.type.tensor_type.shape.dim[2].dim_value
    batch = value.type.tensor_type.shape.dim[0]
    name = value.name
    value.CopyFrom(
        helper.make_tensor_value_info(
            "image", TensorProto.FLOAT, [batch.dim_value or batch.dim_param, size, size, 3]
        )
    )
    turn = _node("Transpose", ["image"], name, perm=[0, 3, 1, 2])
    return _replace_nodes(model, [turn, *model.graph.node])


def tensorflow_layout(model: onnx.ModelProto) -> onnx.ModelProto:
    """tf2onnx, not optimised: every tensor is interleaved, every window between Transposes."""
    model = _copy(model)
    value = model.graph.input[0]
    size = value.type.tensor_type.shape.dim[2].dim_value
    value.CopyFrom(
        helper.make_tensor_value_info(value.name, TensorProto.FLOAT, ["unk__1", size, size, 3])
    )
    axes = _constant(model, "squeeze/axes", np.array([1, 2], np.int64))
    image = _constant(model, "bn/image", np.array([-1, 1, 1, 16], np.int64))
    rows = _constant(model, "bn/rows", np.array([-1, 16], np.int64))
    nodes: list[onnx.NodeProto] = []
    flat = False
    for node in model.graph.node:
        name = node.output[0]
        flat = flat or node.op_type == "Flatten"
        if node.op_type == "BatchNormalization" and flat:
            # TensorFlow's batch norm is of images: [N, D] goes there and back.
            parts = [f"{name}/{part}" for part in ("image", "nchw", "made", "nhwc")]
            nodes += [
                _node("Reshape", [node.input[0], image], parts[0]),
                _node("Transpose", [parts[0]], parts[1], perm=[0, 3, 1, 2]),
                node,
                _node("Transpose", [parts[2]], parts[3], perm=[0, 2, 3, 1]),
                _node("Reshape", [parts[3], rows], name),
            ]
            node.input[0], node.output[0] = parts[1], parts[2]
        elif node.op_type in ("Conv", "MaxPool", "AveragePool", "BatchNormalization"):
            before, after = f"{name}/nchw", f"{name}/made"
            nodes.append(_node("Transpose", [node.input[0]], before, perm=[0, 3, 1, 2]))
            node.input[0], node.output[0], node.name = before, after, after
            nodes += [node, _node("Transpose", [after], name, perm=[0, 2, 3, 1])]
        elif node.op_type == "Concat":
            node.attribute[0].i = 3
            nodes.append(node)
        elif node.op_type == "Flatten":
            nodes += [
                _node("Identity", [node.input[0]], f"{name}/same"),
                _node("Squeeze", [f"{name}/same", axes], name),
            ]
        else:
            nodes.append(node)
    return _replace_nodes(model, nodes)


def mean_pool(model: onnx.ModelProto) -> onnx.ModelProto:
    """dynamo: the pool is a mean over both axes."""
    model = _copy(model)
    for node in model.graph.node:
        if node.op_type == "AveragePool":
            node.op_type = "ReduceMean"
            node.ClearField("attribute")
            node.attribute.append(helper.make_attribute("axes", [-1, -2]))
    return model


def global_pool(model: onnx.ModelProto) -> onnx.ModelProto:
    """TorchScript: an adaptive pool to 1×1."""
    model = _copy(model)
    for node in model.graph.node:
        if node.op_type == "AveragePool":
            node.op_type = "GlobalAveragePool"
            node.ClearField("attribute")
    return model


# -- weights ---------------------------------------------------------------------------------------


def batch_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Biases of convolutions followed by Relu become batch norms of plausible statistics."""
    model = _copy(model)
    weights, random = _weights(model), np.random.default_rng(1)
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Conv" or readers[node.output[0]] != "Relu":
            continue
        made, weight, bias = node.output[0], weights[node.input[1]], weights[node.input[2]]
        nodes.append(_batch_norm(model, random, f"{made}/conv", made, bias))
        scale = _scale(model, made)
        _set(weight, numpy_helper.to_array(weight) / scale[:, None, None, None])
        node.name = node.output[0] = f"{made}/conv"
        del node.input[2]
    return _replace_nodes(model, nodes)


def last_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """The bottleneck's bias becomes facenet-pytorch's ``last_bn``."""
    model = _copy(model)
    weights, random = _weights(model), np.random.default_rng(2)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Gemm":
            continue
        made, weight, bias = node.output[0], weights[node.input[1]], weights[node.input[2]]
        nodes.append(_batch_norm(model, random, f"{made}/linear", made, bias))
        _set(weight, numpy_helper.to_array(weight) / _scale(model, made))
        node.op_type = "MatMul"
        node.name = node.output[0] = f"{made}/linear"
        del node.input[2]
    return _replace_nodes(model, nodes)


def linear_and_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """dynamo, not optimised: ``last_bn`` behind a Gemm of transposed weights."""
    model = last_batch_norm(model)
    for node in model.graph.node:
        if node.op_type == "MatMul":
            (weight,) = (t for t in model.graph.initializer if t.name == node.input[1])
            _set(weight, numpy_helper.to_array(weight).T / 2)
            node.op_type = "Gemm"
            node.attribute.extend(
                [helper.make_attribute("transB", 1), helper.make_attribute("alpha", 2.0)]
            )
    return model


def convolution_as_bottleneck(model: onnx.ModelProto) -> onnx.ModelProto:
    """The bottleneck is a 1×1 convolution of the pooled features."""
    model = _copy(model)
    weights = _weights(model)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Flatten":
            flat = node
            continue
        if node.op_type == "Gemm":
            made = node.output[0]
            weight = weights[node.input[1]]
            _set(weight, numpy_helper.to_array(weight).T[:, :, None, None])
            node.op_type, node.output[0] = "Conv", f"{made}/image"
            node.input[0], flat.input[0] = flat.input[0], node.output[0]
            flat.output[0] = made
            nodes += [node, flat]
            continue
        nodes.append(node)
    return _replace_nodes(model, nodes)


def scales_and_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """The bottleneck's bias is an Add among constant Mul, Sub and Div, each way round."""
    model = _copy(model)
    weights = _weights(model)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Gemm":
            continue
        made, bias = node.output[0], numpy_helper.to_array(weights[node.input[2]])
        constants = {"half": np.float32(0.5), "four": np.float32(4), "one": np.ones(16, np.float32)}
        for name, value in {**constants, "rest": -(bias * 2 + 1)}.items():
            _constant(model, f"s/{name}", value)
        del node.input[2]
        node.name = node.output[0] = f"{made}/linear"
        steps = [  # x → 2x → 1 − 2x → −2b − 2x → b + x
            ("Mul", ["s/four", f"{made}/linear"]),
            ("Div", ["s/0", "s/four"]),
            ("Div", ["s/1", "s/half"]),
            ("Sub", ["s/one", "s/2"]),
            ("Add", ["s/3", "s/rest"]),
            ("Sub", ["s/4", "s/one"]),
            ("Add", ["s/one", "s/5"]),
            ("Mul", ["s/6", "s/minus"]),
        ]
        _constant(model, "s/minus", np.float32(-0.5))
        for index, (operator, inputs) in enumerate(steps):
            last = index == len(steps) - 1
            nodes.append(_node(operator, inputs, made if last else f"s/{index}"))
    return _replace_nodes(model, nodes)


def _batch_norm(
    model: onnx.ModelProto, random: np.random.Generator, data: str, made: str, bias: TensorProto
) -> onnx.NodeProto:
    count = bias.dims[0]
    gamma, variance = random.uniform(0.5, 1.5, count), random.uniform(0.5, 2, count)
    mean = random.normal(scale=0.2, size=count)
    beta = numpy_helper.to_array(bias) + mean * gamma / np.sqrt(variance + 1e-3)
    parameters = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    inputs = [
        _constant(model, f"{made}/{part}", value.astype(np.float32))
        for part, value in parameters.items()
    ]
    return helper.make_node(
        "BatchNormalization", [data, *inputs], [made], name=f"{made}/bn", epsilon=1e-3
    )


def _scale(model: onnx.ModelProto, made: str) -> NDArray[np.float64]:
    weights = _weights(model)
    gamma, variance = (
        numpy_helper.to_array(weights[f"{made}/{part}"]).astype(np.float64)
        for part in ("gamma", "variance")
    )
    return np.asarray(gamma / np.sqrt(variance + 1e-3))


def residual_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """The projection of every block is followed by ``Mul`` by 0.17, on either side in turn."""
    model = _copy(model)
    weights = _weights(model)
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    nodes, sides = [], 0
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Conv" or readers[node.output[0]] != "Add":
            continue
        made = node.output[0]
        for name in node.input[1:]:
            _set(weights[name], numpy_helper.to_array(weights[name]) / 0.17)
        operands = [f"{made}/up", _constant(model, f"{made}/scale", np.float32(0.17))]
        sides += 1
        node.name = node.output[0] = f"{made}/up"
        nodes.append(_node("Mul", operands[:: -1 if sides % 2 else 1], made))
    return _replace_nodes(model, nodes)


# -- the end ---------------------------------------------------------------------------------------


def _before_norm(model: onnx.ModelProto) -> tuple[list[onnx.NodeProto], str]:
    """Return the nodes up to the bottleneck, and the tensor the norm reads."""
    first = next(
        i for i, n in enumerate(model.graph.node) if n.op_type == "Mul" and n.input[0] == n.input[1]
    )
    return list(model.graph.node[:first]), model.graph.node[first].input[0]


def without_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph ends at the bottleneck, or at ``last_bn``."""
    model = _copy(model)
    nodes, features = _before_norm(model)
    model.graph.output[0].name = features
    return _replace_nodes(model, nodes)


def ending_at_the_pool(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph ends at [N, C, 1, 1]."""
    model = _copy(model)
    last = next(i for i, n in enumerate(model.graph.node) if n.op_type == "AveragePool")
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info(model.graph.node[last].output[0], TensorProto.FLOAT, None)
    )
    return _replace_nodes(model, list(model.graph.node[: last + 1]))


def norm_spelled(spelling: str) -> Style:
    """Write the norm in one of the spellings of `NORMS`."""

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        model = _copy(model)
        nodes, features = _before_norm(model)
        output = model.graph.output[0].name
        return _replace_nodes(model, [*nodes, *NORMS[spelling](model, features, output)])

    return style


def _reduce_l2(model: onnx.ModelProto, x: str, y: str) -> list[onnx.NodeProto]:
    floor = _constant(model, "n/floor", np.float32(1e-12))
    return [
        _node("ReduceL2", [x], "n/l2", axes=[1], keepdims=1),
        _node("Clip", ["n/l2", floor], "n/clip"),
        _node("Shape", [x], "n/shape"),
        _node("Expand", ["n/clip", "n/shape"], "n/expand"),
        _node("Div", [x, "n/expand"], y),
    ]


def _reciprocal(model: onnx.ModelProto, x: str, y: str) -> list[onnx.NodeProto]:
    axes, floor = _constant(model, "n/axes", np.array([-1])), _constant(model, "n/e", np.float32(0))
    return [
        _node("Pow", [x, _constant(model, "n/two", np.float32(2))], "n/square"),
        _node("ReduceSum", ["n/square", axes], "n/sum", keepdims=1),
        _node("Max", [floor, "n/sum"], "n/max"),
        _node("Sqrt", ["n/max"], "n/root"),
        _node("Reciprocal", ["n/root"], "n/inverse"),
        _node("Mul", ["n/inverse", x], y),
    ]


def _root_div(model: onnx.ModelProto, x: str, y: str) -> list[onnx.NodeProto]:
    return [
        _node("ReduceSumSquare", [x], "n/sum", axes=[1], keepdims=1),
        _node("Sqrt", ["n/sum"], "n/root"),
        _node("Div", [x, "n/root"], "n/y"),
        _node("Identity", ["n/y"], y),
    ]


def _power(model: onnx.ModelProto, x: str, y: str) -> list[onnx.NodeProto]:
    axes = _constant(model, "n/axes", np.array([1]))
    return [
        _node("Mul", [x, x], "n/square"),
        _node("ReduceSum", ["n/square", axes], "n/sum", keepdims=0),
        _node("Unsqueeze", ["n/sum", axes], "n/column"),
        _node("Pow", ["n/column", _constant(model, "n/power", np.float32(-0.5))], "n/inverse"),
        _node("Mul", [x, "n/inverse"], y),
    ]


def _lp(model: onnx.ModelProto, x: str, y: str) -> list[onnx.NodeProto]:
    return [_node("LpNormalization", [x], y, axis=1, p=2)]


NORMS: dict[str, Callable[[onnx.ModelProto, str, str], list[onnx.NodeProto]]] = {
    "ReduceL2, Clip, Expand, Div": _reduce_l2,
    "Pow, ReduceSum, Max, Sqrt, Reciprocal, Mul": _reciprocal,
    "ReduceSumSquare, Sqrt, Div": _root_div,
    "Mul, ReduceSum, Unsqueeze, Pow, Mul": _power,
    "LpNormalization": _lp,
}


def normalised_twice(model: onnx.ModelProto) -> onnx.ModelProto:
    """``F.normalize`` around a network that ends in its norm."""
    model = _copy(model)
    (last,) = (node for node in model.graph.node if node.output[0] == "embeddings")
    last.output[0] = "once"
    norm = helper.make_node("LpNormalization", ["once"], ["embeddings"], name="twice", axis=1, p=2)
    model.graph.node.append(norm)
    return model


def phase_train(model: onnx.ModelProto) -> onnx.ModelProto:
    """TensorFlow's flag, as tf2onnx keeps it: a BOOL input, and an ``If`` around the pool."""
    model = _copy(model)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "AveragePool":
            continue
        given, node.output[0] = node.output[0], "pooled"
        two = _constant(model, "two", np.array(2, np.float32))
        branches = {
            name: helper.make_graph(
                [_node(operator, inputs, name)],
                name,
                [],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            )
            for name, operator, inputs in (
                ("then_branch", "Mul", ["pooled", two]),
                ("else_branch", "Identity", ["pooled"]),
            )
        }
        nodes.append(helper.make_node("If", ["phase_train"], [given], name="if", **branches))
    flag = helper.make_tensor_value_info("phase_train", TensorProto.BOOL, [])
    model.graph.input.append(flag)
    return _replace_nodes(model, nodes)


def extra_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A feature map and the shape of the image are outputs as well."""
    model = _copy(model)
    middle = next(n.output[0] for n in model.graph.node if n.op_type == "Concat")
    model.graph.node.append(_node("Shape", [model.graph.input[0].name], "image_shape"))
    for name, kind in ((middle, TensorProto.FLOAT), ("image_shape", TensorProto.INT64)):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def two_candidates(model: onnx.ModelProto) -> onnx.ModelProto:
    """The pooled features are an output as well."""
    model = _copy(model)
    flat = next(n.output[0] for n in model.graph.node if n.op_type == "Flatten")
    model.graph.output.append(helper.make_tensor_value_info(flat, TensorProto.FLOAT, None))
    return model


def features_and_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """The features before the norm are an output as well."""
    model = _copy(model)
    _, features = _before_norm(model)
    embedding = model.graph.output[0]
    before = helper.make_tensor_value_info(features, TensorProto.FLOAT, None)
    del model.graph.output[:]
    model.graph.output.extend([before, helper.make_tensor_value_info(
        embedding.name, TensorProto.FLOAT, None)])  # fmt: skip
    return model


def classifier(*operators: str) -> Style:
    """A dense layer to 100 classes on the features, and what follows it."""

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        model = without_norm(model)
        features = model.graph.output[0].name
        size = next(
            t.dims[1] for t in model.graph.initializer if t.name.startswith("bottleneck/weight")
        )
        weight = np.random.default_rng(3).normal(size=(size, 100)).astype(np.float32)
        nodes = [*model.graph.node]
        nodes.append(_node("MatMul", [features, _constant(model, "classes", weight)], "logits"))
        for operator in operators:
            nodes.append(_node(operator, [nodes[-1].output[0]], operator.lower()))
        model.graph.output[0].CopyFrom(
            helper.make_tensor_value_info(
                nodes[-1].output[0],
                TensorProto.INT64 if "ArgMax" in operators else TensorProto.FLOAT,
                None,
            )
        )
        return _replace_nodes(model, nodes)

    return style


# -- the file --------------------------------------------------------------------------------------


def opset(version: int) -> Style:
    """An older opset, whose axes and bounds are attributes."""
    since = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        model = _copy(model)
        model.opset_import[0].version = version
        weights = _weights(model)
        for node in model.graph.node:
            if version < since.get(node.op_type, 0) and len(node.input) > 1:
                axes = numpy_helper.to_array(weights[node.input[1]]).tolist()
                del node.input[1]
                node.attribute.append(helper.make_attribute("axes", axes))
            if node.op_type == "Clip" and version < 11:
                low = float(numpy_helper.to_array(weights[node.input[1]]))
                del node.input[1:]
                node.attribute.append(helper.make_attribute("min", low))
        return model

    return style


def newer_opset(version: int) -> Style:
    """A newer opset, whose means have their axes as an input."""

    def style(model: onnx.ModelProto) -> onnx.ModelProto:
        model = _copy(model)
        model.opset_import[0].version = version
        for node in model.graph.node:
            if node.op_type in ("ReduceMean", "ReduceL2", "ReduceSumSquare"):
                axes = next(a for a in node.attribute if a.name == "axes")
                node.input.append(_constant(model, f"{node.name}/axes", np.array(axes.ints)))
                node.attribute.remove(axes)
        return model

    return style


def ir_three(model: onnx.ModelProto) -> onnx.ModelProto:
    """IR 3: every weight is an input too."""
    model = _copy(model)
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
    )
    return model


def local_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """dynamo: convolutions with their Relu, and the norm's square, are local functions."""
    model = _copy(model)
    model.ir_version = max(model.ir_version, 8)
    domain = "pkg.onnxscript.torch_lib"
    opsets = [helper.make_opsetid("", model.opset_import[0].version)]
    model.opset_import.append(helper.make_opsetid(domain, 1))
    for name, nodes in {
        "relu": [helper.make_node("Relu", ["x"], ["y"])],
        "square": [helper.make_node("Mul", ["x", "x"], ["y"])],
    }.items():
        model.functions.append(helper.make_function(domain, name, ["x"], ["y"], nodes, opsets))
    for node in model.graph.node:
        if node.op_type == "Relu" or (node.op_type == "Mul" and node.input[0] == node.input[1]):
            node.op_type = "relu" if node.op_type == "Relu" else "square"
            node.domain = domain
            del node.input[1:]
    return model
