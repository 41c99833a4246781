"""The assignment of rows to columns that costs least together, as of tracks to detections."""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Floats


def assign(costs: Floats) -> list[tuple[int, int]]:
    """Return as many pairs as can be, and of these ways the one that costs least.

    Rows are added one after the other, each by the cheapest path of changes to the pairs so far (the
    Hungarian method by shortest augmenting paths; Jonker and Volgenant 1987), in cubic time at worst.

    Parameters
    ----------
    costs
        (n, m) of each pair, of any sign; infinite where the two cannot be a pair.

    Returns
    -------
    list of (int, int)
        Rows and columns, by row.
    """
    rows, cols = costs.shape
    if rows > cols:
        return sorted((row, col) for col, row in assign(costs.T))
    allowed = np.isfinite(costs)
    # more than all that a full assignment can save: a forbidden pair is taken only where nothing else is left
    forbidden = 2 * float(np.abs(costs[allowed]).sum()) + 1
    costs = np.where(allowed, costs, forbidden)
    of_row, of_col = np.zeros(rows), np.zeros(cols)  # what each row and column adds to the costs of its pairs
    owner = np.full(cols, -1)  # each column's row; -1 where it is free
    for row in range(rows):
        reached = np.zeros(cols, bool)
        cheapest = np.full(cols, np.inf)  # the path to each column
        before = np.full(cols, -1)  # and the column before it on that path
        at, here, length = -1, row, 0.0
        while True:
            through = length + costs[here] - of_row[here] - of_col  # (m,)
            shorter = ~reached & (through < cheapest)
            cheapest[shorter], before[shorter] = through[shorter], at
            at = int(np.argmin(np.where(reached, np.inf, cheapest)))
            length, reached[at] = float(cheapest[at]), True
            if owner[at] < 0:
                break
            here = int(owner[at])
        of_row[row] += length
        of_col[reached] -= length - cheapest[reached]
        owned = reached & (owner >= 0)
        of_row[owner[owned]] += length - cheapest[owned]
        while at >= 0:  # give each column of the path to the row of the column before
            owner[at] = row if before[at] < 0 else owner[before[at]]
            at = int(before[at])
    return sorted((int(row), col) for col, row in enumerate(owner) if row >= 0 and allowed[row, col])
