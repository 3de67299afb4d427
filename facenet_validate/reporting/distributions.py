"""Distributions as the reports keep them: few numbers, enough for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.metrics.roc import Roc
    from facenet_validate.metrics.view2 import View2

BINS = 60
"""Of a histogram of distances."""

_BAND_POINTS = 31

_SHARES = (
    *(0.0, 0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)


def distance_counts(engine: View2, reference: View2) -> dict[str, Any]:
    """Return how many genuine and impostor pairs have which distance, for both engines.

    Parameters
    ----------
    engine, reference : View2
        Evaluations of the same pairs by the same protocol.

    Returns
    -------
    dict
        ``first`` and ``last``, between which :data:`BINS` bins of one width lie, and the counts
        of pairs in each bin: ``genuine``, ``impostor``, ``reference_genuine`` and
        ``reference_impostor``.
    """
    import numpy as np

    views = {"": engine, "reference_": reference}
    everything = np.concatenate([view.distances for view in views.values()])
    first, last = float(everything.min()), float(everything.max())
    last = last if last > first else first + 1.0
    found: dict[str, Any] = {"first": first, "last": last}
    for name, view in views.items():
        for kind, chosen in (("genuine", view.pairs.same), ("impostor", ~view.pairs.same)):
            counts, _ = np.histogram(view.distances[chosen], BINS, (first, last))
            found[f"{name}{kind}"] = counts.tolist()
    return found


def roc_band(roc: Roc) -> dict[str, list[float]]:
    """Return TAR with its 95 % interval at false-accept rates from one impostor pair to all.

    The interval is Clopper and Pearson's of each rate by itself, the threshold taken as given.
    """
    import numpy as np

    least = 1.0 / int(roc.impostor[-1])
    points = [roc.tar_at_far(float(far)) for far in np.geomspace(least, 1.0, _BAND_POINTS)]
    return {
        "far": [point.target for point in points],
        "tar": [point.tar for point in points],
        "low": [point.interval[0] for point in points],
        "high": [point.interval[1] for point in points],
    }


def cosine_quantiles(cosines: NDArray[np.float64]) -> dict[str, Any]:
    """Return quantiles of row cosines, closest together at the low end.

    Parameters
    ----------
    cosines : (N,) float array
        Row cosines.
    """
    import numpy as np

    return {
        "rows": len(cosines),
        "shares": list(_SHARES),
        "cosines": np.quantile(cosines, _SHARES).tolist(),
    }
