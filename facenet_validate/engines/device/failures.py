"""What was being done when a call of the driver failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from facenet_validate.base.errors import EngineError


@contextmanager
def named(action: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors that name a call and a status into one that names the action too.

    Parameters
    ----------
    action : str
        As ``copying to the GPU``.
    kinds : type of Exception
        What the package raises that the call goes through.

    Raises
    ------
    EngineError
        In place of such an error.
    """
    try:
        yield
    except kinds as error:
        raise EngineError(f"{action} failed: {str(error).removesuffix('.')}.") from None
