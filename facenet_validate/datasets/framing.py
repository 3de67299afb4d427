"""Where the face of a photo was cut from."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in source pixels, the last two exclusive."""


@dataclass(frozen=True)
class Framing:
    """Where a photo's faces are, and what was cropped.

    Attributes
    ----------
    crop : Box
        In whole pixels, margin included, inside the photo.
    boxes : tuple of Box
        The faces found, neither rounded nor clipped: first the one that was cropped, the others by
        score. Empty: no face was found, and the centre crop was taken.
    """

    crop: Box
    boxes: tuple[Box, ...]

    @property
    def faces_found(self) -> int:
        """How many faces the photo shows."""
        return len(self.boxes)
