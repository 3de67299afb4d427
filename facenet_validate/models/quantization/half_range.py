"""Whether a network's activations fit FP16: which come near its largest or smallest numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.models.passes import embedding_tail, makers_of
from facenet_validate.models.quantization.calibration import tensors_of

LARGEST = 65504.0
"""The largest finite FP16 number (IEEE 754 binary16)."""

SMALLEST_NORMAL = 2.0**-14
"""6.1e-5. Smaller numbers lose bits, or become zero."""

_NEAR = LARGEST / 8
_NOTABLE = 0.01


@dataclass(frozen=True)
class HalfRange:
    """Where a network's activations lie in the range of FP16.

    Attributes
    ----------
    peak : float
        Largest magnitude.
    peak_node : str
        The node that made it.
    near_overflow : tuple of (str, float)
        Nodes whose magnitudes reach an eighth of 65504, with the largest.
    near_underflow : tuple of (str, float)
        Nodes of whose values other than zero more than 1 % lie below 6.1e-5, with that share.
    """

    peak: float
    peak_node: str
    near_overflow: tuple[tuple[str, float], ...]
    near_underflow: tuple[tuple[str, float], ...]

    @property
    def headroom(self) -> float:
        """65504 divided by the largest activation."""
        return LARGEST / self.peak if self.peak else float("inf")

    def text(self) -> str:
        """Return the range in one line, for people."""
        parts = [f"largest activation {self.peak:.4g} at {self.peak_node}"]
        for nodes, what in (
            (self.near_overflow, "above an eighth of 65504"),
            (self.near_underflow, "with over 1 % of their values below 6.1e-5"),
        ):
            if nodes:
                worst = max(nodes, key=lambda node: node[1])
                parts.append(f"{len(nodes)} nodes {what}, most {worst[0]} ({worst[1]:.3g})")
        return "; ".join(parts)


def half_range(model: onnx.ModelProto, images: NDArray[np.float32]) -> HalfRange:
    """Run the FP32 network and find where FP16 would overflow or underflow.

    The embedding tail is left out: it stays FP32.

    Parameters
    ----------
    model : onnx.ModelProto
        The prepared model.
    images : ndarray of shape (N, 3, H, W)
        Standardized faces.
    """
    tail = {name for node in embedding_tail(model) for name in node.output}
    makers = {name: node.name for name, node in makers_of(model.graph).items()}
    peaks = dict.fromkeys((name for name in makers if name not in tail), 0.0)
    small, other = dict.fromkeys(peaks, 0), dict.fromkeys(peaks, 0)
    for tensors in tensors_of(model, images, None):
        for name in peaks:
            magnitudes = np.abs(tensors[name])
            # A NaN stays: no comparison with it is true.
            peaks[name] = max(float(magnitudes.max()), peaks[name])
            other[name] += int(np.count_nonzero(magnitudes))
            small[name] += int(np.count_nonzero((magnitudes < SMALLEST_NORMAL) & (magnitudes > 0)))
    shares = {name: small[name] / max(other[name], 1) for name in peaks}
    worst = max(peaks, key=lambda name: peaks[name])
    return HalfRange(
        peaks[worst],
        makers[worst],
        tuple((makers[name], peak) for name, peak in peaks.items() if not peak < _NEAR),
        tuple((makers[name], share) for name, share in shares.items() if share > _NOTABLE),
    )
