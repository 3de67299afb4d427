"""The dense head of a FaceNet: pooled features → embedding before its norm, as one dense layer.

Whatever an exporter wrote between the two (a linear layer, a batch norm, a bias, reshapes that fix
the batch) is an affine map of the pooled features. It is composed here in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.graph_view import NOISE, GraphView
from facenet_validate.models.passes import constants_of, described, whole

_NOTHING = -0.0
"""Changes no number it is added to, not even the sign of a zero."""

_DENSE = ("MatMul", "Gemm", "Conv")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
_MAPS = (*_DENSE, "BatchNormalization", *_ARITHMETIC)
_POOLS = ("AveragePool", "GlobalAveragePool", "ReduceMean")
_SCORES = ("Softmax", "LogSoftmax", "ArgMax", "TopK", "Sigmoid", "Hardmax")


@dataclass(frozen=True)
class Head:
    """The part between the last convolution and the norm: a pool, and at most one dense layer.

    Attributes
    ----------
    pool : onnx.NodeProto
        The last pool.
    image : str
        The feature map it reads, ``[N, C, H, W]``.
    window : (int, int)
        H and W.
    weights : ndarray (C, D) or None
        None where the pooled features are the embedding.
    bias : ndarray (D,) or None
        None with ``weights``.
    """

    pool: onnx.NodeProto
    image: str
    window: tuple[int, int]
    weights: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None


def find_head(view: GraphView, features: str, *, source: str) -> Head:
    """Return the head of a simplified graph.

    Raises
    ------
    ModelError
        If something between the pool and the embedding is neither a dense layer, a batch norm, a
        constant scale or bias nor a reshape; the node is named.
    """
    constants = constants_of(view.graph)
    chain: list[onnx.NodeProto] = []
    name = features
    while True:
        node = view.makers.get(name)
        if node is None:
            raise ModelError(
                f"{source}: no pool between the image and the embedding. Expected an Inception-"
                "ResNet: convolutions, an average pool, a bottleneck."
            )
        if node.op_type in _POOLS:
            break
        if node.op_type not in NOISE and node.op_type not in _MAPS:
            raise ModelError(
                f"{source}: {described(node)} stands between the pool and the embedding. Expected "
                "only dense layers, batch norms, scales and reshapes there; name the embedding's "
                "tensor with --output NAME if this is a head on top of it."
            )
        chain.append(node)
        name = _data(node, constants)
    image, window = _pooled_image(view, node, source)
    width = view.features(node.output[0])
    affine = _Affine(constants, width)
    for step in reversed(chain):
        if step.op_type not in NOISE:
            affine.apply(step, source)
    if affine.weights is None:
        return Head(node, image, window, None, None)
    weights, bias = affine.weights.astype(np.float32), affine.bias.astype(np.float32)
    return Head(node, image, window, weights, bias)


def _data(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> str:
    """Return the input that is not a weight."""
    if node.op_type in _ARITHMETIC and node.input[0] in constants:
        return str(node.input[1])
    return str(node.input[0])


def _pooled_image(
    view: GraphView, pool: onnx.NodeProto, source: str
) -> tuple[str, tuple[int, int]]:
    """Return the feature map a pool averages whole, in planes, and its height and width."""
    image = pool.input[0]
    turned = view.makers.get(image)
    if turned is not None and turned.op_type == "Transpose" and pool.op_type == "ReduceMean":
        image = turned.input[0]
    shape = view.shapes.get(image, ())
    if len(shape) != 4 or not all(shape) or not view.features(pool.output[0]):
        raise ModelError(
            f"{source}: {described(pool)} gives {list(view.shapes.get(pool.output[0], ()))} of "
            f"{list(shape)}. Expected one value a channel: [N, C, 1, 1]."
        )
    return image, (shape[2], shape[3])


class _Affine:
    """``x → x @ weights + bias``, composed in float64 layer by layer."""

    def __init__(self, constants: dict[str, TensorProto], width: int) -> None:
        self._constants = constants
        self._width = width
        self.weights: NDArray[np.float64] | None = None
        self.bias: NDArray[np.float64] = np.zeros(width)

    def apply(self, node: onnx.NodeProto, source: str) -> None:
        """Put the map of a node behind the maps so far."""
        try:
            if node.op_type in _DENSE:
                self._dense(*self._matrix(node))
            else:
                self._by_feature(*self._factor(node))
        except (KeyError, ValueError):
            raise ModelError(
                f"{source}: {described(node)} is not a map of {len(self.bias)} features by "
                "weights of the model. Expected a dense layer, a batch norm, a scale or a bias."
            ) from None

    def _dense(self, matrix: NDArray[np.float64], offset: NDArray[np.float64] | float) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != len(self.bias):
            raise ValueError
        self.weights = matrix if self.weights is None else self.weights @ matrix
        self.bias = self.bias @ matrix + offset

    def _by_feature(
        self, factor: NDArray[np.float64] | float, offset: NDArray[np.float64] | float
    ) -> None:
        self.weights = (np.eye(self._width) if self.weights is None else self.weights) * factor
        self.bias = self.bias * factor + offset

    def _value(self, name: str) -> NDArray[np.float64]:
        return numpy_helper.to_array(self._constants[name]).astype(np.float64)

    def _row(self, name: str) -> NDArray[np.float64]:
        return np.broadcast_to(self._value(name).ravel(), self.bias.shape)

    def _matrix(
        self, node: onnx.NodeProto
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
        """Return weights and bias of a dense layer; a 1×1 convolution is one."""
        matrix = self._value(node.input[1])
        bias = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else 0.0
        if node.op_type == "Conv":
            if matrix.shape[2:] != (1, 1) or whole(node, "group", 1) != 1:
                raise ValueError
            return matrix[:, :, 0, 0].T, bias
        if node.op_type == "MatMul":
            return matrix, 0.0
        if whole(node, "transA"):
            raise ValueError
        factors = {a.name: a.f for a in node.attribute}
        matrix = matrix.T if whole(node, "transB") else matrix
        return matrix * factors.get("alpha", 1.0), np.ravel(bias) * factors.get("beta", 1.0)

    def _factor(
        self, node: onnx.NodeProto
    ) -> tuple[NDArray[np.float64] | float, NDArray[np.float64] | float]:
        """Return the scale and the bias of each feature: of a batch norm, or of arithmetic."""
        if node.op_type == "BatchNormalization":
            scale, offset, mean, variance = (self._row(name) for name in node.input[1:5])
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            factor = scale / np.sqrt(variance + epsilon)
            return factor, offset - mean * factor
        first = node.input[0] in self._constants
        value = self._row(node.input[0 if first else 1])
        match node.op_type:
            case "Add":
                return 1.0, value
            case "Mul":
                return value, _NOTHING
            case "Sub":
                return (-1.0, value) if first else (1.0, -value)
            case "Div" if not first:
                return 1.0 / value, _NOTHING
        raise ValueError


def refuse_classifier(view: GraphView, tensor: str, *, source: str) -> None:
    """Refuse a tensor that holds the scores of a classifier: after a softmax or two dense layers.

    Raises
    ------
    ModelError
        Naming what was found, and the bottleneck before the scores if there is one.
    """
    dense: list[onnx.NodeProto] = []
    scores: list[onnx.NodeProto] = []
    name = view.origin(tensor)
    size = view.features(tensor)
    while (node := view.makers.get(name)) is not None:
        live = [i for i in node.input if i in view.live]
        if node.op_type in _SCORES:
            scores.append(node)
        elif node.op_type in _DENSE and len(live) == 1:
            if node.op_type == "Conv" and not view.features(live[0]):
                break
            dense.append(node)
        elif node.op_type not in ("Relu", "BatchNormalization", *_ARITHMETIC):
            break
        if len(live) != 1:
            break
        name = view.origin(live[0])
    if not scores and len(dense) < 2:
        return
    # Nodes are named by their tensor: simplification keeps its name, but not the node's.
    found = " after ".join(f"{node.op_type} {node.output[0]!r}" for node in [*scores, *dense])
    advice = "Export the network without its classification head"
    if len(dense) > 1:
        bottleneck = next(i for i in dense[0].input if i in view.live)
        advice += (
            f", or take its embedding of {view.features(bottleneck)} values with --output "
            f"{bottleneck!r}"
        )
    what = f"{size} values" if size else "scores"
    raise ModelError(
        f"{source}: a classifier: output {tensor!r} ({what}) comes from {found}. Expected an "
        f"embedding: one dense layer after the pool, at most a norm after it. {advice}."
    )
