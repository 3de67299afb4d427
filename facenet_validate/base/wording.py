"""How messages quote what they found: short, on one line, in characters any terminal can show."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import PurePath

LONGEST = 60
"""Characters of a value that a message quotes."""

_LONGEST_PATH = 200


def quoted(value: object) -> str:
    """Return a value as it would be written, cut short; its type where it cannot be written.

    Examples
    --------
    >>> quoted("lfw")
    "'lfw'"
    """
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[:LONGEST]}…")
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of 5,000 digits, a list in a list in a list …
        kind = "number of very many digits" if isinstance(value, int) else type(value).__name__
        return f"a {kind}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def path_text(path: str | PurePath) -> str:
    r"""Return a path as text: bytes that are no UTF-8 and control characters as escapes, cut short.

    Examples
    --------
    >>> path_text("caf\udce9")
    'caf\\xe9'
    """
    text = os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _LONGEST_PATH else f"{text[:_LONGEST_PATH]}…"


def reason(error: OSError) -> str:
    """Return why the system refused, in its own words."""
    return error.strerror or str(error) or type(error).__name__


def refusal(error: OSError) -> str:
    """Return what the system refused and why: the file it named, as far as it named one."""
    if not isinstance(error.filename, str | bytes | PurePath):
        return str(error) or type(error).__name__
    return f"{path_text(os.fsdecode(error.filename))}: {reason(error)}"


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'gates'?`` where a known name is near the one found, else nothing."""
    if not isinstance(name, str):
        return ""
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
