"""The time between frames, from their stamps."""

from __future__ import annotations

import math
from typing import NamedTuple

GAP = 1.0  # seconds without a frame after which the past no longer explains the present
LATE = 8.0  # usual periods; a stamp at most so far behind the newest one is a late frame's, not a jump's
USUAL_PERIOD = 1 / 30  # seconds; until two stamps tell the real one


class Step(NamedTuple):
    """From one frame to the next.

    Attributes
    ----------
    periods : time since the newest frame, in usual frame periods; 0 for a late frame
    jumped : time went back (a bag that loops, a simulation that restarts): the past is another one
    gap : so long without a frame that the past no longer explains the present
    """

    periods: float
    jumped: bool = False
    gap: bool = False


class FrameClock:
    """Tells late frames, gaps and jumps apart, and keeps the usual period.

    Frames may come in another order than they were taken in, and clocks may be adjusted by a little:
    such a frame is a late one, and time stands still for it. Further back is a jump.

    Attributes
    ----------
    period : the usual time between two frames, seconds, from the stamps so far
    """

    def __init__(self) -> None:
        self.period = USUAL_PERIOD
        self._newest: float | None = None

    def step(self, stamp: float | None) -> Step:
        """Take the next frame's stamp, seconds; None or a number that is not finite is one period on."""
        if stamp is None or not math.isfinite(stamp):
            return Step(1.0)
        if self._newest is None:
            self._newest = stamp
            return Step(1.0)
        passed = stamp - self._newest
        if passed < 0:
            if -passed <= min(LATE * self.period, GAP):
                return Step(0.0)
            self._newest = stamp
            return Step(1.0, jumped=True)
        self._newest = stamp
        periods = passed / self.period
        if 0 < passed <= GAP:
            self.period += 0.1 * (passed - self.period)
        return Step(periods, gap=passed > GAP)
