"""An ONNX file from anywhere → a parsed model with all of its weights.

No claim of the file is trusted. Sizes are checked before memory is taken for them, weights in other
files are read only from inside the model's folder, and a graph that cannot be ordered is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto, helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.exported.onnx_extent import (
    EXPORT_AGAIN,
    check_expansion,
    check_extent,
)
from facenet_validate.models.model_files import SIZE_LIMIT, read_source, readable
from facenet_validate.models.passes import (
    described,
    inner_graphs,
    is_standard,
    opset_of,
    sort_nodes,
)


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file: weights loaded, functions inlined, nodes in order.

    External weights are read if their files lie inside the model's folder.

    Raises
    ------
    ModelError
        If the file cannot be read, is no ONNX model or too large for one, holds less data than its
        tensors claim, keeps weights outside its folder, or has a graph that cannot be ordered. The
        tensor or node is named.
    """
    model = _parsed(read_source(path), path)
    _load_external(model, path)
    for tensor in _tensors(model):
        _check_size(tensor, path)
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise ModelError(
            f"{path}: weights {name!r} are sparse, which is not supported. Export them dense."
        )
    del model.training_info[:]
    model = _inlined(model, path)
    if not model.graph.node:
        raise ModelError(f"{path}: an ONNX file without nodes. Expected a FaceNet model.")
    _check_operands(model, path)
    sort_nodes(model.graph, source=str(path))
    return model


def _check_operands(model: onnx.ModelProto, path: Path) -> None:
    """Check that every standard node reads and gives as many tensors as its operator needs."""
    version = opset_of(model)
    for node in model.graph.node:
        if not is_standard(node):
            continue
        if node.op_type == "Constant" and len(node.attribute) != 1:
            raise ModelError(
                f"{path}: {described(node)} has {len(node.attribute)} values; expected one. "
                f"{EXPORT_AGAIN}"
            )
        try:
            schema = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:  # newer than the installed onnx: the runtime may know it
            continue
        for what, found, expected in (
            ("inputs", len(node.input), schema.min_input),
            ("outputs", len(node.output), schema.min_output),
        ):
            if found < expected:
                raise ModelError(
                    f"{path}: {described(node)} has {found} {what}; expected at least {expected}. "
                    "The file is damaged: copy or export it again."
                )


def external_files(path: Path) -> dict[str, Path]:
    """Return the files an ONNX model keeps weights in, by the location it gives them.

    Raises
    ------
    ModelError
        As `load_onnx` does for the file itself and for a location outside the model's folder.
    """
    data = read_source(path)
    if b"location" not in data:  # the key every external tensor has; parsing takes ten times longer
        return {}
    found = {}
    for tensor in _tensors(_parsed(data, path)):
        if tensor.data_location == TensorProto.EXTERNAL:
            location = _external_entries(tensor, path)["location"]
            found[location] = _inside(path, location, tensor.name)
    return found


def _parsed(data: bytes, path: Path) -> onnx.ModelProto:
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        check_extent(data, path)
        model.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"{path}: not an ONNX model ({error}). Check that the file was copied whole."
        ) from None
    if not model.graph.node:
        empty = "" if data else "it is empty (0 bytes), "
        raise ModelError(f"{path}: {empty}an ONNX file without nodes. Expected a FaceNet model.")
    return model


# -- tensors -----------------------------------------------------------------------------------


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in inner_graphs(node):
            yield from _graph_tensors(graph)


def _check_size(tensor: TensorProto, path: Path) -> None:
    """Check that a tensor has as much data as its shape claims."""
    what = f"{path}: tensor {tensor.name!r} of shape {list(tensor.dims)}"
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{what}: a negative size. {EXPORT_AGAIN}")
    count = _count(tensor)
    if tensor.HasField("raw_data"):
        found, expected, unit = len(tensor.raw_data), _bytes(tensor, path), "bytes"
    elif tensor.data_type == TensorProto.STRING:
        found, expected, unit = len(tensor.string_data), count, "strings"
    else:
        _bytes(tensor, path)  # the type has to be a known one
        values = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
        found, expected, unit = len(values), _stored_values(tensor), "values"
    if found != expected:
        raise ModelError(
            f"{what} needs {expected} {unit}, but the file holds {found} for it. The file is "
            "damaged: copy or export it again."
        )


