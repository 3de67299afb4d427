"""The few TensorFlow ``GraphDef`` messages a frozen graph is made of, declared through protobuf.

Reading a frozen graph needs five messages, not TensorFlow. Field numbers are those of TensorFlow's
``graph.proto``, ``node_def.proto``, ``attr_value.proto``, ``tensor.proto`` and
``tensor_shape.proto``; fields we never read are left out and protobuf skips them. Enum fields are
declared as ``int32``, which is the same on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from facenet_validate.base.errors import ModelError

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

# Message -> fields: name, number and type. A type that is no scalar names a message; * is repeated.
_MESSAGES = {
    "Dim": "size 1 int64",
    "TensorShape": "dim 2 Dim*, unknown_rank 3 bool",
    "Tensor": "dtype 1 int32, tensor_shape 2 TensorShape, tensor_content 4 bytes, "
    "float_val 5 float*, double_val 6 double*, int_val 7 int32*, int64_val 10 int64*, "
    "bool_val 11 bool*",
    "AttrList": "i 3 int64*, type 6 int32*, shape 7 TensorShape*",
    "AttrValue": "list 1 AttrList, s 2 bytes, i 3 int64, f 4 float, b 5 bool, type 6 int32, "
    "shape 7 TensorShape, tensor 8 Tensor",
    "AttrEntry": "key 1 string, value 2 AttrValue",
    "Node": "name 1 string, op 2 string, input 3 string*, attr 5 AttrEntry*",
    "Graph": "node 1 Node*",
}

# TensorFlow's DataType -> numpy dtype and the repeated field that holds values given one by one.
_DTYPES: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype(np.float32), "float_val"),
    2: (np.dtype(np.float64), "double_val"),
    3: (np.dtype(np.int32), "int_val"),
    9: (np.dtype(np.int64), "int64_val"),
    10: (np.dtype(np.bool_), "bool_val"),
}
_MOST_AXES = 8
_MOST_VALUES = 2**40  # keeps numpy's own arithmetic on sizes exact
BOOL = 10
"""TensorFlow's ``DT_BOOL``."""

_MOST_FIELDS = 500_000
"""Most nodes and parts of nodes that a file may list; a published graph has some 50,000.

They are counted before the file is parsed: an empty node takes two bytes there and a hundred here.
"""


def graph_message() -> Any:
    """Return an empty ``Graph`` message."""
    return _classes()[f"{_PACKAGE}.Graph"]()


@cache
def _classes() -> dict[str, Any]:
    """Return the classes of the messages by full name."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, number, kind in map(str.split, fields.split(", ")):
            field = declared.field.add(name=name, number=int(number))
            field.label = _Field.LABEL_REPEATED if kind[-1] == "*" else _Field.LABEL_OPTIONAL
            field.type = _SCALARS.get(kind.rstrip("*"), _Field.TYPE_MESSAGE)
            if field.type == _Field.TYPE_MESSAGE:
                field.type_name = f".{_PACKAGE}.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes: dict[str, Any] = message_factory.GetMessageClassesForFiles([file.name], pool)
    return classes


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
        If the bytes are no ``GraphDef``, hold no node, or list more than any network has.
    """
    graph = graph_message()
    try:
        _check_extent(data, source=source)
        graph.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{source}: not a TensorFlow frozen graph ({error}). Expected a serialized GraphDef "
            "(.pb); check that the file was copied whole."
        ) from None
    if not graph.node:
        raise ModelError(f"{source}: a GraphDef without nodes. Expected a frozen graph.")
    return graph


def _check_extent(data: bytes, *, source: str) -> None:
    """Count the nodes and their parts, and check their lengths, without parsing them."""
    for count, position in enumerate(_extent(data), start=1):
        if count > _MOST_FIELDS:
            raise ModelError(
                f"{source}: a graph of more than {_MOST_FIELDS:,} nodes and parts of them, counted "
                f"at byte {position:,} of {len(data):,}. A published FaceNet has some 50,000; "
                "freeze the inference graph alone."
            )


def _extent(data: bytes) -> Iterator[int]:
    for number, start, end in wire_fields(data, 0, len(data)):
        yield start
        if number == 1:
            for _, part, _ in wire_fields(data, start, end):
                yield part


