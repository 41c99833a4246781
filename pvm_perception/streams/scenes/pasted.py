"""Scenes of real parts: targets cut out of labelled stills, thrown and laid onto real clips and photographs.

Light, blur and truth are those of every `Scene`. What is pasted is as much lighter or darker as the place
is than the picture that it was cut from. Half of the balls are recoloured, green or otherwise, and many are
thrown, so fast that they are streaks; those that are no target just as often.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.light import linear
from pvm_perception.streams.scenes.paint import Rng, drawn
from pvm_perception.streams.scenes.real_targets import Cutting, greenness, hue_of, recoloured, tinted
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.streams.scenes.thing import Thing
from pvm_perception.types import TARGETS, Truth

SIZES = (  # as in `scene`; a window shows balls of 8 to 30 px of a frame of 640 x 480 as the first
    ((0.06, 0.25), 0.5),
    ((0.045, 0.1), 0.25),
    ((0.1, 0.6), 0.25),
)
RECOLOURED = 0.5  # share of the balls
THROWN = 0.5  # share of the balls
OTHERS = 0.6  # balls that are no target, for each that is
GAIN = (0.35, 2.5)  # how much lighter what is pasted may become
CALM = 0.4  # how much the virtual camera moves over a clip that moves by itself


class PastedScene(Scene):
    """A scene of real parts.

    Parameters
    ----------
    rng, frames, size, photos, turns
        As for `Scene`.
    cuttings
        From `real_targets.cut_out`.
    images
        (frames, H, W, 3) uint8, a clip to lay them on; None takes photographs, or paints.
    known
        Whether it is known that the clip itself holds no target.
    """

    def __init__(
        self,
        rng: Rng,
        frames: int,
        size: tuple[int, int],
        photos: Sequence[np.ndarray] | None,
        turns: float = 0.0,
        *,
        cuttings: Sequence[Cutting],
        images: np.ndarray | None = None,
        known: bool = True,
    ) -> None:
        self.cuttings, self.images, self.known = cuttings, images, known
        super().__init__(
            rng,
            frames,
            size,
            photos,
            calm=1.0 if images is None else CALM,
            turns=turns if images is None else 0.0,
            throws=THROWN,
        )
        self.shutter = self.opened

    def _background(self, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
        if self.images is None:
            place = background(self.rng, rows, cols, photos, real=True)
        else:
            high, wide = self.images.shape[1:3]
            share = self.rng.uniform(0.7, 1.0) * min(high / rows, wide / cols)  # of a clip's pixel for each
            h, w = int(rows * share), int(cols * share)
            y, x = int(self.rng.integers(high - h + 1)), int(self.rng.integers(wide - w + 1))
            self.images = self.images[:, y : y + h, x : x + w]
            self.whole = (cols, rows)
            place = self._frame(0)
        self.level = float(linear(cv2.resize(place, (64, 64), interpolation=cv2.INTER_AREA)).mean())
        return place

    def _frame(self, index: int) -> np.ndarray:
        """Return the place at a frame of the clip, (rows, cols, 3) uint8."""
        assert self.images is not None  # of a scene on a clip
        return cv2.resize(np.ascontiguousarray(self.images[index]), self.whole)

    def _draw(self, name: str) -> Cutting | None:
        """Draw one of the cuttings of a name; None where there is none."""
        some = [c for c in self.cuttings if c.target == name]
        return some[int(self.rng.integers(len(some)))] if some else None

    def _lit(self, cutting: Cutting, sprite: np.ndarray) -> np.ndarray:
        """Return a sprite as light as the place, more or less."""
        rng = self.rng
        gain = (max(self.level, 0.01) / max(cutting.level, 0.01)) ** rng.uniform(0.3, 1.0)
        gain = np.clip(gain * np.exp(rng.normal(0, 0.2)), *GAIN) ** 0.5
        sprite = tinted(rng, sprite)
        return np.concatenate(
            [np.minimum(sprite[..., :3] * np.float32(gain), sprite[..., 3:]), sprite[..., 3:]], axis=2
        )

    def _size(self) -> float:
        low, high = drawn(self.rng, SIZES)
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def _target(self, name: str) -> list[Thing]:
        cutting = self._draw(name)
        if cutting is None:
            return super()._target(name)
        if name == "green_ball":
            return self._real_ball(cutting, True)
        sprite, target = self._lit(cutting, cutting.sprite), TARGETS.index(name)
        return self._sign(sprite, self._size(), sprite.shape[0], target)

    def _decoy(self) -> list[Thing]:
        balls = [c for c in self.cuttings if c.target.endswith("ball")]
        if not balls or self.rng.random() > OTHERS / 2:  # of some two decoys a scene
            return super()._decoy()
        return self._real_ball(balls[int(self.rng.integers(len(balls)))], False)

    def _real_ball(self, cutting: Cutting, is_green: bool) -> list[Thing]:
        """Return a real ball, as it is or in another colour, and how green that colour is."""
        sprite = cutting.sprite
        if self.rng.random() < RECOLOURED or (cutting.target == "green_ball" and not is_green):
            sprite = recoloured(self.rng, sprite, is_green)
        weight, target = greenness(hue_of(sprite)), TARGETS.index("green_ball")
        if is_green:
            weight = weight or 0.0  # labelled green in a light that does not come along
        elif weight is None:
            target, weight = -1, 1.0
        else:
            weight = 0.0  # labelled as another ball, and as green as that
        parts = self._ball(self._lit(cutting, sprite), self._size(), target)
        return [dataclasses.replace(thing, weight=weight) for thing in parts]

    def render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frame `index`: picture (H, W, 3) uint8 and truth (M, Truth.COLUMNS)."""
        if self.images is not None:
            self.place = self._frame(index)
        picture, truth = super().render(index)
        if not self.known:
            truth = np.concatenate([truth, Truth.unknown(self.size)])
        return picture, truth
