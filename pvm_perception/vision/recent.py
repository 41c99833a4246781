"""The last seconds of a stream, bounded in memory: to be shown a target in them, or to explain them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pvm_perception.core.backend import Images
from pvm_perception.types import Track

SPAN = 10.0  # s that are remembered
FRESH = 1.0  # s of which every frame is kept
STEP = 0.25  # s between the frames that are kept of the time before
MOST_BYTES = 96 << 20  # of all pictures; the newest is kept however large it is
SAME = 0.15  # s between a stamp and that of the frame that is taken for it


@dataclass(frozen=True)
class Moment:
    """A frame and what was made of it.

    Attributes
    ----------
    arrived : seconds on a steady clock
    stamp : of the frame, seconds; 0 where it had none
    image : (H, W, 3) uint8, BGR
    tracks : what was reported
    """

    arrived: float
    stamp: float
    image: Images
    tracks: tuple[Track, ...]


class Recent:
    """A ring of the last moments, which any thread may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: list[Moment] = []

    def keep(self, arrived: float, stamp: float, image: Images, tracks: Sequence[Track]) -> None:
        """Remember a frame; its image is copied.

        Parameters
        ----------
        arrived
            When it came, seconds on the node's clock.
        stamp
            The image's, seconds; 0 = it has none.
        image
            (H, W, 3) uint8, BGR.
        tracks
            What was found in it.
        """
        moment = Moment(arrived, stamp, image.copy(), tuple(tracks))
        with self._lock:
            kept: list[Moment] = []
            for old in self._moments:
                age = arrived - old.arrived
                if age <= FRESH or (age <= SPAN and (not kept or old.arrived - kept[-1].arrived >= STEP)):
                    kept.append(old)
            kept.append(moment)
            total = sum(m.image.nbytes for m in kept)
            while total > MOST_BYTES and len(kept) > 1:
                total -= kept.pop(0).image.nbytes
            self._moments = kept

    def moments(self) -> list[Moment]:
        """Return what is remembered, oldest first."""
        with self._lock:
            return list(self._moments)

    def at(self, stamp: float) -> Moment | None:
        """Return the moment of a stamp; the newest for 0 or a later stamp; None where there is none."""
        moments = self.moments()
        if not moments:
            return None
        if stamp <= 0 or stamp >= moments[-1].stamp:
            return moments[-1]
        nearest = min(moments, key=lambda m: abs(m.stamp - stamp))
        return nearest if abs(nearest.stamp - stamp) <= SAME else None

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._moments = []
