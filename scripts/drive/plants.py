"""Trees, bushes, hedges and grass: thousands of leaves in a mesh, and many objects that show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from materials import leaf, mottled
from shapes import Point, mesh, place, tube

GRASS_TILE = 1.5  # m
NEAR, FAR = (6500, 0.078), (2200, 0.13)  # number of a crown's leaves, and half of their length, m


def _leaves(
    name: str, middles: np.ndarray, size: float, material: bpy.types.Material, rng: np.random.Generator
):
    """Return a mesh with a diamond-shaped leaf at each place, turned at random."""
    count = len(middles)
    along = rng.normal(size=(count, 3))  # (N, 3)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, rng.normal(size=(count, 3)))  # (N, 3)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    long = size * rng.uniform(0.6, 1.2, (count, 1))
    corners = [
        middles - along * long,
        middles + across * long / 2,
        middles + along * long,
        middles - across * long / 2,
    ]
    vertices = np.stack(corners, axis=1).reshape(-1, 3)  # (4N, 3)
    data = bpy.data.meshes.new(name)
    data.from_pydata(vertices.tolist(), [], np.arange(4 * count).reshape(-1, 4).tolist())
    data.materials.append(material)
    return data


def crown(
    rng: np.random.Generator,
    tufts: Sequence[tuple[Point, float]],
    count: int,
    size: float,
    name: str,
    material,
):
    """Return the mesh of a tree's leaves.

    Parameters
    ----------
    rng
        Source of chance.
    tufts
        Middle, m, and radius, m, of each ball of leaves.
    count
        Number of leaves of all tufts.
    size
        Half of a leaf's length, m.
    name
        Of the mesh.
    material
        Of the leaves.
    """
    shares = np.array([r**2 for _, r in tufts])
    which = rng.choice(len(tufts), count, p=shares / shares.sum())
    ways = rng.normal(size=(count, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    reach = np.array([r for _, r in tufts])[which] * rng.uniform(0.25, 1, count) ** 0.45  # (N,) m
    middles = np.array([m for m, _ in tufts])[which] + ways * reach[:, None] * (1, 1, 0.8)
    return _leaves(name, middles, size, material, rng)


class Wood:
    """Trees that share two crowns and a bark.

    Parameters
    ----------
    rng
        Source of chance.
    autumn
        0 is summer's green; 1 has turned.
    """

    def __init__(self, rng: np.random.Generator, autumn: float = 0.0) -> None:
        self.rng, self.crowns = rng, []  # the crowns' objects, which the wind moves
        self.bark = mottled("bark", (0.03, 0.022, 0.016), (0.16, 0.125, 0.09), 30, 0.015, stretch=(1, 1, 0.2))
        green = leaf("leaves", (0.035, 0.085, 0.012), (0.13 + 0.2 * autumn, 0.2, 0.03))
        self.tufts, self.meshes, self.coarse = [], [], []
        for number in range(2):
            tufts = [((0, 0, 3.4), 1.0)]
            for k in range(9):
                angle, up = 2.4 * k + number, rng.uniform(2.3, 4.3)
                out = rng.uniform(0.6, 1.35) * (1.15 - abs(up - 3.1) / 2.5)
                tufts.append(((out * math.cos(angle), out * math.sin(angle), up), rng.uniform(0.55, 0.85)))
            self.tufts.append(tufts)
            self.meshes.append(crown(rng, tufts, NEAR[0], NEAR[1], f"crown{number}", green))
            self.coarse.append(crown(rng, tufts, FAR[0], FAR[1], f"far crown{number}", green))

    def tree(self, at: Point, scale: float = 1.0, far: bool = False) -> None:
        """Plant a tree.

        Parameters
        ----------
        at
            Foot of its trunk, m.
        scale
            1 is 5 m high.
        far
            Whether it is only seen from afar: fewer leaves, and no wind.
        """
        kind, turn = int(self.rng.integers(2)), self.rng.uniform(0, 6.28)
        bend = self.rng.normal(0, 0.06, 2)
        trunk = [(0, 0, -0.1), (0, 0, 0.15), (bend[0], bend[1], 1.3), (0, 0, 2.6), (0, 0, 3.8)]
        parts = [tube("trunk", trunk, (0.2, 0.13, 0.1, 0.075, 0.02), self.bark)]
        for middle, _ in self.tufts[kind][1:]:
            foot = (0, 0, max(1.5, middle[2] - 1.1))
            parts.append(tube("branch", [foot, middle], (0.04, 0.008), self.bark, 6))
        for part in parts:
            part.location, part.rotation_euler, part.scale = at, (0, 0, turn), (scale,) * 3
        if far:
            place("crown", self.coarse[kind], at, (0, 0, turn), scale)
        else:
            self.crowns.append(place("crown", self.meshes[kind], at, (0, 0, turn), scale))

    def bush(self, at: Point, radius: float, count: int = 2500, colours: tuple = ()) -> None:
        """Plant a round bush.

        Parameters
        ----------
        at
            Its middle, m.
        radius
            m.
        count
            Number of leaves.
        colours
            The two that its leaves lie between; none are the trees'.
        """
        material = leaf("bush", *colours) if colours else self.meshes[0].materials[0]
        tufts = [((0, 0, 0), radius)]
        place("bush", crown(self.rng, tufts, count, 0.042, "bush", material), at)

    def hedge(self, start: Point, end: Point, height: float) -> None:
        """Plant a hedge, 0.7 m deep.

        Parameters
        ----------
        start, end
            On the ground, m.
        height
            m.
        """
        start, end = np.array(start, float), np.array(end, float)
        length = float(np.linalg.norm(end - start))
        count = int(length * height * 600)
        along = (end - start) / length
        side = np.array([-along[1], along[0], 0])
        depth = 0.35 * np.sign(self.rng.uniform(-1, 1, count)) * self.rng.uniform(0.3, 1, count) ** 0.3
        rise = height * self.rng.uniform(0, 1, count) ** 0.8
        middles = start + np.outer(self.rng.uniform(0, length, count), along) + np.outer(depth, side)
        middles[:, 2] += rise
        data = _leaves("hedge", middles, 0.08, self.meshes[0].materials[0], self.rng)
        place("hedge", data)


def lawn(
    rng: np.random.Generator, areas: Sequence[tuple[float, float, float, float]], lush: float = 1.0
) -> None:
    """Cover areas with blades of grass.

    Parameters
    ----------
    rng
        Source of chance.
    areas
        Least and largest x, least and largest y of each, m.
    lush
        Factor on the number of blades.
    """
    material = leaf("grass", (0.028, 0.07, 0.012), (0.12, 0.17, 0.035))
    tiles = []
    for number in range(3):
        count = int(1500 * lush)
        foot = np.column_stack([rng.uniform(0, GRASS_TILE, (count, 2)), np.zeros(count)])  # (N, 3)
        angle, height = rng.uniform(0, 6.28, count), rng.uniform(0.03, 0.09, count)
        side = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(count)]) * 0.008
        lean = np.column_stack([rng.normal(0, 0.025, (count, 2)), height])
        vertices = np.stack([foot - side, foot + side, foot + lean], axis=1).reshape(-1, 3)  # (3N, 3)
        tile = mesh(f"tile{number}", vertices, np.arange(3 * count).reshape(-1, 3), material)
        tiles.append(tile.data)
        bpy.data.objects.remove(tile)
    for left, right, near, far in areas:
        for x in np.arange(left, right - 0.1, GRASS_TILE):
            for y in np.arange(near, far - 0.1, GRASS_TILE):
                place("grass", tiles[int(rng.integers(3))], (x, y, 0.02))
