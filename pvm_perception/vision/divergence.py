"""Detects a recurrent state that has diverged: codes that feed on each other instead of on the picture.

A recurrent network can fall into a state of its own making, from which neither its forecasts nor its
boxes come back by themselves. Its forecast is then far worse than expecting the last frame once more,
and stays so.
"""

from __future__ import annotations

import math

MEMORY = 0.75  # decay of the running means per frame: they are some four frames long
WORSE = 2.5  # forecast error over copying's from which the state counts as diverged
REST = 15  # frames after a new beginning without another: some pictures cannot be forecast at all
FLOOR = 1e-3  # error that is ignored where hardly anything moves, full range from black to white, squared


class DivergenceMonitor:
    """Running means of the forecast's error and of copying's, and the verdict on them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, with a new state."""
        self.forecast = self.copied = 0.0
        self.rest = 0

    def diverged(self, forecast: float, copied: float) -> bool:
        """Take one frame's errors; return whether the state has diverged.

        Parameters
        ----------
        forecast, copied
            Mean squared errors of the forecast and of copying, in units of the full range from black to
            white, squared. A forecast that is not finite has diverged.
        """
        if not math.isfinite(forecast):
            return self._begin_rest()
        self.rest = max(self.rest - 1, 0)
        self.forecast = MEMORY * self.forecast + (1 - MEMORY) * forecast
        self.copied = MEMORY * self.copied + (1 - MEMORY) * copied
        if self.rest == 0 and self.forecast > WORSE * self.copied + FLOOR:
            return self._begin_rest()
        return False

    def _begin_rest(self) -> bool:
        self.forecast = self.copied = 0.0
        self.rest = REST
        return True
