"""A scene: a place, a camera that moves over it, things in it, a light and a lens.

Things are sprites that lie in the world; boxes come from what of them is really visible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from pvm_perception.streams.scenes.backgrounds import background
from pvm_perception.streams.scenes.cast import Cast
from pvm_perception.streams.scenes.light import COARSE, Camera, Light, line_kernel, linear
from pvm_perception.streams.scenes.paint import Rng
from pvm_perception.streams.scenes.thing import TURNS_BACK, Thing, mipmap, there_and_back
from pvm_perception.types import Truth
from pvm_perception.vision.motion import unknown_depth, view_motion

MAX_TARGETS = Truth.IN_VIEW
ENLARGED = ((0.13, 0.1), (0.28, 0.55), (np.inf, COARSE))  # how often seen enlarged, up to which size:
# a small target that is sharp, and one that a fovea or a cheap camera enlarged, look different
ROLLING = 0.4  # share of the cameras that read a frame row by row, in most of the time that it has
FAINT = 0.04  # mean difference that a target makes, of the picture's range: where less, nobody could say
OPEN = (0.4, 1.0)  # how long the shutter is where a ball is thrown, of the time of a frame
SOLID = 0.1  # of a target's highest opacity: from there on a pixel of its blur counts as the target's
TURN_SPEED = (0.015, 0.09)  # of a camera on a turning robot, in view heights a frame
RAMP, KEPT = (1, 6), (2, 8)  # frames in which a turning robot comes to another speed, and keeps it
EVERY_CAST = (("green_ball",), ("stop_sign",), ("green_ball", "stop_sign"), ())  # in turn


class Scene(Cast):
    """Everything of one clip; `render` gives a frame.

    Parameters
    ----------
    rng
        Draws everything.
    frames
        Number of frames.
    size
        (rows, cols) of the frames.
    photos
        Photographs (H, W, 3) for places and cut-out things (H, W, 4), uint8; None for none.
    supersample
        Pixels along a side that are rendered for each one of a frame.
    cast
        Names of the targets in it, each of which comes once or twice; None draws them.
    calm
        Factor of the camera's motion; 0 keeps it still but for turns.
    sizes
        (least, most) height of the targets as a share of the frame's height; None draws the usual ones.
    hardest
        The most that the scene may be hard, 0..1: light, blur and noise.
    turns
        Probability that the camera turns steadily, as on a robot that turns in place.
    stops
        Probability that a camera that turns does so by stops and starts.
    throws
        Probability that a ball is thrown so fast that it is a streak.
    """

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
        stops: float = 0.5,
        throws: float = 0.0,
    ) -> None:
        self.sizes, self.throws = sizes, throws
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
        own, self.thrower, driver = rng.spawn(3)  # all else in the scene stays as it would be without
        self.opened, self.has_throw = self.thrower.uniform(*OPEN), False
        self.depth, self.turned = unknown_depth(own), np.zeros((frames + 1, 2))
        self.span = own.uniform(*TURNS_BACK)
        if own.random() < turns:
            self.pan = np.array([own.choice([-1, 1]), own.normal(0, 0.1)]) * own.uniform(*TURN_SPEED)
            if driver.random() < stops:
                self.pan, self.turned = np.zeros(2), stop_and_go(driver, frames + 1)
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
        shutter = rng.choice([0.0, rng.uniform(0.1, 0.9)])
        self.shutter = self.opened if self.has_throw else shutter
        self.rolling = own.uniform(0.2, 1.0) if own.random() < ROLLING else 0.0

    def _background(self, rows: int, cols: int, photos: Sequence[np.ndarray]) -> np.ndarray:
        """Return the place, (rows, cols, 3) uint8."""
        return background(self.rng, rows, cols, photos)

    def _view(self, k: float) -> np.ndarray:
        """Return the 2 x 3 matrix from view units to render pixels at `k` from the middle."""
        index = int(np.clip(round(k + self.frames / 2), 0, self.frames))
        k = there_and_back(k, self.span)
        shift = -(self.pan * k) + self.jitter[index] - self.turned[index]
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
        k, light = index - self.frames / 2, self.light.at_frame(index)
        bright = float(light.mean()) ** 0.5
        view, before = self._view(k), self._view(k - 1)
        moved = view[:, 2] - before[:, 2]
        canvas = self._draw_place(self._read_out(moved) @ np.vstack([view, [0, 0, 1]]), moved * self.shutter)
        seen: list[tuple[Thing, np.ndarray, int, int, float, float]] = []
        for thing in self.things:
            behind = canvas.copy() if self.throws and thing.target >= 0 else None
            part = self._draw_thing(canvas, thing, k, view, before, seen)
            if part is None:
                continue
            if behind is not None and bright * _difference(canvas, behind, *part[1:4]) < FAINT:
                part = (dataclasses.replace(thing, weight=0.0), *part[1:])
            seen.append(part)
        picture = (
            canvas if self.scale == 1 else cv2.resize(canvas, self.size[::-1], interpolation=cv2.INTER_AREA)
        )
        return self.camera.develop(picture, light), self._truth(seen)

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
        mixed: np.ndarray = roi * (1 - alpha)
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


def stop_and_go(rng: Rng, frames: int) -> np.ndarray:
    """Return where a camera looks whose robot turns, stops, and turns on, (frames, 2) view heights.

    A robot keeps a speed for a while and takes a few frames to come to the next one, as its limits of
    acceleration have it.

    Parameters
    ----------
    rng
        Draws speeds and times.
    frames
        Number of frames.
    """
    speeds = [rng.uniform(*TURN_SPEED) * rng.choice([-1, 1])]
    while len(speeds) < frames:
        now = speeds[-1]
        goal = 0.0 if now else rng.uniform(*TURN_SPEED) * rng.choice([-1, 1])
        ramp = np.linspace(now, goal, int(rng.integers(*RAMP)) + 1)[1:]
        speeds += [*ramp, *[goal] * int(rng.integers(*KEPT))]
    way = np.cumsum(speeds[:frames])
    slope = rng.normal(0, 0.1)
    return np.outer(way - way[frames // 2], [1, slope])


def _difference(canvas: np.ndarray, behind: np.ndarray, mask: np.ndarray, left: int, top: int) -> float:
    """Return how much a thing of opacity `mask` (h, w) changes a picture (rows, cols, 3) in linear light."""
    if not mask.size:
        return np.inf
    here = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
    now, before = (np.sqrt(np.maximum(picture[here], 0)) for picture in (canvas, behind))
    change = np.abs(now - before).max(axis=2)  # (h, w)
    return float((change * mask).sum() / max(mask.sum(), 1e-6))
