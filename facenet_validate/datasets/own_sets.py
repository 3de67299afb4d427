"""What users' own verification sets have in common: names, folds, and who is who by the pairs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError

FOLDS = 10
"""Folds of a set whose file does not tell any."""

FEWEST_OF_A_KIND = 10
"""Least number of genuine pairs and of impostor pairs: one in each of ten folds."""

RESERVED = ("lfw", "synthetic", "any")
"""Names of sets that have another meaning in ``gates.toml``."""


def set_name(what: str, path: Path, name: str = "") -> str:
    """Return the name that a set goes by: the one given, else its file's or its folder's.

    Parameters
    ----------
    what : str
        The kind of the file, for errors.
    path : Path
        The file. The folder counts where the file is called ``pairs``.
    name : str
        The name that the user gave.

    Raises
    ------
    DatasetError
        If gates cannot be keyed by the name, or ``gates.toml`` reserves it.
    """
    stem = path.stem
    own = path.absolute().parent.name if stem.lower() == "pairs" else stem
    name = (name or own).lower()
    if re.fullmatch("[a-z0-9_-]+", name) is None:
        raise DatasetError(
            f"{what} {path}: the set would be called {name!r}, after the file, or after the folder "
            "of a pairs.csv; expected letters, digits, _ and -. Rename it, or name the set: "
            "--facenet-pairs NAME=FILE."
        )
    if name in RESERVED:
        raise DatasetError(
            f"{what} {path}: a set cannot be called {name}: gates.toml reserves the name. Rename "
            "the file, or the folder of a pairs.csv, or name the set: --facenet-pairs NAME=FILE."
        )
    return name


def joined_photos(photos: int, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return each photo's person: the connected components of the genuine pairs.

    Parameters
    ----------
    photos : int
        How many there are.
    left, right : ndarray of shape (G,)
        The photos of each genuine pair, from 0.

    Returns
    -------
    ndarray of shape (photos,)
        Each photo's person, from 0.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joins = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(photos, photos))
    _, people = connected_components(joins, directed=False)
    return np.asarray(people, np.intp)


def check_count(what: str, path: Path, same: NDArray[np.bool_]) -> None:
    """Check that there are ten pairs of each kind at least.

    Raises
    ------
    DatasetError
        If there are fewer.
    """
    genuine = int(same.sum())
    impostor = len(same) - genuine
    if min(genuine, impostor) < FEWEST_OF_A_KIND:
        raise DatasetError(
            f"{what} {path}: {genuine} genuine and {impostor} impostor pairs; expected at least "
            f"{FEWEST_OF_A_KIND} of each kind. A small loss is seen only with thousands."
        )


def check_training(what: str, path: Path, same: NDArray[np.bool_], folds: NDArray[np.intp]) -> None:
    """Check that there are pairs of both kinds outside every fold: they choose its threshold.

    Raises
    ------
    DatasetError
        If a fold has all pairs of one kind.
    """
    for fold in np.unique(folds):
        training = same[folds != fold]
        if training.all() or not training.any():
            kind = "genuine" if not training.any() else "impostor"
            raise DatasetError(
                f"{what} {path}: no {kind} pair outside fold {fold}: its threshold is chosen on "
                "the pairs of the other folds and needs both kinds. Spread the pairs."
            )
