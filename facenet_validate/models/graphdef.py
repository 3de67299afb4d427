"""The few TensorFlow ``GraphDef`` messages a frozen graph is made of, declared through protobuf.

Reading a frozen graph needs five messages, not TensorFlow. Field numbers are those of TensorFlow's
``graph.proto``, ``node_def.proto``, ``attr_value.proto``, ``tensor.proto`` and
``tensor_shape.proto``; fields we never read are left out and protobuf skips them. Enum fields are
declared as ``int32``, which is the same on the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from facenet_validate.errors import ModelError

_PACKAGE = "facenet_validate.tensorflow"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "bool": _Field.TYPE_BOOL,
}

# message -> fields as (name, number, type, repeated); a type that is no scalar names a message.
_MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "Dim": (("size", 1, "int64", False),),
    "TensorShape": (("dim", 2, "Dim", True), ("unknown_rank", 3, "bool", False)),
    "Tensor": (
        ("dtype", 1, "int32", False),
        ("tensor_shape", 2, "TensorShape", False),
        ("tensor_content", 4, "bytes", False),
        ("float_val", 5, "float", True),
        ("double_val", 6, "double", True),
        ("int_val", 7, "int32", True),
        ("int64_val", 10, "int64", True),
        ("bool_val", 11, "bool", True),
    ),
    "AttrList": (("i", 3, "int64", True),),
    "AttrValue": (
        ("list", 1, "AttrList", False),
        ("s", 2, "bytes", False),
        ("i", 3, "int64", False),
        ("f", 4, "float", False),
        ("b", 5, "bool", False),
        ("type", 6, "int32", False),
        ("shape", 7, "TensorShape", False),
        ("tensor", 8, "Tensor", False),
    ),
    "AttrEntry": (("key", 1, "string", False), ("value", 2, "AttrValue", False)),
    "Node": (
        ("name", 1, "string", False),
        ("op", 2, "string", False),
        ("input", 3, "string", True),
        ("attr", 5, "AttrEntry", True),
    ),
    "Graph": (("node", 1, "Node", True),),
}

# TensorFlow's DataType -> numpy dtype and the repeated field that holds values given one by one.
_DTYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
}


@cache
def _graph_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = declared.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Graph"))


def parse_graph(data: bytes, *, source: str) -> Any:
    """Parse a serialized ``GraphDef``.

    Parameters
    ----------
    data : bytes
        The whole file.
    source : str
        What to call it in an error.

    Returns
    -------
    google.protobuf.message.Message
        A ``Graph`` message with repeated ``node``.

    Raises
    ------
    ModelError
        If the bytes are no ``GraphDef`` or hold no node.
    """
    graph = _graph_class()()
    try:
        graph.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            f"{source}: not a TensorFlow frozen graph ({error}). Expected a serialized GraphDef "
            "(.pb); check that the file was copied whole."
        ) from None
    if not graph.node:
        raise ModelError(f"{source}: a GraphDef without nodes. Expected a frozen graph.")
    return graph


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as ``name -> AttrValue``."""
    return {entry.key: entry.value for entry in node.attr}


def tensor_value(tensor: Any, *, node: str) -> np.ndarray[Any, Any]:
    """Return the value of a ``Tensor`` message as an array of its declared shape and dtype.

    Raises
    ------
    ModelError
        If the dtype is unsupported or the data does not fill the declared shape.
    """
    if tensor.dtype not in _DTYPES:
        raise ModelError(
            f"node {node!r}: constant of TensorFlow data type {tensor.dtype}; "
            f"supported are {sorted(_DTYPES)} (float32, float64, int32, int64, bool)."
        )
    dtype, field = _DTYPES[tensor.dtype]
    shape = tuple(int(d.size) for d in tensor.tensor_shape.dim)
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, dtype=dtype.newbyteorder("<"))
    else:
        values = np.asarray(getattr(tensor, field), dtype=dtype)
        # TensorFlow stores a constant tensor as its one value.
        if values.size == 1 and count != 1:
            values = np.repeat(values, count)
    if values.size != count:
        raise ModelError(
            f"node {node!r}: constant of shape {shape} needs {count} values, found {values.size}."
        )
    return values.reshape(shape).astype(dtype)


def producer_of(reference: str) -> str:
    """Return the node a ``GraphDef`` input refers to: ``name``, ``name:0`` or ``^name``."""
    return reference.lstrip("^").split(":", 1)[0]


def sorted_nodes(nodes: dict[str, Any], *, source: str) -> Iterator[Any]:
    """Yield nodes after their inputs (frozen graphs promise no order).

    Raises
    ------
    ModelError
        If a node reads one that is not there, or the graph has a cycle.
    """
    state: dict[str, int] = {}
    for root, first in nodes.items():
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(first.input))]
        while stack:
            name, inputs = stack[-1]
            for reference in inputs:
                child = producer_of(reference)
                if child not in nodes:
                    raise ModelError(
                        f"{source}: node {name!r} reads {reference!r}, which is not in the graph."
                    )
                if state.get(child) == 1:
                    raise ModelError(f"{source}: the graph has a cycle through node {child!r}.")
                if child not in state:
                    state[child] = 1
                    stack.append((child, iter(nodes[child].input)))
                    break
            else:
                state[name] = 2
                yield nodes[name]
                stack.pop()
