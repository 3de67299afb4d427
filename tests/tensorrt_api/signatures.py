"""What pybind11 tells of a function: its docstring begins with a signature for each overload."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING, _CLOSING = "([{<", ")]}>"
_NUMBERED = re.compile(r"^\d+\. ", re.MULTILINE)


@dataclass(frozen=True)
class Signature:
    """One overload.

    Attributes
    ----------
    parameters : tuple of (str, bool)
        Name, and whether it has a default; ``self`` is left out.
    returns : str
        Type of what it returns, as pybind11 writes it; empty string if it does not tell.
    """

    parameters: tuple[tuple[str, bool], ...]
    returns: str

    def why_not(self, positional: int, keywords: tuple[str, ...]) -> str:
        """Return why a call does not fit; empty string if it does."""
        names = [name for name, _ in self.parameters]
        if positional > len(names):
            return f"takes {len(names)} arguments, not {positional}"
        unknown = [keyword for keyword in keywords if keyword not in names[positional:]]
        if unknown:
            return f"takes no keyword {unknown[0]!r}"
        left = [name for name, default in self.parameters[positional:] if not default]
        missing = [name for name in left if name not in keywords]
        return f"needs {missing[0]!r}" if missing else ""


def signatures(doc: str | None, name: str = "") -> tuple[Signature, ...]:
    """Return the overloads that a docstring begins with or numbers.

    Parameters
    ----------
    name : str
        The function's; a property's getter has none.

    Examples
    --------
    >>> signatures("add(self: m.Sum, to: int, by: m.Step = <Step.ONE: 1>) -> m.Sum", "add")
    (Signature(parameters=(('to', False), ('by', True)), returns='m.Sum'),)
    """
    text = (doc or "").strip()
    starts = [0]
    if text.startswith(f"{name}(*args, **kwargs)"):
        starts = [found.end() for found in _NUMBERED.finditer(text)]
    found = (_signature(text[start:], name) for start in starts)
    return tuple(one for one in found if one is not None)


def _signature(text: str, name: str) -> Signature | None:
    if not text.startswith(f"{name}("):
        return None
    inside, rest = _arguments(text[len(name) + 1 :])
    parameters = []
    for index, one in enumerate(inside):
        called = one.partition(":")[0].partition("=")[0].strip()
        # A method's first is the object; pybind11 calls it arg0 where nobody named it.
        if called and not (index == 0 and called in ("self", "arg0")):
            parameters.append((called, "=" in _outside(one)))
    arrow = re.match(r"\s*->\s*([^\n]*)", rest)
    return Signature(tuple(parameters), arrow[1].strip() if arrow else "")


def _arguments(text: str) -> tuple[list[str], str]:
    """Split at the commas up to the closing bracket; return what is behind it too."""
    depth, parts = 0, [""]
    for index, letter in enumerate(text):
        arrow = letter == ">" and text[index - 1] == "-"
        if letter in _CLOSING and not arrow:
            if not depth:
                return parts, text[index + 1 :]
            depth -= 1
        elif letter in _OPENING:
            depth += 1
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts, ""


def _outside(text: str) -> str:
    """Return a text without what its brackets hold, where an equals sign means nothing."""
    depth, kept = 0, ""
    for letter in text:
        depth -= letter in _CLOSING
        kept += letter * (not depth)
        depth += letter in _OPENING
    return kept
