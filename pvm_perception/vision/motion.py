"""What a camera's own motion does to its picture, the network's sense of the robot's motion.

Four values for each frame, of the far background since the frame before: shift to the right and
shift down at the middle of the picture, as shares of its width and height; roll, radians,
clockwise as seen; logarithm of its growth. They mean the same for every camera and resolution. How
fast a picture grows as the robot drives depends on how far away things are, which nobody told: the
growth is that of a place `DEPTH` away.
"""

from __future__ import annotations

import numpy as np

DEPTH = 4.0  # m: the distance for which growth is given
DEPTH_SPREAD = 0.5  # of the logarithm of the real distance, in training


def view_motion(before: np.ndarray, now: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the motion between two views of one place, (4,) float32.

    Parameters
    ----------
    before, now
        2 x 3 matrices from the place to the pixels of the picture: turn, scale and shift.
    size
        (rows, cols) of the picture.
    """
    middle = np.array([size[1], size[0]]) / 2
    change = now[:, :2] @ np.linalg.inv(before[:, :2])
    shift = change @ (middle - before[:, 2]) + now[:, 2] - middle
    return np.array([*shift / size[::-1], np.arctan2(change[1, 0], change[0, 0]),
                     0.5 * np.log(np.linalg.det(change))], np.float32)


def unknown_depth(rng: np.random.Generator) -> float:
    """Draw a factor by which a robot misjudges growth, for a place that is not `DEPTH` away."""
    return float(np.exp(rng.normal(0, DEPTH_SPREAD)))
