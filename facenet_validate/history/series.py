"""Sessions of one configuration and machine, in the order of time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from facenet_validate.benchmarking.paired_ratio import median_interval
from facenet_validate.benchmarking.sessions import Identity
from facenet_validate.history.sources import Found

INTERVAL_ALPHA = 0.05
"""Two-sided error probability of the interval of a session's median block."""

ID_DIGITS = 8
"""Digits of a session's id that are shown."""


@dataclass(frozen=True)
class SeriesEntry(Found):
    """A session in its series.

    Attributes
    ----------
    epoch : int
        The epoch it belongs to. The session's own epoch counts only if it was accepted.
    """

    epoch: int

    @cached_property
    def when(self) -> datetime:
        """The time of recording, UTC."""
        return self.session.recorded()

    @property
    def short_id(self) -> str:
        """The id as people type it."""
        return self.id[:ID_DIGITS]

    @property
    def fps(self) -> float:
        """Images per second."""
        return self.session.identity.batch / self.session.latency_seconds

    @property
    def commit(self) -> str:
        """The first seven digits of the commit; empty if none is known."""
        commit = self.session.provenance.get("commit", "")
        return "" if commit == "unknown" else commit[:7]

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Bounds in seconds of the median over the blocks, at 1 − `INTERVAL_ALPHA`."""
        return median_interval(self.session.block_seconds, INTERVAL_ALPHA)


@dataclass(frozen=True)
class Series:
    """All sessions of one identity.

    Attributes
    ----------
    identity : Identity
        What they have in common.
    title : str
        Precision, batch size, backend and device, and whatever else tells it from the others.
    entries : tuple of SeriesEntry
        Oldest first.
    epoch_medians : mapping of int to float
        Median latency of each epoch in seconds: of its accepted sessions, or of all of them where
        it has none. A series that a filter has narrowed keeps the medians of the whole one.
    """

    identity: Identity
    title: str
    entries: tuple[SeriesEntry, ...]
    epoch_medians: Mapping[int, float] = field(hash=False)

    def change(self, entry: SeriesEntry) -> float:
        """Return a session's latency over the median of its epoch."""
        return entry.session.latency_seconds / self.epoch_medians[entry.epoch]


@dataclass(frozen=True)
class Filter:
    """Which series and sessions the user asks for; None asks for all.

    Attributes
    ----------
    precision, backend : str or None
        As in the identity.
    batch : int or None
        Images in a batch.
    device : str or None
        Part of the device's name, in any case.
    since : datetime or None
        Sessions recorded then or later.
    epoch : int or None
        Sessions of this epoch.
    limit : int or None
        The newest so many sessions of each series.
    """

    precision: str | None = None
    backend: str | None = None
    batch: int | None = None
    device: str | None = None
    since: datetime | None = None
    epoch: int | None = None
    limit: int | None = None

    def narrow(self, every: Iterable[Series]) -> tuple[Series, ...]:
        """Return the series asked for with the sessions asked for; without those that have none."""
        narrowed = (
            replace(series, entries=self._entries(series.entries))
            for series in every
            if self._asks_for(series.identity)
        )
        return tuple(series for series in narrowed if series.entries)

    def _asks_for(self, identity: Identity) -> bool:
        return (
            self.precision in (None, identity.precision)
            and self.backend in (None, identity.backend)
            and self.batch in (None, identity.batch)
            and (self.device or "").lower() in identity.device.lower()
        )

    def _entries(self, entries: tuple[SeriesEntry, ...]) -> tuple[SeriesEntry, ...]:
        kept = [
            entry
            for entry in entries
            if (self.since is None or entry.when >= self.since)
            and self.epoch in (None, entry.epoch)
        ]
        return tuple(kept if self.limit is None else kept[-self.limit :])


def epoch_begins(entries: Sequence[SeriesEntry]) -> list[SeriesEntry]:
    """Return the first accepted session of each epoch that begins after the first session."""
    known = {entries[0].epoch}
    begins = []
    for entry in entries:
        if entry.accepted and entry.epoch not in known:
            begins.append(entry)
        known.add(entry.epoch)
    return begins


def group(found: Iterable[Found]) -> tuple[Series, ...]:
    """Return the series of some sessions, ordered by device, backend, precision and batch.

    A session that was not accepted belongs to the epoch of the newest accepted session before it.
    If there is none, it belongs to the first epoch.
    """
    by_identity: dict[Identity, list[Found]] = {}
    for one in found:
        by_identity.setdefault(one.session.identity, []).append(one)
    ordered = sorted(by_identity, key=lambda i: (i.device, i.backend, i.precision, i.batch, i.key))
    return tuple(
        _series(identity, title, by_identity[identity])
        for identity, title in zip(ordered, titles(ordered), strict=True)
    )


def titles(identities: Sequence[Identity]) -> tuple[str, ...]:
    """Return a title for each identity, no two of them alike."""
    alike: dict[str, list[Identity]] = {}
    for identity in identities:
        alike.setdefault(_brief(identity), []).append(identity)
    found = []
    for identity in identities:
        title = _brief(identity)
        twins = [other for other in alike[title] if other is not identity]
        found.append(f"{title}, {_distinction(identity, twins)}" if twins else title)
    return tuple(found)


def _brief(identity: Identity) -> str:
    device = " ".join(identity.device.split())
    return f"{identity.precision}, batch {identity.batch}, {identity.backend}, {device}"


def _distinction(identity: Identity, twins: Sequence[Identity]) -> str:
    """Return the values of the fields in which an identity differs from its twins."""
    parts: dict[str, None] = {}
    for twin in twins:
        for difference in twin.differences(identity):
            name, _, change = difference.partition(": ")
            theirs, _, value = change.rpartition(" → ")
            if name == "device_details":
                part = f"without {theirs}" if value == "none" else value
            else:
                part = f"{name} {value}"
            parts[part] = None
    return ", ".join(parts)


def _series(identity: Identity, title: str, found: Sequence[Found]) -> Series:
    # The id keeps the order the same where two runs were recorded in the same second.
    ordered = sorted(found, key=lambda one: (one.session.recorded(), one.id))
    accepted = [one.session.epoch for one in ordered if one.accepted]
    epoch = min(accepted, default=1)
    entries = []
    for one in ordered:
        epoch = one.session.epoch if one.accepted else epoch
        entries.append(SeriesEntry(one.session, one.accepted, one.origin, one.id, epoch))
    return Series(identity, title, tuple(entries), _medians(entries))


def _medians(entries: Sequence[SeriesEntry]) -> dict[int, float]:
    by_epoch: dict[int, list[SeriesEntry]] = {}
    for entry in entries:
        by_epoch.setdefault(entry.epoch, []).append(entry)
    return {
        epoch: statistics.median(
            entry.session.latency_seconds for entry in ([e for e in group if e.accepted] or group)
        )
        for epoch, group in by_epoch.items()
    }
