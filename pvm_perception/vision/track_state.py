"""A track on its way, and what the camera's own motion does to the places where tracks are.

Places and boxes are in px of the image, times in usual frame periods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pvm_perception.core.backend import Floats
from pvm_perception.types import Detection

REACH = (1.0, 1.5)  # largest distance of a detection that belongs to a track: one at rest; a fast or new one
FAST = 0.5  # speed of a fast one, in sides of its box per frame
REACH_GROWTH = 0.4  # what each frame without a detection adds to the reach


@dataclass(frozen=True)
class Belief:
    """A track as it is followed, reported or not.

    Attributes
    ----------
    target, id : its own
    evidence : running mean of the detections' scores
    gap : frames without a detection
    born : whether it is reported, unless a gap or too little evidence hides it
    """

    target: str
    id: int
    evidence: float
    gap: float
    born: bool


@dataclass
class Followed:
    """A track on its way.

    Attributes
    ----------
    box, speed : centre x, centre y, log w, log h; and how they change per frame, against the background
        where the camera's own motion is known
    score : its evidence
    gap, born : as of `Belief`
    proven : whether its evidence ever reached `PROVEN`
    known : whether it was ever reported, under this id
    seen : detections so far
    """

    id: int
    target: str
    box: list[float]
    speed: list[float]
    score: float
    gap: float = 0.0
    born: bool = False
    proven: bool = False
    known: bool = False
    seen: int = 1

    def reach(self, turn: tuple[float, float]) -> float:
        """Return how far from where it is expected a detection may be, in sides of the boxes.

        Parameters
        ----------
        turn
            px right and down per frame by which the background moves there.
        """
        px = math.hypot(self.speed[0] + turn[0], self.speed[1] + turn[1])
        speed = px / math.exp((self.box[2] + self.box[3]) / 2)
        fast = min(speed / FAST, 1.0) if self.seen > 1 else 1.0  # the speed of a new one is not known yet
        return REACH[0] + (REACH[1] - REACH[0]) * fast + REACH_GROWTH * self.gap

    def ahead(self, dt: float, turn: tuple[float, float]) -> list[float]:
        """Return the box as it is expected later.

        Parameters
        ----------
        dt
            Frames.
        turn
            As for `reach`.
        """
        return [b + (s + t) * dt for b, s, t in zip(self.box, self.speed, (*turn, 0.0, 0.0), strict=True)]


def encoded(d: Detection) -> list[float]:
    """Return a detection as `Followed.box`: centre x, centre y, log w, log h."""
    return [d.x + d.w / 2, d.y + d.h / 2, math.log(max(d.w, 0.5)), math.log(max(d.h, 0.5))]


class CameraTurn:
    """What the camera's own motion does to each place of an image.

    Its growth is left out: it depends on how far away a thing is.

    Parameters
    ----------
    motion
        Shift right and down as shares of the image's width and height, roll and growth, as `vision.motion`
        defines them; None where it is not known.
    periods
        In which time the camera moves so.
    """

    def __init__(self, motion: Sequence[float] | Floats | None = None, periods: float = 1.0) -> None:
        self.known = motion is not None and periods > 0
        rates = [0.0] * 3 if motion is None or periods <= 0 else [float(v) / periods for v in motion[:3]]
        self._right, self._down, self._roll = rates

    def at(self, x: float, y: float, size: tuple[int, int] | None) -> tuple[float, float]:
        """Return by how many px right and down per frame what is at x, y moves.

        Parameters
        ----------
        x, y
            A place in the image.
        size
            (rows, cols) of the image; None where there was none yet.
        """
        if size is None:
            return 0.0, 0.0
        rows, cols = size
        right = self._right * cols - self._roll * (y - rows / 2)
        return right, self._down * rows + self._roll * (x - cols / 2)
