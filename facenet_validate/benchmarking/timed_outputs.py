"""What timed blocks computed, beside what the engine computes untimed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.protocol import Work
from facenet_validate.metrics.parity import largest_change


class TimedOutputs:
    """Looks at the embeddings that blocks leave; a block that computes nothing is seen.

    Before each quad the embeddings of the last block are compared, then they are overwritten. So
    what is compared was written by a block of the quad that was timed.

    Parameters
    ----------
    work : Work
        What is timed. It is run once, untimed, so this comes before warming up.
    """

    def __init__(self, work: Work) -> None:
        self._outputs = work.outputs
        self._expected: NDArray[np.float32] = work.outputs.untimed()
        self._spoilt = False
        self.looks = 0
        """How often embeddings were compared."""
        self.moved = 0.0
        """Largest L2 distance to the untimed embeddings so far; NaN where blocks left none."""

    def look(self) -> None:
        """Compare what blocks left since the last look, if they were to leave any."""
        if not self._spoilt:
            return
        self._spoilt = False
        self.looks += 1
        left = self._outputs.left()
        distances = [largest_change(self._expected, found) for found in left]
        self.moved = float(np.max([self.moved, *(distances or [np.nan])]))

    def spoil(self) -> None:
        """Overwrite what blocks left, and look at it next time."""
        self._outputs.spoil()
        self._spoilt = True
