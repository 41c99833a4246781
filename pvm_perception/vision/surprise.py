"""Where in a frame the first eye is surprised: closer eyes look there first, and a ball is likelier there."""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.core.backend import Floats
from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View

USUAL = 2.0  # surprise, over what is usual at a place, up to which a frame has nothing special
SLIGHT = 1.0  # surprise below which a place is as calm as any
STANDS_OUT = 8.0  # times the surprise of nine tenths of the frame: what pops out, as a ball before a wall
EVIDENCE = {"green_ball": 0.75}  # of targets that move by themselves: log odds that a box is right, for each
# factor of e by which its surprise is above the usual; likeliest on the throws of `benchmarks/evidence.py`
LEAST_FACTOR, MOST_FACTOR = 1.0, 3.0  # logarithms of the factors from which it counts, and up to which
BESIDE = 2.5  # units: what lies around a box reaches so much further than a side of it
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
        self._x, self._y = _middles(view, rows, cols)
        self._size, self._unit = (view.height, view.width), view.network[0] / rows / view.scale  # px
        self._sums = cv2.integral(np.asarray(heights, np.float32))  # (rows + 1, cols + 1)
        self._usual = _exceeded_by_a_tenth(heights)
        self._heights = cv2.blur(np.asarray(heights, np.float32), (3, 3))
        for t in tracks:
            self._heights[self._around(t, AROUND * max(t.w, t.h))] = 0
        self._scale = float(self._heights.max(initial=0.0)) + USUAL

    def _around(self, box: Candidate | Track, margin: float) -> tuple[slice, slice]:
        """Return the rows and columns of the units whose middles lie in a box or `margin` px around it."""
        top, left = bisect_left(self._y, box.y - margin), bisect_left(self._x, box.x - margin)
        bottom = bisect_left(self._y, box.y + box.h + margin)
        return slice(top, bottom), slice(left, bisect_left(self._x, box.x + box.w + margin))

    def _total(self, box: Candidate, margin: float) -> tuple[float, int]:
        """Return the surprise of all units in a box or `margin` px around it, and how many they are."""
        down, right = self._around(box, margin)
        rows, cols, s = (down.start, down.stop), (right.start, right.stop), self._sums
        total = s[rows[1], cols[1]] - s[rows[0], cols[1]] - s[rows[1], cols[0]] + s[rows[0], cols[0]]
        return float(total), (rows[1] - rows[0]) * (cols[1] - cols[0])

    def spot(self) -> tuple[float, float] | None:
        """Return the place that pops out of the frame, (x, y) source px; None where none does.

        At the border all is new that a moving camera brings into view: nothing pops out there.
        """
        rows, cols = (_inner(at, size) for at, size in ((self._y, self._size[0]), (self._x, self._size[1])))
        heights = self._heights[rows, cols]
        if heights.max(initial=0.0) < STANDS_OUT * (_exceeded_by_a_tenth(self._heights) + SLIGHT):
            return None
        row, col = np.unravel_index(int(heights.argmax()), heights.shape)
        return float(self._x[cols][col]), float(self._y[rows][row])

    def at(self, candidate: Candidate) -> float:
        """Return the largest surprise around a candidate, as a share of the frame's, 0 to 1."""
        inside = self._heights[self._around(candidate, AROUND * max(candidate.w, candidate.h))]
        return float(inside.max(initial=0.0)) / self._scale

    def factor(self, candidate: Candidate) -> float:
        """Return the logarithm of the surprise in a candidate's box over that around it and in the frame.

        Of the two the larger counts; that of the frame is what nine tenths of it do not exceed.
        """
        unit = self._unit
        inside, count = self._total(candidate, unit / 2)  # all units that it touches
        near, near_count = self._total(candidate, 1.5 * unit)
        wide, wide_count = self._total(candidate, max(candidate.w, candidate.h) + BESIDE * unit)
        around = (wide - near) / max(wide_count - near_count, 1)
        return math.log((inside / max(count, 1) + SLIGHT) / (max(around, self._usual) + SLIGHT))

    def evidence(self, candidate: Candidate) -> float:
        """Return the log odds that a candidate's box is right, by how unexpected the picture is in it.

        What moves against calm surroundings is a ball rather than what looks like one: on generated scenes
        half of the moving smears that the readout gives a fifth are balls, and hardly any of the still ones.
        A part of something large that moves has surprise all around it, and no evidence.
        """
        share = EVIDENCE.get(candidate.target)
        if share is None:
            return 0.0
        return share * counted(self.factor(candidate))


@functools.lru_cache(maxsize=4)
def _middles(view: View, rows: int, cols: int) -> tuple[list[float], list[float]]:
    """Return where the units' middles lie, source px: x by column, y by row.

    They are lists, which are searched faster for the sides of one box.
    """
    across, along = np.zeros((cols, 4)), np.zeros((rows, 4))  # network px
    across[:, 0] = (np.arange(cols) + 0.5) * view.network[1] / cols
    along[:, 1] = (np.arange(rows) + 0.5) * view.network[0] / rows
    return view.to_source(across)[:, 0].tolist(), view.to_source(along)[:, 1].tolist()


def _exceeded_by_a_tenth(heights: np.ndarray) -> float:
    """Return the 90th percentile, several times as fast as `np.percentile` of so few values."""
    flat = heights.reshape(-1)
    place = 0.9 * (len(flat) - 1)
    low = int(place)
    near = np.partition(flat, (low, min(low + 1, len(flat) - 1)))[low : low + 2].tolist()
    return float(near[0] + (place - low) * (near[-1] - near[0]))


def counted(factor: float) -> float:
    """Return how much of a `Surprise.factor` counts as evidence."""
    return min(max(factor, LEAST_FACTOR), MOST_FACTOR) - LEAST_FACTOR


def _inner(middles: list[float], size: int) -> slice:
    """Return which of the units' middles along an axis lie further than a unit from the frame's ends."""
    unit = (middles[-1] - middles[0]) / max(len(middles) - 1, 1)
    return slice(bisect_left(middles, unit), bisect_left(middles, size - unit))
