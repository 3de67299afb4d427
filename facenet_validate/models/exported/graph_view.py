"""A view of an ONNX graph: makers and shapes of its tensors, and what the image reaches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.passes import described, makers_of, reads, without_weights

LARGEST_TENSOR = 2**28
"""Most values an image of one tensor; FaceNet's largest tensor has 379,456."""

LARGEST_CONSTANTS = 2**28
"""Most values made by nodes that the image does not reach; FaceNet has 23 million weights."""

NOISE = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Dropout", "Transpose")
"""Operators that exporters put around [N, D] and [N, D, 1, 1] tensors; they change no values."""


@dataclass(frozen=True)
class GraphView:
    """A graph whose nodes are in order and whose functions are inlined.

    Attributes
    ----------
    graph : onnx.GraphProto
        Read only.
    shapes : mapping
        Tensor → dimensions at one batch size; 0 where unknown, absent where the rank is.
    image : str
        The image input.
    """

    graph: onnx.GraphProto
    shapes: Mapping[str, tuple[int, ...]]
    image: str

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that gives a tensor."""
        return makers_of(self.graph)

    @cached_property
    def live(self) -> set[str]:
        """Tensors the image reaches."""
        found = {self.image}
        for node in self.graph.node:
            if not found.isdisjoint(reads(node)):
                found.update(filter(None, node.output))
        return found

    def origin(self, name: str) -> str:
        """Return the tensor that a tensor has its values from, before reshapes and the like."""
        while name in self.makers and self.makers[name].op_type in NOISE:
            name = self.makers[name].input[0]
        return name

    def ancestors(self, names: Iterable[str], *, until: str | None = None) -> list[onnx.NodeProto]:
        """Return the nodes that tensors are made by, in order; none before the tensor ``until``."""
        needed = set(names)
        found = []
        for node in reversed(self.graph.node):
            wanted = needed & set(node.output)
            if wanted - {until}:
                needed |= reads(node)
                found.append(node)
        return found[::-1]

    def features(self, name: str) -> int:
        """Return D of a tensor ``[N, D]``, ``[N, D, 1, 1]`` or ``[N, 1, 1, D]``; 0 of any other."""
        shape = self.shapes.get(name, ())
        if len(shape) == 2:
            return shape[1]
        if len(shape) == 4 and sorted(shape[1:])[:2] == [1, 1]:
            return max(shape[1:])
        return 0


def declared_shape(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return a shape as the file states it: sizes, names of dynamic sides, or ``?``."""
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]


def type_name(elem_type: int) -> str:
    """Return the name of an element type, or its number where it has no name."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type) if known else f"data type {elem_type}"


def shape_text(shape: Iterable[int | str]) -> str:
    """Return a shape for people."""
    return f"[{', '.join(map(str, shape))}]"


def own_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller feeds: files before IR 4 list the weights as inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def shapes_at(
    model: onnx.ModelProto, source: str, batch: int, image: str
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model whose ``image`` input has ``batch``; 0 where a side is unknown.

    Raises
    ------
    ModelError
        If shapes contradict each other, or if one tensor, or all that the image does not reach, is
        far too large to be computed.
    """
    try:
        light = without_weights(model, model.graph.node, own_inputs(model.graph))
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except Exception as error:  # the C++ raises several kinds
        raise ModelError(f"{source}: its shapes do not fit together ({error}).") from None
    found = {
        value.name: tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
        if value.type.tensor_type.HasField("shape")
    }
    live = GraphView(model.graph, found, image).live
    constant = 0
    for node in model.graph.node:
        for name in filter(found.__contains__, node.output):
            size = math.prod(found[name])
            if size > LARGEST_TENSOR * batch:
                raise ModelError(
                    f"{source}: {described(node)} gives a tensor of shape {list(found[name])}. "
                    f"Expected at most {LARGEST_TENSOR} values an image: no FaceNet needs more."
                )
            constant += 0 if name in live else size
            if constant > LARGEST_CONSTANTS:
                raise ModelError(
                    f"{source}: with {described(node)}, nodes that do not depend on the image make "
                    f"{constant:,} values. Expected at most {LARGEST_CONSTANTS:,}: a FaceNet has "
                    "23 million weights. Export the model with constants folded."
                )
    return found
