"""Where the windows of a forecast's units lie: moved, overlapping, spread from parents; in NumPy.

Shapes as in `forecast_frame`; here rows of the units' values are cut to their U units.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core.forecast_frame import BLOCK, OUTSIDE, WHITE, WINDOW, Geometry

SHARE = (
    np.array([1, 3, 5, 7, 7, 5, 3, 1], np.float32) / 8
)  # of a window's pixels in a forecast, along an axis


def between(planes: np.ndarray, axis: int) -> np.ndarray:
    """Return the values half a pixel further along an axis, by cubic interpolation; edges are repeated.

    Parameters
    ----------
    planes
        int16; any shape.
    axis
        The axis along which they are moved.

    Returns
    -------
    ndarray
        Of the shape of `planes`.
    """
    n = planes.shape[axis]
    wide = planes.astype(np.int32)
    a, b, c, d = (wide.take(np.clip(np.arange(n) + k, 0, n - 1), axis) for k in (-1, 0, 1, 2))
    return 9 * (b + c) - (a + d) + 8 >> 4


def moved(g: Geometry, planes: np.ndarray, channel: int, moves: np.ndarray) -> np.ndarray:
    """Return each unit's window, moved.

    Far outside of the picture a window stops, where all pixels repeat the edge.

    Parameters
    ----------
    g
        Geometry of the scale.
    planes
        (PHASES, COLOURS, lines, pitch) of its picture.
    channel
        Which of the colours.
    moves
        (n, 2, L) half px down, right.

    Returns
    -------
    ndarray
        (n, U, WINDOW**2) float32, 0..1.
    """
    down, right = (moves[:, i, : g.units].astype(int) for i in range(2))
    row, col = np.divmod(np.arange(g.units), g.cols)
    top = np.clip(row * BLOCK - OUTSIDE + (down >> 1), -g.margin, g.height + g.margin - WINDOW)
    left = np.clip(col * BLOCK - OUTSIDE + (right >> 1), -g.margin, g.width + g.margin - WINDOW)
    phase = (right & 1) + 2 * (down & 1)
    place = ((phase * g.lines + top + g.margin) * g.pitch + left + g.margin)[..., None]
    window = (np.arange(WINDOW)[:, None] * g.pitch + np.arange(WINDOW)).ravel()
    return np.ascontiguousarray(planes[:, channel]).ravel()[place + window] * np.float32(1 / WHITE)


def spread(g: Geometry, values: np.ndarray) -> np.ndarray:
    """Return the parents' values at their children.

    Parameters
    ----------
    g
        Geometry of the children's scale.
    values
        (n, L of the parents).

    Returns
    -------
    ndarray
        (n, U).
    """
    grid = values[:, : g.units // 4].reshape(-1, g.rows // 2, g.cols // 2)
    return grid.repeat(2, 1).repeat(2, 2).reshape(len(values), g.units)


def around_mean(g: Geometry, values: np.ndarray) -> np.ndarray:
    """Return the mean of each unit and its neighbours, (..., U); at edges the nearest units count again.

    Parameters
    ----------
    g
        Geometry of the scale.
    values
        (..., U).
    """
    grid = values.reshape(-1, g.rows, g.cols)
    padded = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return ((rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)).reshape(values.shape)


def by_motion(g: Geometry, motion: np.ndarray) -> np.ndarray:
    """Return where each unit's content comes from by the robot's motion alone.

    Parameters
    ----------
    g
        Geometry of the scale.
    motion
        (4,) as `Hierarchy.step` takes it.

    Returns
    -------
    ndarray
        (2, U) px down, right.
    """
    right, down, roll, growth = motion
    row, col = np.divmod(np.arange(g.units, dtype=np.float32), np.float32(g.cols))
    y, x = (row + 0.5) * BLOCK - g.height / 2, (col + 0.5) * BLOCK - g.width / 2
    # the content went there, so what is here comes from the other side
    return -np.stack([down * g.height + growth * y + roll * x, right * g.width + growth * x - roll * y])


def overlap(g: Geometry, windows: np.ndarray) -> np.ndarray:
    """Return the picture that overlapping windows add up to.

    Parameters
    ----------
    g
        Geometry of the scale.
    windows
        (U, WINDOW**2).

    Returns
    -------
    ndarray
        (H, W).
    """
    total = np.zeros((g.height + 2 * OUTSIDE, g.width + 2 * OUTSIDE), np.float32)
    by_unit = windows.reshape(g.rows, g.cols, WINDOW, WINDOW)
    for y in range(WINDOW):
        for x in range(WINDOW):
            total[y : y + g.height : BLOCK, x : x + g.width : BLOCK] += by_unit[:, :, y, x]
    return total[OUTSIDE:-OUTSIDE, OUTSIDE:-OUTSIDE]


def windows(g: Geometry, picture: np.ndarray) -> np.ndarray:
    """Return the window of each unit, with zeros outside of the picture: `overlap`, transposed.

    Parameters
    ----------
    g
        Geometry of the scale.
    picture
        (H, W).

    Returns
    -------
    ndarray
        (U, WINDOW**2).
    """
    padded = np.pad(picture, OUTSIDE)
    view = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW))[::BLOCK, ::BLOCK]
    return view.reshape(g.units, WINDOW * WINDOW)


def cover(g: Geometry) -> np.ndarray:
    """Return the sum of the shares of all windows over each pixel, (H, W): below 1 at the edges."""
    return overlap(g, np.broadcast_to(np.outer(SHARE, SHARE).ravel(), (g.units, WINDOW * WINDOW)))
