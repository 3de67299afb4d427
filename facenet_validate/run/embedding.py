"""Embeddings of a run's faces, computed once, and what is evaluated on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.engines.embedding import Embeddings, Faces, Flipped, cached_embeddings
from facenet_validate.engines.protocol import Engine, EngineInfo
from facenet_validate.metrics.checks import check_embeddings
from facenet_validate.metrics.protocols import PROTOCOLS, with_flips
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.run.data import Data
from facenet_validate.run.run import Run


def _as_it_is(engine: Engine, message: str) -> str:
    del engine
    return message


class Embedder:
    """Embeds a run's faces with engines, by the run's protocol.

    Parameters
    ----------
    run : Run
        Says the protocol and the batch size; its report is told where embeddings came from.
    data : Data
        The faces.
    cache : Cache
        Where embeddings are kept.
    explain : callable
        Takes an engine and what is wrong with its embeddings; returns that with its cause.
    """

    def __init__(
        self, run: Run, data: Data, cache: Cache, explain: Callable[[Engine, str], str] = _as_it_is
    ) -> None:
        self._run = run
        self._explain = explain
        self._data = data
        self._cache = cache
        self._known: dict[tuple[EngineInfo, str], Embeddings] = {}
        self._views: dict[tuple[EngineInfo, str], View2] = {}
        self.protocol = PROTOCOLS[run.settings.protocol]

    def embeddings(
        self, engine: Engine, faces: AlignedFaces | None = None, *, flipped: bool = False
    ) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of the evaluation faces, or of others.

        Parameters
        ----------
        flipped : bool
            Whether the faces are mirrored first.

        Raises
        ------
        EngineError
            If a row is NaN, infinity or zeros, or different photos have equal rows.
        """
        faces = self._data.faces if faces is None else faces
        others = (
            "" if faces.digest == self._data.faces.digest else f", {len(faces.names)} other faces"
        )
        values, what = self._embedded(engine, faces, others, flipped=flipped)
        try:
            check_embeddings(values, faces.names, what=what, pictures=faces.photo_digests)
        except EngineError as error:
            raise EngineError(self._explain(engine, str(error))) from None
        return values

    def _embedded(
        self, engine: Engine, faces: Faces, others: str, *, flipped: bool
    ) -> tuple[NDArray[np.float32], str]:
        """Return embeddings, and whose and of what they are."""
        shown = Flipped(faces) if flipped else faces
        info = engine.info
        what = f"{info.precision} engine on {info.backend} ({info.digest[:12]})"
        if flipped:
            what += ", mirrored faces"
        if (info, shown.digest) not in self._known:
            with self._run.progress.stage(f"embedding with the {what}{others}") as report:
                found = self._known[info, shown.digest] = cached_embeddings(
                    engine,
                    shown,
                    self._run.settings.batch_size,
                    self._cache,
                    cpu=self._run.cpu_text,
                    progress=report,
                )
            self._run.report.embeddings[what + others] = found.origin
        return self._known[info, shown.digest].values, what

    def at_hand(self, engine: Engine) -> NDArray[np.float32] | None:
        """Return embeddings ``(N, D)`` of the evaluation faces; None where none were computed."""
        known = self._known.get((engine.info, self._data.faces.digest))
        return None if known is None else known.values

    def scored(self, engine: Engine, faces: AlignedFaces) -> NDArray[np.floating[Any]]:
        """Return embeddings as the run's protocol compares them.

        Returns
        -------
        ndarray of shape (N, D), or (N, 2 D) where the protocol adds mirrored faces
        """
        straight = self.embeddings(engine, faces)
        if not self.protocol.flip:
            return straight
        return with_flips(straight, self.embeddings(engine, faces, flipped=True))

    def scored_pictures(self, engine: Engine, pictures: Faces) -> NDArray[np.floating[Any]]:
        """Return embeddings of pictures made from faces, as the run's protocol compares them.

        They are not checked: a row may be NaN or that of another picture.
        """
        others = f", {len(pictures.names)} corrupted photos"
        straight, _ = self._embedded(engine, pictures, others, flipped=False)
        if not self.protocol.flip:
            return straight
        mirrored, _ = self._embedded(engine, pictures, others, flipped=True)
        return with_flips(straight, mirrored)

    def view(self, engine: Engine, name: str) -> View2:
        """Return the View 2 evaluation of an engine on a verification set."""
        key = engine.info, name
        if key not in self._views:
            scored = self.scored(engine, self._data.faces_of(name))
            pairs = self._data.named(name).pairs
            self._views[key] = evaluate_embeddings(scored, pairs, self.protocol)
        return self._views[key]

    def gallery(self, engine: Engine, *, scored: bool = True) -> NDArray[np.floating[Any]]:
        """Return embeddings of the gallery, rows in the order of its names.

        Parameters
        ----------
        scored : bool
            Whether they are as the protocol compares them, or one a photo.
        """
        embed = self.scored if scored else self.embeddings
        # Those in pairs are embedded already.
        paired = {name: row for row, name in enumerate(self._data.photo_names)}
        names = self._data.gallery.names
        known = [row for row, name in enumerate(names) if name in paired]
        others = [row for row, name in enumerate(names) if name not in paired]
        found = embed(engine, self._data.faces)
        values = np.empty((len(names), found.shape[1]), found.dtype)
        values[known] = found[[paired[names[row]] for row in known]]
        if others:
            values[others] = embed(engine, self._other_faces(tuple(others)))
        return values

    @cache  # noqa: B019 (as long as the run)
    def _other_faces(self, rows: tuple[int, ...]) -> AlignedFaces:
        return self._data.gallery_faces(rows)
