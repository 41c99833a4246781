"""Scenes with one and the same thing in them, for what has to know it again."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pvm_perception.streams.scenes import signs
from pvm_perception.streams.scenes.paint import Rng
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.streams.scenes.thing import Thing

PIXELS = 96  # of its sprite
STRETCH, LEAN = 0.12, 0.2  # spread of a varied thing's log aspect, and of its roll, radians


class OneThing(Scene):
    """A scene in which one and the same thing is the target.

    Attributes
    ----------
    painter : paints its sprite, as those of `distractors.LOOK_ALIKES`
    seed : of the very thing
    varies : whether it is stretched and leans a little, otherwise in each scene
    mirrors : whether it is mirrored, too, in half of them
    """

    painter: Callable[[Rng, int], np.ndarray]
    seed: int
    varies = False
    mirrors = False

    def _target(self, _name: str) -> list[Thing]:
        low, high = self.sizes or (0.1, 0.5)
        size = float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        thing = self._thing(self.painter(np.random.default_rng(self.seed), PIXELS), size)
        thing.target, thing.roll, thing.spin = 0, 0.0, 0.0
        if self.rng.random() < 0.5:
            thing.velocity = self.rng.normal(0, 0.03, 2) * [1, 0.5] * self.calm
        if self.varies:
            if self.mirrors and self.rng.random() < 0.5:
                thing.sprite = np.ascontiguousarray(thing.sprite[:, ::-1])
            rows, cols = thing.sprite.shape[:2]
            wide = max(3, round(cols * float(np.exp(self.rng.normal(0, STRETCH)))))
            thing.sprite, thing.roll = cv2.resize(thing.sprite, (wide, rows)), float(self.rng.normal(0, LEAN))
        return self._grounded(thing, size) if self.rng.random() < 0.5 else [thing]

    def _sign(self, sprite: np.ndarray, size: float, texture: int, target: int) -> list[Thing]:
        """Return a sign; none where the thing is one: another of its kind would be the thing."""
        return [] if self.painter is signs.other_sign else super()._sign(sprite, size, texture, target)

    def _stranger(self, table: tuple, pixels: int) -> np.ndarray:
        return super()._stranger(tuple(row for row in table if row[0] is not self.painter), pixels)


def one_thing(painter: Callable[[Rng, int], np.ndarray], seed: int, **attributes: bool) -> type[OneThing]:
    """Return the kind of scene that holds a thing.

    Parameters
    ----------
    painter, seed
        Of the thing.
    **attributes
        `varies`, `mirrors`; see `OneThing`.
    """
    return type("Painted", (OneThing,), {"painter": staticmethod(painter), "seed": seed, **attributes})
