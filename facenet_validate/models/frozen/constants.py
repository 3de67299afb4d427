"""The results of TensorFlow's nodes on constants, shapes among them: these nodes are folded away.

The batch is not known before the network runs. In an array of sizes, which holds objects, it is
None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.models.frozen.graphdef import numpy_type, optional

Array = NDArray[Any]
Attributes = dict[str, Any]

MOST_SIZES = 64
"""Most values in an array of sizes: joining arrays may double their number at every node."""

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
    """Return the result of a node on constants.

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
        If the inputs do not fit the operator or each other, or the result would be larger than any
        input: a network scales its weights by vectors and makes no larger arrays.
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


def _strided_slice(attrs: Attributes, value: Array, begin: Array, end: Array, step: Array) -> Array:
    if value.ndim != 1 or not begin.size == end.size == step.size == 1:
        raise ValueError("expected one slice of one axis")
    if optional(attrs, "ellipsis_mask").i or optional(attrs, "new_axis_mask").i:
        raise ValueError("an ellipsis or a new axis")
    first = None if optional(attrs, "begin_mask").i & 1 else int(begin.item())
    if optional(attrs, "shrink_axis_mask").i & 1:
        return np.asarray(value[first or 0])
    last = None if optional(attrs, "end_mask").i & 1 else int(end.item())
    return value[first : last : int(step.item())]


def _slice(_attrs: Attributes, value: Array, begin: Array, size: Array) -> Array:
    if value.ndim != 1:
        raise ValueError("expected one axis")
    first, count = int(begin.item()), int(size.item())
    return value[first : None if count == -1 else first + count]


def _product(attrs: Attributes, value: Array, axes: Array) -> Array:
    if value.ndim != 1 or any(int(axis) not in (0, -1) for axis in axes.ravel()):
        raise ValueError("expected the product of one axis")
    if not axes.size:
        return value
    open_size = None in value.tolist()
    product = np.array(None if open_size else np.prod(value), object if open_size else value.dtype)
    return product.reshape(1) if optional(attrs, "keep_dims").b else product


_SIZES: dict[str, Callable[..., Array]] = {
    "Shape": lambda _, value: np.array(value.shape, np.int64),
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Pack": lambda attrs, *parts: np.stack(parts, axis=optional(attrs, "axis").i),
    "ConcatV2": lambda _, *parts: np.concatenate(parts[:-1], axis=int(parts[-1].item())),
    "Prod": _product,
    "ExpandDims": lambda _, value, axis: np.expand_dims(value, int(axis.item())),
    "Squeeze": lambda attrs, value: np.squeeze(
        value, axis=tuple(optional(attrs, "squeeze_dims").list.i) or None
    ),
    "Reshape": lambda _, value, target: value.reshape([int(size) for size in target.ravel()]),
    "Cast": lambda attrs, value: (
        value if value.dtype == object else value.astype(numpy_type(attrs["DstT"].type))
    ),
}
FOLDED = (*_ELEMENTWISE, *_SIZES)
"""Operators whose result is known where their inputs are."""
