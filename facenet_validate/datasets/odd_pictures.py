"""Pictures that show no face: any at all, and black, white, noise and denormal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_SEED = 20180408
_PER_GRAIN = 4
_GRAINS = (1, 2, 4, 8, 16, 32)
_MOST_CELLS = 6
_ENLARGEMENTS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)

Picture = NDArray[np.uint8]


def any_picture(side: int) -> SearchStrategy[Picture]:
    """Return what draws pictures of any kind: a coarse grid of colours, enlarged, and noise on it.

    A failing example shrinks to few cells, dark colours and no noise.

    Parameters
    ----------
    side : int
        Pixels a side.

    Returns
    -------
    hypothesis.strategies.SearchStrategy
        Of (side, side, 3) uint8 arrays, RGB.
    """
    from hypothesis import strategies as st
    from hypothesis.extra.numpy import arrays

    def picture(grid: Picture, enlargement: int, grain: int, seed: int) -> Picture:
        large = cv2.resize(grid, (side, side), interpolation=enlargement).astype(np.float32)
        if grain:
            shape = (side, side, 3)
            large += grain * np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
        return np.clip(np.rint(large), 0, 255).astype(np.uint8)

    cells = st.integers(1, _MOST_CELLS)
    return st.builds(
        picture,
        arrays(np.uint8, st.tuples(cells, cells, st.just(3))),
        st.sampled_from(_ENLARGEMENTS),
        st.integers(0, 255),
        st.integers(0, 2**16),
    )


def noise_pictures(side: int) -> Picture:
    """Return noise pictures (24, side, side, 3): four of each grain, from a pixel to 32 of 160."""
    random = np.random.default_rng(_SEED)
    pictures = []
    for grain in _GRAINS:
        cells = max(1, 160 // grain)
        for _ in range(_PER_GRAIN):
            noise = random.integers(0, 256, (cells, cells, 3), np.uint8)
            large = cv2.resize(noise, (side, side), interpolation=cv2.INTER_NEAREST)
            pictures.append(large.astype(np.uint8, copy=False))
    return np.stack(pictures)


def odd_inputs(side: int) -> dict[str, NDArray[np.float32]]:
    """Return inputs of an engine by what they are, each ``(n, 3, side, side)`` float32.

    Black, white and noise are pictures as `standardize` makes them. Denormal inputs are none that
    a picture gives: numbers below 1.2e-38, which some kernels flush to zero and others compute
    slowly.
    """
    flat = np.zeros((1, side, side, 3), np.uint8)
    random = np.random.default_rng(_SEED)
    denormal = random.uniform(-1e-38, 1e-38, (1, 3, side, side)).astype(np.float32)
    return {
        "black": standardize(flat, side),
        "white": standardize(flat + 255, side),
        "noise": standardize(noise_pictures(side), side),
        "denormal": np.concatenate([denormal, np.full_like(denormal, 1e-45)]),
    }
