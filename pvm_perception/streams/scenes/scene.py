"""A scene: a place, a camera that moves over it, things in it, a light and a lens.

Things are sprites that lie in the world; boxes come from what of them is really visible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.streams.scenes import balls, distractors, signs
from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.light import COARSE, Camera, Light, line_kernel, linear
from pvm_perception.streams.scenes.paint import Rng, any_colour, drawn
from pvm_perception.streams.scenes.thing import TURNS_BACK, Thing, mipmap, there_and_back
from pvm_perception.types import TARGETS, Truth
from pvm_perception.vision.motion import unknown_depth, view_motion

MAX_TARGETS = Truth.IN_VIEW
SIZES = (  # a target's height as a share of the frame's, least and largest, and how often
    ((0.1, 0.6), 0.4),  # as the fovea brings it
    ((0.047, 0.15), 0.35),  # as the whole frame shows what is far away: the fovea needs a hint of it
    ((0.045, 0.85), 0.25),
)
ENLARGED = ((0.13, 0.1), (0.28, 0.55), (np.inf, COARSE))  # how often seen enlarged, up to which size:
# a small target that is sharp, and one that a fovea or a cheap camera enlarged, look different
CAST = ((("green_ball",), 0.4), (("stop_sign",), 0.38), (("green_ball", "stop_sign"), 0.08), ((), 0.14))
ROLLING = 0.4  # share of the cameras that read a frame row by row, in most of the time that it has
SOLID = 0.25  # of a target's highest opacity: from there on a pixel of its blur counts as the target's
TURN_SPEED = (0.015, 0.09)  # of a camera on a turning robot, in view heights a frame
EVERY_CAST = (("green_ball",), ("stop_sign",), ("green_ball", "stop_sign"), ())  # in turn


class Scene:
    """Everything of one clip; `render` gives a frame."""

    def __init__(
        self,
        rng: Rng,
        frames: int,
        size: tuple[int, int],
        photos: Sequence[np.ndarray] | None,
        supersample: int = 2,
        cast: tuple[str, ...] | None = None,
        calm: float = 1.0,
        sizes: tuple[float, float] | None = None,
        hardest: float = 1.0,
        turns: float = 0.0,
    ) -> None:
        self.sizes = sizes
        self.rng, self.frames, self.size, self.scale = rng, frames, size, supersample
        self.rows, self.cols = size[0] * supersample, size[1] * supersample
        self.hard = rng.uniform(0, hardest)
        margin = 1.5
        places = [p for p in photos or () if p.shape[2] == 3]
        self.cutouts = [p for p in photos or () if p.shape[2] == 4]
        self.place = self._background(int(self.rows * margin), int(self.cols * margin), places)
        self.calm = calm
        speed = (0.0 if rng.random() < 0.25 else rng.exponential(0.012)) * calm
        heading = rng.uniform(0, 6.3)
        self.pan = speed * np.array([np.cos(heading), np.sin(heading)])
        own = rng.spawn(1)[0]  # all else in the scene stays as it would be without
        self.depth = unknown_depth(own)
        self.span = own.uniform(*TURNS_BACK)
        if own.random() < turns:
            self.pan = np.array([own.choice([-1, 1]), own.normal(0, 0.1)]) * own.uniform(*TURN_SPEED)
        self.zoom_rate = rng.normal(0, 0.006) * (rng.random() < 0.5) * calm
        self.shake = rng.exponential(0.004) * (rng.random() < 0.6) * calm
        self.turn = rng.normal(0, 0.004) * (rng.random() < 0.3) * calm
        self.tilt = rng.normal(0, 0.05)
        jitter = rng.standard_normal((frames + 1, 2)) * self.shake
        self.jitter = cv2.GaussianBlur(jitter, (1, 3), 0) if frames > 2 else jitter
        self.things: list[Thing] = []
        self._populate(cast)
        self.light = Light(rng, *size, self.hard)
        smallest = min((t.size for t in self.things if t.target >= 0), default=1.0)
        self.camera = Camera(rng, self.hard, next(p for size, p in ENLARGED if smallest < size))
        self.shutter = rng.choice([0.0, rng.uniform(0.1, 0.9)])
        self.rolling = own.uniform(0.2, 1.0) if own.random() < ROLLING else 0.0

    def _background(self, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
        """Return the place, (rows, cols, 3) uint8."""
        return background(self.rng, rows, cols, photos)

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
            return self._ball(distractors.other_ball(rng, pixels), size, -1)
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
        return self._grounded(thing, size) if rng.random() < 0.55 else [thing]

    def _grounded(self, thing: Thing, size: float) -> list[Thing]:
        """Return a thing over its shadow on the ground."""
        rng = self.rng
        shade = np.zeros((48, 48, 4), np.float32)
        cv2.ellipse(
            shade,
            (24, 24),
            (20, int(rng.uniform(4, 12))),
            0,
            0,
            360,
            [0, 0, 0, rng.uniform(0.5, 0.95)],
            -1,
            cv2.LINE_AA,
        )
        shade = cv2.GaussianBlur(shade, (0, 0), rng.uniform(0.5, 3))
        off = np.array([rng.normal(0, 0.3), rng.uniform(0.35, 0.6)]) * size
        return [
            dataclasses.replace(
                thing,
                sprite=shade,
                target=-1,
                roll=0.0,
                size=size * rng.uniform(1.0, 1.6),
                place=thing.place + off,
            ),
            thing,
        ]

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

    def _view(self, k: float) -> np.ndarray:
        """Return the 2 x 3 matrix from view units to render pixels at `k` from the middle."""
        index = int(np.clip(round(k + self.frames / 2), 0, self.frames))
        k = there_and_back(k, self.span)
        shift = -(self.pan * k) + self.jitter[index]
        zoom = np.exp(self.zoom_rate * k)
        angle = self.tilt + self.turn * k
        c, s = np.cos(angle) * zoom, np.sin(angle) * zoom
        matrix = np.array([[c, -s, 0], [s, c, 0]]) * self.rows
        matrix[:, 2] = matrix[:, :2] @ shift + [self.cols / 2, self.rows / 2]
        return matrix

    def motion(self, index: int) -> np.ndarray:
        """Return what the camera's motion did to the place since the frame before, (4,) float32.

        As `vision.motion` defines it, for this picture; the growth as a robot could know it.
        """
        if index == 0:
            return np.zeros(4, np.float32)
        k = index - self.frames / 2
        moved = view_motion(self._view(k - 1), self._view(k), (self.rows, self.cols))
        moved[3] *= self.depth
        return moved

    def render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frame `index`: picture (H, W, 3) uint8 and truth (M, Truth.COLUMNS)."""
        k = index - self.frames / 2
        view, before = self._view(k), self._view(k - 1)
        moved = view[:, 2] - before[:, 2]
        canvas = self._draw_place(self._read_out(moved) @ np.vstack([view, [0, 0, 1]]), moved * self.shutter)
        seen: list[tuple[Thing, np.ndarray, int, int, float, float]] = []
        for thing in self.things:
            part = self._draw_thing(canvas, thing, k, view, before, seen)
            if part is not None:
                seen.append(part)
        picture = (
            canvas if self.scale == 1 else cv2.resize(canvas, self.size[::-1], interpolation=cv2.INTER_AREA)
        )
        return self.camera.develop(picture, self.light.at_frame(index)), self._truth(seen)

    def _read_out(self, moved: np.ndarray) -> np.ndarray:
        """Return what reading row by row does to something that moves by (2,) pixels a frame.

        A 2 x 3 matrix from where it is when the middle row is read to where it is seen.
        """
        late = self.rolling / self.rows * moved  # how much further it gets by each row
        return np.array([[1, late[0], -late[0] * self.rows / 2], [0, 1 + late[1], -late[1] * self.rows / 2]])

    def _draw_place(self, view: np.ndarray, smear: np.ndarray) -> np.ndarray:
        """Return the place in linear light (rows, cols, 3), smeared by (2,) pixels."""
        rows, cols = self.place.shape[:2]
        scale = self.scale if np.abs(smear).max() > self.scale else 1  # needs no finer drawing
        lift = np.array(
            [[1 / self.rows, 0, -cols / 2 / self.rows], [0, 1 / self.rows, -rows / 2 / self.rows], [0, 0, 1]]
        )
        size = (self.cols // scale, self.rows // scale)
        picture = linear(
            cv2.warpAffine(
                self.place,
                (view @ lift / scale).astype(np.float32),
                size,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        )
        if np.abs(smear).max() > self.scale:
            picture = cv2.filter2D(picture, -1, line_kernel(*smear / scale), borderType=cv2.BORDER_REPLICATE)
        return picture if scale == 1 else cv2.resize(picture, (self.cols, self.rows))

    def _draw_thing(
        self, canvas: np.ndarray, thing: Thing, k: float, view: np.ndarray, before: np.ndarray, seen: list
    ) -> tuple | None:
        """Composite one thing; shrink what is visible of the things before it."""
        place, size, roll = thing.pose(k)
        last, _, _ = thing.pose(k - 1)
        at = view[:, :2] @ place + view[:, 2]
        moved = at - (before[:, :2] @ last + before[:, 2])
        smear, read = moved * self.shutter, self._read_out(moved)
        at = read[:, :2] @ at + read[:, 2]
        sprite, zoom = mipmap(
            thing.sprite, size * self.rows * float(np.hypot(view[0, 0], view[1, 0])) / self.rows
        )
        h, w = sprite.shape[:2]
        base = np.arctan2(view[1, 0], view[0, 0]) + roll
        c, s = np.cos(base) * zoom, np.sin(base) * zoom
        turned = read[:, :2] @ np.array([[c, -s], [s, c]])
        reach = np.abs(turned) @ np.array([w, h]) / 2 + abs(smear) / 2 + 2
        low = np.floor(at - reach).astype(int)
        high = np.ceil(at + reach).astype(int)
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, [self.cols, self.rows])
        area = (
            float(thing.sprite[..., 3].sum())
            * (size * self.rows * np.hypot(view[0, 0], view[1, 0]) / self.rows / thing.sprite.shape[0]) ** 2
        )
        if x1 - x0 < 1 or y1 - y0 < 1 or max(x1 - x0, y1 - y0) < 2:
            return (thing, np.zeros((0, 0)), 0, 0, area, 1.0) if thing.target >= 0 else None
        corner = at - [x0, y0] - turned @ np.array([w, h]) / 2
        matrix = np.column_stack([turned, corner]).astype(np.float32)
        part = cv2.warpAffine(
            sprite,
            matrix,
            (int(x1 - x0), int(y1 - y0)),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )
        if max(abs(smear)) > 1.5:
            part = cv2.filter2D(part, -1, line_kernel(*smear), borderType=cv2.BORDER_CONSTANT)
        roi = canvas[y0:y1, x0:x1]
        alpha = part[..., 3:]
        mixed = roi * (1 - alpha)
        mixed += part[..., :3]
        np.minimum(mixed, 1, out=mixed)
        roi[...] = mixed
        for _, mask, left, top, *_ in seen:
            if not mask.size:
                continue
            a0, b0 = max(x0, left), max(y0, top)
            a1, b1 = min(x1, left + mask.shape[1]), min(y1, top + mask.shape[0])
            if a1 > a0 and b1 > b0:
                mask[b0 - top : b1 - top, a0 - left : a1 - left] *= (
                    1 - alpha[b0 - y0 : b1 - y0, a0 - x0 : a1 - x0, 0]
                )
        if thing.target < 0:
            return None
        return thing, alpha[..., 0].copy(), int(x0), int(y0), area, float(alpha.max())

    def _truth(self, seen: list) -> np.ndarray:
        rows = np.full((MAX_TARGETS, Truth.COLUMNS), Truth.NONE, np.float32)
        for n, (thing, mask, left, top, area, peak) in enumerate(seen[:MAX_TARGETS]):
            rows[n] = [thing.target, 0, 0, 0, 0, 0, thing.weight]
            solid = mask > SOLID * peak  # a streak is nowhere opaque
            if not mask.size or not solid.any():
                rows[n, Truth.TARGET] = Truth.NONE
                continue
            r, c = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
            box = np.array([left + c[0], top + r[0], c[-1] - c[0] + 1, r[-1] - r[0] + 1])
            rows[n, Truth.BOX] = box / self.scale
            rows[n, Truth.VISIBLE] = min(float(mask.sum()) / max(area, 1e-6), 1.0)
        return rows
