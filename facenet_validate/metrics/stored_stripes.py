"""Stripes of a large set in a folder: what was compared once is not compared again.

Each stripe's partial result is a file that appears in one step. A run that was killed, at any
moment, goes on where it was. The figures are the same, since partial results add up exactly.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from facenet_validate.base.digests import inputs_digest
from facenet_validate.base.files import write_whole
from facenet_validate.base.progress import Report, silent
from facenet_validate.cache.locks import locked
from facenet_validate.metrics.limits import Limits, Pilot
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.stripes import STRIPE, Measured, Partial, stripe

_FORMAT = 1
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class StoredStripes:
    """Compares the stripes that a folder does not hold yet.

    What belongs to other embeddings, people or limits lies in another folder below ``folder``.
    Nothing is overwritten but a damaged file.

    Attributes
    ----------
    folder : Path
        It may be removed when the figures are known.
    workers : int
        Processes that compare. More than one have one thread each, and get the rows pickled. One
        is this process, with the threads that numpy's matrix product has.
    rows : int
        In a stripe.
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
    ...     found = large_set(pairs, (0.3,), find=StoredStripes(Path(folder), rows=2))
    ...     len(list(Path(folder).glob("*/*.stripe")))
    3
    >>> found.rates[0].point.far
    0.25
    """

    folder: Path
    workers: int = 1
    rows: int = STRIPE
    report: Report = silent

    def __call__(self, pairs: Comparisons, pilot: Pilot, limits: Limits) -> Iterator[Partial]:
        """Compare what is missing, then yield every stripe's result in order."""
        folder = self.folder / self._name(pilot, limits)
        folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, pairs.images, self.rows)
        with locked(folder):
            for left in folder.glob(".*"):  # by a process that was killed while it wrote
                left.unlink(missing_ok=True)
            missing = [start for start in starts if read(self._path(folder, start)) is None]
            done = len(starts) - len(missing)
            self.report(done, len(starts))
            made = self._by_workers if self.workers > 1 and len(missing) > 1 else self._here
            for _ in made(pairs, limits, folder, missing):
                done += 1
                self.report(done, len(starts))
            for start in starts:
                partial = read(self._path(folder, start))
                if partial is None:
                    raise OSError(f"{self._path(folder, start)} was damaged or removed meanwhile")
                yield partial

    def _name(self, pilot: Pilot, limits: Limits) -> str:
        settled = {"format": _FORMAT, "set": pilot.digest, "rows": self.rows, **asdict(limits)}
        return inputs_digest(settled)[:24]

    def _path(self, folder: Path, start: int) -> Path:
        return folder / f"{start // self.rows:06d}.stripe"

    def _here(
        self, pairs: Comparisons, limits: Limits, folder: Path, missing: list[int]
    ) -> Iterator[None]:
        for start in missing:
            make(pairs, start, start + self.rows, limits, self._path(folder, start))
            yield

    def _by_workers(
        self, pairs: Comparisons, limits: Limits, folder: Path, missing: list[int]
    ) -> Iterator[None]:
        context = multiprocessing.get_context("spawn")
        with (
            _one_thread_each(),
            ProcessPoolExecutor(min(self.workers, len(missing)), context) as pool,
        ):
            tasks = [
                pool.submit(
                    make, pairs, start, start + self.rows, limits, self._path(folder, start)
                )
                for start in missing
            ]
            try:
                for task in as_completed(tasks):
                    task.result()
                    yield
            finally:
                pool.shutdown(cancel_futures=True)


def make(pairs: Comparisons, start: int, stop: int, limits: Limits, path: Path) -> None:
    """Compare a stripe, and write its result to a file in one step.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> pairs = Comparisons.of(ArrayRows(np.array([[0.0], [1.0], [4.0]])), np.array([0, 0, 1]))
    >>> with TemporaryDirectory() as folder:
    ...     limits = Pilot.of(pairs).limits((0.5,), None)
    ...     make(pairs, 0, 3, limits, Path(folder, "0"))
    ...     read(Path(folder, "0")).kept.distances.tolist()
    [16.0, 9.0]
    """
    found = stripe(pairs, start, stop, limits)
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
    write_whole(path, hashlib.sha256(content).digest() + content)


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


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that are started here multiply with one thread: libraries read it once."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
