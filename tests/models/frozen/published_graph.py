"""Frozen graphs as facenet publishes them, made from graphs stripped for inference.

TensorFlow is not here to write one; the node types, names and attributes are those that TensorFlow
1.x gives `train_softmax.py` with slim's layers, after `freeze_graph.py` turned ``RefSwitch`` into
``Switch`` and ``AssignSub`` into ``Sub``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.models.frozen.graphdef import (
    BOOL,
    attributes,
    graph_message,
    set_tensor,
    sorted_nodes,
    tensor_value,
    type_code,
)

EPSILON = 1e-3
FLOAT, INT = (type_code(np.dtype(kind)) for kind in ("float32", "int32"))
VERSIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


@dataclass(frozen=True)
class Type:
    """A TensorFlow data type as an attribute."""

    code: int


@dataclass(frozen=True)
class Sizes:
    """A shape as an attribute; None is a shape of unknown rank."""

    sizes: tuple[int, ...] | None


class Writer:
    """Adds nodes to a graph."""

    def __init__(self) -> None:
        self.graph = graph_message()

    def node(self, name: str, op: str, *inputs: str, **attrs: Any) -> str:
        node = self.graph.node.add(name=name, op=op)
        node.input.extend(inputs)
        for key, given in attrs.items():
            _set(node.attr.add(key=key).value, given)
        return name

    def copy(self, node: Any, *inputs: str) -> str:
        written = self.graph.node.add()
        written.CopyFrom(node)
        written.input[:] = inputs
        return str(node.name)

    def const(self, name: str, value: Any, *controls: str) -> str:
        array = np.asarray(value)
        array = array.astype({"f": np.float32, "i": np.int32, "b": np.bool_}[array.dtype.kind])
        kind = Type(type_code(array.dtype))
        return self.node(name, "Const", *controls, value=array, dtype=kind)

    def filled(self, name: str, value: float, shape: tuple[int, ...]) -> str:
        """Add a constant tensor as TensorFlow stores one: its shape, and its one value."""
        self.const(name, value)
        tensor = attributes(self.graph.node[-1])["value"].tensor
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        return name

    def variable(self, name: str, value: NDArray[Any]) -> str:
        self.const(name, value)
        return self.node(f"{name}/read", "Identity", name, T=Type(FLOAT))

    def set(self, name: str, **attrs: Any) -> None:
        """Give a node other attributes."""
        (node,) = [node for node in self.graph.node if node.name == name]
        kept = [attribute for attribute in node.attr if attribute.key not in attrs]
        del node.attr[:]
        node.attr.extend(kept)
        for key, given in attrs.items():
            _set(node.attr.add(key=key).value, given)

    def value(self, name: str) -> NDArray[Any]:
        """Return the value of a constant."""
        (node,) = [node for node in self.graph.node if node.name == name]
        return tensor_value(attributes(node)["value"].tensor, node=name)

    def serialized(self, *, shuffle: int | None = None) -> bytes:
        graph = self.graph
        if shuffle is not None:
            graph = graph_message()
            order = np.random.default_rng(shuffle).permutation(len(self.graph.node))
            graph.node.extend(self.graph.node[int(place)] for place in order)
        return bytes(graph.SerializeToString())


def _set(value: Any, given: Any) -> None:
    match given:
        case np.ndarray():
            set_tensor(value.tensor, given)
        case Type(code):
            value.type = code
        case Sizes(sizes):
            value.shape.unknown_rank = sizes is None
            _dims(value.shape, sizes)
        case bool():
            value.b = given
        case bytes():
            value.s = given
        case float():
            value.f = given
        case int():
            value.i = given
        case [Sizes(), *_]:
            for shape in given:
                _dims(value.list.shape.add(), shape.sizes)
        case [Type(), *_]:
            value.list.type.extend(kind.code for kind in given)
        case _:
            value.list.i.extend(given)


def _dims(shape: Any, sizes: tuple[int, ...] | None) -> None:
    for size in sizes or ():
        shape.dim.add(size=size)


# -- a small network -------------------------------------------------------------------------------


class SmallNetwork(Writer):
    """A network of FaceNet's layers, stripped for inference, with random weights."""

    def __init__(
        self, *, height: int = 23, width: int = 19, features: int = 8, seed: int = 0
    ) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)
        self.node(
            "image", "Placeholder", dtype=Type(FLOAT), shape=Sizes((1, height, width, 3))
        )  # fmt: skip
        net = self.relu(
            "Net/Conv2d_1a", self.convolution("Net/Conv2d_1a", "image", (3, 3, 3, 6), 2)
        )
        net = self.pool("Net/MaxPool_2a", "MaxPool", net, (3, 3), 2)
        left = self.relu("Net/A/0", self.convolution("Net/A/0", net, (1, 1, 6, 4)))
        right = self.relu("Net/A/1", self.convolution("Net/A/1", net, (1, 1, 6, 5)))
        right = self.relu("Net/A/2", self.convolution("Net/A/2", right, (1, 3, 5, 5)))
        axis = self.const("Net/A/concat/axis", 3)
        mixed = self.node("Net/A/concat", "ConcatV2", left, right, axis, N=2)
        up = self.convolution("Net/A/up", mixed, (1, 1, 9, 6))
        scale = self.const("Net/A/mul/x", 0.17)
        scaled = self.node("Net/A/mul", "Mul", scale, up)
        net = self.relu("Net/A", self.node("Net/A/add", "Add", net, scaled))
        sides = ((height - 3) // 2 - 2) // 2 + 1, ((width - 3) // 2 - 2) // 2 + 1
        net = self.pool("Net/AvgPool", "AvgPool", net, sides, 1)
        target = self.const("Net/Flatten/shape", [1, -1])
        net = self.node("Net/Flatten/Reshape", "Reshape", net, target)
        net = self.dense("Net/Bottleneck", net, (6, features))
        self.prelogits = self.norm("Net/Bottleneck/BatchNorm", net, features)
        self.unit("embeddings", self.prelogits)

    def weights(self, name: str, *shape: int) -> str:
        return self.const(name, self.random.normal(size=shape))

    def convolution(self, scope: str, data: str, kernel: tuple[int, ...], stride: int = 1) -> str:
        """Add a convolution and its bias: ``VALID`` where it strides, ``SAME`` elsewhere."""
        self.node(
            f"{scope}/Conv2D", "Conv2D", data, self.weights(f"{scope}/weights", *kernel),
            T=Type(FLOAT), strides=[1, stride, stride, 1], data_format=b"NHWC",
            padding=b"VALID" if stride > 1 else b"SAME",
        )  # fmt: skip
        bias = self.weights(f"{scope}/biases", kernel[-1])
        return self.node(f"{scope}/BiasAdd", "BiasAdd", f"{scope}/Conv2D", bias, T=Type(FLOAT))

    def relu(self, scope: str, data: str) -> str:
        return self.node(f"{scope}/Relu", "Relu", data, T=Type(FLOAT))

    def pool(self, name: str, op: str, data: str, size: tuple[int, int], stride: int) -> str:
        return self.node(
            name, op, data, T=Type(FLOAT), ksize=[1, *size, 1], strides=[1, stride, stride, 1],
            padding=b"VALID", data_format=b"NHWC",
        )  # fmt: skip

    def dense(self, scope: str, data: str, shape: tuple[int, int]) -> str:
        weights = self.weights(f"{scope}/weights", *shape)
        return self.node(
            f"{scope}/MatMul", "MatMul", data, weights, T=Type(FLOAT), transpose_a=False,
            transpose_b=False,
        )  # fmt: skip

    def norm(self, scope: str, data: str, features: int) -> str:
        """Add the last batch norm between its reshapes."""
        target = self.const(f"{scope}/Reshape/shape", [-1, 1, 1, features])
        image = self.node(f"{scope}/Reshape", "Reshape", data, target)
        gamma = self.filled(f"{scope}/Const", 1.0, (features,))
        beta = self.weights(f"{scope}/beta", features)
        mean = self.weights(f"{scope}/moving_mean", features)
        variance = self.const(f"{scope}/moving_variance", self.random.uniform(0.5, 2, features))
        self.node(
            f"{scope}/FusedBatchNorm", "FusedBatchNorm", image, gamma, beta, mean, variance,
            T=Type(FLOAT), epsilon=EPSILON, is_training=False, data_format=b"NHWC",
        )  # fmt: skip
        target = self.const(f"{scope}/Reshape_1/shape", [1, features])
        return self.node(f"{scope}/Reshape_1", "Reshape", f"{scope}/FusedBatchNorm", target)

    def unit(self, name: str, data: str) -> str:
        """Add TensorFlow's ``l2_normalize``."""
        self.node(f"{name}/Square", "Square", data, T=Type(FLOAT))
        axes = self.const(f"{name}/Sum/reduction_indices", [1])
        self.node(f"{name}/Sum", "Sum", f"{name}/Square", axes, keep_dims=True)
        self.node(f"{name}/Maximum", "Maximum", f"{name}/Sum", self.const(f"{name}/y", 1e-10))
        self.node(f"{name}/Rsqrt", "Rsqrt", f"{name}/Maximum", T=Type(FLOAT))
        return self.node(name, "Mul", data, f"{name}/Rsqrt", T=Type(FLOAT))


# -- the training a published graph carries --------------------------------------------------------


class TrainingWriter(Writer):
    """Writes the layers of slim with the training they carry.

    Parameters
    ----------
    fused : bool
        Batch norm as one node or as its arithmetic.
    sliced : bool
        Shapes by ``Slice`` and ``Prod``, as TensorFlow 1.0 has them, or by ``StridedSlice``.
    """

    def __init__(self, *, fused: bool, sliced: bool) -> None:
        super().__init__()
        self.fused = fused
        self.sliced = sliced
        self.norms = 0
        self.node("phase_train", "Placeholder", dtype=Type(BOOL), shape=Sizes(None))

    def images(self, height: int, width: int) -> str:
        """Write `batch_join`'s end of the input queue, images and labels."""
        types = [Type(FLOAT), Type(INT)]
        self.node("batch_size", "Placeholder", dtype=Type(INT), shape=Sizes(None))
        self.node(
            "batch_join/fifo_queue", "FIFOQueueV2", capacity=1600, component_types=types,
            shapes=[Sizes((height, width, 3)), Sizes(())], container=b"", shared_name=b"",
        )  # fmt: skip
        self.node(
            "batch_join", "QueueDequeueUpToV2", "batch_join/fifo_queue", "batch_size",
            component_types=types, timeout_ms=-1,
        )  # fmt: skip
        self.node("image_batch", "Identity", "batch_join", T=Type(FLOAT))
        self.node("label_batch", "Identity", "batch_join:1", T=Type(INT))
        return self.node("input", "Identity", "image_batch", T=Type(FLOAT))

    def condition(self, scope: str) -> str:
        self.node(f"{scope}/Switch", "Switch", "phase_train", "phase_train", T=Type(BOOL))
        self.node(f"{scope}/switch_t", "Identity", f"{scope}/Switch:1", T=Type(BOOL))
        self.node(f"{scope}/switch_f", "Identity", f"{scope}/Switch", T=Type(BOOL))
        return self.node(f"{scope}/pred_id", "Identity", "phase_train", T=Type(BOOL))

    def switch(self, name: str, data: str, scope: str) -> str:
        return self.node(name, "Switch", data, f"{scope}/pred_id", T=Type(FLOAT))

    def merge(self, name: str, false: str, true: str) -> str:
        return self.node(name, "Merge", false, true, N=2, T=Type(FLOAT))

    def batch_norm(self, scope: str, data: str, norm: Norm, *, features: bool) -> str:
        scope = f"{scope}/BatchNorm"
        channels = len(norm.beta)
        flat = data
        if features and self.fused:
            self.const(f"{scope}/Reshape/shape", [-1, 1, 1, channels])
            data = self.node(f"{scope}/Reshape", "Reshape", data, f"{scope}/Reshape/shape")
        beta = self.variable(f"{scope}/beta", norm.beta)
        mean = self.variable(f"{scope}/moving_mean", norm.mean)
        variance = self.variable(f"{scope}/moving_variance", norm.variance)
        write = self._fused if self.fused else self._unfused
        result = write(scope, data, beta, mean, variance, channels)
        if features and self.fused:
            shape = self.node(f"{scope}/Shape", "Shape", flat, T=Type(FLOAT), out_type=Type(INT))
            result = self.node(f"{scope}/Reshape_1", "Reshape", result, shape)
        return result

    def _fused(
        self, scope: str, data: str, beta: str, mean: str, variance: str, channels: int
    ) -> str:
        op = VERSIONS[self.norms % 3]
        self.norms += 1
        gamma = self.filled(f"{scope}/Const", 1.0, (channels,))
        cond = f"{scope}/cond"
        self.condition(cond)
        for taken, port in (("FusedBatchNorm", ":1"), ("FusedBatchNorm_1", "")):
            given = [data, gamma, beta, *([] if port else [mean, variance])]
            inputs = [
                self.switch(f"{cond}/{taken}/Switch{f'_{place}' if place else ''}", name, cond)
                + port
                for place, name in enumerate(given)
            ]
            if port:
                control = f"^{cond}/switch_t"
                for name in ("Const", "Const_1"):
                    inputs.append(self.const(f"{cond}/{name}", np.zeros(0, np.float32), control))
            self.node(
                f"{cond}/{taken}", op, *inputs, T=Type(FLOAT), data_format=b"NHWC",
                epsilon=EPSILON, is_training=bool(port),
            )  # fmt: skip
        for place in range(3):
            port = f":{place}" if place else ""
            self.merge(
                f"{cond}/Merge{f'_{place}' if place else ''}",
                f"{cond}/FusedBatchNorm_1{port}", f"{cond}/FusedBatchNorm{port}",
            )  # fmt: skip
        moments = [f"{cond}/Merge_1", f"{cond}/Merge_2"]
        update = f"{scope}/cond_1"
        updates = self._moving_averages(update, [mean, variance], moments)
        self.switch(f"{update}/Identity/Switch", f"{cond}/Merge", update)
        true = self.node(f"{update}/Identity", "Identity", f"{update}/Identity/Switch:1", *updates)
        false = self.switch(f"{update}/Switch_1", f"{cond}/Merge", update)
        return self.merge(f"{update}/Merge", false, true)

    def _moving_averages(self, cond: str, averages: list[str], moments: list[str]) -> list[str]:
        self.condition(cond)
        controls = []
        for place, (average, moment) in enumerate(zip(averages, moments, strict=True)):
            name = f"{cond}/AssignMovingAvg{'_1' if place else ''}"
            decay = self.const(f"{name}/decay", 0.005, f"^{cond}/switch_t")
            old = self.switch(f"{name}/sub/Switch", average, cond)
            new = self.switch(f"{name}/sub/Switch_1", moment, cond)
            self.node(f"{name}/sub", "Sub", f"{old}:1", f"{new}:1", T=Type(FLOAT))
            self.node(f"{name}/mul", "Mul", f"{name}/sub", decay, T=Type(FLOAT))
            self.switch(f"{name}/Switch", average, cond)
            self.node(name, "Sub", f"{name}/Switch:1", f"{name}/mul", T=Type(FLOAT))
            controls.append(f"^{name}")
        return controls

    def _unfused(
        self, scope: str, data: str, beta: str, mean: str, variance: str, channels: int
    ) -> str:
        axes = self.const(f"{scope}/moments/Mean/reduction_indices", [0, 1, 2])
        batch_mean = self.node(f"{scope}/moments/Mean", "Mean", data, axes, keep_dims=True)
        centre = self.node(f"{scope}/moments/StopGradient", "StopGradient", batch_mean)
        squares = self.node(f"{scope}/moments/SquaredDifference", "SquaredDifference", data, centre)
        spread = self.node(f"{scope}/moments/Mean_1", "Mean", squares, axes, keep_dims=True)
        moments = [
            self.node(f"{scope}/moments/Squeeze{end}", "Squeeze", name, squeeze_dims=[0, 1, 2])
            for end, name in (("", batch_mean), ("_1", spread))
        ]
        cond = f"{scope}/cond"
        updates = self._moving_averages(cond, [mean, variance], moments)
        merged = []
        for place, (moment, average) in enumerate(zip(moments, [mean, variance], strict=True)):
            end = "_1" if place else ""
            self.switch(f"{cond}/Identity{end}/Switch", moment, cond)
            true = f"{cond}/Identity{end}/Switch:1"
            true = self.node(f"{cond}/Identity{end}", "Identity", true, *updates)
            false = self.switch(f"{cond}/Switch_{place + 1}", average, cond)
            merged.append(self.merge(f"{cond}/Merge{end}", false, true))
        norm = f"{scope}/batchnorm"
        self.const(f"{norm}/add/y", EPSILON)
        self.node(f"{norm}/add", "Add", merged[1], f"{norm}/add/y", T=Type(FLOAT))
        self.node(f"{norm}/Rsqrt", "Rsqrt", f"{norm}/add", T=Type(FLOAT))
        self.node(f"{norm}/mul", "Mul", data, f"{norm}/Rsqrt", T=Type(FLOAT))
        self.node(f"{norm}/mul_1", "Mul", merged[0], f"{norm}/Rsqrt", T=Type(FLOAT))
        self.node(f"{norm}/sub", "Sub", beta, f"{norm}/mul_1", T=Type(FLOAT))
        return self.node(f"{norm}/add_1", "Add", f"{norm}/mul", f"{norm}/sub", T=Type(FLOAT))

    def flatten(self, scope: str, data: str) -> str:
        scope = f"{scope}/Flatten"
        shape = self.node(f"{scope}/Shape", "Shape", data, T=Type(FLOAT), out_type=Type(INT))
        if self.sliced:
            parts = [
                self.node(
                    f"{scope}/Slice{end}", "Slice", shape,
                    self.const(f"{scope}/Slice{end}/begin", [begin]),
                    self.const(f"{scope}/Slice{end}/size", [size]),
                )
                for end, begin, size in (("", 0, 1), ("_1", 1, 3))
            ]  # fmt: skip
            axes = self.const(f"{scope}/Const", [0])
            product = self.node(f"{scope}/Prod", "Prod", parts[1], axes, keep_dims=False)
            place = self.const(f"{scope}/ExpandDims/dim", 0)
            features = self.node(f"{scope}/ExpandDims", "ExpandDims", product, place)
            axis = self.const(f"{scope}/concat/axis", 0)
            target = self.node(f"{scope}/concat", "ConcatV2", parts[0], features, axis, N=2)
        else:
            stacks = [
                self.const(f"{scope}/strided_slice/stack{end}", [value])
                for end, value in (("", 0), ("_1", 1), ("_2", 1))
            ]
            batch = self.node(
                f"{scope}/strided_slice", "StridedSlice", shape, *stacks, begin_mask=0,
                end_mask=0, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=1,
            )  # fmt: skip
            rest = self.const(f"{scope}/Reshape/shape/1", -1)
            target = self.node(f"{scope}/Reshape/shape", "Pack", batch, rest, axis=0, N=2)
        return self.node(f"{scope}/Reshape", "Reshape", data, target, T=Type(FLOAT))

    def dropout(self, scope: str, data: str) -> str:
        cond = f"{scope}/Dropout/cond"
        self.condition(cond)
        true = f"^{cond}/switch_t"
        drop = f"{cond}/dropout"
        keep = self.const(f"{drop}/keep_prob", 0.4, true)
        taken = self.switch(f"{drop}/Shape/Switch", data, cond) + ":1"
        self.node(f"{drop}/Shape", "Shape", taken, T=Type(FLOAT), out_type=Type(INT))
        low = self.const(f"{drop}/random_uniform/min", 0.0, true)
        high = self.const(f"{drop}/random_uniform/max", 1.0, true)
        random = self.node(
            f"{drop}/random_uniform/RandomUniform", "RandomUniform", f"{drop}/Shape",
            dtype=Type(FLOAT), seed=0, seed2=0,
        )  # fmt: skip
        span = self.node(f"{drop}/random_uniform/sub", "Sub", high, low)
        scaled = self.node(f"{drop}/random_uniform/mul", "Mul", random, span)
        shifted = self.node(f"{drop}/random_uniform", "Add", scaled, low)
        sums = self.node(f"{drop}/add", "Add", keep, shifted)
        mask = self.node(f"{drop}/Floor", "Floor", sums)
        ratio = self.node(f"{drop}/div", "RealDiv", taken, keep)
        dropped = self.node(f"{drop}/mul", "Mul", ratio, mask)
        kept = self.switch(f"{cond}/Identity/Switch", data, cond)
        kept = self.node(f"{cond}/Identity", "Identity", kept, T=Type(FLOAT))
        return self.merge(f"{cond}/Merge", kept, dropped)


@dataclass(frozen=True)
class Norm:
    """What a batch norm with gamma 1 has."""

    beta: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]


