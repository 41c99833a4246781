"""What a camera's own motion does to its picture, the network's sense of the robot's motion.

Four values for each frame, of the far background since the frame before: shift to the right and
shift down at the middle of the picture, as shares of its width and height; roll, radians,
clockwise as seen; logarithm of its growth. They mean the same for every camera and resolution. How
fast a picture grows as the robot drives depends on how far away things are, which is not known: the
growth is that of a place `DEPTH` away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pvm_perception.core.config import MOTION_VALUES
from pvm_perception.errors import PvmError
from pvm_perception.vision.frame import View

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
    return np.array(
        [*shift / size[::-1], np.arctan2(change[1, 0], change[0, 0]), 0.5 * np.log(np.linalg.det(change))],
        np.float32,
    )


def seen_through(view: View, motion: np.ndarray, source: tuple[int, int]) -> np.ndarray:
    """Return a frame's motion as it looks in the network's picture of a view, (4,) float32.

    A window that stays where it is sees the frame's shift enlarged, and moving to and fro what
    turns and grows about the middle of the frame.

    Parameters
    ----------
    view
        What the network sees of the frame.
    motion
        (4,) of the whole frame, its shifts as shares of the frame.
    source
        (rows, cols) of the frame.
    """
    right, down, roll, growth = (float(v) for v in motion)
    x = view.x + view.width / 2 - source[1] / 2  # px, from the frame's middle to the view's
    y = view.y + view.height / 2 - source[0] / 2
    c, s = np.exp(growth) * np.cos(roll), np.exp(growth) * np.sin(roll)
    px = (right * source[1] + (c - 1) * x - s * y, down * source[0] + s * x + (c - 1) * y)
    return np.array(
        [px[0] * view.scale / view.network[1], px[1] * view.scale / view.network[0], roll, growth], np.float32
    )


def unknown_depth(rng: np.random.Generator) -> float:
    """Draw a factor by which a robot misjudges growth, for a place that is not `DEPTH` away."""
    return float(np.exp(rng.normal(0, DEPTH_SPREAD)))


def checked_motion(motion: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a frame's motion as (4,) float32; PvmError where it is not four finite numbers."""
    try:
        values = np.asarray(motion, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    if values.shape != (MOTION_VALUES,) or not np.isfinite(values).all():
        raise PvmError(
            f"motion must be {MOTION_VALUES} finite numbers (shift right, shift down, roll, "
            f"log growth) or None, not {motion!r}"
        )
    return values
