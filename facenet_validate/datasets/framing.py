"""The place of faces in a photo."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in source pixels, the last two exclusive."""


@dataclass(frozen=True)
class Framing:
    """The faces of a photo, and the crop.

    Attributes
    ----------
    crop : Box
        In whole pixels, margin included, inside the photo.
    boxes : tuple of Box
        The faces found, neither rounded nor clipped: first the cropped face, then the others by
        score. Empty if no face was found: then the crop is at the centre.
    """

    crop: Box
    boxes: tuple[Box, ...]

    @property
    def faces_found(self) -> int:
        """How many faces the photo shows."""
        return len(self.boxes)
