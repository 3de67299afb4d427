"""The layers a frozen FaceNet may have, and the shapes they give.

Shapes are TensorFlow's: ``(None, height, width, channels)`` or ``(None, features)``; None is the
batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.models.frozen.graphdef import attributes, optional

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor that depends on the image.

    Attributes
    ----------
    name : str
        The node that gives it.
    shape : tuple
        Its shape, batch first; None is a size that is not known.
    image : str
        The input it comes from; the tensor itself, where it is that input.
    """

    name: str
    shape: Shape
    image: str


@dataclass(frozen=True)
class Constant:
    """A value that is known before the network runs.

    Attributes
    ----------
    name : str
        The node that gives it.
    value : ndarray
        An array of objects holds sizes, None where the batch decides.
    """

    name: str
    value: NDArray[Any]


Operand = Tensor | Constant


@dataclass(frozen=True)
class Window:
    """The window of a convolution or pool: all pairs are height, then width, in pixels.

    Attributes
    ----------
    kernel, strides : (int, int)
        Size of the window, and its steps.
    before, after : (int, int)
        Zeros added around the image.
    size : (int, int)
        Size of the result.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    size: tuple[int, int]


def window(node: Any, shape: Shape, kernel: tuple[int, int]) -> Window:
    """Return the window of a node that reads a tensor of a shape.

    Raises
    ------
    ValueError
        If TensorFlow's NHWC convolutions and pools have no such window.
    """
    attrs = attributes(node)
    _check_format(attrs)
    dilations = list(optional(attrs, "dilations").list.i)
    if set(dilations) - {1}:
        raise ValueError(f"dilations {dilations}; expected 1")
    steps = [int(step) for step in attrs["strides"].list.i]
    if len(steps) != 4 or steps[0] != 1 or steps[3] != 1 or min(steps) < 1:
        raise ValueError(f"strides {steps}; expected [1, height, width, 1]")
    padding = attrs["padding"].s
    if padding not in (b"SAME", b"VALID"):
        raise ValueError(f"padding {padding!r}; expected SAME or VALID")
    before, after, size = [], [], []
    for extent, k, step in zip(_sides(shape), kernel, steps[1:3], strict=True):
        if k < 1:
            raise ValueError(f"a window of {k} pixels")
        out = -(-extent // step) if padding == b"SAME" else (extent - k) // step + 1
        if out < 1:
            raise ValueError(f"a window of {k} does not fit an input of {extent} pixels")
        total = max((out - 1) * step + k - extent, 0) if padding == b"SAME" else 0
        before.append(total // 2)
        after.append(total - total // 2)
        size.append(out)
    return Window(kernel, (steps[1], steps[2]), _pair(before), _pair(after), _pair(size))


def _check_format(attrs: dict[str, Any]) -> None:
    if "data_format" in attrs and attrs["data_format"].s != b"NHWC":
        raise ValueError(f"data format {attrs['data_format'].s!r}; expected NHWC")


def kernel_of_pool(node: Any) -> tuple[int, int]:
    """Return height and width of a pool's window.

    Raises
    ------
    ValueError
        If it pools over the batch or the channels.
    """
    sizes = [int(size) for size in attributes(node)["ksize"].list.i]
    if len(sizes) != 4 or sizes[0] != 1 or sizes[3] != 1:
        raise ValueError(f"window {sizes}; expected [1, height, width, 1]")
    return sizes[1], sizes[2]


def layer_shape(node: Any, operands: list[Operand]) -> Shape:
    """Return the shape of a layer's output.

    Raises
    ------
    KeyError
        If the operator is no layer of :data:`LAYERS`.
    ValueError
        If the layer cannot work on such inputs; the text says what was found and expected.
    """
    return _LAYERS[node.op](node, *operands)


def _pair(values: list[int]) -> tuple[int, int]:
    return values[0], values[1]


def _sides(shape: Shape) -> tuple[int, int]:
    if len(shape) != 4 or shape[1] is None or shape[2] is None:
        raise ValueError(f"an input of shape {text(shape)}; expected [N, height, width, channels]")
    return shape[1], shape[2]


def _data(operand: Operand) -> Shape:
    if isinstance(operand, Constant):
        raise ValueError(f"the constant {operand.name!r}, where data from the image is expected")
    return operand.shape


def _weights(operand: Operand, *, axes: int | None = None) -> tuple[int, ...]:
    if isinstance(operand, Tensor):
        raise ValueError(f"the output of {operand.name!r}, where a constant is expected")
    shape = operand.value.shape
    if operand.value.dtype != np.float32 or axes not in (None, len(shape)):
        raise ValueError(
            f"weights {operand.name!r} of shape {list(shape)} and type {operand.value.dtype}; "
            f"expected float32{'' if axes is None else f' and {axes} axes'}"
        )
    return shape


def _integers(operand: Operand) -> list[int]:
    if isinstance(operand, Tensor) or operand.value.dtype.kind != "i":
        raise ValueError(f"{operand.name!r}, where constant integers are expected")
    return [int(value) for value in np.atleast_1d(operand.value).ravel()]


def _channels(shape: Shape, operand: Operand) -> Shape:
    """Check a vector of one weight a channel."""
    if _weights(operand, axes=1) != shape[-1:]:
        raise ValueError(f"{operand.name!r} has not one value for each of {shape[-1]} channels")
    return shape


def _convolution(node: Any, image: Operand, kernel: Operand) -> Shape:
    height, width, inputs, outputs = _weights(kernel, axes=4)
    shape = _data(image)
    size = window(node, shape, (height, width)).size
    if inputs != shape[3]:
        raise ValueError(f"a kernel for {inputs} channels; the input has {shape[3]}")
    return None, *size, outputs


def _pool(node: Any, image: Operand) -> Shape:
    shape = _data(image)
    return None, *window(node, shape, kernel_of_pool(node)).size, shape[3]


def _same(_node: Any, data: Operand) -> Shape:
    return _data(data)


def _bias(node: Any, data: Operand, bias: Operand) -> Shape:
    _check_format(attributes(node))
    return _channels(_data(data), bias)


def _join(_node: Any, *operands: Operand) -> Shape:
    *parts, axis = operands
    shapes = [_data(part) for part in parts]
    if len(shapes[0]) != 4 or _integers(axis) not in ([3], [-1]):
        raise ValueError(f"a join of {text(shapes[0])} on axis {_integers(axis)}; expected 3")
    if any(shape[:3] != shapes[0][:3] or len(shape) != 4 for shape in shapes):
        raise ValueError(f"a join of {', '.join(map(text, shapes))}")
    return *shapes[0][:3], sum(shape[3] or 0 for shape in shapes)


def _binary(_node: Any, left: Operand, right: Operand) -> Shape:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        pairs = [(a or 0, b or 0) for a, b in zip(left.shape[1:], right.shape[1:], strict=False)]
        if len(left.shape) != len(right.shape) or any(a != b and 1 not in (a, b) for a, b in pairs):
            raise ValueError(f"{text(left.shape)} with {text(right.shape)}")
        return None, *map(max, pairs)
    data, constant = (left, right) if isinstance(left, Tensor) else (right, left)
    shape, sizes = _data(data), _weights(constant)
    aligned = (1,) * (len(shape) - len(sizes)) + sizes
    fits = all(size in (1, whole) for size, whole in zip(aligned, (1, *shape[1:]), strict=False))
    if len(sizes) > len(shape) or not fits:
        raise ValueError(f"a constant of shape {list(sizes)} with {text(shape)}")
    return shape


def _dense(node: Any, data: Operand, weights: Operand) -> Shape:
    shape, attrs = _data(data), attributes(node)
    inputs, outputs = _weights(weights, axes=2)
    if optional(attrs, "transpose_b").b:
        inputs, outputs = outputs, inputs
    if len(shape) != 2 or optional(attrs, "transpose_a").b:
        raise ValueError(f"an input of shape {text(shape)}; expected [N, features], not transposed")
    if inputs != shape[1]:
        raise ValueError(f"weights for {inputs} features; the input has {shape[1]}")
    return None, outputs


def _batch_norm(node: Any, data: Operand, *parameters: Operand) -> Shape:
    attrs, shape = attributes(node), _data(data)
    if "is_training" not in attrs or attrs["is_training"].b:  # TensorFlow's default is True
        raise ValueError("in training mode; expected a graph frozen for inference")
    if len(shape) != 4:
        raise ValueError(f"an input of shape {text(shape)}; expected four axes")
    for parameter in parameters:
        _channels(shape, parameter)
    return _bias(node, data, parameters[0])


def _reduce(node: Any, data: Operand, axes: Operand) -> Shape:
    """Sum over the embedding, or mean over the image: the pool."""
    shape, attrs = _data(data), attributes(node)
    over = sorted(axis % len(shape) for axis in _integers(axes))
    keep = optional(attrs, "keep_dims").b
    if node.op == "Sum" and len(shape) == 2 and over == [1] and keep:
        return None, 1
    if node.op == "Mean" and len(shape) == 4 and over == [1, 2]:
        return (None, 1, 1, shape[3]) if keep else (None, shape[3])
    raise ValueError(
        f"over axes {over} of {text(shape)}{'' if keep else ', dropping them'}; expected the sum "
        "over [N, features] with keep_dims or the mean over height and width"
    )


def _reshape(_node: Any, data: Operand, target: Operand) -> Shape:
    """Reshape that keeps the batch: [N, 1, 1, D] to [N, D] and back, or an image to features.

    Frozen graphs were folded with a batch of one: each row is the same at any batch.
    """
    shape = _data(data)
    if isinstance(target, Tensor) or target.value.ndim != 1 or target.value.size < 2:
        raise ValueError(f"to {target.name!r}; expected a known shape")
    first, *rest = target.value.tolist()
    features = math.prod(size or 0 for size in shape[1:])
    known = math.prod(size or 0 for size in rest if size != -1)
    if first != -1 and rest.count(-1) == 1 and known > 0:
        rest[rest.index(-1)] = features // known
    if first not in (None, -1, 1) or None in rest or min(rest) < 1 or math.prod(rest) != features:
        raise ValueError(
            f"of {text(shape)} to {target.value.tolist()}; expected one that keeps the batch"
        )
    return None, *rest


def _squeeze(node: Any, data: Operand) -> Shape:
    shape, attrs = _data(data), attributes(node)
    axes = {int(axis) % len(shape) for axis in optional(attrs, "squeeze_dims").list.i}
    if len(shape) != 4 or axes not in ({1, 2}, set()) or shape[1:3] != (1, 1):
        raise ValueError(f"of {text(shape)} over {sorted(axes)}; expected [N, 1, 1, features]")
    return None, shape[3]


def _pad(_node: Any, data: Operand, amounts: Operand) -> Shape:
    shape, values = _data(data), _integers(amounts)
    height, width = _sides(shape)
    if len(values) != 8 or values[:2] != [0, 0] or values[6:] != [0, 0] or min(values) < 0:
        raise ValueError(f"by {values}; expected pixels around the image")
    if max(values[2:4]) > height or max(values[4:6]) > width:
        raise ValueError(f"by {values[2:6]} pixels around {height}×{width}")
    return None, height + values[2] + values[3], width + values[4] + values[5], shape[3]


def text(shape: Shape) -> str:
    """Return a shape for people."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"[{', '.join(['N', *sizes[1:]] if sizes else '?')}]"


_LAYERS: dict[str, Callable[..., Shape]] = {
    "Conv2D": _convolution,
    "BiasAdd": _bias,
    "ConcatV2": _join,
    "MatMul": _dense,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Pad": _pad,
    **dict.fromkeys(("Relu", "Square", "Rsqrt"), _same),
    **dict.fromkeys(("MaxPool", "AvgPool"), _pool),
    **dict.fromkeys(("Sum", "Mean"), _reduce),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "Maximum"), _binary),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _batch_norm),
}
LAYERS = tuple(_LAYERS)
"""Operators that may stand between the image and the embedding."""
