"""Choose the pairs of the ORL faces, and print the tables of `facenet_validate.datasets.orl_pairs`.

    python docs/evidence/choose_orl_pairs.py --work DIR

The pretrained FP32 model says who looks alike: people are in one fold with those whose photos have
many squared distances below 1.1 to theirs. Of the fold's 600 impostor pairs the 180 closest are
taken. It was run once. It says whether the package still holds what it finds.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pretrained_engines import PretrainedEngines

from facenet_validate.cache import Cache
from facenet_validate.datasets import orl_pairs
from facenet_validate.datasets.orl import orl_folder
from facenet_validate.datasets.orl_pairs import IMPOSTORS_PER_FOLD, PEOPLE, PHOTOS_PER_PERSON

ALIKE = 1.1
PEOPLE_PER_FOLD = 4

Folds = list[list[int]]


def main() -> None:
    """Print the folds and the choice of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="cache folder")
    distances = _distances(Cache(parser.parse_args().work))
    folds = look_alikes((distances < ALIKE).sum(axis=(1, 3)))
    chosen = [orl_pairs.pack(hardest(distances, people)) for people in folds]
    lines = [
        *(f"    {tuple(people)}," for people in folds),
        *(f'    "{text[:50]}"\n    "{text[50:]}",' for text in chosen),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    same = (tuple(map(tuple, folds)), tuple(chosen)) == (orl_pairs.FOLDS, orl_pairs._CHOSEN)
    sys.stdout.write(f"{'as' if same else 'not as'} the package has them\n")


def look_alikes(alike: NDArray[np.intp]) -> Folds:
    """Put people into folds: exchange two while that makes more of them look alike.

    Parameters
    ----------
    alike : (40, 40) int array
        How many photos of two people are close to each other.
    """
    folds = np.arange(1, PEOPLE + 1).reshape(-1, PEOPLE_PER_FOLD).tolist()

    def worth(people: list[int]) -> int:
        return sum(int(alike[one - 1, other - 1]) for one, other in combinations(people, 2))

    better = True
    while better:
        better = False
        for x, y in combinations(range(len(folds)), 2):
            for i in range(PEOPLE_PER_FOLD):
                for j in range(PEOPLE_PER_FOLD):
                    one, other = folds[x].copy(), folds[y].copy()
                    one[i], other[j] = other[j], one[i]
                    if worth(one) + worth(other) > worth(folds[x]) + worth(folds[y]):
                        folds[x], folds[y] = one, other
                        better = True
    return sorted(sorted(people) for people in folds)


def hardest(distances: NDArray[np.float64], people: list[int]) -> list[bool]:
    """Say which of a fold's impostor candidates are the closest."""
    candidates = orl_pairs.impostor_candidates(people)
    found = np.array([distances[a - 1, i - 1, b - 1, j - 1] for a, i, b, j in candidates])
    chosen = np.zeros(len(candidates), np.bool_)
    chosen[np.argsort(found, kind="stable")[:IMPOSTORS_PER_FOLD]] = True
    return [bool(one) for one in chosen]


def _distances(cache: Cache) -> NDArray[np.float64]:
    """Return squared L2 distances (person, photo, person, photo) by the pretrained model."""
    paths = sorted(orl_folder(cache).glob("*/*.png"))
    pretrained = PretrainedEngines(cache)
    faces = pretrained.aligned(tuple(path.stem for path in paths), tuple(paths))
    rows = pretrained.embedded("fp32", faces, faces)
    embeddings = rows.astype(np.float64)
    between = 2 - 2 * embeddings @ embeddings.T
    return between.reshape(PEOPLE, PHOTOS_PER_PERSON, PEOPLE, PHOTOS_PER_PERSON)


if __name__ == "__main__":
    main()
