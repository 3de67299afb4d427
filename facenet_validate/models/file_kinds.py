"""What a file is that is not what it was named as: told by its first bytes, else by its ending.

Everything here reads at most a few bytes, and opens regular files only.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

_HEAD = 512

_TO_ONNX = "Convert it to ONNX first, for example with tf2onnx."
_MODEL = "It is a source model: name it with --facenet-model, or make an engine of it with "
_QUANTIZE = "facenet-validate quantize."
_ENGINE = "It is an engine: name it with --facenet-engine."


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes
    ----------
    what : str
        What it is called, with its article.
    advice : str
        What to do with it, a sentence.
    """

    what: str
    advice: str


_FROZEN = FileKind("a TensorFlow graph", _MODEL + _QUANTIZE)
_CHECKPOINT = FileKind("a PyTorch checkpoint", _MODEL + _QUANTIZE)
_PICKLE = FileKind(
    "a Python pickle", "It is not opened, since pickles run code. Name the file it was made from."
)
_PLAN = FileKind("a TensorRT plan", _ENGINE)
_TFLITE = FileKind("a TensorFlow Lite model", _TO_ONNX)
_KERAS = FileKind("a Keras model", _TO_ONNX)
_ARCHIVE = FileKind("a ZIP archive", "Unpack it and name the model inside.")
_OPENVINO = FileKind("an OpenVINO model", "Name the ONNX graph that it was made from.")
_CORE_ML = FileKind("a Core ML model", "Name the ONNX graph that it was made from.")
_ORT = FileKind("a model in ONNX Runtime's own format", "Name the ONNX graph it was made from.")
_ARRAYS = FileKind("a NumPy file", "Name the model itself.")
_LFS = FileKind("a pointer of Git LFS", "Fetch the file itself with git lfs pull.")
_TEXT = FileKind("a text file", "Name the model itself.")
_WEIGHTS = FileKind("a file of weights alone", "Name the model that it belongs to.")
_PACKED = FileKind("a compressed file", "Unpack it and name the model inside.")
_PICTURE = FileKind("a picture", "Name the model itself.")

_BY_ENDING = {
    ".pb": _FROZEN,
    ".pbtxt": _FROZEN,
    ".pt": _CHECKPOINT,
    ".pth": _CHECKPOINT,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".plan": _PLAN,
    ".engine": _PLAN,
    ".trt": _PLAN,
    ".tflite": _TFLITE,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".xml": _OPENVINO,
    ".mlmodel": _CORE_ML,
    ".mlpackage": _CORE_ML,
    ".ort": _ORT,
    ".npz": _ARRAYS,
    ".npy": _ARRAYS,
    ".zip": _ARCHIVE,
    ".gz": _PACKED,
    ".safetensors": _WEIGHTS,
    ".ckpt": _WEIGHTS,
}

_BY_START: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"ftrt", _PLAN),
    (0, b"vtrt", _PLAN),
    (4, b"TFL3", _TFLITE),
    (4, b"ORTM", _ORT),
    (0, b"\x89HDF\r\n", _KERAS),
    (0, b"\x93NUMPY", _ARRAYS),
    (0, b"version https://git-lfs", _LFS),
    (0, b"\x1f\x8b", _PACKED),
    (0, b"\x89PNG", _PICTURE),
    (0, b"\xff\xd8\xff", _PICTURE),
    (0, b"<?xml", _OPENVINO),
    (0, b"<net", _OPENVINO),
)
_ZIPPED = (_CHECKPOINT, _KERAS, _ARRAYS, _CORE_ML)


def missing(path: Path) -> str:
    """Return why a path is no file that can be read, such as ``no such file``; empty if it is one.

    It is not opened: a pipe would wait for a writer.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "no such file"
    except NotADirectoryError:
        return "no such file"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except ValueError as error:  # a zero byte in the name
        return f"no path ({error})"
    for test, what in (
        (stat.S_ISDIR, "it is a folder"),
        (stat.S_ISFIFO, "it is a named pipe"),
        (stat.S_ISCHR, "it is a device"),
        (stat.S_ISBLK, "it is a device"),
        (stat.S_ISSOCK, "it is a socket"),
    ):
        if test(mode):
            return f"{what}, not a file"
    return ""


def kind_of(path: Path) -> FileKind | None:
    """Return what kind a file is by its first bytes, else by its ending; None if neither tells."""
    return kind_by_content(path) or kind_by_name(path)


def kind_by_name(path: Path) -> FileKind | None:
    """Return what kind a file is called by its ending; None of ``.onnx`` and unknown ones."""
    return _BY_ENDING.get(path.suffix.lower())


def kind_by_content(path: Path) -> FileKind | None:
    """Return what kind a file is by its first bytes; None if they are no known kind's.

    An ONNX graph and a frozen graph have no mark of their own: they are None.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    for place, mark, kind in _BY_START:
        if head[place : place + len(mark)] == mark:
            return kind
    ending = kind_by_name(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ending if ending in _ZIPPED else _ARCHIVE
    if is_pickle(head):
        return ending if ending is _CHECKPOINT else _PICKLE
    if len(head) > 1 and _is_text(head):
        return ending if ending is not None else _TEXT
    return None


def is_pickle(head: bytes) -> bool:
    """Say whether a file that begins so is a Python pickle: of protocol 2 or later, or a list's."""
    return (len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5) or head.startswith(
        (b"(lp0\n", b"(dp0\n")
    )


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # cut within a character
    return True
