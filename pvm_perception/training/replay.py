"""Hard moments once more: the clips that a network did worst on come back among the new ones."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np

from pvm_perception.streams.generated import Clip

KEPT = 128  # clips that wait to be seen again
TIMES = 3  # that a clip comes back at the most: what stays hard so long may have nothing to see


class Replay:
    """Holds the hardest of the clips seen, and gives them out again.

    Parameters
    ----------
    share
        Of the clips given out, how many are old ones; 0 to 1.
    rng
        Draws when, and which.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.share, self.rng = share, rng
        self._order = count()  # breaks ties, so that clips are never compared
        self._hardest: list[tuple[float, int, int, Clip]] = []  # a heap; the easiest comes first

    def __len__(self) -> int:
        return len(self._hardest)

    def judge(self, clip: Clip, error: float, seen: int) -> None:
        """Take a clip that was learnt from, and keep it where it is among the hardest.

        Parameters
        ----------
        clip
            The clip.
        error
            Its mean error the last time; one that is not finite is not kept.
        seen
            How often it was seen by now.
        """
        if not self.share or seen > TIMES or not np.isfinite(error):
            return
        entry = (error, next(self._order), seen, clip)
        if len(self._hardest) < KEPT:
            heapq.heappush(self._hardest, entry)
        else:
            heapq.heappushpop(self._hardest, entry)

    def draw(self) -> tuple[Clip, int] | None:
        """Return a hard clip and how often it was seen, or None when it is a new one's turn."""
        if len(self._hardest) < KEPT or self.rng.random() >= self.share:
            return None
        _, _, seen, clip = self._hardest.pop(int(self.rng.integers(len(self._hardest))))
        heapq.heapify(self._hardest)
        return clip, seen
