"""Places in three dimensions: open ones, streets and rooms, and what their surfaces are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from pvm_perception.streams.scenes import backgrounds
from pvm_perception.streams.scenes.paint import Rng, any_colour
from pvm_perception.streams.scenes.solid import meshes, renderer

SURFACES, VIEWS = 64, 32  # painted ones, each painted once in a process
SEED = 20_261_127  # of those
RINGS = (2.5, 6.0, 16.0, 150.0)  # m: ground beyond each is seen four times as coarsely


@lru_cache(maxsize=2 * SURFACES)
def _painted(number: int, side: int) -> np.ndarray:
    """Return one of the painted surfaces, (side, side, 3) uint8."""
    rng = np.random.default_rng((SEED, number))
    picture = backgrounds.texture(rng, side, side)
    picture *= np.float32(rng.uniform(0.35, 0.8)) / max(float(picture.mean(axis=(0, 1)).max()), 0.1)
    return (picture.clip(0, 1) * 255).astype(np.uint8)


@lru_cache(maxsize=SURFACES)
def _painted_skin(number: int) -> Any:
    return renderer.texture(_painted(number, 128))


@lru_cache(maxsize=VIEWS)
def _painted_view(number: int) -> tuple[Any, np.ndarray]:
    """Return one of the painted views around: its texture, and the BGR colour of its upper rim."""
    rng = np.random.default_rng((SEED, SURFACES + number))
    picture = backgrounds.background(rng, 256, 512, None)
    return renderer.texture(picture, smooth=False), picture[0].mean(axis=0) / 255


def photograph(rng: Rng, rows: int, cols: int, photos: Sequence[np.ndarray], least: float) -> np.ndarray:
    """Return a part of one of the photographs, (rows, cols, 3) uint8.

    Parameters
    ----------
    rng
        Draws it.
    rows, cols
        Size, pixels.
    photos
        (H, W, 3) uint8 each; at least one.
    least
        The smallest share of the photograph's sides that the part takes, 0..1.
    """
    photo = photos[int(rng.integers(len(photos)))]
    h, w = (max(2, int(n * rng.uniform(least, 1))) for n in photo.shape[:2])
    kind = cv2.INTER_AREA if h > rows and w > cols else cv2.INTER_LINEAR
    return backgrounds.part_of(rng, photo, (h, w), (rows, cols), kind)


def matter(rng: Rng, photos: Sequence[np.ndarray]) -> Any:
    """Return the texture of some surface: painted, or of a photograph.

    Parameters
    ----------
    rng
        Draws the surface.
    photos
        (H, W, 3) uint8 each; may be empty.
    """
    if photos and rng.random() < 0.35:
        return renderer.texture(photograph(rng, 128, 128, photos, 0.2))
    return _painted_skin(int(rng.integers(SURFACES)))


def tone(rng: Rng) -> np.ndarray:
    """Return what to multiply a surface's colours by, BGR."""
    grey = np.repeat(np.float32(rng.uniform(0.6, 1.2)), 3)
    return grey if rng.random() < 0.5 else grey * (0.5 + 0.7 * any_colour(rng))


