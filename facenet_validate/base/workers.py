"""Pieces of one work, done by several workers at a time: here, threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

Piece = TypeVar("Piece")
Found = TypeVar("Found")


class Workers(Protocol):
    """Does pieces of a work, several at a time.

    Examples
    --------
    >>> workers: Workers = Threads()
    >>> list(workers(len, [range(3), range(5)]))
    [(range(0, 3), 3), (range(0, 5), 5)]
    """

    def __call__(
        self, work: Callable[[Piece], Found], pieces: Sequence[Piece]
    ) -> Iterator[tuple[Piece, Found]]:
        """Yield each piece with what was found, as soon as it is there, in any order.

        ``work`` is a function of its argument alone. Workers elsewhere get it pickled.
        """
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process. Numpy lets them run at the same time.

    Of one thread only the matrix products use several processors. So each of several threads
    multiplies with one processor, and all of the work is shared.

    Attributes
    ----------
    count : int
        At most. With one thread or piece, matrix products have the threads that the environment
        gives them. Do not use two at a time: the limit on products is the process's.

    Examples
    --------
    >>> sorted(Threads(2)(len, [range(3), range(5)]), key=str)
    [(range(0, 3), 3), (range(0, 5), 5)]
    """

    count: int = 1

    def __call__(
        self, work: Callable[[Piece], Found], pieces: Sequence[Piece]
    ) -> Iterator[tuple[Piece, Found]]:
        """Yield each piece with what was found."""
        count = min(self.count, len(pieces))
        if count <= 1:
            yield from ((piece, work(piece)) for piece in pieces)
            return
        pool = _Pool(work, pieces, most=2 * count)
        with threadpool_limits(1, user_api="blas"):
            try:
                for _ in range(count):
                    # A daemon: who stops the command does not wait for what is under way.
                    Thread(target=pool.work_on, daemon=True).start()
                for _ in pieces:
                    yield pool.take()
            finally:
                pool.stop()


class _Pool:
    """Pieces that wait, and what was found: at most so many begun and not taken."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any], most: int) -> None:
        self._work = work
        self._left = iter(pieces)
        self._room = Semaphore(most)
        self._lock = Lock()
        self._found: SimpleQueue[tuple[Any, Any, BaseException | None]] = SimpleQueue()

    def work_on(self) -> None:
        while True:
            self._room.acquire()
            with self._lock:
                piece = next(self._left, self)
            if piece is self:
                self._room.release()  # for the next thread that waits
                return
            try:
                self._found.put((piece, self._work(piece), None))
            except BaseException as error:
                self._found.put((piece, None, error))

    def take(self) -> tuple[Any, Any]:
        piece, found, error = self._found.get()
        self._room.release()
        if error is not None:
            raise error
        return piece, found

    def stop(self) -> None:
        with self._lock:
            self._left = iter(())
        self._room.release()
