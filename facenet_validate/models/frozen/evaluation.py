"""A frozen graph, evaluated as far as that is possible without an image: the rest is the network.

A published FaceNet carries its training: input queues, batch norm and dropout behind conditionals,
moving averages, labels. Every node is visited once, in order. A value that does not depend on the
image becomes a constant. ``phase_train`` is False, so the training branch of a conditional is dead,
as in TensorFlow's executor. The failure of a node concerns only the nodes that read it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.constants import FOLDED, fold
from facenet_validate.models.frozen.graphdef import (
    BOOL,
    attributes,
    claimed_values,
    optional,
    sorted_nodes,
    split_reference,
    tensor_value,
)
from facenet_validate.models.frozen.layers import (
    LAYERS,
    Constant,
    Operand,
    Shape,
    Tensor,
    layer_shape,
    text,
)

_TRANSPARENT = ("Identity", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot")
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_QUEUES = ("QueueDequeueMany", "QueueDequeueUpTo", "QueueDequeueManyV2", "QueueDequeueUpToV2")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "AutoReloadVariable")
_SWITCHES, _MERGES = ("Switch", "RefSwitch"), ("Merge", "RefMerge")
_PLUMBING = (*_TRANSPARENT, *_PLACEHOLDERS, *_QUEUES, *_SWITCHES, *_MERGES, "Const", "NoOp")
_SUPPORTED = sorted({*_PLUMBING, *FOLDED, *LAYERS})
_UNSUPPORTED = (
    f"operator not supported. Supported are {', '.join(_SUPPORTED)}. If the embedding comes before "
    "it, name the embedding's node with --output NAME"
)

MOST_PIXELS = 1024
"""Largest height or width of a face: a graph may claim any, and running it takes the memory."""

MOST_MADE = 1 << 24
"""Most constant values of a graph beyond those in its file: repeated ones, and computed ones.

A published graph makes some hundred thousand.
"""


@dataclass(frozen=True)
class Dead:
    """The value of a node in a branch that is not taken."""


@dataclass(frozen=True)
class Failed:
    """The value of a node that cannot be evaluated.

    Attributes
    ----------
    node : Message or None
        The first node that failed; None where the text names it.
    why : str
        What was found, and what was expected.
    nearness : int
        2 if it is part of the network, 1 if it reads an input, 0 otherwise.
    """

    node: Any
    why: str
    nearness: int = 0

    def error(self, source: str) -> ModelError:
        """Return the error of a file in which an embedding needs this node."""
        node = f"node {self.node.name!r} ({self.node.op}): " if self.node is not None else ""
        return ModelError(f"{source}: {node}{self.why.removesuffix('.')}.")


Value = Tensor | Constant | Dead | Failed


@dataclass(frozen=True)
class Layer:
    """A node of the inference graph: TensorFlow's own, and the constants and tensors it reads."""

    node: Any
    operands: tuple[Operand, ...]
    shape: Shape


