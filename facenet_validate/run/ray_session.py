"""A connection to Ray: to a cluster, or to workers that are started on this machine."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

from threadpoolctl import threadpool_limits

from facenet_validate.base.errors import FacenetValidateError, SettingsError, ShardError
from facenet_validate.base.workers import Found, Piece

_INSTALL = "pip install 'facenet-validate[scale]'"


def check_ray() -> None:
    """Check that Ray Data is installed.

    Raises
    ------
    SettingsError
        If it is not; it says what to install.
    """
    try:
        import_module("ray.data")
    except ImportError as error:
        raise SettingsError(f"--ray: Ray Data is not installed ({error}). {_INSTALL}") from None


@contextmanager
def ray_session() -> Iterator[Any]:
    """Connect to the cluster of ``RAY_ADDRESS``, else start Ray here, and end it afterwards.

    Raises
    ------
    SettingsError
        If there is no cluster at that address, or Ray does not start.
    """
    # Nothing is reported to anybody unless the user wants it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors reach us as exceptions
    ray: Any = import_module("ray")
    data: Any = import_module("ray.data")
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS") or "local"
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(f"RAY_ADDRESS={address}: Ray did not start: {error}") from error
    context = data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Ray prints that a worker died to standard output, where our figures go.
    with redirect_stdout(sys.stderr):
        try:
            yield ray
        finally:
            context.enable_progress_bars = bars
            if started:
                ray.shutdown()


@dataclass(frozen=True)
class RayWorkers:
    """Tasks of Ray, each on one processor. A task whose worker dies is done again.

    Attributes
    ----------
    ray : module
        Of a :func:`ray_session`.
    count : int, optional
        Tasks at a time. By default, as many as the cluster takes.
    """

    ray: Any
    count: int | None = None

    def __call__(
        self, work: Callable[[Piece], Found], pieces: Sequence[Piece]
    ) -> Iterator[tuple[Piece, Found]]:
        """Yield each piece with what was found. ``work`` is pickled once.

        Raises
        ------
        ShardError
            If a task fails, or Ray gives up.
        """
        ray = self.ray
        task, held = ray.remote(num_cpus=1)(_alone), ray.put(pickle.dumps(work))
        # Twice as many as processors: none is idle, and results do not pile up.
        most = self.count or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        left = iter(pieces)
        running = {task.remote(held, piece): piece for piece in islice(left, most)}
        try:
            while running:
                (done,), _ = ray.wait(list(running))
                found = ray.get(done)
                piece = running.pop(done)
                del done  # Ray keeps what somebody refers to
                running |= {task.remote(held, piece): piece for piece in islice(left, 1)}
                yield piece, found
        except ray.exceptions.RayError as error:
            raise gave_up(error) from error
        finally:
            for one in running:  # without force, which Ray does not bear where a task just ends
                ray.cancel(one)


def _alone(pickled: bytes, piece: Any) -> Any:
    # Not by Ray: what fails while a folder is opened here is then an error of ours.
    work = pickle.loads(pickled)  # noqa: S301 - pickled by `RayWorkers`
    with threadpool_limits(1, user_api="blas"):
        return work(piece)


def gave_up(error: Exception) -> ShardError:
    """Return what Ray's error means to the user: the worker's own words, if there are any."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, FacenetValidateError):
        return ShardError(f"on a worker of Ray: {cause}")
    why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return ShardError(f"Ray gave up: {why}")
