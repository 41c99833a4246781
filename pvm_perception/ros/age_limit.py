"""Which frames are too old to look at, as far as their stamps can be trusted to say so."""

from __future__ import annotations

DOUBT = 10  # frames in a row beyond the limit, from which on it is the clocks that are not believed


class AgeLimit:
    """Judges frames by the age that their stamps tell.

    A camera whose clock is not this machine's, a bag that is played, a network that is always slow:
    by their stamps all their frames are too old, and to leave them all out would blind the robot. So
    a frame is left out only after one that lay within the limit, and fewer than `DOUBT` in a row are.
    """

    def __init__(self) -> None:
        self._trusted = False  # a frame lay within the limit, and not too many since did not
        self._beyond = 0  # frames in a row
        self._age = 0.0  # of the last frame

    def too_old(self, age: float, limit: float) -> bool:
        """Return whether to leave a frame out.

        Parameters
        ----------
        age
            Seconds by its stamp; negative where that lies ahead of the clock.
        limit
            Seconds.
        """
        self._age = age
        if abs(age) <= limit:
            self._trusted, self._beyond = True, 0
            return False
        self._beyond += 1
        if self._beyond >= DOUBT:
            self._trusted = False
        return self._trusted and age > limit

    @property
    def lost_trust(self) -> bool:
        """Whether trust in the stamps ended with the last frame."""
        return self._beyond == DOUBT

    def state(self, limit: float) -> str:
        """Return in words whether the limit is kept; 0 = there is none."""
        if not limit:
            return "none"
        if self._beyond < DOUBT:
            return f"{limit} s"
        where = "behind" if self._age > 0 else "ahead of"
        return f"{limit} s, not kept: stamps lie {abs(self._age):.2f} s {where} the node's clock"