class Evaluation:
    """The values of all nodes of a graph, as far as they are known without an image.

    Parameters
    ----------
    graph : Message
        A ``GraphDef``.
    source : str
        What to call the file in an error.

    Attributes
    ----------
    outputs : dict of str to tuple
        The values of each node, one for each of its outputs.
    layers : dict of str to Layer
        The layers that depend on an image, in an order in which they can be computed.

    Raises
    ------
    ModelError
        If two nodes have one name.
    """

    def __init__(self, graph: Any, *, source: str) -> None:
        self.source = source
        self.nodes = {node.name: node for node in graph.node}
        if len(self.nodes) != len(graph.node):
            names = Counter(node.name for node in graph.node)
            repeated = [name for name, count in names.items() if count > 1]
            raise ModelError(f"{source}: node names are not unique: {repeated[:3]}.")
        self.outputs: dict[str, tuple[Value, ...]] = {}
        self.layers: dict[str, Layer] = {}
        self._made = 0
        for node in sorted_nodes(self.nodes):
            self.outputs[node.name] = self._evaluate(node)

    # -- reading ---------------------------------------------------------------------------

    def value(self, reference: str) -> Value:
        """Return the value that an input of a node refers to."""
        name, port = split_reference(reference)
        node = self.nodes.get(name)
        if node is None:
            return Failed(None, f"a node reads {reference!r}, which is not in the graph")
        if name not in self.outputs:
            return Failed(node, "the graph has a cycle through it")
        values = self.outputs[name]
        if len(values) == 1 and isinstance(values[0], Dead | Failed):
            return values[0]
        if port < len(values):
            return values[port]
        return Failed(node, f"its output {port} is not supported")

    def _evaluate(self, node: Any) -> tuple[Value, ...]:
        operands: list[Value] = []
        for reference in node.input:
            if not reference.startswith("^"):
                operands.append(self.value(reference))
            elif isinstance(self.value(reference[1:]), Dead):  # a control input gives no more
                return (Dead(),)
        try:
            values = self._give(node, operands)
        except ModelError as error:
            values = (Failed(None, str(error)),)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            values = (Failed(node, _reason(error)),)
        if any(isinstance(value, Failed) for value in values):
            near = _nearness(node, operands)
            return tuple(replace(v, nearness=near) if isinstance(v, Failed) else v for v in values)
        return values

    def _give(self, node: Any, operands: list[Value]) -> tuple[Value, ...]:
        if node.op in (*_PLACEHOLDERS, *_QUEUES):
            return self._source(node)
        if node.op in _SWITCHES:
            return self._switch(*operands)
        if node.op in _MERGES:
            return self._merge(node, operands)
        if any(isinstance(operand, Dead) for operand in operands):
            return (Dead(),)
        failure = next((operand for operand in operands if isinstance(operand, Failed)), None)
        if failure is not None:
            return (failure,)
        return self._compute(node, [o for o in operands if isinstance(o, Tensor | Constant)])

    # -- conditionals ----------------------------------------------------------------------

    def _switch(self, data: Value, decision: Value) -> tuple[Value, ...]:
        if isinstance(data, Dead) or isinstance(decision, Dead):
            return (Dead(),)
        if isinstance(decision, Failed):
            return (decision,)
        if isinstance(decision, Tensor) or decision.value.dtype != np.bool_:
            raise ValueError(f"the decision {decision.name!r} is not known at inference")
        return (Dead(), data) if bool(decision.value.item()) else (data, Dead())

    def _merge(self, node: Any, branches: list[Value]) -> tuple[Value, ...]:
        alive = [branch for branch in branches if not isinstance(branch, Dead)]
        if not alive:
            return (Dead(),)
        failure = next((branch for branch in alive if isinstance(branch, Failed)), None)
        if failure is not None:
            return (failure,)
        if len(alive) > 1:
            raise ValueError("more than one branch is alive at inference")
        taken = Constant(f"{node.name}:1", np.array(branches.index(alive[0]), np.int32))
        return alive[0], taken

    # -- everything else -------------------------------------------------------------------

    def _compute(self, node: Any, operands: list[Operand]) -> tuple[Value, ...]:
        if node.op in _TRANSPARENT:
            return (operands[0],)
        if node.op == "NoOp":
            return ()
        if node.op == "Const":
            return (self._constant(node),)
        if node.op in _VARIABLES:
            raise ValueError(
                "a variable, whose value is not in the file. Freeze the graph first, with "
                "facenet's freeze_graph.py or TensorFlow's convert_variables_to_constants"
            )
        tensors = [operand for operand in operands if isinstance(operand, Tensor)]
        if tensors and node.op == "Shape":
            sizes = np.array([None, *tensors[0].shape[1:]], object)
            return (Constant(node.name, sizes),)
        if tensors and node.op in LAYERS:
            return (self._layer(node, operands),)
        if operands and not tensors and node.op in FOLDED:
            return (self._folded(node, operands),)
        raise ValueError(_UNSUPPORTED)

    def _constant(self, node: Any) -> Constant:
        tensor = attributes(node)["value"].tensor
        count, given = claimed_values(tensor)
        self._make(int(count - given))
        return Constant(node.name, tensor_value(tensor, node=node.name))

    def _folded(self, node: Any, operands: list[Operand]) -> Constant:
        values = [operand.value for operand in operands if isinstance(operand, Constant)]
        self._make(max(value.size for value in values))
        result = fold(node.op, attributes(node), values)
        if result is None:
            raise ValueError("cannot be evaluated")
        return Constant(node.name, result)

    def _make(self, values: int) -> None:
        """Count constant values that are not in the file, before memory is taken for them."""
        if self._made + values > MOST_MADE:
            raise ValueError(
                f"makes {values:,} constant values that are not in the file; with the others that "
                f"is over {MOST_MADE:,}, far more than a FaceNet has"
            )
        self._made += max(values, 0)

    def _source(self, node: Any) -> tuple[Value, ...]:
        """Return the values of an input: of a placeholder or a queue."""
        attrs = attributes(node)
        if node.op in _PLACEHOLDERS:
            if "dtype" in attrs and attrs["dtype"].type == BOOL:  # phase_train
                return (Constant(node.name, np.array(False)),)
            shape = _sizes(attrs["shape"].shape) if "shape" in attrs else ()
            return (Tensor(node.name, shape, node.name),)
        queue = self.nodes.get(split_reference(node.input[0])[0]) if node.input else None
        stated = optional(attributes(queue) if queue is not None else {}, "shapes")
        shapes: list[Shape] = [(None, *_sizes(shape)) for shape in stated.list.shape]
        count = len(attrs["component_types"].list.type)
        return tuple(
            Tensor(name, shapes[port] if port < len(shapes) else (), name)
            for port, name in enumerate([node.name, *(f"{node.name}:{n}" for n in range(1, count))])
        )

    def _layer(self, node: Any, operands: list[Operand]) -> Tensor:
        operands = [self._image(node, o) if is_source(o) else o for o in operands]
        images = sorted({o.image for o in operands if isinstance(o, Tensor)})
        if len(images) > 1:
            raise ValueError(f"reads two inputs, {images[0]!r} and {images[1]!r}; expected one")
        shape = layer_shape(node, operands)
        self.layers[node.name] = Layer(node, tuple(operands), shape)
        return Tensor(node.name, shape, images[0])

    def _image(self, node: Any, source: Tensor) -> Tensor:
        """Check that an input is an image that the first convolution reads as it is."""
        if node.op not in ("Conv2D", "Pad"):
            raise ValueError(
                f"works on the input {source.name!r} before the first convolution. Expected the "
                "convolution to read faces standardized as (x - 127.5) / 128; freeze the graph "
                "without its preprocessing"
            )
        sides = source.shape[1:3]
        if len(source.shape) != 4 or None in sides or source.shape[3] not in (3, None):
            raise ValueError(
                f"reads the input {source.name!r} of shape {text(source.shape)}; expected "
                "[batch, height, width, 3] with height and width known. Freeze the graph with a "
                "placeholder of the faces' size"
            )
        if not all(0 < (side or 0) <= MOST_PIXELS for side in sides):
            raise ValueError(
                f"reads the input {source.name!r} of shape {text(source.shape)}; expected faces of "
                f"at most {MOST_PIXELS} pixels"
            )
        return replace(source, shape=(None, *sides, 3))


def is_source(operand: Operand) -> TypeGuard[Tensor]:
    """Say whether an operand is an input of the graph."""
    return isinstance(operand, Tensor) and operand.name == operand.image


def _sizes(shape: Any) -> Shape:
    return tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)


def _nearness(node: Any, operands: list[Value]) -> int:
    """Return how near a failure is to the network: 2 in the network, 1 at an input, else 0."""
    near = [operand.nearness for operand in operands if isinstance(operand, Failed)]
    near += [1 if is_source(operand) else 2 for operand in operands if isinstance(operand, Tensor)]
    return 2 if near and node.op == "Conv2D" else max(near, default=0)


def _reason(error: Exception) -> str:
    if isinstance(error, TypeError):
        return "inputs of a number or kind that do not go with this operator"
    return f"no attribute {error}" if isinstance(error, KeyError) else str(error)
