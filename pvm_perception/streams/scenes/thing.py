"""Things in a scene: sprites that lie in the world, and how they move."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np

TURNS_BACK = (10.0, 60.0)  # frames in which what moves turns back, over pi


def there_and_back(k: float, span: float) -> float:
    """Return how far something has gone that turns back again and again.

    About `k` near the middle of a clip; a clip may be long, and what only went on would be gone.

    Parameters
    ----------
    k
        Frames since the middle of the clip, below 0 before it.
    span
        The farthest that it goes, in frames of straight motion.
    """
    return span * np.sin(k / span)


@dataclass
class Thing:
    """A sprite on its way: place and height in view units (1 = the view's height) at frame k."""

    sprite: np.ndarray
    place: np.ndarray  # (2,) x, y at the middle of the clip, origin at the view's centre
    size: float
    velocity: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    fall: float = 0.0  # acceleration down
    growth: float = 0.0  # log size per frame
    spin: float = 0.0
    roll: float = 0.0
    floor: float | None = None  # where it bounces
    target: int = -1
    weight: float = 1.0  # as in `types.Box`
    span: float = 30.0  # see `there_and_back`

    def pose(self, k: float) -> tuple[np.ndarray, float, float]:
        """Return (place, size, roll) at `k` frames from the middle of the clip."""
        k = there_and_back(k, self.span)
        size = self.size * np.exp(self.growth * k)
        place = self.place * np.exp(0.6 * self.growth * k) + self.velocity * k
        place = place + np.array([0.0, 0.5 * self.fall * k * k])
        if self.floor is not None and place[1] > self.floor:
            place[1] = self.floor - 0.7 * (place[1] - self.floor)
        return place, size, self.roll + self.spin * k


def mipmap(sprite: np.ndarray, height: float) -> tuple[np.ndarray, float]:
    """Return a sprite, halved until warping it to its size in the picture skips no pixels.

    Parameters
    ----------
    sprite
        (S, S', 4).
    height
        How high it is drawn, pixels.

    Returns
    -------
    sprite, scale
        The halved sprite, and `height` over its rows.
    """
    while sprite.shape[0] > 2 * height and min(sprite.shape[:2]) > 3:
        sprite = cv2.resize(
            sprite, (max(2, sprite.shape[1] // 2), max(2, sprite.shape[0] // 2)), interpolation=cv2.INTER_AREA
        )
    return sprite, height / sprite.shape[0]
