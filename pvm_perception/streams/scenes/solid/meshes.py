"""Shapes of solid things, as triangles for the renderer; each is made once in a process."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pvm_perception.streams.scenes.solid import renderer


def _geometry(points: np.ndarray, normals: np.ndarray, uv: np.ndarray, corners: np.ndarray) -> Any:
    """Return what draws triangles (n, 3) of points (m, 3) with normals and places in a texture."""
    p = renderer.panda()
    data = p.GeomVertexData("", p.GeomVertexFormat.get_v3n3t2(), p.Geom.UH_static)
    data.unclean_set_num_rows(len(points))
    rows = np.concatenate([points, normals, uv], axis=1).astype(np.float32)
    memoryview(data.modify_array(0)).cast("B")[:] = rows.tobytes()
    triangles = p.GeomTriangles(p.Geom.UH_static)
    triangles.set_index_type(p.Geom.NT_uint16)
    indices = triangles.modify_vertices()
    indices.unclean_set_num_rows(corners.size)
    memoryview(indices).cast("B")[:] = corners.astype(np.uint16).tobytes()
    made = p.Geom(data)
    made.add_primitive(triangles)
    return made


def _sheet(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a grid of places: u and v (n,), and the corners (m, 3) of its triangles."""
    across, up = np.meshgrid(u, v)
    first = (np.arange(len(v) - 1)[:, None] * len(u) + np.arange(len(u) - 1)).ravel()
    right, above, both = first + 1, first + len(u), first + len(u) + 1
    corners = np.concatenate([np.stack([first, right, both], 1), np.stack([first, both, above], 1)])
    return across.ravel(), up.ravel(), corners


@lru_cache(maxsize=1)
def card() -> Any:
    """Return an upright square, 1 wide, about the origin, seen from -y."""
    x, z, corners = _sheet(np.array([0.0, 1]), np.array([0.0, 1]))
    points = np.stack([x - 0.5, 0 * x, z - 0.5], 1)
    return _geometry(points, np.tile([0, -1, 0], (4, 1)), np.stack([x, z], 1), corners)


@lru_cache(maxsize=1)
def box() -> Any:
    """Return a box without a bottom, 1 wide and 1 high, that stands on the origin."""
    x, z, corners = _sheet(np.array([0.0, 1]), np.array([0.0, 1]))
    side = np.stack([x - 0.5, 0 * x - 0.5, z], 1)
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    parts, normals = [side], [np.tile([0, -1, 0], (4, 1))]
    for _ in range(3):
        parts.append(parts[-1] @ turn)
        normals.append(normals[-1] @ turn)
    parts.append(np.stack([x - 0.5, z - 0.5, 0 * x + 1], 1))
    normals.append(np.tile([0, 0, 1], (4, 1)))
    return _geometry(
        np.concatenate(parts),
        np.concatenate(normals),
        np.tile(np.stack([x, z], 1), (5, 1)),
        np.concatenate([corners + 4 * k for k in range(5)]),
    )


@lru_cache(maxsize=8)
def sphere(finely: int) -> Any:
    """Return a sphere, 1 across, about the origin, of as many bands."""
    u, v, corners = _sheet(np.linspace(0, 1, 2 * finely + 1), np.linspace(0, 1, finely + 1))
    points = on_sphere(u, v)
    return _geometry(0.5 * points, points, np.stack([u, v], 1), corners)


def on_sphere(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return points of the unit sphere by places on a map of it.

    Parameters
    ----------
    u, v
        Longitude and latitude as shares of the map, 0..1; arrays of one shape (...).

    Returns
    -------
    ndarray
        (..., 3).
    """
    lon, lat = 2 * np.pi * u, np.pi * (v - 0.5)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


@lru_cache(maxsize=8)
def globe_map(side: int) -> np.ndarray:
    """Return the point of the unit sphere at each pixel of a sphere's texture, (3, side, side) float32."""
    u, v = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
    return np.moveaxis(on_sphere(u, 1 - v).astype(np.float32), 2, 0)


@lru_cache(maxsize=8)
def cylinder(sides: int = 16, lid: bool = True) -> Any:
    """Return a cylinder, 1 across and 1 high, that stands on the origin.

    Parameters
    ----------
    sides
        Number of faces around it.
    lid
        Whether it is closed at the top.
    """
    u, z, corners = _sheet(np.linspace(0, 1, sides + 1), np.array([0.0, 1]))
    around = np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u), 0 * u], 1)
    points, uv = around / 2 + np.stack([0 * z, 0 * z, z], 1), np.stack([u, z], 1)
    if lid:
        rim = np.arange(1, sides)
        top = points[sides + 1 : 2 * sides + 1]
        fan = np.stack([0 * rim[:-1], rim[:-1], rim[1:]], 1) + len(points)
        points, corners = np.concatenate([points, top]), np.concatenate([corners, fan])
        around = np.concatenate([around, np.tile([0, 0, 1], (sides, 1))])
        uv = np.concatenate([uv, top[:, :2] + 0.5])
    return _geometry(points, around, uv, corners)


@lru_cache(maxsize=8)
def panorama(times: int, sides: int = 32) -> Any:
    """Return a cylinder of radius 1 and height 1 seen from inside, with a picture around it.

    Parameters
    ----------
    times
        How often the picture goes around; every other one is mirrored, so that they join.
    sides
        Half the number of faces around it.
    """
    u, z, corners = _sheet(np.linspace(0, 1, sides * 2 + 1), np.array([0.0, 1]))
    points = np.stack([np.sin(2 * np.pi * u), np.cos(2 * np.pi * u), z], 1)
    across = 1 - np.abs((u * times) % 2 - 1)
    return _geometry(points, -points, np.stack([across, z], 1), corners)


@lru_cache(maxsize=8)
def ground_ring(hole: float) -> Any:
    """Return a square of ground from -1 to 1 with a square hole in it; its texture: one a metre."""
    lines = np.array([-1, -hole, hole, 1]) if hole else np.array([-1.0, 0.0, 1.0])
    x, y, corners = _sheet(lines, lines)
    if hole:
        middle = np.abs(np.stack([x, y])[:, corners].mean(axis=2)).max(axis=0) < hole
        corners = corners[~middle]
    points = np.stack([x, y, 0 * x], 1)
    return _geometry(points, np.tile([0, 0, 1], (len(x), 1)), points[:, :2], corners)
