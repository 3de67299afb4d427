"""Pickles of plain data, read without a call of anything that the pickle names.

A pickle is a program for a small stack machine, and Python's own unpickler runs whatever function
the program names. The reader here knows the operations that write lists, tuples, bytes, numbers
and NumPy's bytes. Names of functions become values of `Name`; what the functions would do, `called`
does. Every other operation and every other name is refused.

``pickletools.genops`` splits the file into operations. It makes nothing of them but bytes, texts
and numbers, none longer than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pickletools import genops
from typing import cast

from facenet_validate.base.wording import LONGEST, quoted
from facenet_validate.datasets.plain_values import (
    NAMES,
    Name,
    NotPlainError,
    called,
    set_state,
    what,
)

MOST_OPERATIONS = 4_000_000
"""Operations that are read: 40 for each of 100,000 photos.

Each one makes at most one object, so this bounds the stack, the memo and every list at once.
"""

_NEWEST_PROTOCOL = 5


def read_plain(content: bytes) -> object:
    """Return what a pickle holds.

    Parameters
    ----------
    content : bytes
        A pickle of protocol 2 to 5, by Python 2 or 3.

    Returns
    -------
    object
        Lists and tuples of bytes, texts, whole numbers, booleans, None and `ByteArray`. Python 2's
        texts are bytes. A list may hold itself.

    Raises
    ------
    NotPlainError
        If it holds anything else, ends early, is damaged, has more operations than
        `MOST_OPERATIONS`, or would make more bytes than it has.
    """
    machine = _Machine(len(content))
    try:
        for count, (operation, argument, place) in enumerate(genops(content)):
            if count >= MOST_OPERATIONS:
                raise NotPlainError(f"has more than {MOST_OPERATIONS:,} operations")
            if operation.name == "STOP":
                return machine.pop()
            try:
                machine.step(operation.name, argument)
            except NotPlainError as wrong:
                raise NotPlainError(f"{wrong} (byte {place})") from None
    except (ValueError, OverflowError) as error:
        raise NotPlainError(f"ends early or is damaged ({_cut(str(error))})") from None
    raise NotPlainError("ends early")  # pragma: no cover (genops raises first)


class _Machine:
    """The stack machine of a pickle.

    Parameters
    ----------
    budget : int
        Bytes that calls of ``_codecs.encode`` may make together.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def step(self, operation: str, argument: object) -> None:
        """Do one operation.

        Raises
        ------
        NotPlainError
            If it is not one of plain data, or does not fit the stack.
        """
        known = _OPERATIONS.get(operation)
        if known is None:
            named = f" of {_global_name(argument)}" if operation == "INST" else ""
            raise NotPlainError(f"has the operation {operation}{named}, which is not read")
        known(self, argument)

    def pop(self) -> object:
        """Take the value on top of the stack."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise NotPlainError("takes a value that is not there")
        return self._stack.pop()

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def mark(self, _: object) -> None:
        """Begin the items of a list or tuple."""
        self._marks.append(len(self._stack))

    def marked(self) -> list[object]:
        """Take the values above the last mark."""
        if not self._marks:
            raise NotPlainError("takes items that did not begin")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def tuple_of(self, count: int) -> None:
        """Make a tuple of the values on top."""
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def extend(self, items: Sequence[object]) -> None:
        """Append to the list on top."""
        target = self.pop()
        if not isinstance(target, list):
            raise NotPlainError(f"appends to {what(target)}; expected a list")
        target.extend(items)
        self.push(target)

    def append(self, _: object) -> None:
        """Append one value to the list below it."""
        self.extend([self.pop()])

    def remember(self, index: object) -> None:
        """Keep the value on top under a number; None is the next one."""
        value = self.pop()
        self._memo[len(self._memo) if index is None else cast("int", index)] = value
        self.push(value)

    def recall(self, index: object) -> None:
        """Put a kept value on the stack."""
        number = cast("int", index)
        if number not in self._memo:
            raise NotPlainError(f"takes value {number} of its memo, which is not there")
        self.push(self._memo[number])

    def name(self, text: object) -> None:
        """Put a function's or class's name on the stack, if it is known."""
        found = NAMES.get(str(text).replace(" ", "."))
        if found is None:
            raise NotPlainError(f"names {_global_name(text)}, which was not loaded or called")
        self.push(found)

    def stack_name(self, _: object) -> None:
        """Put the name on the stack that two texts on it make."""
        name, module = self.pop(), self.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise NotPlainError(f"names {what(name)} in {what(module)}; expected two texts")
        self.name(f"{module}.{name}")

    def call(self, _: object) -> None:
        """Do what a named function would do with a tuple of arguments."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise NotPlainError(f"calls {what(function)} with {what(arguments)}")
        made = called(function, arguments, self._budget)
        self._budget -= len(made) if isinstance(made, bytes) else 0
        self.push(made)

    def build(self, _: object) -> None:
        """Give the array or dtype on the stack its state."""
        state, target = self.pop(), self.pop()
        set_state(target, state)
        self.push(target)


def _global_name(text: object) -> str:
    return quoted(str(text).replace(" ", ".", 1))[1:-1]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 2 * LONGEST else f"{line[: 2 * LONGEST]}…"


def _protocol(_: _Machine, version: object) -> None:
    if not isinstance(version, int) or version > _NEWEST_PROTOCOL:
        raise NotPlainError(f"is of protocol {version}; expected 2 to {_NEWEST_PROTOCOL}")


def _nothing(_: _Machine, __: object) -> None:
    """Do nothing: a frame only says how many bytes to read ahead."""


_Operation = Callable[[_Machine, object], None]

_OPERATIONS: dict[str, _Operation] = {
    "PROTO": _protocol,
    "FRAME": _nothing,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1",
         "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
         "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        _Machine.push,
    ),
    # genops reads Python 2's texts by Latin-1, which gives every byte back.
    **dict.fromkeys(
        ("BINSTRING", "SHORT_BINSTRING"),
        lambda machine, text: machine.push(str(text).encode("latin-1")),
    ),
    "BYTEARRAY8": lambda machine, value: machine.push(bytes(cast("bytearray", value))),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "MARK": _Machine.mark,
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}  # fmt: skip
"""What each operation does, by its name in ``pickletools``."""
