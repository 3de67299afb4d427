"""Kinds of files: a file's kind is told by its first bytes, else by its ending.

Functions here read at most a few bytes, and open regular files only.
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
        Name of the kind, with its article.
    advice : str
        What to do with it, a sentence.
    """

    what: str
    advice: str


_FROZEN = FileKind("a TensorFlow graph", _MODEL + _QUANTIZE)
_FROZEN_TEXT = FileKind(
    "a TensorFlow graph written as text",
    "Text is not read: write the frozen graph in binary (.pb), with as_text=False.",
)
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
_DOCUMENT = FileKind("a PDF document", "Name the model itself.")
_PROGRAM = FileKind("a program or library", "Name the model itself.")
_ONNX = FileKind("an ONNX graph", "Call it .onnx: a model's kind is told by its ending.")

_ENDINGS = {
    _FROZEN: ".pb",
    _FROZEN_TEXT: ".pbtxt",
    _CHECKPOINT: ".pt .pth",
    _PICKLE: ".pkl .pickle",
    _PLAN: ".plan .engine .trt",
    _TFLITE: ".tflite",
    _KERAS: ".h5 .hdf5 .keras",
    _OPENVINO: ".xml",
    _CORE_ML: ".mlmodel .mlpackage",
    _ORT: ".ort",
    _ARRAYS: ".npz .npy",
    _ARCHIVE: ".zip",
    _PACKED: ".gz .bz2 .xz .zst .tar .tgz .7z .rar",
    _WEIGHTS: ".safetensors .ckpt",
}
_BY_ENDING = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}

_BY_START: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"ftrt", _PLAN),
    (0, b"vtrt", _PLAN),
    (4, b"TFL3", _TFLITE),
    (4, b"ORTM", _ORT),
    (0, b"\x89HDF\r\n", _KERAS),
    (0, b"\x93NUMPY", _ARRAYS),
    (0, b"version https://git-lfs", _LFS),
    (0, b"\x1f\x8b", _PACKED),
    (0, b"BZh", _PACKED),
    (0, b"\xfd7zXZ\0", _PACKED),
    (0, b"\x28\xb5\x2f\xfd", _PACKED),
    (0, b"\x04\x22\x4d\x18", _PACKED),
    (0, b"7z\xbc\xaf\x27\x1c", _PACKED),
    (0, b"Rar!\x1a\x07", _PACKED),
    (257, b"ustar", _PACKED),
    (0, b"GIF8", _PICTURE),
    (8, b"WEBP", _PICTURE),
    (0, b"%PDF-", _DOCUMENT),
    (0, b"\x7fELF", _PROGRAM),
    (0, b"GGUF", _WEIGHTS),
    (0, b"\xff\xfe", _TEXT),
    (0, b"\xfe\xff", _TEXT),
    (0, b"\x89PNG", _PICTURE),
    (0, b"\xff\xd8\xff", _PICTURE),
    (0, b"<?xml", _OPENVINO),
    (0, b"<net", _OPENVINO),
)
_ZIPPED = (_CHECKPOINT, _KERAS, _ARRAYS, _CORE_ML)
_AS_TEXT = {
    **{kind: kind for kind in (_FROZEN_TEXT, _OPENVINO, _PICKLE)},
    _FROZEN: FileKind("a text file, not a TensorFlow frozen graph", _TEXT.advice),
}
"""The kind of a text file by the kind of its ending; all others are plain text files."""


def missing(path: Path) -> str:
    """Return why a path is no readable file, such as ``no such file``; empty for a readable file.

    The file is not opened: a pipe would wait for a writer.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
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
    """Return the kind of a file by its first bytes, else by its ending; None if neither is known.

    A plan is known by its first bytes alone: its ending is not enough.
    """
    content, named = kind_by_content(path), kind_by_name(path)
    if content is not None or named not in (None, _PLAN):
        return content or named
    return _ONNX if _begins_as_onnx(_head(path)) else None


def kind_by_name(path: Path) -> FileKind | None:
    """Return the kind that a file's ending stands for; None for ``.onnx`` and unknown endings."""
    return _BY_ENDING.get(path.suffix.lower())


def kind_by_content(path: Path) -> FileKind | None:
    """Return the kind of a file by its first bytes; None if they belong to no known kind.

    An ONNX graph and a frozen graph have no mark of their own: for them it is None.
    """
    head = _head(path)
    for place, mark, kind in _BY_START:
        if head[place : place + len(mark)] == mark:
            return kind
    ending = kind_by_name(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ending if ending in _ZIPPED else _ARCHIVE
    if is_pickle(head):
        return ending if ending is _CHECKPOINT else _PICKLE
    if head[3:8] == bytes(5) and head[8:9] == b"{":  # a length, and names of weights in JSON
        return _WEIGHTS
    if len(head) > 1 and _is_text(head):
        return _TEXT if ending is None else _AS_TEXT.get(ending, _TEXT)
    return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _begins_as_onnx(head: bytes) -> bool:
    """Say whether a file begins with an IR version and a further field of a ``ModelProto``."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in b"\x12\x1a\x3a\x42"


def is_pickle(head: bytes) -> bool:
    """Say whether a file with these first bytes is a Python pickle.

    Known are pickles of protocol 2 or later, and lists, tuples and dictionaries of earlier ones.
    """
    return (len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5) or head.startswith(
        (b"(lp0\n", b"(dp0\n", b"]q\0", b"}q\0", b")q\0")
    )


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # cut within a character
    return True
