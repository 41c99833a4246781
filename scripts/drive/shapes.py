"""Meshes of plain shapes: boxes, tubes, whatever has vertices and faces. Metres; z points up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Vector

Point = Sequence[float]


def mesh(name: str, vertices: Sequence, faces: Sequence, material: bpy.types.Material, smooth: bool = False):
    """Add an object.

    Parameters
    ----------
    name
        Of the object.
    vertices
        (V, 3) m.
    faces
        Numbers of each face's vertices, counter-clockwise as seen from outside.
    material
        Of all faces.
    smooth
        Whether the shading hides the edges.

    Returns
    -------
    bpy.types.Object
        Linked to the scene.
    """
    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(map(float, v)) for v in vertices], [], [tuple(map(int, f)) for f in faces])
    data.materials.append(material)
    if smooth:
        data.polygons.foreach_set("use_smooth", [True] * len(data.polygons))
    data.update()
    return place(name, data)


def place(name: str, data: bpy.types.ID, at: Point = (0, 0, 0), turn: Point = (0, 0, 0), scale: float = 1.0):
    """Add an object that shows a mesh, a lamp or a camera; several may show the same.

    Parameters
    ----------
    name
        Of the object.
    data
        What it shows.
    at
        Its place, m.
    turn
        Angles about x, y, z, rad.
    scale
        How many times as large as `data`.
    """
    thing = bpy.data.objects.new(name, data)
    thing.location, thing.rotation_euler, thing.scale = at, turn, (scale,) * 3
    bpy.context.scene.collection.objects.link(thing)
    return thing


def box(
    name: str,
    at: Point,
    size: Point,
    material: bpy.types.Material,
    bevel: float = 0.0,
    turn: Point = (0, 0, 0),
):
    """Add a box.

    Parameters
    ----------
    name
        Of the object.
    at
        Its middle, m.
    size
        Its edges, m.
    material
        Of all faces.
    bevel
        How wide its edges are rounded, m.
    turn
        Angles about x, y, z, rad.
    """
    x, y, z = (s / 2 for s in size)
    corners = [(i, j, k) for i in (-x, x) for j in (-y, y) for k in (-z, z)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    thing = mesh(name, corners, faces, material)
    thing.location, thing.rotation_euler = at, turn
    if bevel:
        rounding = thing.modifiers.new("bevel", "BEVEL")
        rounding.width, rounding.segments = bevel, 2
    return thing


def tube(
    name: str,
    path: Sequence[Point],
    radii: Sequence[float],
    material: bpy.types.Material,
    sides: int = 12,
):
    """Add a tube with closed ends along a path.

    Parameters
    ----------
    name
        Of the object.
    path
        (N, 3) m, the middle line.
    radii
        (N,) m, at each of its points.
    material
        Of all faces.
    sides
        Number of corners of its section.
    """
    vertices, faces = [], []
    points = [Vector(p) for p in path]
    for k, point in enumerate(points):
        ahead = points[min(k + 1, len(points) - 1)] - points[max(k - 1, 0)]
        frame = ahead.to_track_quat("Z", "Y")
        for n in range(sides):
            angle = 2 * math.pi * n / sides
            round_it = Vector((math.cos(angle), math.sin(angle), 0)) * radii[k]
            vertices.append(point + frame @ round_it)
    for k in range(len(points) - 1):
        for n in range(sides):
            m, low, high = (n + 1) % sides, k * sides, (k + 1) * sides
            faces.append((low + n, low + m, high + m, high + n))
    faces += [tuple(range(sides))[::-1], tuple(range(len(vertices) - sides, len(vertices)))]
    return mesh(name, vertices, faces, material, smooth=True)


def disc(corners: int, radius: float, first: float = 0.0) -> list[tuple[float, float]]:
    """Return the corners of a regular polygon.

    Parameters
    ----------
    corners
        How many.
    radius
        Their distance to the middle, m.
    first
        Angle of the first, rad.
    """
    angles = first + 2 * np.pi * np.arange(corners) / corners
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def ball(name: str, radius: float, material: bpy.types.Material, squeeze: Point = (1, 1, 1)):
    """Add a ball of 2562 vertices, round at any size it is seen at.

    Parameters
    ----------
    name
        Of the object.
    radius
        m.
    material
        Of all faces.
    squeeze
        Factors on x, y and z.
    """
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5, radius=radius)
    thing = bpy.context.object
    thing.name, thing.scale = name, squeeze
    thing.data.materials.append(material)
    thing.data.polygons.foreach_set("use_smooth", [True] * len(thing.data.polygons))
    return thing
