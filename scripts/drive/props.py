"""Street furniture and things that lie about: two kinds of sign, barrier, bench, lamps, planter, bottle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
from materials import mottled, plain, striped
from mathutils import Matrix
from shapes import Point, box, disc, mesh, tube

RED, WHITE = (0.48, 0.012, 0.016), (0.78, 0.78, 0.76)  # of sheeting on signs
FLATS = 0.75  # m between two opposite sides of the octagon
SIGN_HEIGHT = 1.95  # m, of its middle
STOP = "stop_sign"  # how the names of its parts begin


def _plate(name: str, corners: Sequence, depth: float, front: float, material: bpy.types.Material):
    """Return a plate in the xy plane whose face looks along z, at z = front."""
    count = len(corners)
    vertices = [(x, y, front) for x, y in corners] + [(x, y, front - depth) for x, y in corners]
    faces = [tuple(range(count)), tuple(range(2 * count - 1, count - 1, -1))]
    faces += [(k, k + count, (k + 1) % count + count, (k + 1) % count) for k in range(count)]
    return mesh(name, vertices, faces, material)


def _put_up(parts: Sequence[bpy.types.Object], at: Point, heading: float, height: float) -> None:
    """Stand a sign's parts upright on a pole, seen from heading 0 by who drives along +y."""
    upright = Matrix.Translation((at[0], at[1], height))
    upright @= Matrix.Rotation(heading, 4, "Z") @ Matrix.Rotation(math.pi / 2, 4, "X")
    for part in parts:
        part.matrix_world = upright @ part.matrix_world
    behind = (at[0] - 0.035 * math.sin(heading), at[1] + 0.035 * math.cos(heading))
    steel = mottled("pole", (0.25, 0.26, 0.27), (0.42, 0.43, 0.44), 8, 0.0005, 0.45)
    tube("pole", [(*behind, 0), (*behind, height + 0.3)], (0.028, 0.028), steel)


def stop_sign(at: Point, heading: float) -> list[bpy.types.Object]:
    """Put up a stop sign; return its parts, the plate first.

    Parameters
    ----------
    at
        Foot of its pole, m.
    heading
        Of the traffic that reads it, rad from +y.
    """
    reach = FLATS / 2 / math.cos(math.pi / 8)
    first = math.pi / 8
    white, red = plain("sheeting", WHITE, 0.35), plain("red sheeting", RED, 0.35)
    parts = [
        _plate(
            STOP, disc(8, reach, first), 0.004, 0.0, plain("aluminium", (0.4, 0.41, 0.42), 0.4, Metallic=0.7)
        ),
        _plate(f"{STOP} border", disc(8, reach * 0.995, first), 0.001, 0.0015, white),
        _plate(f"{STOP} face", disc(8, reach * 0.935, first), 0.001, 0.003, red),
    ]
    curve = bpy.data.curves.new(f"{STOP} letters", "FONT")
    curve.body, curve.align_x, curve.align_y = "STOP", "CENTER", "CENTER"
    curve.size, curve.offset, curve.space_character = 0.34, 0.011, 1.08
    letters = bpy.data.objects.new(f"{STOP} letters", curve)
    bpy.context.scene.collection.objects.link(letters)
    curve.materials.append(white)
    bpy.context.view_layer.update()
    width, height = letters.dimensions[:2]
    letters.matrix_world = Matrix.Translation((0, 0, 0.0045)) @ Matrix.Diagonal(
        (0.60 / width, 0.25 / height, 1, 1)
    )
    parts.append(letters)
    _put_up(parts, at, heading, SIGN_HEIGHT)
    return parts


def no_entry(at: Point, heading: float) -> None:
    """Put up a red round sign with a white bar.

    Parameters
    ----------
    at
        Foot of its pole, m.
    heading
        Of the traffic that reads it, rad from +y.
    """
    bar = [(-0.21, -0.05), (0.21, -0.05), (0.21, 0.05), (-0.21, 0.05)]
    parts = [
        _plate("round", disc(48, 0.30), 0.004, 0.0, plain("back", (0.4, 0.41, 0.42), 0.4, Metallic=0.7)),
        _plate("round rim", disc(48, 0.298), 0.001, 0.0015, plain("rim", WHITE, 0.35)),
        _plate("round face", disc(48, 0.285), 0.001, 0.003, plain("round red", RED, 0.35)),
        _plate("round bar", bar, 0.001, 0.0045, plain("bar", WHITE, 0.35)),
    ]
    _put_up(parts, at, heading, 2.0)


