"""Which frames are too old to look at, as far as their stamps can be trusted to say so."""

from __future__ import annotations

DOUBT = 1.0  # s of frames beyond the limit, from which on it is the clocks that are not believed


class AgeLimit:
    """Judges frames by the age that their stamps tell.

    A camera whose clock is not this machine's, a bag that is played, a network that is always slow:
    by their stamps all their frames are too old, and to leave them all out would blind the robot. So
    a frame is left out only after one that lay within the limit, and for `DOUBT` at most.
    """

    def __init__(self) -> None:
        self.doubted = False  # for so long was no frame within the limit
        self._trusted = False  # a frame was, and they are not doubted since
        self._beyond: float | None = None  # since when no frame was, s
        self._age = 0.0  # of the last frame

    def too_old(self, age: float, limit: float, now: float) -> bool:
        """Return whether to leave a frame out.

        Parameters
        ----------
        age
            Seconds by its stamp; negative where that lies ahead of the clock.
        limit
            Seconds.
        now
            Seconds, on a clock that nobody sets.
        """
        self._age = age
        if abs(age) <= limit:
            self._trusted, self.doubted, self._beyond = True, False, None
            return False
        if self._beyond is None:
            self._beyond = now
        if now - self._beyond >= DOUBT:
            self._trusted, self.doubted = False, True
        return self._trusted and age > limit

    def state(self, limit: float) -> str:
        """Return in words whether the limit is kept; 0 = there is none."""
        if not limit:
            return "none"
        if not self.doubted:
            return f"{limit} s"
        where = "behind" if self._age > 0 else "ahead of"
        return f"{limit} s, not kept: stamps lie {abs(self._age):.2f} s {where} the node's clock"
