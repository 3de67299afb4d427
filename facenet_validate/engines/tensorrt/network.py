"""ONNX bytes → TensorRT's network, and what that network computes in which type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from facenet_validate.base.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

    from facenet_validate.engines.tensorrt.library import Library

_CONVERTING = ("CONSTANT", "QUANTIZE", "DEQUANTIZE", "CAST", "SHAPE", "SHUFFLE", "IDENTITY")
_INDICES = ("INT32", "INT64", "BOOL")
_KEEPING = ("IDENTITY", "SHUFFLE")
_FLOATING = ("FLOAT", "HALF", "BF16")


@dataclass(frozen=True)
class Tensor:
    """An input or output of a network; a dynamic dimension is −1."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class MultiplyingLayer:
    """A convolution or matrix product.

    Attributes
    ----------
    name : str
        The ONNX node's.
    type : str
        What its operands are in, in the library's word: ``INT8``, ``HALF``, ``FLOAT``.
    multiply_adds : int
        For one image.
    """

    name: str
    type: str
    multiply_adds: int


@dataclass(frozen=True)
class NetworkReport:
    """What a parsed network consists of.

    A layer's type is that of its operands: ``INT8`` where all of them, weights included, come out
    of ``DEQUANTIZE`` layers, which a strongly typed build fuses into integer kernels; otherwise the
    type of its output.

    Attributes
    ----------
    layers : int
        All of them, constants and conversions included.
    layers_by_type : mapping
        Of those that compute; arithmetic on shapes, constants and conversions are left out.
    multiplying : tuple of MultiplyingLayer
        Convolutions and matrix products, in order.
    inputs, outputs : tuple of Tensor
        The network's.
    """

    layers: int
    layers_by_type: Mapping[str, int]
    multiplying: tuple[MultiplyingLayer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def multiply_adds_by_type(self) -> dict[str, int]:
        """Multiply-adds of one image by type."""
        counted: Counter[str] = Counter()
        for layer in self.multiplying:
            counted[layer.type] += layer.multiply_adds
        return dict(counted)

    @property
    def int8_share(self) -> float:
        """Share of multiply-adds in INT8, 0 to 1."""
        return share(self.multiply_adds_by_type, "INT8")

    @property
    def half_share(self) -> float:
        """Share of multiply-adds in FP16, 0 to 1."""
        return share(self.multiply_adds_by_type, "HALF")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "layers": self.layers,
            "layers_by_type": dict(self.layers_by_type),
            "multiplying": [[m.name, m.type, m.multiply_adds] for m in self.multiplying],
            "inputs": [[t.name, t.dtype, list(t.shape)] for t in self.inputs],
            "outputs": [[t.name, t.dtype, list(t.shape)] for t in self.outputs],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> NetworkReport:
        """Return what `to_json` wrote."""
        inputs, outputs = (
            tuple(Tensor(name, dtype, tuple(shape)) for name, dtype, shape in values[role])
            for role in ("inputs", "outputs")
        )
        multiplying = tuple(MultiplyingLayer(*layer) for layer in values["multiplying"])
        return cls(values["layers"], values["layers_by_type"], multiplying, inputs, outputs)


def share(by_type: Mapping[str, int], wanted: str) -> float:
    """Return the part of a sum that one type has; zero of an empty sum."""
    return by_type.get(wanted, 0) / max(sum(by_type.values()), 1)


def parse_network(
    library: Library, network: trt.INetworkDefinition, onnx_bytes: bytes
) -> trt.OnnxParser:
    """Read an ONNX graph into a network; the parser owns the weights until the build is over.

    Raises
    ------
    EngineError
        If the parser finds anything wrong; every error of it is shown.
    """
    parser: trt.OnnxParser = library.module.OnnxParser(network, library.logger)
    parsed = parser.parse(onnx_bytes)
    errors = [_explained(parser.get_error(index)) for index in range(parser.num_errors)]
    if not parsed or errors:
        shown = "\n".join(f"  {error}" for error in errors) or "  it gave no reason"
        raise EngineError(
            f"{library.name} {library.version} cannot read the graph, for {len(errors)} "
            f"reason(s):\n{shown}\n"
            "Expected an ONNX graph of standard operators, as `facenet-validate prepare` and "
            "`quantize` write them."
        )
    if not network.num_outputs:
        # An empty file is a valid protobuf message: the parser is content with no graph at all.
        raise EngineError(
            f"{library.name} {library.version} found a graph without outputs in "
            f"{len(onnx_bytes)} bytes. Expected an ONNX graph with one output."
        )
    return parser


def _explained(error: trt.ParserError) -> str:
    where = f"node {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else ""
    code = str(error.code()).removeprefix("ErrorCode.")
    return ": ".join(part for part in (where, code, error.desc().strip()) if part)


def describe_network(library: Library, network: trt.INetworkDefinition) -> NetworkReport:
    """Return what a parsed network computes, in which types."""
    layers = list(_layers(network))
    makers = {
        layer.get_output(index).name: layer
        for layer in layers
        for index in range(layer.num_outputs)
    }
    types = [_computed_in(layer, makers) for layer in layers]
    multiplying = [
        MultiplyingLayer(layer.name, computed_in, count)
        for layer, computed_in in zip(layers, types, strict=True)
        for count in [_multiply_adds(library.module, layer)]
        if count
    ]
    computing = Counter(
        computed_in
        for layer, computed_in in zip(layers, types, strict=True)
        if layer.type.name not in _CONVERTING and computed_in not in _INDICES
    )
    return NetworkReport(
        len(layers),
        dict(computing),
        tuple(multiplying),
        tuple(_tensor(network.get_input(index)) for index in range(network.num_inputs)),
        tuple(_tensor(network.get_output(index)) for index in range(network.num_outputs)),
    )


def _layers(network: trt.INetworkDefinition) -> Iterator[trt.ILayer]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _tensor(tensor: trt.ITensor) -> Tensor:
    return Tensor(tensor.name, tensor.dtype.name, shape_of(tensor))


def shape_of(tensor: trt.ITensor) -> tuple[int, ...]:
    """Return a tensor's shape; a dynamic dimension is −1."""
    dims: Any = tensor.shape  # a sequence, which the stubs do not say
    return tuple(dims)


def _computed_in(layer: trt.ILayer, makers: Mapping[str, trt.ILayer]) -> str:
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    # An optional input that is not there is None.
    names = [tensor.name for tensor in inputs if tensor is not None]
    stored = {_stored_in(name, makers) for name in names[:2]}
    # A convolution whose weights are part of the layer has them in floating point.
    embedded = layer.type.name == "CONVOLUTION" and len(names) < 2
    if len(stored) == 1 and not embedded:
        (one,) = stored
        if one:
            return one
    return str(layer.get_output(0).dtype.name) if layer.num_outputs else "NONE"


def _stored_in(name: str, makers: Mapping[str, trt.ILayer]) -> str:
    """Return the type a tensor was dequantised from, or nothing."""
    maker = makers.get(name)
    while maker is not None and maker.type.name in _KEEPING:
        maker = makers.get(maker.get_input(0).name)
    if maker is None or maker.type.name != "DEQUANTIZE":
        return ""
    dtype = str(maker.get_input(0).dtype.name)
    # A layer that reads weights in floating point: the parser quantises them on the fly.
    return "" if dtype in _FLOATING else dtype


def _multiply_adds(module: Any, layer: trt.ILayer) -> int:
    """Return the multiply-adds of a layer for one image; the first dimension is the batch."""
    kind = layer.type.name
    if kind not in ("CONVOLUTION", "MATRIX_MULTIPLY"):
        return 0
    read, made = shape_of(layer.get_input(0)), shape_of(layer.get_output(0))
    if kind == "MATRIX_MULTIPLY":
        # The batch is the first dimension of what is read, so it is never transposed.
        return prod(made[1:]) * read[-1]
    # The binding returns the base class and has no cast; setting the class is the known way.
    cast: Any = layer
    cast.__class__ = module.IConvolutionLayer
    return int(prod(made[1:]) * read[1] // cast.num_groups * prod(cast.kernel_size_nd))
