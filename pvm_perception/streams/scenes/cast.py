"""What stands in a scene, and how it moves: targets, decoys, and what hides them, drawn at random."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pvm_perception.streams.scenes import balls, distractors, signs
from pvm_perception.streams.scenes.paint import Rng, any_colour, drawn
from pvm_perception.streams.scenes.thing import TURNS_BACK, Thing
from pvm_perception.types import TARGETS

SIZES = (  # a target's height as a share of the frame's, least and largest, and how often
    ((0.1, 0.6), 0.4),  # as the fovea brings it
    ((0.047, 0.15), 0.35),  # as the whole frame shows what is far away: the fovea needs a hint of it
    ((0.045, 0.85), 0.25),
)
STREAKS = (  # how far a thrown ball moves while the shutter is open, over its diameter, and how often
    ((0.2, 1.2), 0.6),
    ((1.2, 4.0), 0.4),
)
LONGEST_STREAK = 0.6  # of the frame's height
WALL_SHADOWS = 0.3  # of thrown balls cast their shadow on what is behind them
CAST = ((("green_ball",), 0.4), (("stop_sign",), 0.38), (("green_ball", "stop_sign"), 0.08), ((), 0.14))


class Cast:
    """Draws the things of a scene; `scene.Scene` adds the place, the camera and the light.

    Attributes
    ----------
    rng : draws everything
    rows, cols : of the picture as drawn, pixels
    calm : how much things move, 1 = as usual
    hard : how hard the scene is to see, 0..1
    sizes : a target's least and largest height as a share of the frame's; None draws one of `SIZES`
    cutouts : pictures (h, w, 4) uint8 of real things that are no target
    throws : probability that a ball is thrown so fast that it is a streak
    thrower : draws those throws
    opened : how long the shutter is open where one is thrown, of the time of a frame
    has_throw : whether one is
    things : back to front
    """

    rng: Rng
    rows: int
    cols: int
    calm: float
    hard: float
    sizes: tuple[float, float] | None
    cutouts: list[np.ndarray]
    throws: float
    thrower: Rng
    opened: float
    has_throw: bool
    things: list[Thing]

    def _populate(self, cast: tuple[str, ...] | None) -> None:
        rng = self.rng
        if cast is None:
            cast = drawn(rng, CAST)
        behind, front = [], []
        crowd = rng.choice([0.0, 2.2, 7.0], p=[0.15, 0.65, 0.2])
        for _ in range(int(rng.poisson(crowd))):
            behind += self._decoy()
        for name in cast:
            for _ in range(2 if rng.random() < 0.07 else 1):
                behind += self._target(name)
        for _ in range(int(rng.poisson(0.8))):  # most of what hides something hides no target
            off = rng.normal(0, 0.3, 2) * 0.2
            thing = self._thing(
                self._stranger(distractors.OCCLUDERS, 64),
                float(np.exp(rng.uniform(np.log(0.06), np.log(0.6)))),
            )
            decoys = [t for t in behind if t.target < 0]
            if decoys and rng.random() < 0.6:
                thing.place = decoys[int(rng.integers(len(decoys)))].place + off
            front.append(thing)
        if len(cast) and rng.random() < 0.22:
            of = [t for t in behind if t.target >= 0]
            hidden = of[int(rng.integers(len(of)))]
            sprite = self._stranger(distractors.OCCLUDERS, 64)
            size = hidden.size * rng.uniform(0.5, 2.5)
            off = rng.normal(0, 0.5, 2) * hidden.size
            front.append(
                dataclasses.replace(
                    hidden,
                    sprite=sprite,
                    size=size,
                    place=hidden.place + off,
                    target=-1,
                    velocity=hidden.velocity * rng.choice([0.0, 1.0]) + rng.normal(0, 0.01, 2),
                    roll=0.0,
                    spin=0.0,
                )
            )
        if rng.random() < 0.08:
            front.append(self._thing(self._stranger(distractors.OCCLUDERS, 96), rng.uniform(0.3, 1.2)))
        order = rng.permutation(len(behind)) if rng.random() < 0.25 else np.arange(len(behind))
        self.things = [behind[k] for k in order] + front
        if rng.random() < 0.35 * self.hard**0.5:  # seen against the light: things are darker than their place
            shade = np.array([*[rng.uniform(0.25, 0.8)] * 3, 1], np.float32)
            for thing in self.things:
                thing.sprite = thing.sprite * shade
        for thing in self.things:
            bgr, alpha = thing.sprite[..., :3], thing.sprite[..., 3:]
            thing.sprite = np.concatenate([bgr * bgr / np.maximum(alpha, 1e-3), alpha], axis=2)

    def _stranger(self, table: tuple, pixels: int) -> np.ndarray:
        """Return the sprite of something that is no target: painted, or of a real picture."""
        rng = self.rng
        if self.cutouts and rng.random() < 0.45:
            picture = self.cutouts[int(rng.integers(len(self.cutouts)))]
            return distractors.cutout(rng, picture, pixels)
        return distractors.pick(rng, table, pixels)

    def _thing(self, sprite: np.ndarray, size: float) -> Thing:
        rng = self.rng
        aspect = self.cols / self.rows
        place = rng.uniform(-0.55, 0.55, 2) * [aspect, 1.0]
        velocity = rng.normal(0, 0.02, 2) if rng.random() < 0.3 else np.zeros(2)
        return Thing(
            sprite,
            place,
            size,
            velocity * self.calm,
            growth=float(rng.normal(0, 0.01)) * self.calm,
            roll=float(rng.normal(0, 0.1)),
            span=rng.uniform(*TURNS_BACK),
        )

    def _decoy(self) -> list[Thing]:
        """Return something that is no target, with what belongs to it, back to front.

        Whatever comes with a target (a pole, plates, a shadow, a throw) comes with decoys as
        often: else it, and not the target, is what a network learns.
        """
        rng = self.rng
        size = float(np.exp(rng.uniform(np.log(0.04), np.log(0.7))))
        pixels, kind = int(rng.choice([48, 64, 96])), rng.random()
        if kind < 0.2:
            return self._sign(signs.other_sign(rng, pixels), size, pixels, -1)
        if kind < 0.36:
            return self._ball(balls.other_ball(rng, pixels), size, -1)
        thing = self._thing(self._stranger(distractors.LOOK_ALIKES, pixels), size)
        return self._grounded(thing, size) if rng.random() < 0.3 else [thing]

    def _target(self, name: str) -> list[Thing]:
        """Return a target with what belongs to it, back to front."""
        rng = self.rng
        low, high = self.sizes or drawn(rng, SIZES)
        size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        texture = 48 if size < 0.12 else 96 if size < 0.35 else 160
        index = TARGETS.index(name)
        if name == "green_ball":
            return self._ball(balls.ball(rng, True, texture), size, index)
        return self._sign(signs.stop_sign(rng, texture), size, texture, index)

    def _ball(self, sprite: np.ndarray, size: float, target: int) -> list[Thing]:
        """Return a ball that lies, rolls, flies or bounces, over its shadow."""
        rng = self.rng
        thing = self._thing(sprite, size)
        thing.target = target
        thing.roll, thing.spin = float(rng.uniform(0, 6.3)), 0.0
        way = rng.random()
        if way < 0.4:  # thrown, kicked, rolled
            thing.velocity = rng.normal(0, 0.045, 2) * [1, 0.5] * self.calm
        if way < 0.15:
            thing.fall = float(rng.uniform(0.002, 0.012)) * self.calm
            thing.floor = float(thing.place[1] + rng.uniform(0.05, 0.4))
        parts = self._grounded(thing, size) if rng.random() < 0.55 else [thing]
        return self._thrown(parts, size) if self.thrower.random() < self.throws else parts

    def _thrown(self, parts: list[Thing], size: float) -> list[Thing]:
        """Return a ball and its shadow on a flight that is a streak in each frame."""
        rng = self.thrower
        self.has_throw = True
        if rng.random() < WALL_SHADOWS:  # round, and as fast as the ball: no target for all that
            away = rng.uniform(0, 2 * np.pi)
            off = size * rng.uniform(0.6, 4.0) * np.array([np.cos(away), np.sin(away)])
            shade, ball = _shadow(rng, tall=(14, 20)), parts[-1]
            parts = [self._beside(ball, shade, size * rng.uniform(1.0, 1.4), off), ball]
        streak = min(size * rng.uniform(*drawn(rng, STREAKS)), LONGEST_STREAK)
        heading = rng.uniform(0, 2 * np.pi)
        velocity = streak / self.opened * np.array([np.cos(heading), np.sin(heading)])
        fall, span = float(rng.uniform(0, 0.012)), rng.uniform(3.0, 15.0)
        return [
            dataclasses.replace(thing, velocity=velocity, floor=None, fall=fall, span=span) for thing in parts
        ]

    def _grounded(self, thing: Thing, size: float) -> list[Thing]:
        """Return a thing over its shadow on the ground."""
        rng = self.rng
        shade = _shadow(rng, tall=(4, 12))
        off = np.array([rng.normal(0, 0.3), rng.uniform(0.35, 0.6)]) * size
        return [self._beside(thing, shade, size * rng.uniform(1.0, 1.6), off), thing]

    @staticmethod
    def _beside(thing: Thing, sprite: np.ndarray, size: float, off: np.ndarray) -> Thing:
        """Return something that is no target and goes along with a thing, at an offset from it."""
        return dataclasses.replace(
            thing, sprite=sprite, target=-1, roll=0.0, size=size, place=thing.place + off
        )

    def _sign(self, sprite: np.ndarray, size: float, texture: int, target: int) -> list[Thing]:
        """Return a sign, mostly on a pole and now and then among other signs."""
        rng = self.rng
        thing = self._thing(sprite, size)
        thing.target, thing.velocity = target, thing.velocity * 0.3
        thing.roll = 0.0 if rng.random() < 0.8 else thing.roll
        thing.growth = float(rng.normal(0.004, 0.012)) * self.calm
        parts = [thing]
        if rng.random() < 0.75:  # its pole, in front of nothing but the place
            pole = np.zeros((128, 8, 4), np.float32)
            colour = any_colour(rng) * 0.3 + np.float32(rng.uniform(0.1, 0.6))
            pole[:] = [*np.clip(colour, 0, 1), 1.0]
            pole[:, :3, :3] *= rng.uniform(0.5, 0.9)
            height = rng.uniform(2, 5) * size
            stem = dataclasses.replace(
                thing,
                sprite=pole,
                target=-1,
                size=height,
                roll=0.0,
                place=thing.place + [0, height / 2 - size * 0.3],
            )
            thick = int(rng.integers(4, 12))
            stem.sprite = cv2.resize(pole, (max(2, int(128 / (height / size) * thick / 100)), 128))
            parts.insert(0, stem)
        for side in (-1, 1):  # other signs on the same pole
            if rng.random() < 0.2:
                plate = size * rng.uniform(0.35, 1.0)
                off = np.array([0, side * (size + plate) * 0.52])
                parts.append(
                    dataclasses.replace(
                        thing,
                        sprite=signs.other_sign(rng, max(48, texture)),
                        target=-1,
                        size=plate,
                        place=thing.place + off,
                    )
                )
        return parts


def _shadow(rng: Rng, tall: tuple[float, float]) -> np.ndarray:
    """Return a soft ellipse of shade, (48, 48, 4) float32, 20 pixels to either side, so many up and down."""
    shade: np.ndarray = np.zeros((48, 48, 4), np.float32)
    radii = (20, int(rng.uniform(*tall)))
    cv2.ellipse(shade, (24, 24), radii, 0, 0, 360, [0, 0, 0, rng.uniform(0.5, 0.95)], -1, cv2.LINE_AA)
    return cv2.GaussianBlur(shade, (0, 0), rng.uniform(0.5, 3))
