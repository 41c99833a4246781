"""Detects a cut: a picture that has nothing in common with the one before.

A camera is switched, a bag loops, a simulation restarts. What was tracked is then no longer there, and codes
of the scene before would make things of it appear in the new one. Neither a fast turn nor a lamp that goes on
is a cut: the first is foreseen in part, the second leaves the edges where they were.
"""

from __future__ import annotations

import cv2
import numpy as np

from pvm_perception.core.backend import Floats, Images

THINNED = 4  # every so many rows and columns are compared
FULL_RANGE = 255.0  # of a picture's values, from black to white
NOISE = 2.5e-4  # squared error that a camera's noise may bring to a plain wall, full range squared
SAME_EDGES = 0.3  # correlation of the edges with those before, from which the scene is the same


class CutDetector:
    """Compares each picture of a stream with the one before, and with the forecast's error."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the picture before."""
        self._before: Images | None = None

    def is_cut(self, picture: Images, errors: tuple[float, float]) -> bool:
        """Take one picture; return whether it is of another scene than the one before.

        Parameters
        ----------
        picture
            (rows, cols, 3) uint8, of the same size as the one before; what the camera shows, without bars.
        errors
            Mean squared errors of the forecast of this picture and of copying, in units of the full range
            from black to white, squared; NaN where there was no forecast. A picture is of another scene only
            if a plain one in its mean colour would have been a better forecast than both.
        """
        thin = np.ascontiguousarray(picture[::THINNED, ::THINNED])  # (h, w, 3)
        before, self._before = self._before, thin
        variance = float((cv2.meanStdDev(thin)[1] ** 2).mean()) / FULL_RANGE**2
        if before is None or not min(errors) > variance + NOISE:
            return False
        a, b = _edges(before), _edges(thin)
        return float(a @ b) < SAME_EDGES * float(np.linalg.norm(a) * np.linalg.norm(b))


def _edges(picture: Images) -> Floats:
    """Return the differences between neighbours down and to the right, (edges,)."""
    values = picture.astype(np.float32)  # (h, w, 3)
    return np.concatenate([np.diff(values, axis=axis).ravel() for axis in (0, 1)])
