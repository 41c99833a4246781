"""Where in a frame the first eye is surprised: the closer eyes look there first."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.core.backend import Floats
from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View

USUAL = 2.0  # surprise, over what is usual at a place, up to which a frame has nothing special
SLIGHT = 1.0  # surprise below which a place is as calm as any
STANDS_OUT = 8.0  # times the surprise of nine tenths of the frame: what pops out, as a ball before a wall
AROUND = 0.5  # sides around a track within which surprise is that of what is tracked already


class Surprise:
    """The surprise of a frame that no track explains.

    Parameters
    ----------
    heights
        (rows, cols) the units' surprise, as `Tracker.surprise` returns it.
    view
        What these units see.
    tracks
        What is known to be there; source px.
    """

    def __init__(self, heights: Floats, view: View, tracks: Sequence[Track]) -> None:
        rows, cols = heights.shape
        across, along = np.zeros((cols, 4)), np.zeros((rows, 4))  # network px of the units' middles
        across[:, 0] = (np.arange(cols) + 0.5) * view.network[1] / cols
        along[:, 1] = (np.arange(rows) + 0.5) * view.network[0] / rows
        self._x, self._y = view.to_source(across)[:, 0], view.to_source(along)[:, 1]  # (cols,), (rows,) px
        self._heights = cv2.blur(np.asarray(heights, np.float32), (3, 3))
        for t in tracks:
            self._heights[self._around(t)] = 0
        self._size = view.height, view.width
        self._scale = float(self._heights.max(initial=0.0)) + USUAL

    def _around(self, box: Candidate | Track) -> tuple[slice, slice]:
        """Return the rows and columns of the units whose middles lie in a box or close around it."""
        side = AROUND * max(box.w, box.h)
        down = slice(*np.searchsorted(self._y, (box.y - side, box.y + box.h + side)))
        return down, slice(*np.searchsorted(self._x, (box.x - side, box.x + box.w + side)))

    def spot(self) -> tuple[float, float] | None:
        """Return the place that pops out of the frame, (x, y) source px; None where none does.

        At the border all is new that a moving camera brings into view: nothing pops out there.
        """
        rows, cols = (_inner(at, size) for at, size in ((self._y, self._size[0]), (self._x, self._size[1])))
        heights = self._heights[rows, cols]
        if heights.max(initial=0.0) < STANDS_OUT * (float(np.percentile(self._heights, 90)) + SLIGHT):
            return None
        row, col = np.unravel_index(int(heights.argmax()), heights.shape)
        return float(self._x[cols][col]), float(self._y[rows][row])

    def at(self, candidate: Candidate) -> float:
        """Return the largest surprise around a candidate, as a share of the frame's, 0 to 1."""
        return float(self._heights[self._around(candidate)].max(initial=0.0)) / self._scale


def _inner(middles: Floats, size: int) -> slice:
    """Return which of the units' middles along an axis lie further than a unit from the frame's ends."""
    unit = (middles[-1] - middles[0]) / max(len(middles) - 1, 1)
    return slice(*np.searchsorted(middles, (unit, size - unit)))
