"""Notices a state that has lost itself: codes that feed on each other instead of on the picture.

A recurrent network can fall into a state of its own making, from which neither its forecasts nor
its boxes come back by themselves. It shows in the forecast, which is then far worse than
expecting the last frame once more, and stays so.
"""

from __future__ import annotations

import math

MEMORY = 0.75  # of the running means, per frame: some four frames long
WORSE = 2.5  # times as wrong as copying
REST = 15  # frames after a new beginning without another: some pictures are beyond all forecast
FLOOR = 1e-3  # error that means nothing where hardly anything moves, full range from black to white


class DivergenceMonitor:
    """Running means of how wrong the forecast is, and how wrong copying would have been."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, with a new state."""
        self.forecast = self.copied = 0.0
        self.rest = 0

    def lost(self, forecast: float, copied: float) -> bool:
        """Take one frame's mean squared errors; return whether the state is lost.

        Both in units of the full range from black to white, squared; what is not finite is lost.
        """
        if not math.isfinite(forecast):
            return self._give_up()
        self.rest = max(self.rest - 1, 0)
        self.forecast = MEMORY * self.forecast + (1 - MEMORY) * forecast
        self.copied = MEMORY * self.copied + (1 - MEMORY) * copied
        if self.rest == 0 and self.forecast > WORSE * self.copied + FLOOR:
            return self._give_up()
        return False

    def _give_up(self) -> bool:
        self.forecast = self.copied = 0.0
        self.rest = REST
        return True
