"""What the names in a plain pickle stand for: values of our own in place of NumPy's functions."""

from __future__ import annotations

from enum import Enum, auto

from facenet_validate.base.wording import quoted


class NotPlainError(Exception):
    """Why a pickle is not read: a clause for a message, in one line."""


class ByteArray:
    """A one-dimensional NumPy array of ``uint8`` or ``bool``.

    Attributes
    ----------
    kind : str
        ``u1`` or ``b1``; empty while the pickle did not say it.
    content : bytes
    """

    def __init__(self) -> None:
        self.kind = ""
        self.content = b""


class Dtype:
    """A NumPy dtype: ``b1`` or an integer.

    Attributes
    ----------
    kind : str
        As NumPy writes it, without the order of bytes.
    big : bool
        Whether the largest byte is the first.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.big = False


class Name(Enum):
    """The functions and classes that a pickle of plain data names."""

    ENCODE = auto()
    DTYPE = auto()
    NDARRAY = auto()
    RECONSTRUCT = auto()
    SCALAR = auto()
    FROM_BUFFER = auto()


NAMES = {
    # Python 3 writes bytes as a text and this call in protocols below 3.
    "_codecs.encode": Name.ENCODE,
    "numpy.dtype": Name.DTYPE,
    "numpy.ndarray": Name.NDARRAY,
    **{
        f"numpy.{core}.{name}": meaning
        for core in ("core", "_core")  # NumPy 1 and 2
        for name, meaning in {
            "multiarray._reconstruct": Name.RECONSTRUCT,
            "multiarray.scalar": Name.SCALAR,
            "numeric._frombuffer": Name.FROM_BUFFER,
        }.items()
    },
}

_BYTES = {"u1", "b1"}
_KINDS = _BYTES | {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


def called(function: Name, arguments: tuple[object, ...], most_bytes: int) -> object:
    """Return what a named function gives.

    Parameters
    ----------
    most_bytes : int
        Bytes that the call may make.

    Raises
    ------
    NotPlainError
        If the arguments are others than those of plain data, or the call would make more bytes.
    """
    match function, arguments:
        case Name.ENCODE, (str(text), encoding) if _text(encoding) in ("latin1", "latin-1"):
            if len(text) > most_bytes:
                raise NotPlainError("would make more bytes than it has: a bomb")
            return text.encode("latin-1")
        case Name.DTYPE, (kind, int(), int()) if _text(kind) in _KINDS:
            return Dtype(_text(kind))
        case Name.RECONSTRUCT, (Name.NDARRAY, (0,), b"b"):
            return ByteArray()
        case Name.FROM_BUFFER, (bytes(content), Dtype() as dtype, shape, "C" | "F"):
            return _filled(ByteArray(), shape, dtype, content)
        case Name.SCALAR, (Dtype() as dtype, bytes(content)) if len(content) == int(dtype.kind[1]):
            signed = dtype.kind[0] == "i"
            value = int.from_bytes(content, "big" if dtype.big else "little", signed=signed)
            return bool(value) if dtype.kind == "b1" else value
    raise NotPlainError(f"calls {function.name.lower()} with arguments that plain data do not have")


def set_state(target: object, state: object) -> None:
    """Give an array or dtype its state.

    Raises
    ------
    NotPlainError
        If it is something else, or the state is not one of plain data.
    """
    match target, state:
        case ByteArray(), (1, shape, Dtype() as dtype, int(), bytes(content)):
            _filled(target, shape, dtype, content)
        case Dtype(), (3, order, None, None, None, -1, -1, 0) if _text(order) in "|<>=":
            target.big = _text(order) == ">"
        case _:
            raise NotPlainError(f"sets the state of {what(target)} to {what(state)}")


def what(value: object) -> str:
    """Return the kind of a value, for messages. Its text may be endless."""
    return f"a {value.name.lower() if isinstance(value, Name) else type(value).__name__}"


def _filled(array: ByteArray, shape: object, dtype: Dtype, content: bytes) -> ByteArray:
    """Give an array its content: one dimension, or one column, as OpenCV 3 encoded photos."""
    if shape not in ((len(content),), (len(content), 1)) or dtype.kind not in _BYTES:
        raise NotPlainError(
            f"has an array of {dtype.kind}, {len(content)} bytes in {_sides(shape)}; expected one "
            "dimension of u1 or b1"
        )
    array.kind, array.content = dtype.kind, content
    return array


def _sides(shape: object) -> str:
    # A tuple may hold one tuple many times, and that one another: its text would fill the memory.
    if isinstance(shape, tuple) and len(shape) < 8 and all(type(side) is int for side in shape):
        return f"shape {quoted(shape)}"
    return f"{what(shape)} for a shape"


def _text(value: object) -> str:
    """Return a text, which Python 2 wrote as bytes; a text that means nothing for another value."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else "no text"
