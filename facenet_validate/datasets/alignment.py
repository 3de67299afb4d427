"""Photos → aligned faces, in worker processes.

The crop is that of ``align/align_dataset_mtcnn.py`` in davidsandberg/facenet with ``--margin 32
--image_size 160``, with which FaceNet's published accuracies were measured. It is rounded to the
nearest pixel and stretched by OpenCV's bilinear interpolation.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.framing import Box, Framing
from facenet_validate.datasets.images import decode_image, megapixels
from facenet_validate.datasets.mtcnn import Detections, Mtcnn, MtcnnNetworks
from facenet_validate.datasets.photos import SIZE

ALIGNER_ID = "mtcnn-margin32-160-2"
"""Part of the key of stored faces. It changes whenever a pixel of an aligned face may change."""

LARGE_ID = f"{ALIGNER_ID}-reduced-16"
"""The aligner's name if a photo of the set is so large that it is reduced for the search."""

MARGIN = 16
"""Source pixels added on each side of a detected box."""

_FALLBACK = (-0.252, -0.308, 0.244, 0.316)
"""Crop of a photo without a face: x1, y1, x2, y2 from its centre, in shorter sides.

The median crop, margin included, of 400 LFW photos drawn at random: 62, 48, 186, 204 of 250 pixels.
"""

_PHOTOS_PER_TASK = 8

Photo = tuple[str, bytes]


@dataclass(frozen=True)
class AlignedFace:
    """One photo's face.

    Attributes
    ----------
    pixels : numpy.ndarray, shape (160, 160, 3), uint8
        RGB.
    framing : Framing
        Where it was cut from.
    """

    pixels: NDArray[np.uint8]
    framing: Framing


