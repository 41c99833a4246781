"""The time of a part of a sleep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

Progress = Callable[[str, float], None]  # what a sleep does, and the share of that which is over


class Timer:
    """Ends a part of a sleep by its time, its steps, or a wish to wake; tells how far it is.

    Parameters
    ----------
    seconds
        At the most.
    steps
        At the most; None: whatever the time allows.
    what
        The part, in words.
    progress
        Called at each step.
    stop
        Asked at each step whether to wake.

    Attributes
    ----------
    steps : taken so far
    """

    def __init__(
        self, seconds: float, steps: int | None, what: str, progress: Progress, stop: Callable[[], bool]
    ) -> None:
        self._begun, self._seconds, self._most = time.monotonic(), seconds, steps or math.inf
        self._what, self._progress, self._stop = what, progress, stop
        self.steps = 0

    @property
    def share(self) -> float:
        """The share of it that is over, 0..1."""
        return min(max((time.monotonic() - self._begun) / self._seconds, self.steps / self._most), 1.0)

    def goes_on(self) -> bool:
        """Count a step; return whether there is time for it."""
        self._progress(self._what, self.share)
        if self.share >= 1 or self._stop():
            return False
        self.steps += 1
        return True

    def rate(self, highest: float) -> float:
        """Return the learning rate now: a half cosine from the highest down."""
        return highest * 0.5 * (1 + math.cos(math.pi * self.share))