class Place:
    """Ground and what bounds it, in a world.

    Parameters
    ----------
    rng
        Draws it.
    world
        What it is built in.
    photos
        (H, W, 3) uint8 each, for surfaces; may be empty.
    far
        How far away it is at least where something is looked at, m.
    finest
        How much ground a pixel sees at least, m.
    """

    def __init__(
        self, rng: Rng, world: renderer.World, photos: Sequence[np.ndarray], far: float, finest: float
    ) -> None:
        self.rng, self.world, self.photos, self.finest = rng, world, photos, finest
        self.roofed = False
        kind = rng.random()
        if kind < 0.4 and far < 12:
            self._room(far)
        else:
            self._open(far)
            if kind > 0.75:
                self._street(far)
        self._ground()
        self._light()

    def _ground(self) -> None:
        """Lay the ground in squares, coarser from one to the next: so far ones do not flicker."""
        rng = self.rng
        if self.photos and rng.random() < 0.35:
            picture = photograph(rng, 256, 256, self.photos, 0.3)
        else:
            picture = _painted(int(rng.integers(SURFACES)), 256)
        tile, turn, tint = np.exp(rng.uniform(np.log(1.0), np.log(8.0))), rng.uniform(0, 90), tone(rng)
        hole = 0.0
        for size in RINGS:
            skin = renderer.texture(picture, smooth=hole == 0 and tile / 256 > 3 * self.finest)
            node = self.world.add(meshes.ground_ring(hole / size), skin, tint)
            node.set_scale(size, size, 1)
            node.set_h(turn)
            self.world.repeat(node, size / tile, size / tile)
            hole = size
            side = max(picture.shape[0] // 4, 8)
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)

    def _open(self, far: float) -> None:
        """Put a view around, of which each picture takes a third to a half of the circle."""
        rng = self.rng
        self.reach = max(far, float(np.exp(rng.uniform(np.log(5), np.log(40))))) + 1
        if self.photos and rng.random() < 0.6:
            picture = photograph(rng, 256, 512, self.photos, 0.6)
            skin, self.world.sky = renderer.texture(picture, smooth=False), picture[0].mean(axis=0) / 255
        else:
            skin, self.world.sky = _painted_view(int(rng.integers(VIEWS)))
        node = self.world.add(meshes.panorama(int(rng.choice([2, 4, 6]))), skin)
        node.set_light_off()
        high = self.reach * rng.uniform(1.2, 2.0)
        node.set_pos_hpr_scale(
            0, 0, -high * rng.uniform(0.1, 0.4), rng.uniform(0, 360), 0, 0, self.reach, self.reach, high
        )

    def _street(self, far: float) -> None:
        """Put houses, walls or hedges to the left and the right."""
        rng = self.rng
        for side in (-1, 1):
            off, along = side * (rng.uniform(1.5, 8) + 0.3 * far), rng.uniform(-6, 2)
            for _ in range(int(rng.integers(1, 6))):
                long, deep, high = rng.uniform(2, 12), rng.uniform(1, 6), np.exp(rng.uniform(0, 2.3))
                skin = matter(rng, self.photos)
                node = self.world.add(meshes.box(), skin, tone(rng))
                node.set_pos_hpr_scale(off + side * deep / 2, along + long / 2, 0, 0, 0, 0, deep, long, high)
                self.world.repeat(node, *np.round(rng.uniform(1, 4, 2)))
                along += long + rng.choice([0.0, rng.uniform(0.2, 4)])

    def _room(self, far: float) -> None:
        """Put four walls and a ceiling around, with pictures, doors and windows."""
        rng = self.rng
        self.roofed, self.reach = True, max(far, rng.uniform(2, 8)) + 0.2
        high, skin, tint = rng.uniform(2.3, 4), matter(rng, self.photos), tone(rng)
        behind = rng.uniform(1.5, 5)
        side = min(self.reach, max(far, rng.uniform(1.5, 6)))
        long, middle = self.reach + behind, (self.reach - behind) / 2
        walls = (
            (0, self.reach, 2 * side, 0),
            (-side, middle, long, 90),
            (side, middle, long, -90),
            (0, -behind, 2 * side, 180),
        )
        for x, y, wide, heading in walls:
            self._wall((x, y, high / 2), (wide, high), heading, skin, tint)
            out = np.array([np.sin(np.radians(heading)), -np.cos(np.radians(heading))])
            for _ in range(int(rng.integers(0, 4))):
                size = rng.uniform(0.3, 1.0, 2) * [1.5, 0.6 * high]
                along = rng.uniform(-0.5, 0.5) * (wide - size[0]) * np.array([-out[1], out[0]])
                z = size[1] / 2 if rng.random() < 0.4 else rng.uniform(size[1] / 2, high - size[1] / 2)
                self._wall(
                    (*(np.array([x, y]) + 0.02 * out + along), z),
                    size,
                    heading,
                    matter(rng, self.photos),
                    tone(rng),
                )
        node = self.world.add(meshes.card(), matter(rng, ()), np.repeat(rng.uniform(0.6, 1.4), 3))
        node.set_pos_hpr_scale(0, middle, high, 0, 90, 0, 2 * side, 1, long)

    def _wall(
        self,
        at: tuple[float, ...],
        size: Sequence[float] | np.ndarray,
        heading: float,
        skin: Any,
        tint: np.ndarray,
    ) -> None:
        node = self.world.add(meshes.card(), skin, tint)
        node.set_pos_hpr_scale(*map(float, at), heading, 0, 0, float(size[0]), 1, float(size[1]))

    def _light(self) -> None:
        """Light the place: sun and sky, or lamps and walls."""
        rng = self.rng
        ambient = rng.uniform(0.65, 0.95) if self.roofed else rng.uniform(0.35, 0.8)
        direct = rng.uniform(1.2, 1.6) - ambient
        warm = np.array([1 - rng.uniform(0, 0.2), 1 - rng.uniform(0, 0.08), 1.0])
        towards = rng.standard_normal(3) * [1, 1, 0.5]
        towards[2] = -abs(towards[2]) - rng.uniform(0.2, 1.5)
        self.world.light(ambient * warm[::-1], direct * warm, towards)
