"""Photos → aligned faces: the crop FaceNet's published accuracies rest on, over a pool of workers.

The crop is that of ``align/align_dataset_mtcnn.py`` in davidsandberg/facenet with ``--margin 32
--image_size 160``, rounded to the nearest pixel and stretched by OpenCV's bilinear interpolation.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.framing import Box, Framing
from facenet_validate.datasets.images import decode_image, megapixels
from facenet_validate.datasets.mtcnn import Detections, Mtcnn, MtcnnNetworks

ALIGNER_ID = "mtcnn-margin32-160-2"
"""Changes whenever a pixel of an aligned face may change: stored faces are keyed by it."""

LARGE_ID = f"{ALIGNER_ID}-reduced-16"
"""The same where a photo of the set is so large that it is reduced before it is searched."""

SIZE = 160
MARGIN = 16
"""Source pixels added on each side of a detected box."""

_FALLBACK = (-0.252, -0.308, 0.244, 0.316)
"""Crop of a photo without a face: x1, y1, x2, y2 from its centre, in shorter sides.

The median crop, margin included, of 400 LFW photos drawn at random: 62, 48, 186, 204 of 250 pixels.
"""

_PHOTOS_PER_TASK = 8
_TASKS_PER_WORKER = 2

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


Answer = list[tuple[str, AlignedFace]]


def align_face(image: NDArray[np.uint8], detections: Detections) -> AlignedFace:
    """Crop the most prominent face and stretch it to 160×160.

    Of several faces the one with the largest ``area − 2·d²`` is taken, where d is the distance of
    the box's centre from the photo's. It gets a margin of 16 source pixels on each side, clipped to
    the photo. Where there is no face the crop lies where faces lie in LFW's photos.

    Parameters
    ----------
    image : numpy.ndarray, shape (H, W, 3), uint8
        RGB, at least one pixel.
    detections : Detections
        What :meth:`Mtcnn.detect` found in it.
    """
    height, width, _ = image.shape
    boxes = detections.boxes
    # To the nearest pixel: truncation, as in the original script, moves every crop half a pixel up
    # and left (figures in docs/evidence/alignment.md).
    corners = np.rint(
        np.hstack(
            (
                np.maximum(boxes[:, :2] - MARGIN, 0),
                np.minimum(boxes[:, 2:] + MARGIN, (width, height)),
            )
        )
    ).astype(np.int32)
    # A box that lies beside the photo leaves nothing to crop.
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
    """Decode, detect and crop photos, in worker processes where there is more than one.

    Photos are drawn as they are needed and few are in flight, so neither photos nor faces pile up.
    The workers end with the iterator: when it is exhausted, closed, or raises.

    Parameters
    ----------
    photos : iterable of (str, bytes)
        Name, for results and errors, and the encoded JPEG or PNG.
    networks : MtcnnNetworks
        See :func:`facenet_validate.datasets.mtcnn.installed_networks`.
    workers : int
        Processes; 1 works in this one.

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
    processes = _Processes(networks, workers)
    threads = ThreadPoolExecutor(workers)
    try:
        yield from _in_flight(threads, processes, iter(photos), workers * _TASKS_PER_WORKER)
    finally:
        processes.end()
        threads.shutdown(cancel_futures=True)


def _in_flight(
    threads: ThreadPoolExecutor, processes: _Processes, photos: Iterator[Photo], most: int
) -> Iterator[tuple[str, AlignedFace]]:
    running: set[Future[Answer]] = set()
    while True:
        while len(running) < most and (task := list(islice(photos, _PHOTOS_PER_TASK))):
            running.add(threads.submit(processes.align, task))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield from future.result()


def _align(photo: Photo, mtcnn: Mtcnn) -> tuple[str, AlignedFace]:
    name, data = photo
    image = decode_image(data, name=name)
    try:
        detections = mtcnn.detect(image)
    except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
        height, width, _ = image.shape
        raise DatasetError(
            f"{name}: no face could be looked for in its {width}×{height} pixels, "
            f"{megapixels(width, height)} ({type(error).__name__}: {_first_line(error)}). Most "
            "often memory is short: free some, or reduce the photo."
        ) from error
    return name, align_face(image, detections)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


class _WorkerProcess(SpawnProcess):
    """A spawned process that never imports the program's main module nor hears Ctrl-C.

    The main module may be pytest, or a script without a guard that would align faces again. Ctrl-C
    reaches the whole process group; the one who waits for the workers ends them.
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


class _Processes:
    """Worker processes, each at the end of a pipe of its own.

    A process pool's workers share one pipe for results: one that is killed while it writes leaves
    its reader waiting for ever. Here its end of the pipe closes with it, and so does ours should
    this process be killed.
    """

    def __init__(self, networks: MtcnnNetworks, count: int) -> None:
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._processes: list[_WorkerProcess] = []
        try:
            for _ in range(count):
                ours, theirs = Pipe()
                process = _WorkerProcess(target=_work, args=(theirs, networks), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._idle.put(ours)
        except BaseException:
            self.end()
            raise

    def align(self, task: list[Photo]) -> Answer:
        """Have an idle process align photos. Called by at most as many threads as processes."""
        connection = self._idle.get()
        try:
            connection.send(task)
            answer: Answer | Exception = connection.recv()
        except (EOFError, OSError) as error:
            raise DatasetError(
                f"one of the {len(self._processes)} processes that align faces ended abruptly: "
                "most often the system killed it for lack of memory. Free memory and run again."
            ) from error
        finally:
            self._idle.put(connection)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """End all processes, whatever they are doing."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def _work(connection: Connection, networks: MtcnnNetworks) -> None:
    """Align what comes through a pipe until the other end is closed."""
    cv2.setNumThreads(1)
    mtcnn = Mtcnn(networks)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task: list[Photo] = connection.recv()
            try:
                answer: Answer | Exception = [_align(photo, mtcnn) for photo in task]
            except Exception as error:
                answer = error
            connection.send(answer)