def _bits(tensor: TensorProto, path: Path) -> int:
    try:
        name = TensorProto.DataType.Name(tensor.data_type)
        if name.endswith(("INT2", "INT4", "FLOAT4E2M1")):
            return 2 if name.endswith("2") else 4
        if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
            raise ValueError
        return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8
    except (KeyError, ValueError):
        raise ModelError(
            f"{path}: tensor {tensor.name!r} has data type {tensor.data_type}, which the installed "
            f"onnx {onnx.__version__} does not know as numbers. Expected float32 weights."
        ) from None


def _count(tensor: TensorProto) -> int:
    return int(math.prod(tensor.dims))


def _bytes(tensor: TensorProto, path: Path) -> int:
    return -(-_count(tensor) * _bits(tensor, path) // 8)


def _stored_values(tensor: TensorProto) -> int:
    """Return the entries of a tensor's typed field: two a complex number, half a one a nibble."""
    count = _count(tensor)
    name = TensorProto.DataType.Name(tensor.data_type)
    if name.startswith("COMPLEX"):
        return 2 * count
    if name.endswith("INT2"):
        return -(-count // 4)
    return -(-count // 2) if name.endswith(("INT4", "FLOAT4E2M1")) else count


# -- external weights --------------------------------------------------------------------------


def _external_entries(tensor: TensorProto, path: Path) -> dict[str, str]:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not entries.get("location"):
        raise ModelError(
            f"{path}: tensor {tensor.name!r} is kept in another file, which is not named. "
            f"{EXPORT_AGAIN}"
        )
    return entries


def _inside(path: Path, location: str, tensor: str) -> Path:
    """Return the file of an external location, which must lie inside the model's folder."""
    given = PurePosixPath(location.replace("\\", "/"))
    folder = path.parent.resolve()
    leaves = given.is_absolute() or PureWindowsPath(location).drive or ".." in given.parts
    try:
        file = None if leaves else (folder / given).resolve()
    except (OSError, ValueError, RuntimeError):  # a name with a zero byte, a circle of links
        file = None
    if file is None:
        raise ModelError(
            f"{path}: tensor {tensor!r} is kept in {location!r}, which is not inside the model's "
            "folder. Expected a relative path that stays there; put the weights beside the model "
            "and export it again."
        )
    if not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: tensor {tensor!r} is kept in {location!r}, which is a link to {file}, not "
            "inside the model's folder. Copy the file itself beside the model."
        )
    if not file.is_file():
        raise ModelError(
            f"{path}: tensor {tensor!r} is kept in {location!r}, and there is no such file in "
            f"{folder}. Copy it beside the model."
        )
    return file


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    total = 0
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = _external_entries(tensor, path)
        location = entries["location"]
        file = _inside(path, location, tensor.name)
        what = f"{path}: tensor {tensor.name!r} in {location!r}"
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        except ValueError:
            raise ModelError(f"{what}: offset or length is no number. {EXPORT_AGAIN}") from None
        if any(dim < 0 for dim in tensor.dims):
            raise ModelError(
                f"{what}: shape {list(tensor.dims)} has a negative size. {EXPORT_AGAIN}"
            )
        expected = _bytes(tensor, path)
        length = expected if "length" not in entries else length
        size = file.stat().st_size
        if length != expected or offset < 0 or offset + length > size:
            raise ModelError(
                f"{what}: bytes {offset} to {offset + length} of a file of {size}; expected "
                f"{expected} bytes for shape {list(tensor.dims)}. Copy or export the model again."
            )
        total += length
        if total > SIZE_LIMIT:
            raise ModelError(
                f"{path}: more than 2.1 GB of external weights; expected about 0.1 GB."
            )
        with readable(file), file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


# -- functions ---------------------------------------------------------------------------------


def _inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model with its local functions, which dynamo exports have, inlined."""
    if not model.functions:
        return model
    check_expansion(model, path)
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises what its C++ raises
        raise ModelError(
            f"{path}: its local functions cannot be inlined ({error}). Export the model with "
            "optimize=True, or to one graph without functions."
        ) from None