def wire_fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, first byte and end of each field of a message on the wire.

    Raises
    ------
    ValueError
        If a field claims more bytes than the message has.
    """
    while position < end:
        start = position
        tag, position = _varint(data, position, end)
        kind = tag & 7
        if kind == 0:
            size = _varint(data, position, end)[1] - position
        elif kind == 2:
            size, position = _varint(data, position, end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"byte {start:,} begins no field")
        if position + size > end:
            raise ValueError(
                f"byte {start:,} claims a field of {size:,} bytes, {end - position:,} are left"
            )
        yield tag >> 3, position, position + size
        position += size


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(position, min(position + 10, end)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise ValueError(f"byte {position:,} begins no number")


def type_code(dtype: np.dtype[Any]) -> int:
    """Return the TensorFlow ``DataType`` of a numpy dtype that constants have."""
    return next(code for code, (known, _) in _DTYPES.items() if known == dtype)


def numpy_type(data_type: int) -> np.dtype[Any]:
    """Return the numpy dtype of a TensorFlow ``DataType``.

    Raises
    ------
    ValueError
        If it is not one a frozen graph's constants have.
    """
    if data_type not in _DTYPES:
        raise ValueError(f"TensorFlow data type {data_type}")
    return _DTYPES[data_type][0]


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as ``name -> AttrValue``."""
    return {entry.key: entry.value for entry in node.attr}


def optional(attrs: dict[str, Any], name: str) -> Any:
    """Return an ``AttrValue``, or an empty one: false, zero, without values."""
    return attrs[name] if name in attrs else _classes()[f"{_PACKAGE}.AttrValue"]()


def tensor_value(tensor: Any, *, node: str) -> np.ndarray[Any, Any]:
    """Return the value of a ``Tensor`` message as a read-only array of its shape and dtype.

    As in TensorFlow, the last of too few values is repeated, and no value at all stands for zeros.
    An array of one repeated value takes the memory of one value.

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
    count, given = claimed_values(tensor)
    possible = min(shape, default=0) >= 0 and len(shape) <= _MOST_AXES and count < _MOST_VALUES
    if not possible or given > count or (given != count and tensor.tensor_content):
        raise ModelError(
            f"node {node!r}: constant of shape {shape} needs {count:,} values, found {given:,g}."
        )
    if tensor.tensor_content:
        content = np.frombuffer(tensor.tensor_content, dtype=dtype.newbyteorder("<"))
        values = content.astype(dtype, copy=False)
    else:
        values = np.asarray(getattr(tensor, field) or [0], dtype=dtype)
    if values.size not in (1, count):
        values = np.pad(values, (0, count - values.size), mode="edge")
    return np.broadcast_to(values.reshape(shape if values.size == count else ()), shape)


def claimed_values(tensor: Any) -> tuple[int, float]:
    """Return the number of values that a ``Tensor`` claims by its shape, and that it holds."""
    count = math.prod(int(d.size) for d in tensor.tensor_shape.dim)
    dtype, field = _DTYPES.get(tensor.dtype, (np.dtype(np.uint8), "int_val"))
    content = tensor.tensor_content
    return count, len(content) / dtype.itemsize if content else len(getattr(tensor, field))


def set_tensor(tensor: Any, value: np.ndarray[Any, Any]) -> None:
    """Store an array in a ``Tensor`` message, as TensorFlow does: one value alone as a number."""
    tensor.dtype = type_code(value.dtype)
    for size in value.shape:
        tensor.tensor_shape.dim.add(size=size)
    if value.size == 1:
        getattr(tensor, _DTYPES[tensor.dtype][1]).append(value.item())
    else:
        tensor.tensor_content = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def split_reference(reference: str) -> tuple[str, int]:
    """Return the node and the output that a ``GraphDef`` input names; -1 for a control input."""
    if reference.startswith("^"):
        return reference[1:], -1
    name, colon, port = reference.rpartition(":")
    if colon and len(port) < 5 and port.isascii() and port.isdigit():
        return name, int(port)
    return reference, 0


def sorted_nodes(nodes: dict[str, Any]) -> Iterator[Any]:
    """Yield nodes after their inputs (frozen graphs promise no order).

    Inputs that are not in the graph are passed over, and so is an input that closes a cycle: its
    node comes after the node that reads it.
    """
    seen: set[str] = set()
    for root, first in nodes.items():
        if root in seen:
            continue
        seen.add(root)
        stack = [(first, iter(first.input))]
        while stack:
            node, inputs = stack[-1]
            for reference in inputs:
                child = split_reference(reference)[0]
                if child in nodes and child not in seen:
                    seen.add(child)
                    stack.append((nodes[child], iter(nodes[child].input)))
                    break
            else:
                yield node
                stack.pop()