def barrier(at: Point, length: float = 1.5) -> None:
    """Put up a barrier of two red and white boards across the lane.

    Parameters
    ----------
    at
        Its middle on the ground, m.
    length
        m.
    """
    boards = striped("boards", (0.62, 0.025, 0.02), (0.75, 0.75, 0.73), 0.5)
    grey = plain("feet", (0.08, 0.08, 0.085), 0.7)
    for up in (0.42, 0.88):
        box("board", (at[0], at[1], up), (length, 0.03, 0.2), boards, 0.005)
    for side in (-0.42 * length, 0.42 * length):
        box("post", (at[0] + side, at[1] + 0.03, 0.52), (0.05, 0.04, 1.0), grey)
        box("foot", (at[0] + side, at[1] + 0.03, 0.05), (0.22, 0.7, 0.1), grey, 0.02)


def bench(at: Point, turn: float) -> None:
    """Set a bench of planks.

    Parameters
    ----------
    at
        Its middle on the ground, m.
    turn
        About z, rad; 0 sits facing -y.
    """
    wood = mottled("planks", (0.13, 0.07, 0.035), (0.30, 0.18, 0.1), 40, 0.001, 0.6, (0.15, 1, 1))
    iron = plain("iron", (0.03, 0.03, 0.032), 0.5)
    parts = [box("plank", (0, y, 0.44), (1.5, 0.1, 0.035), wood, 0.006) for y in (-0.18, -0.06, 0.06, 0.18)]
    parts += [box("back", (0, 0.25, z), (1.5, 0.035, 0.1), wood, 0.006) for z in (0.6, 0.74, 0.88)]
    for x in (-0.62, 0.62):
        parts += [box("leg", (x, -0.2, 0.21), (0.05, 0.05, 0.42), iron)]
        parts += [box("leg", (x, 0.22, 0.47), (0.05, 0.05, 0.94), iron)]
        parts += [box("rail", (x, 0, 0.41), (0.05, 0.46, 0.04), iron)]
    frame = Matrix.Translation(at) @ Matrix.Rotation(turn, 4, "Z")
    for part in parts:
        part.matrix_world = frame @ Matrix.Translation(part.location)


def planter(at: Point, size: float, height: float) -> None:
    """Set a planter of concrete.

    Parameters
    ----------
    at
        Its middle on the ground, m.
    size
        Of its sides, m.
    height
        m.
    """
    concrete = mottled("concrete", (0.22, 0.21, 0.195), (0.38, 0.37, 0.345), 25, 0.001, 0.8)
    soil = mottled("soil", (0.02, 0.014, 0.01), (0.06, 0.042, 0.03), 40, 0.02)
    x, y, z = at
    for side, across in ((-1, 1), (1, 1), (-1, 0), (1, 0)):
        off = side * (size / 2 - 0.03)
        where = (x + off, y, z + height / 2) if across else (x, y + off, z + height / 2)
        box("planter", where, (0.06, size, height) if across else (size, 0.06, height), concrete, 0.008)
    box("soil", (x, y, z + height / 2 - 0.04), (size - 0.1, size - 0.1, height - 0.08), soil)


def lamp_post(at: Point, reach: float, watts: float) -> None:
    """Put up a street lamp.

    Parameters
    ----------
    at
        Foot of its post, m.
    reach
        How far its head stands out along x, m.
    watts
        Of its warm light; 0 is off.
    """
    x, y, z = at
    iron = plain("post iron", (0.035, 0.04, 0.038), 0.45)
    tube("post", [(x, y, z), (x, y, z + 0.9), (x, y, z + 4.2)], (0.065, 0.05, 0.04), iron)
    tube("arm", [(x, y, z + 4.15), (x + reach / 2, y, z + 4.35), (x + reach, y, z + 4.3)], (0.03,) * 3, iron)
    box("head", (x + reach, y, z + 4.27), (0.55, 0.2, 0.08), iron, 0.02)
    glow = {"Emission_Color": (1, 0.6, 0.28, 1), "Emission_Strength": 30.0} if watts else {}
    box(
        "glass",
        (x + reach, y, z + 4.22),
        (0.42, 0.14, 0.02),
        plain("lamp glass", (0.6, 0.58, 0.5), 0.3, **glow),
    )
    if watts:
        light = bpy.data.lights.new("lamp", "SPOT")
        light.energy, light.color = watts, (1.0, 0.62, 0.30)
        light.spot_size, light.spot_blend, light.shadow_soft_size = 2.5, 0.6, 0.12
        thing = bpy.data.objects.new("lamp", light)
        thing.location = (x + reach, y, z + 4.18)
        bpy.context.scene.collection.objects.link(thing)


def bottle(at: Point) -> None:
    """Stand a green bottle, 0.3 m high.

    Parameters
    ----------
    at
        Middle of its foot, m.
    """
    outline = ((0.0, 0.037), (0.02, 0.04), (0.17, 0.04), (0.22, 0.016), (0.29, 0.014), (0.3, 0.015))
    glass = plain("bottle glass", (0.01, 0.11, 0.025), 0.06, IOR=1.5, Coat_Weight=0.6)
    tube("bottle", [(at[0], at[1], at[2] + h) for h, _ in outline], [r for _, r in outline], glass, 20)
