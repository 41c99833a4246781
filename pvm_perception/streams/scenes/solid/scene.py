"""A solid scene: a place in three dimensions through which a robot's camera drives.

What hides what, what is seen from the side, and how near things pass far ones, all come from where
things are; boxes are what is seen of the targets, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from pvm_perception.streams.scenes import balls, distractors, objects, signs
from pvm_perception.streams.scenes.cast import CAST, SIZES
from pvm_perception.streams.scenes.light import Camera, Light, linear
from pvm_perception.streams.scenes.paint import Rng, drawn
from pvm_perception.streams.scenes.scene import ENLARGED, MAX_TARGETS, SOLID
from pvm_perception.streams.scenes.solid import meshes, renderer
from pvm_perception.streams.scenes.solid.paths import Drive, Thing, moved_between, seen_at
from pvm_perception.streams.scenes.solid.places import Place, matter, tone
from pvm_perception.streams.scenes.thing import TURNS_BACK
from pvm_perception.types import TARGETS, Truth
from pvm_perception.vision.motion import DEPTH, unknown_depth

FIELDS = (40.0, 90.0)  # degrees that the camera's longer side sees
BALLS, PLATES = (0.06, 0.7), (0.15, 0.9)  # m: a ball's diameter, a sign's height
TRIES = 60  # at finding a place where a target is as large as drawn and stands on the ground
SUBFRAMES = 4  # at most, of what moves while the shutter is open
FINE = 6.0  # pixels, of the picture as drawn, that things may move between two of them
GRAVITY = 9.81
PACE = (10.0, 30.0)  # frames a second, for what falls


class SolidScene:
    """Everything of one clip in three dimensions; `render` gives a frame. See `Scene`."""

    def __init__(
        self,
        rng: Rng,
        frames: int,
        size: tuple[int, int],
        photos: Sequence[np.ndarray] | None,
        supersample: int = 2,
        cast: tuple[str, ...] | None = None,
        sizes: tuple[float, float] | None = None,
        turns: float = 0.0,
    ) -> None:
        self.rng, self.frames, self.size, self.scale = rng, frames, size, supersample
        self.rows, self.cols = size[0] * supersample, size[1] * supersample
        self.aspect = size[1] / size[0]
        self.focal = max(self.aspect, 1.0) / 2 / np.tan(np.radians(rng.uniform(*FIELDS)) / 2)  # view heights
        self.depth, self.hard = unknown_depth(rng), rng.uniform(0, 1)
        self.cutouts = [p for p in photos or () if p.shape[2] == 4]
        self.photos = [p for p in photos or () if p.shape[2] == 3]
        self.drive, self.aimed = Drive(rng, frames, self.focal, turns), False
        self.gloom = rng.uniform(0.3, 0.75)  # opacity of shadows on the ground
        self.world = renderer.World(
            (2 * np.arctan(self.aspect / 2 / self.focal), 2 * np.arctan(0.5 / self.focal))
        )
        self.things: list[Thing] = []
        self.targets: list[tuple[int, Thing]] = []
        smallest = self._populate(cast, sizes)
        far = max((float(np.abs(t.place[:2]).max() + t.extent[0]) for t in self.things), default=0.0)
        finest = 1.7 * self.drive.height / (self.focal * self.rows)
        self.place = Place(rng, self.world, self.photos, far + 0.3, finest)
        self._furnish()
        self.light = Light(rng, *size, self.hard)
        self.camera = Camera(rng, self.hard, next(p for size, p in ENLARGED if smallest < size))
        self.shutter = rng.choice([0.0, rng.uniform(0.1, 0.9)])

    def _populate(self, cast: tuple[str, ...] | None, sizes: tuple[float, float] | None) -> float:
        """Put in the targets, each where it is as large as drawn; return the least size."""
        rng, smallest = self.rng, 1.0
        if cast is None:
            cast = drawn(rng, CAST)
        put = {"green_ball": self._ball, "stop_sign": self._sign}
        for name in cast:
            for _ in range(2 if rng.random() < 0.07 else 1):
                low, high = sizes or drawn(rng, SIZES)
                size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
                put[name](size, TARGETS.index(name))
                smallest = min(size, smallest)
        if self.targets:
            self.drive.near = min(thing.place[1] for _, thing in self.targets)
        for _ in range(int(rng.poisson(0.6))):  # what comes with targets comes without, too
            put[TARGETS[int(rng.integers(2))]](float(np.exp(rng.uniform(np.log(0.05), np.log(0.5)))), -1)
        return smallest

    def _spot(
        self, size: float, extents: tuple[float, float], fits: Callable[[float, float], bool], grounded: bool
    ) -> tuple[float, np.ndarray]:
        """Return how high a thing is and its place (3,), so that it is `size` view heights high in view.

        The first one may choose the camera's height and pitch, too. `fits` says whether a thing of a
        height may be so far above the ground.
        """
        rng, drive = self.rng, self.drive
        for _ in range(TRIES):
            if not self.aimed:
                drive.height, drive.pitch = drive.drawn(rng)
            extent = float(np.exp(rng.uniform(*np.log(extents))))
            ahead = self.focal * extent / size
            across, up = rng.uniform(-0.53, 0.53, 2) * [self.aspect, 1.0] / self.focal * ahead
            slope, level = np.sin(drive.pitch), np.cos(drive.pitch)
            if grounded:
                up = (extent / 2 - drive.height - ahead * slope) / level
            place = np.array([across, ahead * level - up * slope, drive.height + ahead * slope + up * level])
            if 0.2 < ahead < 30 and abs(up) < 0.52 * ahead / self.focal and fits(extent, place[2]):
                break
        self.aimed = True
        place[2] = max(place[2], extent / 2)
        return extent, place

    def _enter(self, thing: Thing, target: int, mask: Any = None) -> None:
        self.things.append(thing)
        if target >= 0:
            self.targets.append((target, thing))
            self.world.name(thing.node, mask)

    def _ball(self, size: float, target: int) -> None:
        """Put a ball: it lies, rolls, lies on something, or hops."""
        rng, way = self.rng, self.rng.random()
        across, place = self._spot(size, BALLS, lambda extent, z: extent / 2 - 0.01 < z < 2.5, way < 0.65)
        node = self._globe(size * self.rows, target >= 0)
        turned, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        thing = Thing(
            node, place, np.repeat(across, 2), turned * np.linalg.det(turned), span=rng.uniform(*TURNS_BACK)
        )
        speed = rng.normal(0, 0.03, 2) * place[1] / self.focal * [1, 0.6]
        over = place[2] - across / 2
        if way < 0.3:
            thing.velocity = speed
        if over > 0.02 and rng.random() < 0.6:
            apex = over * rng.uniform(1.02, 2.0)
            frames = 2 * np.sqrt(2 * apex / GRAVITY) * rng.uniform(*PACE)
            rising = 0.5 - 0.5 * np.sqrt(1 - over / apex)
            thing.hop = (apex, frames, rising if rng.random() < 0.5 else 1 - rising)
            thing.velocity = speed * (rng.random() < 0.7)
        elif over > 0.02:
            thing.velocity = np.zeros(2)
            self._block(place[:2], across * rng.uniform(0.6, 4, 2), over)
        if rng.random() < 0.85:
            thing.shadow = self._shadow(place[:2], across * 1.4, across * 1.4)
        self._enter(thing, target)

    def _globe(self, pixels: float, green: bool) -> Any:
        """Return the node of a ball that is so many pixels across."""
        rng = self.rng
        side = min(renderer.power_of_two(2 * pixels), 128)
        colour = balls.green if green else balls.almost_green if rng.random() < 0.3 else balls.not_green
        x, y, z = meshes.globe_map(side)
        albedo, shine = balls.coat(rng, colour(rng), x, y, z, green)
        node = self.world.add(
            meshes.sphere(8 if pixels < 24 else 14 if pixels < 100 else 24),
            renderer.texture((albedo.clip(0, 1) * 255).astype(np.uint8)),
        )
        if shine:
            self.world.gloss(node, shine, rng.uniform(8, 80))
        return node

    def _sign(self, size: float, target: int) -> None:
        """Put a sign on its pole, now and then among others."""
        rng = self.rng
        high, place = self._spot(size, PLATES, lambda extent, z: 0.6 * extent < z < 3.0, False)
        yaw = rng.normal(0, 0.35) if rng.random() < 0.75 else rng.uniform(-1.05, 1.05)
        heading = np.arctan2(place[0], place[1]) + float(np.clip(yaw, -1.1, 1.1))
        pixels, top = size * self.rows, place[2] + high * rng.uniform(-0.2, 0.5)
        kind = signs.stop_sign if target >= 0 else signs.other_sign
        sprite = kind(rng, int(np.clip(pixels, 32, 160)), askew=False)
        self._plate(sprite, pixels, place, high, heading, target)
        for side in (-1, 1):
            extent = high * rng.uniform(0.35, 1.0)
            at = place + [0, 0, side * (high + extent) * 0.52]
            if rng.random() < 0.15 and at[2] > extent / 2:
                sprite = signs.other_sign(rng, int(np.clip(pixels, 32, 96)), askew=False)
                self._plate(sprite, pixels, at, extent, heading, -1)
                top = max(top, at[2])
        if rng.random() < 0.9:
            thick = high * rng.uniform(0.04, 0.12)
            behind = place[:2] + (thick / 2 + 0.01) * np.array([np.sin(heading), np.cos(heading)])
            pole = self.world.add(meshes.cylinder(8), matter(rng, ()), tone(rng))
            pole.set_pos_hpr_scale(*behind, 0, 0, 0, 0, thick, thick, top)
            self._shadow(place[:2], thick * 4, thick * 4)

    def _plate(
        self,
        sprite: np.ndarray,
        pixels: float,
        place: np.ndarray,
        high: float,
        heading: float,
        target: int = -1,
    ) -> Thing:
        """Put a flat thing that faces a camera of this heading (0 = straight ahead, to the right)."""
        picture = renderer.card_picture(sprite, pixels)
        c, s = np.cos(heading), np.sin(heading)
        thing = Thing(
            self.world.add(meshes.card(), renderer.texture(picture, repeat=False)),
            place,
            np.array([high * sprite.shape[1] / sprite.shape[0], high]),
            np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
            flat=True,
            share=float((picture[..., 3] > 127).mean()),
        )
        picture[..., :3] = 255
        self._enter(thing, target, renderer.texture(picture, repeat=False) if target >= 0 else None)
        return thing

    def _block(self, place: np.ndarray, wide: np.ndarray, high: float) -> None:
        """Put a box, a cylinder or a post, as colourful as targets are."""
        rng, kind = self.rng, self.rng.random()
        tint = tone(rng) if kind < 0.6 else objects.like_target(rng) * np.float32(1.4)
        shape = meshes.box() if rng.random() < 0.6 else meshes.cylinder()
        node = self.world.add(shape, matter(rng, self.photos), tint)
        node.set_pos_hpr_scale(*place, 0, rng.uniform(0, 90), 0, 0, *wide, high)
        self._shadow(place, *(wide * 1.5))

    def _shadow(self, place: np.ndarray, wide: float, deep: float) -> Any:
        """Put a soft shadow on the ground under something."""
        node = self.world.add(meshes.card(), renderer.soft_disc())
        node.set_pos_hpr_scale(*place, 0.004, 0, -90, 0, wide, 1, deep)
        self.world.veil(node, self.gloom)
        return node

    def _furnish(self) -> None:
        """Put in what is no target: much, little, or nothing, and now and then before a target."""
        rng = self.rng
        for _ in range(int(rng.poisson(rng.choice([0.0, 3.0, 9.0], p=[0.1, 0.6, 0.3])))):
            ahead = float(np.exp(rng.uniform(np.log(0.6), np.log(max(self.place.reach, 1.0)))))
            across = rng.uniform(-0.6, 0.6) * self.aspect / self.focal * ahead
            size = float(np.exp(rng.uniform(np.log(0.08), np.log(1.2))))
            wide = size * rng.uniform(0.2, 1.5)
            if not self._hides(across, ahead, wide) or rng.random() < 0.1:
                self._put(np.array([across, ahead]), wide, size)
        if self.targets and rng.random() < 0.3:
            _, hidden = self.targets[int(rng.integers(len(self.targets)))]
            size = hidden.extent[1] * rng.uniform(0.5, 2.0)
            place = hidden.place[:2] * rng.uniform(0.5, 0.9)
            place[0] += rng.normal(0, 0.5) * size
            high = hidden.place[2] * 0.8 + rng.uniform(-0.5, 0.5) * size
            self._put(place, size * rng.uniform(0.2, 1.0), max(high, 0.3 * size))

    def _hides(self, across: float, ahead: float, wide: float) -> bool:
        """Return whether something would hide a target, or stand in the camera's way."""
        if abs(across) < wide + 0.3 and ahead < self.drive.near * 0.6 + wide:
            return True
        return any(
            ahead < t.place[1] + wide
            and abs(across / ahead - t.place[0] / t.place[1]) < wide / ahead + 0.6 * t.extent[0] / t.place[1]
            for _, t in self.targets
        )

    def _put(self, place: np.ndarray, wide: float, high: float) -> None:
        """Put something that is no target on the ground."""
        rng, kind = self.rng, self.rng.random()
        pixels = self.focal * self.rows * high / max(place[1], 0.3)
        if kind < 0.4:
            self._block(place, np.array([wide, wide * rng.uniform(0.3, 1.5)]), high)
            return
        if kind < 0.5:
            node = self._globe(pixels, green=False)
            node.set_pos_hpr_scale(*place, high / 2, rng.uniform(0, 360), 0, 0, high, high, high)
        else:
            side = int(np.clip(pixels, 24, 128))
            sprite = (
                distractors.cutout(rng, self.cutouts[int(rng.integers(len(self.cutouts)))], side)
                if (self.cutouts and rng.random() < 0.5)
                else distractors.pick(rng, distractors.LOOK_ALIKES, side)
            )
            heading = np.arctan2(*place) + rng.normal(0, 0.3)
            self._plate(sprite, pixels, np.array([*place, high / 2]), high, heading)
        if rng.random() < 0.8:
            self._shadow(place, high, high * rng.uniform(0.2, 1))

    def motion(self, index: int) -> np.ndarray:
        """Return what the camera's motion did to the place since the frame before, (4,) float32.

        As `vision.motion` defines it; the growth as a robot could know it.
        """
        if index == 0:
            return np.zeros(4, np.float32)
        k = index - self.frames / 2
        right, down, roll, ahead = moved_between(self.drive.pose(k - 1), self.drive.pose(k), self.focal)
        return np.array([right / self.aspect, down, roll, ahead / DEPTH * self.depth], np.float32)

    def _moments(self, index: int) -> np.ndarray:
        """Return the moments, in frames from the middle, at which a frame sees what moves fast."""
        k, moved = index - self.frames / 2, 0.0
        if self.things:
            before, now = (
                seen_at(self.drive.pose(at), np.array([t.pose(at)[3, :3] for t in self.things]), self.focal)
                for at in (k - 1, k)
            )
            moved = float(np.abs(now - before)[np.abs(now).max(axis=1) < 1.0].max(initial=0.0))
        right, down = self.motion(index)[:2] * [self.aspect, 1.0]
        moved = max(moved, abs(right), abs(down)) * self.shutter * self.rows
        count = int(np.clip(np.ceil(moved / FINE), 1, SUBFRAMES))
        return k + self.shutter * ((np.arange(count) + 0.5) / count - 0.5)

    def render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frame `index`: picture (H, W, 3) uint8 and truth (M, Truth.COLUMNS)."""
        moments = self._moments(index)
        pictures, names = zip(*(self._look(k) for k in moments), strict=True)
        picture = linear(pictures[0])
        for other in pictures[1:]:
            picture += linear(other)
        picture /= len(pictures)
        if self.scale > 1:
            picture = cv2.resize(picture, self.size[::-1], interpolation=cv2.INTER_AREA)
        return self.camera.develop(picture, self.light.at_frame(index)), self._truth(names, moments)

    def _look(self, k: float) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what is seen at a moment; see `World.look`."""
        eye = self.drive.pose(k)
        for thing in self.things:
            pose = thing.pose(k)
            self.world.move(thing.node, pose)
            if thing.shadow:
                thing.shadow.set_pos(*pose[3, :2], 0.004)
        labels = any(self._in_view(thing, k, eye) for _, thing in self.targets)
        return self.world.look(eye, self.rows, self.cols, labels)

    def _in_view(self, thing: Thing, k: float, eye: np.ndarray) -> bool:
        """Return whether anything of a thing may be in the frame; generous."""
        across, ahead, up = np.abs(eye[:3, :3] @ (thing.pose(k)[3, :3] - eye[3, :3]))
        reach = thing.extent.max()
        return bool(
            across - reach < 0.6 * self.aspect / self.focal * (ahead + reach)
            and up - reach < 0.6 / self.focal * (ahead + reach)
        )

    def _truth(self, names: Sequence[np.ndarray | None], moments: np.ndarray) -> np.ndarray:
        rows = np.full((MAX_TARGETS, Truth.COLUMNS), Truth.NONE, np.float32)
        k = float(moments.mean())
        for n, (target, thing) in enumerate(self.targets[:MAX_TARGETS]):
            masks = [(name == n + 1).view(np.uint8) for name in names if name is not None]
            rows[n, Truth.X :] = 0
            if not masks:
                continue
            often = masks[0] if len(masks) == 1 else np.sum(masks, axis=0, dtype=np.uint8)
            solid: Any = (often > SOLID * len(names)).view(np.uint8)
            if not cv2.countNonZero(solid):
                continue
            seen = sum(cv2.countNonZero(mask) for mask in masks) / len(names)
            whole = thing.whole(k, self.drive.pose(k), self.focal * self.rows)
            box = np.array(list(cv2.boundingRect(solid))) / self.scale
            rows[n] = [target, *box, min(seen / max(whole, 1e-6), 1.0), 1.0]
        return rows