def publish(stripped: Any, *, fused: bool = True, sliced: bool = False, seed: int = 0) -> Writer:
    """Return a stripped graph with the training it would have been published with.

    Every ``Conv2D → BiasAdd → Relu`` becomes convolution, batch norm and relu of the same function:
    the kernel is scaled by random factors that the moving variance takes back.
    """
    return _Publisher(stripped, TrainingWriter(fused=fused, sliced=sliced), seed).write()


class _Publisher:
    def __init__(self, stripped: Any, writer: TrainingWriter, seed: int) -> None:
        self.nodes = {node.name: node for node in stripped.node}
        self.readers: dict[str, list[Any]] = {}
        for node in stripped.node:
            for name in _data(node):
                self.readers.setdefault(_bare(name), []).append(node)
        self.writer = writer
        self.random = np.random.default_rng(seed)
        self.names: dict[str, str] = {}

    def constant(self, name: str) -> NDArray[Any]:
        tensor = attributes(self.nodes[name])["value"].tensor
        return tensor_value(tensor, node=name)

    def write(self) -> Writer:
        for node in sorted_nodes(self.nodes):
            self.names[node.name] = self.published(node)
        return self.writer

    def published(self, node: Any) -> str:  # noqa: PLR0911
        writer, inputs = self.writer, [self.names[_bare(name)] for name in _data(node)]
        scope = node.name.rpartition("/")[0]
        match node.op:
            case "Placeholder":
                height, width = (d.size for d in attributes(node)["shape"].shape.dim[1:3])
                return writer.images(height, width)
            case "Const":
                return self.weight(node)
            case "Conv2D" if self.is_normed(node):
                kernel = self.constant(_bare(node.input[1]))
                scales = self.scales(node.name, kernel.shape[3])
                weights = writer.variable(f"{scope}/weights", kernel * scales)
                return writer.copy(node, inputs[0], weights)
            case "BiasAdd" if self.is_normed(self.nodes[_bare(node.input[0])]):
                bias = self.constant(_bare(node.input[1]))
                convolution = _bare(node.input[0])
                scope = convolution.rpartition("/")[0]
                scales = self.scales(convolution, len(bias))
                mean = self.random.normal(size=len(bias)).astype(np.float32)
                norm = Norm(bias + mean / scales, mean, scales**2 - np.float32(EPSILON))
                return writer.batch_norm(scope, inputs[0], norm, features=False)
            case "Reshape" if self.nodes[_bare(node.input[0])].op in ("AvgPool", "Mean"):
                return writer.dropout(scope, writer.flatten(scope, inputs[0]))
            case "Reshape":
                return inputs[0]  # around the last batch norm, which brings its own
            case "FusedBatchNorm":
                gamma, beta, mean, variance = map(self.constant, map(_bare, node.input[1:]))
                assert (gamma == 1).all()
                scope = scope.removesuffix("/cond").removesuffix("/BatchNorm")
                norm = Norm(beta, mean, variance)
                return writer.batch_norm(scope, inputs[0], norm, features=True)
        return writer.copy(node, *inputs)

    def weight(self, node: Any) -> str:
        reader = self.readers[node.name][0]
        convolution = self.nodes[_bare(reader.input[0])] if reader.op == "BiasAdd" else reader
        replaced = convolution.op == "Conv2D" and self.is_normed(convolution)
        if replaced or reader.op in ("FusedBatchNorm", "Reshape"):
            return ""  # its layer brings its own
        if reader.op in ("Conv2D", "BiasAdd", "MatMul"):
            return self.writer.variable(node.name, self.constant(node.name))
        return self.writer.copy(node)

    def is_normed(self, convolution: Any) -> bool:
        (bias,) = self.readers[convolution.name]
        return all(reader.op == "Relu" for reader in self.readers[bias.name])

    def scales(self, name: str, channels: int) -> NDArray[np.float32]:
        """Return the factors of a convolution's channels, the same at every call."""
        seed = np.frombuffer(name.encode(), np.uint8)
        return np.random.default_rng(seed).uniform(0.5, 2.0, channels).astype(np.float32)


def _bare(name: str) -> str:
    return name.partition(":")[0]


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
