"""How far a forecast departs from the last picture: all the way where moves have explained what came.

Of video that stands still and jumps, or that shakes, moves foretell little, and a forecast that follows
them is worse than the last picture. The forecast is s + g (p - s): s the last picture, p what the moves
make of it, and g the share that would have been best for the last changes. Its error against what came, s',
is C - 2 g A + g^2 B with A = <(p - s)(s' - s)>, B = <(p - s)^2>, C = <(s' - s)^2>, and least at g = A / B
(a Wiener filter's gain). A follows from the error of p itself, W = C - 2 A + B.
"""

from __future__ import annotations

import numpy as np

from pvm_perception.core.backend import Array

UNTRIED = np.float32(2e-4)  # mean square, full range squared: changes before which trust follows the facts


class Trust:
    """The share of the foreseen change that a forecast makes, for each of B streams.

    Parameters
    ----------
    batch
        Number of streams B.
    decay
        Of the running means of A and B, by frame; 0 = the whole change is made, always.

    Attributes
    ----------
    share
        (B,) of the change foreseen last, 0 to 1.
    """

    def __init__(self, batch: int, decay: float) -> None:
        self.decay = np.float32(decay)
        self.share = np.ones(batch, np.float32)
        self._foreseen, self._explained, self._tried = (np.zeros(batch, np.float32) for _ in range(3))

    def foresee(self, change: Array) -> None:
        """Take the mean square of the change p - s that moves foresee, (B,)."""
        self._foreseen[...] = change

    def judge(self, wrong: Array, changed: Array, known: Array) -> Array:
        """Take how the forecast turned out, and set the share of the next one.

        Parameters
        ----------
        wrong, changed
            (B,) mean squared error of the whole change, W, and of the last picture, C.
        known
            (B,) bool: streams whose frame had been foreseen; the others begin anew.

        Returns
        -------
        Array
            (B,) mean squared error of the forecast, the share of its change being what it was.
        """
        g, tried = self.share.copy(), self._foreseen
        explained = (changed + tried - wrong) / 2
        error = changed - 2 * g * explained + g * g * tried
        if self.decay:
            for mean, value in ((self._explained, explained), (self._tried, tried)):
                mean *= self.decay
                mean += (1 - self.decay) * value
                mean[~known] = 0
            best = (self._explained + UNTRIED) / (self._tried + UNTRIED)
            self.share[...] = np.clip(best, 0, 1)
        return np.where(known, np.maximum(error, 0), 0)

    def copy_state(self, other: Trust) -> None:
        """Take over the state of another one of the same batch."""
        for name in ("share", "_foreseen", "_explained", "_tried"):
            getattr(self, name)[...] = getattr(other, name)
