"""A pickle of plain data is read as Python reads it; nothing that any other names is called."""

from __future__ import annotations

import pickle
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.datasets import plain_pickle
from facenet_validate.datasets.plain_pickle import read_plain
from facenet_validate.datasets.plain_values import ByteArray, NotPlainError
from tests.datasets.packed import python_2_array

PROTOCOLS = [2, 3, 4, 5]
PLAIN = st.recursive(
    st.binary(max_size=300)
    | st.booleans()
    | st.none()
    | st.text(max_size=20)
    | st.integers(-(2**31), 2**31 - 1),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_data_are_read_as_python_reads_them(value: object, protocol: int) -> None:
    pickled = pickle.dumps(value, protocol)
    if b"bytes\n" in pickled:  # Python 3 writes no bytes at all as a call, in protocol 2
        return
    assert read_plain(pickled) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_arrays_of_bytes_and_its_scalars(protocol: int) -> None:
    photo = np.arange(250, dtype=np.uint8)
    value = [photo, photo[:, None], photo > 3, np.bool_(True), np.int64(-7), np.uint8(200)]
    value.append(np.array(5).astype(">i4")[()])
    first, column, truths, *numbers = as_list(read_plain(pickle.dumps(value, protocol)))
    for found, expected in ((first, photo), (column, photo), (truths, photo > 3)):
        assert isinstance(found, ByteArray)
        assert (found.kind, found.content) == (expected.dtype.str[1:], expected.tobytes())
    assert numbers == [True, -7, 200, 5]
    assert numbers[0] is True


def as_list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


def test_the_names_of_numpy_1() -> None:
    pickled = pickle.dumps([np.arange(3, dtype=np.uint8), np.bool_(False)], 2)
    pickled = pickled.replace(b"numpy._core.", b"numpy.core.")
    array, label = as_list(read_plain(pickled))
    assert (array.content, label) == (b"\0\1\2", False)


def test_shared_values_stay_shared() -> None:
    photo = bytes(range(256))
    first, second = as_list(read_plain(pickle.dumps([photo, photo])))
    assert first is second


class Trap:
    """What a pickle of it calls when it is opened."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLED: list[object] = []


def call(*arguments: object) -> None:
    CALLED.append(arguments)


HOSTILE = {
    "GLOBAL": b"\x80\x02cos\nsystem\nU\x02id\x85R.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
    "INST": b"\x80\x02(U\x02idios\nsystem\n.",
    "OBJ": b"\x80\x02(cos\nsystem\nU\x02ido.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nU\x02id\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\nU\x02id\x85}\x92.",
    "BUILD": b"\x80\x02cos\nsystem\nU\x02idb.",
    "a class of its own": b"\x80\x02ccodecs\nCodec\n)\x81.",
    "builtins": b"\x80\x02c__builtin__\neval\nU\x011\x85R.",
    "numpy's own": b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
    "a name with a line end": b"\x80\x04\x8c\x02os\x8c\x0dsystem\nnow!!!\x93.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "extension 1": b"\x80\x02\x82\x01.",
    "extension 2": b"\x80\x02\x83\x01\x00.",
    "extension 4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "persistent": b"\x80\x02Pid\n.",
    "persistent, binary": b"\x80\x02U\x02idQ.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "read-only buffer": b"\x80\x05B\x01\x00\x00\x00x\x98.",
    "a dictionary": b"\x80\x02}K\x01K\x02s.",
    "a set": b"\x80\x04\x8f.",
    "a number called": b"\x80\x02K\x01)R.",
    "a text called": b"\x80\x02U\x02id)R.",
    "our own stand-in set": b"\x80\x02c_codecs\nencode\nU\x02idb.",
    "our own stand-in misused": b"\x80\x02c_codecs\nencode\nX\x02\0\0\0idX\x05\0\0\0rot13\x86R.",
    "ndarray called": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "objects": pickle.dumps(np.array([call]), 2),
    "floats": pickle.dumps(np.ones(3), 2),
    "a float": pickle.dumps(1.0, 2),
    "two dimensions": pickle.dumps(np.zeros((2, 3), np.uint8), 4),
    "a shape without its bytes": pickle.dumps(np.zeros(250, np.uint8), 4).replace(
        b"K\xfa", b"K\xfb"
    ),
    "protocol 9": b"\x80\x09N.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_everything_else_is_refused_in_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.system", call)
    monkeypatch.setattr("numpy.load", call)
    CALLED.clear()
    with pytest.raises(NotPlainError) as error:
        read_plain(HOSTILE[kind])
    assert not CALLED
    assert "\n" not in str(error.value)
    if "system" in repr(HOSTILE[kind]):
        assert "os.system" in str(error.value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_calls_a_function_is_refused_by_its_name(protocol: int) -> None:
    CALLED.clear()
    trap = pickle.dumps(([Trap(call, "x")], [True]), protocol)
    pickle.loads(trap)
    assert CALLED.pop() == ("x",)
    with pytest.raises(NotPlainError, match=r"names \S*test_plain_pickle\.call, which was not"):
        read_plain(trap)
    assert not CALLED


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (b"\x80\x02.", "takes a value that is not there"),
        (b"\x80\x02](.", "takes a value that is not there"),
        (b"\x80\x02e.", "takes items that did not begin"),
        (b"\x80\x02K\x01K\x02a.", "appends to a int; expected a list"),
        (b"\x80\x02h\x05.", "takes value 5 of its memo"),
        (b"", "ends early"),
        (b"\x80\x02", "ends early"),
        (b"\x80\x02]", "ends early"),
        (b"\x80\x02B\xff\xff\xff\x7fabc", "ends early"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62), "ends early"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**62), "ends early"),
        (b"\x80\x02\xff", "ends early or is damaged"),
        (b"\x80\x02T\xff\xff\xff\xff.", "ends early or is damaged"),
    ],
)
def test_a_broken_pickle_says_so(pickled: bytes, says: str) -> None:
    with pytest.raises(NotPlainError, match=says):
        read_plain(pickled)


def test_every_beginning_of_a_pickle_is_refused() -> None:
    pickled = pickle.dumps(([b"photo", np.arange(9, dtype=np.uint8)], [True, np.bool_(False)]), 2)
    for end in range(len(pickled)):
        with pytest.raises(NotPlainError):
            read_plain(pickled[:end])


def test_a_number_of_the_memo_takes_no_memory() -> None:
    """The memo of C Python is an array: a large number in a small file would allocate gigabytes."""
    assert read_plain(b"\x80\x02Nr\xff\xff\xff\xff.") is None


def test_what_repeats_itself_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickle, "MOST_OPERATIONS", 1000)
    assert len(as_list(read_plain(b"\x80\x02](" + b"N" * 990 + b"e."))) == 990
    with pytest.raises(NotPlainError, match="more than 1,000 operations"):
        read_plain(b"\x80\x02](" + b"N" * 1000 + b"e.")


def test_one_text_encoded_many_times_is_a_bomb() -> None:
    text, call_again = b"X" + struct.pack("<i", 1000) + b"a" * 1000, b"h\x00h\x01h\x02\x86R"
    head = b"\x80\x02(c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\0\0\0latin1q\x02"
    assert read_plain(head + call_again + b"t.")
    with pytest.raises(NotPlainError, match="would make more bytes than it has: a bomb"):
        read_plain(head + call_again * 50 + b"t.")


def test_depth_costs_nothing() -> None:
    """A recursive reader would end in a RecursionError, and a text of the value in no memory."""
    deep = b")" + b"\x85" * 200_000
    doubled = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(200))
    for value in (deep, doubled):
        assert isinstance(read_plain(b"\x80\x02" + value + b"."), tuple)
        with pytest.raises(NotPlainError, match="tuple for a shape"):
            read_plain(b"\x80\x02" + python_2_array(b"photo", value) + b".")


def test_a_list_may_hold_itself() -> None:
    found = as_list(read_plain(b"\x80\x02]q\x00h\x00a."))
    assert found[0] is found


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_any_bytes_are_read_or_refused(content: bytes, start: bytes) -> None:
    with suppress(NotPlainError):
        read_plain(start + content + b".")


@given(st.data())
def test_a_changed_byte_is_read_or_refused(data: st.DataObject) -> None:
    value = ([b"photo", np.arange(9, dtype=np.uint8)], [True, np.bool_(False)])
    pickled = bytearray(pickle.dumps(value, data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    with suppress(NotPlainError):
        read_plain(bytes(pickled))
