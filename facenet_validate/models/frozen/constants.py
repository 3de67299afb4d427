"""What TensorFlow's nodes make of constants, shapes among them, so that no such node remains.

A size that is not known before the network runs, the batch, is None in an array of objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.models.frozen.graphdef import numpy_type

Array = NDArray[Any]
Attributes = dict[str, Any]

MOST_SIZES = 64
"""Values in an array of sizes. Joining arrays may double them at every node."""

_ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Maximum": np.maximum,
    "Rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "LogicalNot": np.logical_not,
}


def fold(op: str, attrs: Attributes, values: list[Array]) -> Array | None:
    """Return what a node makes of constants.

    Parameters
    ----------
    op : str
        The operator.
    attrs : dict of str to AttrValue
        Its attributes.
    values : list of ndarray
        Its inputs; object arrays hold sizes that may be None.

    Returns
    -------
    ndarray or None
        None if the operator is not one that is folded.

    Raises
    ------
    ValueError, IndexError, TypeError
        If the inputs do not go with the operator or each other, or the result would be larger than
        either: weights are scaled by vectors, never multiplied out.
    """
    if op in _ELEMENTWISE:
        shape = np.broadcast_shapes(*(value.shape for value in values))
        if shape not in [value.shape for value in values]:
            raise ValueError(f"the result would have shape {list(shape)}, larger than any input")
        with np.errstate(all="ignore"):
            return np.asarray(_ELEMENTWISE[op](*values))
    rule = _SIZES.get(op)
    if rule is None:
        return None
    if sum(value.size for value in values) > MOST_SIZES:
        raise ValueError(f"more than {MOST_SIZES} values where sizes are computed")
    return _settled(np.asarray(rule(attrs, *values)))


def _settled(value: Array) -> Array:
    if value.dtype == object and None not in value.ravel().tolist():
        return value.astype(np.int64)
    return value


def _shape(_attrs: Attributes, value: Array) -> Array:
    return np.array(value.shape, np.int64)


def _strided_slice(attrs: Attributes, value: Array, begin: Array, end: Array, step: Array) -> Array:
    masks = {key: attrs[key].i if key in attrs else 0 for key in _MASKS}
    if value.ndim != 1 or not begin.size == end.size == step.size == 1:
        raise ValueError("expected one slice of one axis")
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        raise ValueError("an ellipsis or a new axis")
    first = None if masks["begin_mask"] & 1 else int(begin.item())
    if masks["shrink_axis_mask"] & 1:
        return np.asarray(value[first or 0])
    last = None if masks["end_mask"] & 1 else int(end.item())
    return value[first : last : int(step.item())]


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _slice(_attrs: Attributes, value: Array, begin: Array, size: Array) -> Array:
    if value.ndim != 1:
        raise ValueError("expected one axis")
    first, count = int(begin.item()), int(size.item())
    return value[first : None if count == -1 else first + count]


def _pack(attrs: Attributes, *parts: Array) -> Array:
    return np.stack(parts, axis=attrs["axis"].i if "axis" in attrs else 0)


def _concat(_attrs: Attributes, *parts_and_axis: Array) -> Array:
    *parts, axis = parts_and_axis
    return np.concatenate(parts, axis=int(axis.item()))


def _product(attrs: Attributes, value: Array, axes: Array) -> Array:
    if value.ndim != 1 or any(int(axis) not in (0, -1) for axis in axes.ravel()):
        raise ValueError("expected the product of one axis")
    if not axes.size:
        return value
    sizes = value.tolist()
    product = np.array(
        None if None in sizes else np.prod(value), object if None in sizes else value.dtype
    )
    return product.reshape(1) if "keep_dims" in attrs and attrs["keep_dims"].b else product


def _expand(_attrs: Attributes, value: Array, axis: Array) -> Array:
    return np.expand_dims(value, int(axis.item()))


def _squeeze(attrs: Attributes, value: Array) -> Array:
    axes = tuple(attrs["squeeze_dims"].list.i) if "squeeze_dims" in attrs else ()
    return np.squeeze(value, axis=axes or None)


def _reshape(_attrs: Attributes, value: Array, target: Array) -> Array:
    return value.reshape([int(size) for size in target.ravel()])


def _cast(attrs: Attributes, value: Array) -> Array:
    return value if value.dtype == object else value.astype(numpy_type(attrs["DstT"].type))


_SIZES: dict[str, Callable[..., Array]] = {
    "Shape": _shape,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Pack": _pack,
    "ConcatV2": _concat,
    "Prod": _product,
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Cast": _cast,
}
FOLDED = (*_ELEMENTWISE, *_SIZES)
"""Operators whose result is known where their inputs are."""
