"""What holds of an embedding whatever the picture, and pictures that show no face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import short
from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.datasets.odd_pictures import any_picture, noise_pictures, odd_inputs
from facenet_validate.datasets.photos import read_photo
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.arrays import Booleans, Floats
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import with_flips
from facenet_validate.metrics.view2 import DecisionRule
from facenet_validate.reporting.picture_files import write_picture
from facenet_validate.run.corrupted import without_embedding

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NORM_ERROR = 1e-5
"""Largest |‖e‖ − 1|, as of ``contract.norm_error_max``: the norm is computed in FP32."""

REPEATED = 1e-6
"""Largest L2 distance between two runs of a picture: room for another order of sums."""

_INVARIANTS = "robustness.invariants"
_ODD = "robustness.odd_pictures"
_NOISE = "robustness.noise_accepted"


class BrokenInvariantError(AssertionError):
    """A picture whose embedding is not what every embedding is."""


class Invariants:
    """Holds an engine to what every embedding is: computed, finite, of length one, repeatable.

    Parameters
    ----------
    engine : Engine
        Under test.
    folder : Path
        Where a picture that breaks an invariant is saved.
    replayed : Path or None
        The one picture that is tried instead of any.
    examples : int
        How many pictures are tried.
    derandomize : bool
        Whether they are the same ones in every run.

    Attributes
    ----------
    settings : hypothesis.settings
        For the test that holds pictures.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        replayed: Path | None,
        *,
        examples: int,
        derandomize: bool,
    ) -> None:
        from hypothesis import HealthCheck, Phase, settings

        self.settings = settings(
            max_examples=examples,
            derandomize=derandomize,
            # A verdict of this engine says nothing of the next, and how long it takes depends on
            # the machine.
            database=None,
            deadline=None,
            suppress_health_check=tuple(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
        )
        self._engine = engine
        self._folder = folder
        self._replayed = replayed
        self._broken: tuple[NDArray[np.uint8], list[str]] | None = None
        self._tried = 0

    @property
    def pictures(self) -> SearchStrategy[NDArray[np.uint8]]:
        """What draws pictures (H, H, 3) uint8: any, or the one of ``--facenet-picture``.

        Raises
        ------
        DatasetError
            If that one cannot be read or decoded.
        """
        from hypothesis import strategies

        if self._replayed is None:
            return any_picture(side_of(self._engine))
        picture = decode_image(read_photo(self._replayed), name=str(self._replayed))
        return strategies.just(picture)

    def hold(self, picture: NDArray[np.uint8]) -> None:
        """Hold the engine to the invariants on a picture.

        Raises
        ------
        BrokenInvariantError
            If one is broken; hypothesis then looks for a simpler picture that breaks one.
        """
        self._tried += 1
        broken = _broken_by(self._engine, picture)
        if broken:
            self._broken = picture, broken
            raise BrokenInvariantError("; ".join(broken))

    def observed(self, test: Callable[[], None]) -> Observed:
        """Run a test that holds pictures, and return how many invariants a picture breaks.

        Parameters
        ----------
        test : callable
            Made by hypothesis; it calls :meth:`hold`.

        Returns
        -------
        Observed
            Of ``robustness.invariants``. Its detail names the simplest picture found, which is
            saved, and what replays it.
        """
        try:
            test()
        except Exception:
            # An engine that is not repeatable makes hypothesis raise an error of its own.
            if self._broken is None:
                raise
        if self._broken is None:
            return Observed(_INVARIANTS, 0, f"{self._tried} pictures")
        picture, broken = self._broken
        png = encode_png(picture)
        name = f"breaks-{self._engine.info.precision}-{short(_digest(png))}.png"
        path = self._folder / write_picture(self._folder, name, png)
        return Observed(
            _INVARIANTS,
            len(broken),
            f"{'; '.join(broken)}: the picture {path}. To replay it, add -k any_picture "
            f"--facenet-picture {path} to this run's command",
        )


def _digest(content: bytes) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest()


def side_of(engine: Engine) -> int:
    """Return the pixels a side that an engine reads."""
    side = engine.input.shape[-1]
    return side if isinstance(side, int) else 160


def _broken_by(engine: Engine, picture: NDArray[np.uint8]) -> list[str]:
    """Return what is wrong with an engine's embedding of a picture."""
    batch = standardize(picture[None], side_of(engine))
    try:
        first, second = (engine.run(batch)[0].astype(np.float64) for _ in range(2))
    except FacenetValidateError as error:
        return [f"it cannot be embedded ({error})"]
    if not np.isfinite(first).all():
        return ["the embedding is not finite"]
    broken = []
    norm, moved = float(np.linalg.norm(first)), float(np.linalg.norm(first - second))
    if abs(norm - 1) > NORM_ERROR:
        broken.append(f"the embedding has length {norm:.6g}")
    if not moved <= REPEATED:  # NaN is no small distance
        broken.append(f"a second run gives an embedding at distance {moved:.3g}")
    return broken


def odd_pictures(engine: Engine) -> Observed:
    """Return how many embeddings of black, white, noise and denormal inputs are no embeddings.

    Returns
    -------
    Observed
        Of ``robustness.odd_pictures``.
    """
    broken, told, count = 0, [], 0
    for name, batch in odd_inputs(side_of(engine)).items():
        count += len(batch)
        try:
            rows = engine.run(batch).astype(np.float64)
        except FacenetValidateError as error:
            broken += len(batch)
            told.append(f"{name}: {error}")
            continue
        # A norm that is NaN is not near one.
        wrong = int(np.count_nonzero(~(np.abs(np.linalg.norm(rows, axis=1) - 1) <= NORM_ERROR)))
        broken += wrong
        told += [f"{name}: {wrong} not finite or not of length one"] if wrong else []
    return Observed(_ODD, broken, "; ".join([f"of {count} black, white, noise, denormal", *told]))


def noise_accepted(
    engine: Engine, reference: Engine, rule: DecisionRule, faces: NDArray[np.uint8]
) -> Observed:
    """Return the share of pairs with noise that the engine accepts and the reference does not.

    Noise is compared with other noise, and with faces. FaceNet embeds pictures of noise close to
    each other, so that the reference itself accepts most pairs of two.

    Parameters
    ----------
    engine, reference : Engine
    rule : DecisionRule
        The reference's frozen one.
    faces : (F, H, H, 3) uint8 array
        Some faces.

    Returns
    -------
    Observed
        Of ``robustness.noise_accepted``.
    """
    noise = noise_pictures(faces.shape[1])
    pictures = np.concatenate([noise, faces])
    one, other = np.triu_indices(len(pictures), 1)
    kept = one < len(noise)  # a pair of two faces shows no noise
    one, other = one[kept], other[kept]
    folds = np.arange(len(one)) % len(rule.thresholds)
    pairs = PairList(one, other, np.zeros(len(one), np.bool_), folds)
    before, after = (_accepted(which, pictures, rule, pairs) for which in (reference, engine))
    two = other < len(noise)
    return Observed(
        _NOISE,
        float(np.mean(after & ~before)),
        f"of {two.sum()} pairs of two noise pictures accepted {(after & two).sum()}, FP32 "
        f"{(before & two).sum()}; of {(~two).sum()} of noise and a face {(after & ~two).sum()}, "
        f"FP32 {(before & ~two).sum()}",
    )


def _accepted(
    engine: Engine, pictures: NDArray[np.uint8], rule: DecisionRule, pairs: PairList
) -> Booleans:
    """Return which pairs are accepted; those of a picture without embedding are not."""
    side = side_of(engine)

    def run(shown: NDArray[np.uint8]) -> NDArray[np.float32]:
        return engine.run(standardize(shown, side))

    rows: Floats = run(pictures)
    if rule.protocol.flip:
        rows = with_flips(rows, run(np.ascontiguousarray(pictures[:, :, ::-1])))
    broken = without_embedding(rows)
    # Any other vector will do: these pairs are taken out again.
    rows = np.where(broken[:, None], np.eye(1, rows.shape[1], dtype=rows.dtype), rows)
    accepted = rule.accepts(rule.distances(rows, pairs), pairs)
    return np.asarray(accepted & ~(broken[pairs.left] | broken[pairs.right]))
