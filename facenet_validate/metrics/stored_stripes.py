"""Stripes of a large set in a folder: what was compared once is not compared again.

Each stripe's partial result is a file that appears in one step. A run that was killed, at any
moment, goes on where it was. The figures are the same, since partial results add up exactly.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from facenet_validate.base.digests import inputs_digest
from facenet_validate.base.files import write_whole
from facenet_validate.base.progress import Report, silent
from facenet_validate.base.workers import Threads, Workers
from facenet_validate.cache.locks import locked
from facenet_validate.metrics.limits import Limits, Pilot
from facenet_validate.metrics.partials import Measured, Partial
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.stripes import stripe, stripes_of

_FORMAT = 2


@dataclass(frozen=True)
class StoredStripes:
    """Compares the stripes that a folder does not hold yet.

    What belongs to other embeddings, people or limits lies in another folder below ``folder``.
    Nothing is overwritten but a damaged file.

    Attributes
    ----------
    folder : Path
        It may be removed when the figures are known.
    workers : Workers
        By default this thread.
    cut : callable
        Cuts so many images into stripes.
    report : callable
        Called with the number of stripes that are done, and of all.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from facenet_validate.metrics.large_set import large_set
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0], [9.0]]))
    >>> pairs = Comparisons.of(rows, np.array([0, 0, 1, 1, 2]))
    >>> with TemporaryDirectory() as folder:
    ...     found = large_set(pairs, (0.3,), find=StoredStripes(Path(folder)))
    ...     [path.name for path in Path(folder).glob("*/*.stripe")]
    ['000000000-000000005.stripe']
    >>> found.rates[0].point.far
    0.25
    """

    folder: Path
    workers: Workers = field(default_factory=Threads)
    cut: Callable[[int], Sequence[range]] = stripes_of
    report: Report = silent

    def __call__(self, pairs: Comparisons, pilot: Pilot, limits: Limits) -> Iterator[Partial]:
        """Compare what is missing, then yield every stripe's result in order."""
        folder = self.folder / self._name(pilot, limits)
        folder.mkdir(parents=True, exist_ok=True)
        stripes = self.cut(pairs.images)
        with locked(folder):
            for left in folder.glob(".*"):  # by a process that was killed while it wrote
                left.unlink(missing_ok=True)
            missing = [rows for rows in stripes if read(self._path(folder, rows)) is None]
            done = len(stripes) - len(missing)
            self.report(done, len(stripes))
            compare = partial(stripe, pairs, limits)
            for rows, found in self.workers(compare, missing):
                write_whole(self._path(folder, rows), encoded(found))
                done += 1
                self.report(done, len(stripes))
            for rows in stripes:
                stored = read(self._path(folder, rows))
                if stored is None:
                    raise OSError(f"{self._path(folder, rows)} was damaged or removed meanwhile")
                yield stored

    def _name(self, pilot: Pilot, limits: Limits) -> str:
        settled = {"format": _FORMAT, "set": pilot.digest, **asdict(limits)}
        return inputs_digest(settled)[:24]

    @staticmethod
    def _path(folder: Path, rows: range) -> Path:
        return folder / f"{rows.start:09d}-{rows.stop:09d}.stripe"


def encoded(found: Partial) -> bytes:
    """Return a stripe's result as a file holds it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> from facenet_validate.metrics.stripes import stripe
    >>> pairs = Comparisons.of(ArrayRows(np.array([[0.0], [1.0], [4.0]])), np.array([0, 0, 1]))
    >>> found = stripe(pairs, Pilot.of(pairs).limits((0.5,), None), range(3))
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "0").write_bytes(encoded(found))
    ...     read(Path(folder, "0")).kept.distances.tolist()
    [16.0, 9.0]
    """
    file = io.BytesIO()
    np.savez(
        file,
        **{
            f"{name}_{field}": getattr(getattr(found, name), field)
            for name in ("genuine", "kept")
            for field in ("distances", "left", "right")
        },
        **{name: getattr(found, name) for name in ("counts", "weights", "of_person", "accepts")},
        kept_bins=np.int64(found.kept_bins),
        accepted=np.array(str(found.accepted)),
    )
    content = file.getvalue()
    return hashlib.sha256(content).digest() + content


def read(path: Path) -> Partial | None:
    """Return a stripe's result; None if the file is not there, or damaged.

    Raises
    ------
    OSError
        If it cannot be read.

    Examples
    --------
    >>> read(Path("nowhere", "000000.stripe")) is None
    True
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    with np.load(io.BytesIO(content[32:]), allow_pickle=False) as stored:
        genuine, kept = (
            Measured(*(stored[f"{name}_{field}"] for field in ("distances", "left", "right")))
            for name in ("genuine", "kept")
        )
        return Partial(
            genuine,
            kept,
            kept_bins=int(stored["kept_bins"]),
            counts=stored["counts"],
            weights=stored["weights"],
            of_person=stored["of_person"],
            accepts=stored["accepts"],
            accepted=int(str(stored["accepted"])),
        )
