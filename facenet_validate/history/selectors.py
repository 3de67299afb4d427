"""Which sessions a user means: an id, ``latest~2``, ``epoch:3``, ``commit:1a2b``, or a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facenet_validate.base.errors import SettingsError
from facenet_validate.benchmarking.sessions import Identity
from facenet_validate.history.series import Filter, Series, SeriesEntry, group
from facenet_validate.history.sources import Problem, read

FORMS = "an id, latest, latest~N, epoch:N, commit:PREFIX, or a file"

_ID = re.compile(r"[0-9a-f]{4,64}")
_LATEST = re.compile(r"latest(?:~([0-9]{1,9}))?")
_EPOCH = re.compile(r"epoch:([0-9]{1,9})")
_COMMIT = re.compile(r"commit:([0-9a-f]{4,64})")


@dataclass(frozen=True)
class Selection:
    """What a selector selects.

    Attributes
    ----------
    selector : str
        As the user wrote it.
    entries : dict of Identity to tuple of SeriesEntry
        The sessions of each identity, oldest first; no identity is empty.
    problems : tuple of Problem
        What could not be read of a file that was named.
    """

    selector: str
    entries: dict[Identity, tuple[SeriesEntry, ...]]
    problems: tuple[Problem, ...] = ()

    def newest_epochs(self) -> Selection:
        """Return the selection with the newest epoch of each identity only.

        What came before an accepted change is no longer what the machine is held to.
        """
        newest = {
            identity: tuple(e for e in entries if e.epoch == max(e.epoch for e in entries))
            for identity, entries in self.entries.items()
        }
        return replace(self, entries=newest)


def names_file(selector: str) -> bool:
    """Whether a selector is the name of a file or folder; what has another meaning is none."""
    forms = (_LATEST, _EPOCH, _COMMIT)
    return os.path.lexists(selector) and not any(form.fullmatch(selector) for form in forms)


def select(selector: str, every: Sequence[Series], wanted: Filter) -> Selection:
    """Return the sessions that a selector selects.

    Parameters
    ----------
    selector : str
        One of `FORMS`.
    every : sequence of Series
        What was read and narrowed.
    wanted : Filter
        Narrows the sessions of a file likewise.

    Returns
    -------
    Selection
        Nothing is selected by a ``latest~N``, epoch or commit that no series has.

    Raises
    ------
    SettingsError
        If this is no selector, or no session or several sessions have this id.
    """
    if found := _LATEST.fullmatch(selector):
        place = -1 - int(found[1] or 0)
        chosen = {s.identity: s.entries[place:][:1] for s in every if len(s.entries) >= -place}
    elif found := _EPOCH.fullmatch(selector):
        number = int(found[1])
        chosen = {s.identity: _of_epoch(s.entries, number) for s in every}
    elif found := _COMMIT.fullmatch(selector):
        prefix = found[1]
        chosen = {
            s.identity: tuple(
                e for e in s.entries if e.session.provenance.get("commit", "").startswith(prefix)
            )
            for s in every
        }
    elif names_file(selector):
        reading = read([Path(selector)])
        series = wanted.narrow(group(reading.found.values()))
        chosen = {s.identity: s.entries for s in series}
        return Selection(selector, chosen, tuple(reading.problems))
    elif _ID.fullmatch(selector):
        entry = _with_id(selector, every)
        chosen = {entry.session.identity: (entry,)}
    else:
        raise SettingsError(f"{selector!r}: expected {FORMS}; there is no such file.")
    return Selection(selector, {identity: e for identity, e in chosen.items() if e})


def _of_epoch(entries: Sequence[SeriesEntry], number: int) -> tuple[SeriesEntry, ...]:
    """Return an epoch's accepted sessions; where none was accepted, all of that time."""
    found = tuple(entry for entry in entries if entry.epoch == number)
    return tuple(entry for entry in found if entry.accepted) or found


def _with_id(prefix: str, every: Sequence[Series]) -> SeriesEntry:
    found = [entry for series in every for entry in series.entries if entry.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(entry.short_id for entry in found[:5])
        raise SettingsError(f"{prefix}: {len(found)} sessions ({names}). Give more digits.")
    raise SettingsError(
        f"{prefix}: no session has this id. `facenet-validate history list` shows them."
    )
