"""What was given to a command that runs one supplied engine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from facenet_validate.run.settings import Given, gather


def given_to(
    arguments: argparse.Namespace,
    options: Mapping[str, tuple[str, str]],
    variables: Collection[str],
) -> dict[str, Given]:
    """Return the options of a run by a command's arguments, and by the variables of a run.

    Parameters
    ----------
    options : mapping
        Option of a run → the argument's name, and what messages call it.
    variables : collection of str
        Options whose variables hold here too.
    """
    here = Path.cwd()
    nothing: dict[str, str] = {}
    environment = {name: text for name, text in os.environ.items() if name.lower() in variables}
    given = gather(nothing.get, environment, nothing.get, invocation=here, ini_folder=here)
    for option, (argument, origin) in options.items():
        text = getattr(arguments, argument)
        if text is not None:
            given[option] = Given(str(text), origin, here)
    return given
