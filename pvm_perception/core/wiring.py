"""From links as data to index arrays: which source units each target unit reads."""

from __future__ import annotations

import operator

import numpy as np

from pvm_perception.core.backend import Floats, Index
from pvm_perception.errors import PvmError


def block_size(block: tuple[int, int], margin: int = 0) -> int:
    """Return how many source units a block with its margin holds: the K of `block_index`.

    Parameters
    ----------
    block
        (rows, cols) of the block without its margin.
    margin
        Units that are added on each side.
    """
    return (block[0] + 2 * margin) * (block[1] + 2 * margin)


def neighbourhood_size(radius: int, shape: str) -> int:
    """Return how many source units a neighbourhood holds: the K of `neighbour_index`.

    Parameters
    ----------
    radius
        Units each way.
    shape
        "disk" cuts off what lies farther than the radius; else it is a square.
    """
    side = range(-radius, radius + 1)
    return sum(shape != "disk" or i * i + j * j <= radius * radius for i in side for j in side)


def block_index(
    source: tuple[int, int], target: tuple[int, int], block: tuple[int, int], margin: int = 0
) -> Index:
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
        Row-major indices of source units. What lies outside of the grid has the index that follows
        the last unit, where a source keeps a row of zeros.
    """
    margin = operator.index(margin)
    firsts = [
        [(i * (source[a] - block[a])) // max(target[a] - 1, 1) for i in range(target[a])] for a in (0, 1)
    ]
    rows, cols = (np.array(firsts[a])[:, None] + np.arange(-margin, block[a] + margin) for a in (0, 1))
    return _pairs(rows, cols, source)


def neighbour_index(
    source: tuple[int, int], target: tuple[int, int], radius: int, shape: str = "disk"
) -> Index:
    """Return the source units around each target unit's position; layout as in `block_index`.

    Parameters
    ----------
    source, target
        (rows, cols) of the two grids.
    radius
        Source units on each side.
    shape
        "disk" leaves out units that are further away than the radius; "square" keeps them.

    Returns
    -------
    (targets, K) int64
    """
    radius = operator.index(radius)
    spread = np.arange(-radius, radius + 1)
    rows, cols = (
        ((np.arange(target[a]) * 2 + 1) * source[a] // (2 * target[a]))[:, None] + spread for a in (0, 1)
    )
    index = _pairs(rows, cols, source)
    if shape == "disk":
        inside = (spread[:, None] ** 2 + spread**2 <= radius**2).ravel()
        index = index[:, inside]
    return np.ascontiguousarray(index)


def even_spread(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return how one grid lies over another that is a multiple of it.

    Parameters
    ----------
    source
        (rows, cols) of the coarse grid.
    target
        (rows, cols) of the fine grid.

    Returns
    -------
    (r, kr, c, kc)
        Each of r x c source units lies over kr x kc target units. None where the target grid is no multiple
        of the source grid.
    """
    if target[0] % source[0] or target[1] % source[1]:
        return None
    return source[0], target[0] // source[0], source[1], target[1] // source[1]


def _pairs(rows: Index, cols: Index, source: tuple[int, int]) -> Index:
    """Combine row choices (R, a) and column choices (C, b) into (R*C, a*b) flat indices."""
    r = rows[:, None, :, None]
    c = cols[None, :, None, :]
    outside = (r < 0) | (r >= source[0]) | (c < 0) | (c >= source[1])
    flat = np.where(outside, source[0] * source[1], r * source[1] + c)
    flat = flat.reshape(rows.shape[0] * cols.shape[0], -1).astype(np.int64)
    check_index(flat, source[0] * source[1])
    return flat


def check_index(index: Index, units: int) -> None:
    """Raise an error unless a table names units of a source, or the row of zeros behind the last.

    The compiled kernels read and write where a table says, whatever lies there.

    Parameters
    ----------
    index
        (U, K) the source units that each unit reads.
    units
        Us.

    Raises
    ------
    PvmError
        It names another, or is not of whole numbers.
    """
    if index.size and not (index.dtype.kind == "i" and index.min() >= 0 and index.max() <= units):
        raise PvmError(f"a table of source units names units {index.min()} to {index.max()} of {units}")


def interpolation(source: int, target: int) -> tuple[Index, Floats]:
    """Return the two cells between whose centres each target cell's centre lies, and their shares.

    Parameters
    ----------
    source
        Number of cells along an axis.
    target
        Number of cells along the same axis of another grid.

    Returns
    -------
    cells, shares
        (target, 2) each: int64 and float32. At the border, and under a single cell, one share is 0.
    """
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(place.astype(int), max(source - 2, 0))
    share = np.stack([1 - (place - low), place - low], axis=1, dtype=np.float32)
    return np.stack([low, np.minimum(low + 1, source - 1)], axis=1), share


def resize_matrix(source: int, target: int) -> Floats:
    """Return the matrix of linear interpolation between cell centres along an axis.

    Parameters
    ----------
    source
        Number of cells that are read.
    target
        Number of cells that are written.

    Returns
    -------
    Floats
        (target, source).
    """
    cells, shares = interpolation(source, target)
    matrix = np.zeros((target, source), np.float32)
    np.add.at(matrix, (np.arange(target)[:, None], cells), shares)
    return matrix


def corners(grid: tuple[int, int], cells: tuple[int, int]) -> tuple[Index, np.ndarray]:
    """Return which units of a grid count for each cell, and by how much: linear interpolation.

    Parameters
    ----------
    grid, cells
        Rows and columns of both.

    Returns
    -------
    units, shares
        (R * C, K) each, int64 and float32: what counts most comes first.
    """
    if grid == cells:
        count = cells[0] * cells[1]
        return np.arange(count)[:, None], np.ones((count, 1), np.float32)
    ends = [interpolation(s, t) for s, t in zip(grid, cells, strict=True)]
    (row, down), (col, right) = ends  # each (cells along an axis, 2)
    corner = row[:, None, :, None] * grid[1] + col[None, :, None, :]
    share = down[:, None, :, None] * right[None, :, None, :]
    corner, share = corner.reshape(-1, 4), share.reshape(-1, 4)  # (cells, 4)
    most = np.count_nonzero(share, axis=1).max()
    order = np.argsort(-share, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(corner, order, axis=1), np.take_along_axis(share, order, axis=1)
