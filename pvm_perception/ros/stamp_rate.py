"""How many of a camera's frames arrive, by the stamps of those that do. No ROS in it."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import ArrayLike

HALF = 45  # gaps between frames in each half of what is judged: 1.5 s at 30 Hz
ENOUGH = 0.8  # share of the camera's frames from which on all is well
ON_BEAT = 0.25  # of a period: how far a gap may lie from a whole number of periods
MOST_LOST = 20  # frames taken for each that arrives; with more, the gaps between them say nothing
REGULAR = 0.8  # share of the gaps that must do so, or the camera has no rate of its own


def camera_period(gaps: ArrayLike) -> float | None:
    """Return a camera's period from the gaps between stamps, some of which span frames that are missing.

    The shortest gaps are one period, all others a whole number of them.

    Parameters
    ----------
    gaps
        Seconds between successive stamps, each above 0.

    Returns
    -------
    float or None
        Seconds; None where the gaps are no multiples of one period, as of a camera that stamps in bursts.
    """
    values = np.sort(np.asarray(gaps, float))
    shortest = values[len(values) // 20]  # one or two odd ones are left aside
    period = float(np.median(values[values < 1.5 * shortest]))
    beats = values / period
    regular = np.abs(beats - np.maximum(np.rint(beats), 1)) < ON_BEAT
    return period if regular.mean() >= REGULAR and beats.mean() <= MOST_LOST else None


class StampRate:
    """Compares the rate at which frames arrive with the rate at which the camera takes them.

    Two halves of the newest frames are judged apart, so that a camera that halves its rate in the dark
    does not look like one whose frames are lost.
    """

    def __init__(self) -> None:
        self._stamps: deque[float] = deque(maxlen=2 * HALF + 1)

    def add(self, stamp: float) -> None:
        """Take note of a frame's stamp, seconds; one that is not after the last begins anew."""
        if self._stamps and stamp <= self._stamps[-1]:
            self._stamps.clear()
        if stamp > 0:
            self._stamps.append(stamp)

    def shortfall(self) -> tuple[float, float] | None:
        """Return the rates (received, taken), Hz, where many frames are missing; else None."""
        stamps = list(self._stamps)
        if len(stamps) <= 2 * HALF:
            return None
        gaps = np.diff(stamps)
        taken = 0.0  # frames that the camera took in all that time
        for half in (gaps[:HALF], gaps[HALF:]):
            period = camera_period(half)
            if period is None or HALF * period >= ENOUGH * half.sum():
                return None
            taken += half.sum() / period
        span = stamps[-1] - stamps[0]
        return 2 * HALF / span, taken / span