def align_face(image: NDArray[np.uint8], detections: Detections) -> AlignedFace:
    """Crop the most prominent face and stretch it to 160×160.

    Of several faces, the one with the largest ``area − 2·d²`` is taken, where d is the distance
    between the centres of the box and the photo. It gets a margin of 16 source pixels on each side,
    clipped to the photo. Without a face, the crop is where faces are in LFW's photos.

    Parameters
    ----------
    image : numpy.ndarray, shape (H, W, 3), uint8
        RGB, at least one pixel.
    detections : Detections
        The faces that :meth:`Mtcnn.detect` found in it.
    """
    height, width, _ = image.shape
    boxes = detections.boxes
    # Rounded to the nearest pixel. The original script truncates, which moves every crop half a
    # pixel up and left (figures in docs/evidence/alignment.md).
    corners = np.rint(
        np.hstack(
            (
                np.maximum(boxes[:, :2] - MARGIN, 0),
                np.minimum(boxes[:, 2:] + MARGIN, (width, height)),
            )
        )
    ).astype(np.int32)
    # A box outside the photo has no pixels to crop.
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    boxes, corners = boxes[inside], corners[inside]
    if len(boxes):
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - (width / 2, height / 2)
        chosen = int(np.argmax(areas - 2 * np.square(offsets).sum(axis=1)))
        x1, y1, x2, y2 = corners[chosen].tolist()
        boxes = np.vstack((boxes[chosen], np.delete(boxes, chosen, axis=0)))
    else:
        x1, y1, x2, y2 = _centre_crop(width, height)
    pixels = cv2.resize(image[y1:y2, x1:x2], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    found: list[Box] = [tuple(box) for box in boxes.tolist()]
    framing = Framing((float(x1), float(y1), float(x2), float(y2)), tuple(found))
    return AlignedFace(pixels.astype(np.uint8, copy=False), framing)


def _centre_crop(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top, right, bottom = (round(fraction * side) for fraction in _FALLBACK)
    x, y = width // 2, height // 2
    return x + left, y + top, max(x + right, x + left + 1), max(y + bottom, y + top + 1)


def align_all(
    photos: Iterable[Photo], networks: MtcnnNetworks, workers: int
) -> Iterator[tuple[str, AlignedFace]]:
    """Decode, detect and crop photos, in worker processes if there is more than one.

    Photos are read as they are needed, a few at a time, so neither photos nor faces fill the
    memory. The workers end with the iterator: when it is exhausted, closed, or raises.

    Parameters
    ----------
    photos : iterable of (str, bytes)
        Name, for results and errors, and the encoded JPEG or PNG.
    networks : MtcnnNetworks
        See :func:`facenet_validate.datasets.mtcnn.installed_networks`.
    workers : int
        Number of processes; 1 aligns in this process.

    Yields
    ------
    (str, AlignedFace)
        In the order they are finished.

    Raises
    ------
    DatasetError
        If a photo cannot be decoded (it is named), or a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    if workers == 1:
        mtcnn = Mtcnn(networks)
        for photo in photos:
            yield _align(photo, mtcnn)
        return
    photos = iter(photos)
    tasks = iter(lambda: list(islice(photos, _PHOTOS_PER_TASK)), [])
    with _worker_processes(networks, workers) as idle:
        busy: list[Connection] = []
        faces: list[tuple[str, AlignedFace]] = []
        while True:
            # A worker gets its next photos before the faces it returned are handed on.
            while idle and (task := next(tasks, [])):
                busy.append(idle.pop())
                with _abrupt_end_named(workers):
                    busy[-1].send(task)
            yield from faces
            if not busy:
                return
            ready = wait(busy)
            idle.append(next(one for one in busy if one in ready))
            busy.remove(idle[-1])
            with _abrupt_end_named(workers):
                answer = idle[-1].recv()
            if isinstance(answer, Exception):
                raise answer
            faces = answer


def _align(photo: Photo, mtcnn: Mtcnn) -> tuple[str, AlignedFace]:
    name, data = photo
    image = decode_image(data, name=name)
    try:
        detections = mtcnn.detect(image)
    except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
        height, width, _ = image.shape
        why = (str(error).splitlines() or [""])[0]
        raise DatasetError(
            f"{name}: no face could be looked for in its {width}×{height} pixels, "
            f"{megapixels(width, height)} ({type(error).__name__}: {why}). Most "
            "often memory is short: free some, or reduce the photo."
        ) from error
    return name, align_face(image, detections)


class _WorkerProcess(SpawnProcess):
    """A spawned process that does not import the program's main module and ignores Ctrl-C.

    The main module may be pytest, or a script without a guard that would align faces again. Ctrl-C
    reaches the whole process group; the main process ends the workers.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _worker_processes(networks: MtcnnNetworks, count: int) -> Iterator[list[Connection]]:
    """Start worker processes, give a connection to each, and terminate them at the end.

    The workers of ``concurrent.futures`` and of loky share one pipe for results. If a worker is
    killed while it writes there, the reader waits for ever. If the main process is killed, its
    workers stay. Here every worker has its own pipe, and the system closes an end of the pipe with
    the process that holds it.
    """
    processes: list[_WorkerProcess] = []
    connections: list[Connection] = []
    try:
        for _ in range(count):
            ours, theirs = Pipe()
            process = _WorkerProcess(target=_work, args=(theirs, networks), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
            connections.append(ours)
        yield connections
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextmanager
def _abrupt_end_named(workers: int) -> Iterator[None]:
    """Replace the error of a pipe to a process that is gone by one with advice."""
    try:
        yield
    except (EOFError, OSError) as error:
        raise DatasetError(
            f"one of the {workers} processes that align faces ended abruptly: most often the "
            "system killed it for lack of memory. Free memory and run again."
        ) from error


def _work(connection: Connection, networks: MtcnnNetworks) -> None:
    """Align photos that come through a pipe until its other end is closed."""
    cv2.setNumThreads(1)
    mtcnn = Mtcnn(networks)
    with suppress(EOFError, OSError):
        while True:
            photos: list[Photo] = connection.recv()
            try:
                answer: list[tuple[str, AlignedFace]] | Exception
                answer = [_align(photo, mtcnn) for photo in photos]
            except Exception as error:
                answer = error
            connection.send(answer)
