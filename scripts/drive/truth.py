"""Where the targets are in the picture, and how much of them is visible: by rays from the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

LINES = 30  # rays across a target, at most
LEAST_VISIBLE, LEAST_SIZE = 0.25, 10.0  # share and pixels; with less a target's weight is 0
MARGIN = 0.02  # m, how far before a surface something must be to hide it: letters lie on a sign's face
NEAR = (9.0, 26.0)  # m, along x and y from the middle: what is further off hides no target


class Eye:
    """The camera at a moment, as a pinhole.

    Parameters
    ----------
    camera
        Of the scene.
    size
        Width and height of the picture, pixels.
    """

    def __init__(self, camera: bpy.types.Object, size: tuple[int, int]) -> None:
        self.cols, self.rows = size
        self.focal = self.cols / 2 / math.tan(camera.data.angle_x / 2)
        self.pose = camera.matrix_world.copy()
        self.place = self.pose.translation

    def pixels(self, points: Sequence[Vector]) -> np.ndarray:
        """Return where points of the world are in the picture, pixels; (N, 2), NaN behind the camera.

        Parameters
        ----------
        points
            (N, 3) m.
        """
        inverse, found = self.pose.inverted(), []
        for point in points:
            x, y, z = inverse @ point
            ahead = -z
            found.append((x / ahead, -y / ahead) if ahead > 0.01 else (math.nan, math.nan))
        return np.array(found) * self.focal + (self.cols / 2, self.rows / 2)

    def ray(self, x: float, y: float) -> Vector:
        """Return the direction in which a point of the picture lies.

        Parameters
        ----------
        x, y
            Pixels.
        """
        ahead = Vector(((x - self.cols / 2) / self.focal, -(y - self.rows / 2) / self.focal, -1))
        return (self.pose.to_3x3() @ ahead).normalized()


class Screen:
    """What stands in the street and does not move, as one mesh that rays are cast against.

    Parameters
    ----------
    graph
        The scene as evaluated.
    left_out
        Objects that are not in it: those that move far. Crowns are in it where they are now; grass, which
        hides nothing of a ball on the lane, is not.
    """

    def __init__(self, graph: bpy.types.Depsgraph, left_out: Sequence[bpy.types.Object]) -> None:
        names = {thing.name for thing in left_out}
        vertices, faces = [], []
        for thing in bpy.context.scene.objects:
            if thing.type not in {"MESH", "FONT"} or thing.name in names or thing.name.startswith("grass"):
                continue
            if abs(thing.location.x) > NEAR[0] or abs(thing.location.y) > NEAR[1]:
                continue
            shown = thing.evaluated_get(graph)
            data = shown.to_mesh()
            pose, first = shown.matrix_world, len(vertices)
            vertices += [pose @ v.co for v in data.vertices]
            faces += [[first + n for n in face.vertices] for face in data.polygons]
            shown.to_mesh_clear()
        self.tree = BVHTree.FromPolygons(vertices, faces)

    def hides(self, place: Vector, way: Vector, distance: float) -> bool:
        """Tell whether something is before a point.

        Parameters
        ----------
        place
            (3,) m, where the ray begins.
        way
            (3,) its direction, of length 1.
        distance
            m, of the point on it.
        """
        return self.tree.ray_cast(place, way, distance - MARGIN)[0] is not None


def _hit(outline: bpy.types.Object, place: Vector, way: Vector) -> float:
    """Return how far away a ray meets an object, m; infinite where it does not."""
    back = outline.matrix_world.inverted()
    found, at, _, _ = outline.ray_cast(back @ place, (back.to_3x3() @ way).normalized())
    return (outline.matrix_world @ at - place).length if found else math.inf


def visible_box(
    eye: Eye, outline: bpy.types.Object, screen: Screen, moving: Sequence[bpy.types.Object]
) -> tuple[np.ndarray, float] | None:
    """Return the box, x0, y0, x1, y1 in pixels, of what is visible of a target, and its share of the whole.

    Parameters
    ----------
    eye
        The camera.
    outline
        The target, evaluated.
    screen
        What does not move and may hide it.
    moving
        What moves and may hide it, evaluated.
    """
    corners = eye.pixels([outline.matrix_world @ v.co for v in outline.data.vertices])
    if not np.isfinite(corners).all():
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (high < 0).any() or (low > (eye.cols, eye.rows)).any() or (high - low).max() < LEAST_SIZE / 2:
        return None
    step = max((high - low).max() / LINES, 0.4)
    total, seen = 0, []
    for y in np.arange(low[1] + step / 2, high[1], step):
        for x in np.arange(low[0] + step / 2, high[0], step):
            way = eye.ray(x, y)
            distance = _hit(outline, eye.place, way)
            if not math.isfinite(distance):
                continue
            total += 1
            if not (0 <= x < eye.cols and 0 <= y < eye.rows) or screen.hides(eye.place, way, distance):
                continue
            if all(_hit(other, eye.place, way) > distance - MARGIN for other in moving):
                seen.append((x, y))
    if not seen:
        return None
    found = np.array(seen)
    first, last = found.min(axis=0) - step / 2, found.max(axis=0) + step / 2
    first, last = np.maximum(first, 0), np.minimum(last, (eye.cols, eye.rows))
    return np.concatenate([first, last]), len(seen) / total


def boxes(
    frame: int,
    shutter: float,
    camera: bpy.types.Object,
    targets: dict[str, list[bpy.types.Object]],
    screen: Screen,
    size: tuple[int, int],
) -> list[tuple[str, float, float, float, float, float, float]]:
    """Return target, x, y, w, h, visible share and weight of each target in a frame, with its streak.

    Parameters
    ----------
    frame
        Its number.
    shutter
        Share of the frame's time for which the shutter is open, about the frame's moment.
    camera
        Of the scene.
    targets
        By name of each target, the things of that kind.
    screen
        What may hide them.
    size
        Width and height of the picture, pixels.
    """
    scene, found = bpy.context.scene, {}
    for moment in (frame - shutter / 2, frame, frame + shutter / 2):
        scene.frame_set(math.floor(moment), subframe=moment - math.floor(moment))
        graph = bpy.context.evaluated_depsgraph_get()
        eye = Eye(camera.evaluated_get(graph), size)
        shown = {name: [t.evaluated_get(graph) for t in things] for name, things in targets.items()}
        for name, things in shown.items():
            others = [t for other, them in shown.items() if other != name for t in them]
            for number, outline in enumerate(things):
                if _shows_its_back(outline, eye):
                    continue
                at = visible_box(eye, outline, screen, others)
                if at:
                    found.setdefault((name, number), []).append(at)
    rows = []
    for (name, _), views in found.items():
        low = np.min([v[0][:2] for v in views], axis=0)
        high = np.max([v[0][2:] for v in views], axis=0)
        share = float(np.mean([v[1] for v in views])) * len(views) / 3
        clear = share >= LEAST_VISIBLE and (high - low).max() >= LEAST_SIZE
        rows.append((name, *low.tolist(), *(high - low).tolist(), share, float(clear)))
    return rows


def _shows_its_back(outline: bpy.types.Object, eye: Eye) -> bool:
    """Tell whether a flat target, whose face looks along its z axis, is seen from behind or edge on."""
    if len(outline.data.vertices) > 100:  # a ball has no back
        return False
    pose = outline.matrix_world
    face = pose.to_3x3() @ Vector((0, 0, 1))
    return face.normalized().dot((eye.place - pose.translation).normalized()) < 0.25
