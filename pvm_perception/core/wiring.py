"""From links as data to index arrays: which source units each target unit hears."""

from __future__ import annotations

import numpy as np


def block_index(source: tuple[int, int], target: tuple[int, int], block: tuple[int, int],
                margin: int = 0) -> np.ndarray:
    """Return the source units of each target unit's block, widened by a margin.

    Blocks are spread evenly, the first at the top left, the last at the bottom right, so that
    4 units under 3 overlap and 24 under 12 tile.

    Parameters
    ----------
    source, target
        (rows, cols) of the two grids.
    block
        (rows, cols) of source units in one block.
    margin
        Further source units on each side.

    Returns
    -------
    (targets, K) int64
        Row-major source indices; places outside the grid hold the number of source units,
        where a source buffer keeps a row of zeros.
    """
    firsts = [[(i * (source[a] - block[a])) // max(target[a] - 1, 1) for i in range(target[a])]
              for a in (0, 1)]
    rows, cols = (np.array(firsts[a])[:, None] + np.arange(-margin, block[a] + margin)
                  for a in (0, 1))
    return _pairs(rows, cols, source)


def neighbour_index(source: tuple[int, int], target: tuple[int, int], radius: int,
                    shape: str = "disk") -> np.ndarray:
    """Return the source units around each target unit's place; layout as in `block_index`."""
    spread = np.arange(-radius, radius + 1)
    rows, cols = (((np.arange(target[a]) * 2 + 1) * source[a] // (2 * target[a]))[:, None] + spread
                  for a in (0, 1))
    index = _pairs(rows, cols, source)
    if shape == "disk":
        inside = (spread[:, None] ** 2 + spread**2 <= radius**2).ravel()
        index = index[:, inside]
    return np.ascontiguousarray(index)


def even_spread(source: tuple[int, int], target: tuple[int, int]
                ) -> tuple[int, int, int, int] | None:
    """Return (r, kr, c, kc) where each of r x c source units lies over kr x kc target units.

    None where the target grid is no multiple of the source grid.
    """
    if target[0] % source[0] or target[1] % source[1]:
        return None
    return source[0], target[0] // source[0], source[1], target[1] // source[1]


def _pairs(rows: np.ndarray, cols: np.ndarray, source: tuple[int, int]) -> np.ndarray:
    """Combine row choices (R, a) and column choices (C, b) into (R*C, a*b) flat indices."""
    r = rows[:, None, :, None]
    c = cols[None, :, None, :]
    outside = (r < 0) | (r >= source[0]) | (c < 0) | (c >= source[1])
    flat = np.where(outside, source[0] * source[1], r * source[1] + c)
    return flat.reshape(rows.shape[0] * cols.shape[0], -1).astype(np.int64)


def resize_matrix(source: int, target: int) -> np.ndarray:
    """Return the (target, source) float32 matrix of linear interpolation between cell centres."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(place.astype(int), max(source - 2, 0))
    matrix = np.zeros((target, source), np.float32)
    matrix[np.arange(target), low] = 1 - (place - low)
    if source > 1:
        matrix[np.arange(target), low + 1] += place - low
    return matrix
