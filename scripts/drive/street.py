"""The street that the robot drives along: lane, kerbs, lawns, wall, houses, trees, and things beside it."""

from __future__ import annotations

import math

import bpy
import numpy as np
from materials import asphalt, bricks, mottled, plain
from plants import Wood, lawn
from props import barrier, bench, bottle, lamp_post, no_entry, planter, stop_sign
from shapes import Point, ball, box, mesh, place

LANE = 2.2  # m, half of its width
KERB = 0.12  # m, its height
START, END = -14.0, 46.0  # m, along y
WARM = (1.0, 0.55, 0.22)


def build(rng: np.random.Generator, wet: float, night: bool) -> tuple[Wood, list[list[bpy.types.Object]]]:
    """Build the street.

    Parameters
    ----------
    rng
        Source of chance: the same one gives the same street.
    wet
        0 is dry, 1 is after a night of rain.
    night
        Whether lamps and windows are lit.

    Returns
    -------
    tuple
        The trees, and the parts of each stop sign, its plate first.
    """
    _ground(wet)
    _edges()
    wood = Wood(rng)
    for at, scale in _trees():
        wood.tree((*at, 0), scale * rng.uniform(0.92, 1.08), far=abs(at[0]) > 6 or not -9 < at[1] < 40)
    wood.hedge((7.9, START, 0), (7.9, 9, 0), 1.5)
    wood.hedge((-5.6, 21, 0), (-5.6, 38, 0), 1.4)
    lawn(rng, [(-5.3, -2.36, -2, 25), (3.92, 7.6, -2, 25)])
    _houses(night)
    for x, y, reach in ((2.75, 9.6, -0.8), (-2.75, 13.2, 0.8), (-2.75, 1.0, 0.8), (2.75, 21.0, -0.8)):
        lamp_post((x, y, KERB), reach, 420.0 if night else 0.0)
    wood.bush((4.6, 13.2, 0.42), 0.45)
    wood.bush((-3.5, 12.4, 0.36), 0.36, colours=((0.02, 0.09, 0.012), (0.06, 0.24, 0.03)))
    planter((-1.5, 9.4, 0), 0.62, 0.42)
    wood.bush((-1.5, 9.4, 0.55), 0.3, 1300)
    bench((3.2, 12.6, KERB), -math.pi / 2)
    barrier((-1.2, 17.8))
    no_entry((-2.75, 16.5, 0), 0.0)
    no_entry((2.75, 7.2, 0), math.pi)
    bottle((2.27, 8.3, KERB))
    ball("yellow ball", 0.12, plain("yellow", (0.75, 0.45, 0.02), 0.45)).location = (-3.1, 7.6, 0.2)
    ball("blue ball", 0.12, plain("blue", (0.02, 0.09, 0.5), 0.45)).location = (3.1, 15.2, KERB + 0.12)
    return wood, [stop_sign((2.62, 16.0, 0), 0.0), stop_sign((-2.62, 5.0, 0), math.pi)]


def _trees() -> list[tuple[Point, float]]:
    """Return the foot, m, and the size of each tree."""
    lane = [((5.4, y), 1.25) for y in (-7, 1.5, 10.6, 18.6, 27, 36)]
    lane += [((-4.1, y), 1.15) for y in (-3, 7.0, 19.5, 29, 38)]
    ends = [((x, y), 1.7) for y in (50, -19) for x in (-17, -11.5, -7, -2.5, 2, 6.5, 11, 16)]
    sides = [((x, y), 1.6) for x in (-18, 21) for y in (-8, 2, 18, 27, 38)]
    return lane + ends + sides


def _sheet(name: str, left: float, right: float, near: float, far: float, up: float, material) -> None:
    """Lay a flat rectangle at a height, m."""
    corners = [(left, near, up), (right, near, up), (right, far, up), (left, far, up)]
    mesh(name, corners, [(0, 1, 2, 3)], material)


def _ground(wet: float) -> None:
    turf = mottled("turf", (0.03, 0.055, 0.014), (0.085, 0.115, 0.03), 12, 0.02)
    paving = bricks("paving", (0.24, 0.22, 0.2), (0.33, 0.3, 0.27), (0.08, 0.075, 0.07), 0.4, upright=False)
    _sheet("land", -90, 90, -90, 110, -0.03, turf)
    _sheet("lane", -LANE, LANE, START - 6, END + 6, 0.0, asphalt(wet))
    _sheet("lawn left", -30, -LANE - 0.12, START, END, 0.05, turf)
    _sheet("lawn right", 3.88, 30, START, END, 0.05, turf)
    _sheet("pavement", LANE + 0.12, 3.88, START, END, KERB - 0.005, paving)
    box(
        "edging",
        (3.9, (START + END) / 2, 0.06),
        (0.06, END - START, 0.13),
        plain("edging", (0.2, 0.2, 0.19), 0.9),
    )


def _edges() -> None:
    """Kerbs of stones a metre long; a wall on the left with a cap; a fence on the right."""
    stone = mottled("kerb", (0.2, 0.195, 0.185), (0.36, 0.35, 0.33), 18, 0.002, 0.85)
    first = box("kerb", (0, 0, 0), (0.13, 0.992, 0.26), stone, 0.018)
    for x in (-LANE - 0.06, LANE + 0.06):
        for y in np.arange(START, END):
            place("kerb", first.data, (x, y, KERB - 0.13)).modifiers.new("bevel", "BEVEL").width = 0.018
    bpy.data.objects.remove(first)
    masonry = bricks("wall", (0.22, 0.07, 0.045), (0.36, 0.13, 0.08), (0.34, 0.32, 0.29), 0.24)
    box("wall", (-5.6, 3.2, 0.75), (0.24, 34.4, 1.5), masonry)
    box("cap", (-5.6, 3.2, 1.54), (0.34, 34.4, 0.08), stone, 0.012)
    white = mottled("pickets", (0.5, 0.49, 0.46), (0.68, 0.67, 0.63), 20, 0.0005, 0.6, (1, 1, 0.2))
    picket = box("picket", (0, 0, 0), (0.02, 0.09, 1.0), white, 0.006)
    for y in np.arange(9.4, 26, 0.16):
        place("picket", picket.data, (7.9, y, 0.55))
    bpy.data.objects.remove(picket)
    for up in (0.3, 0.8):
        box("rail", (7.94, 17.7, up), (0.04, 16.8, 0.07), white)


def _houses(night: bool) -> None:
    plaster = mottled("plaster", (0.55, 0.5, 0.42), (0.66, 0.61, 0.52), 30, 0.002, 0.9)
    grey = mottled("render", (0.38, 0.4, 0.42), (0.5, 0.51, 0.52), 30, 0.002, 0.9)
    masonry = bricks("facade", (0.26, 0.1, 0.06), (0.4, 0.18, 0.11), (0.4, 0.38, 0.35), 0.24)
    _house((-11.5, 6.5), (8, 9.5, 5.2), plaster, night)
    _house((-12.0, 27), (8.5, 10, 5.6), masonry, night)
    _house((13.6, 15.5), (8, 9, 5.4), masonry, night)
    _house((13.2, -2.5), (8, 10, 5.0), grey, night)
    _house((13.4, 33), (8, 9, 5.2), plaster, night)
    _house((3.5, 61), (14, 8, 6.0), plaster, night)
    _house((-12, 60), (10, 8, 5.5), masonry, night)
    _house((-3.5, -30), (14, 8, 6.0), masonry, night)


def _house(at: Point, size: Point, walls: bpy.types.Material, night: bool) -> None:
    """Build a house with a roof along y, windows on all sides, and a chimney."""
    (x, y), (wide, long, high) = at, size
    box("house", (x, y, high / 2), size, walls)
    tiles = bricks("tiles", (0.13, 0.055, 0.04), (0.2, 0.085, 0.06), (0.05, 0.03, 0.025), 0.36)
    half, end, top = wide / 2 + 0.4, long / 2 + 0.4, high + wide * 0.36
    low = high - 0.25
    corners = [(x + i * half, y + j * end, low) for j in (-1, 1) for i in (-1, 1)]
    corners += [(x, y - end, top), (x, y + end, top)]
    mesh("roof", corners, [(0, 4, 5, 2), (1, 3, 5, 4), (0, 1, 4), (3, 2, 5), (0, 2, 3, 1)], tiles)
    gable = [(x + i * wide / 2, y + j * (long / 2 + 0.38), high - 0.02) for j in (-1, 1) for i in (-1, 1)]
    peak = high + wide * 0.36 - 0.3
    gable += [(x, y - long / 2 - 0.38, peak), (x, y + long / 2 + 0.38, peak)]
    mesh("gable", gable, [(0, 1, 4), (3, 2, 5)], walls)
    box("chimney", (x + wide * 0.2, y + long * 0.2, top), (0.6, 0.6, 1.8), walls)
    lit = night
    for number, along in enumerate(np.arange(-long / 2 + 1.5, long / 2 - 1, 2.2)):
        for storey in (1.5, 4.0):
            for side in (-1, 1):
                bright = lit and (number * 7 + int(storey) * 3 + side + int(x)) % 3 == 0
                _window((x + side * wide / 2, y + along, storey), (0, 1), bright)
    for number, along in enumerate(np.arange(-wide / 2 + 1.5, wide / 2 - 1, 2.4)):
        for storey in (1.5, 4.0):
            for side in (-1, 1):
                bright = lit and (number * 5 + int(storey) + side + int(y)) % 3 == 0
                _window((x + along, y + side * long / 2, storey), (1, 0), bright)


def _window(at: Point, along: Point, lit: bool) -> None:
    """Set a window into a wall that runs along x (1, 0) or y (0, 1)."""
    glow = {"Emission_Color": (*WARM, 1), "Emission_Strength": 1.6} if lit else {}
    key = "lit pane" if lit else "pane"
    pane = bpy.data.materials.get(key) or plain(key, (0.03, 0.04, 0.05), 0.04, **glow)
    frame = bpy.data.materials.get("frame") or plain("frame", (0.6, 0.6, 0.58), 0.5)
    i, j = along
    box("frame", at, (i * 1.15 + j * 0.1, j * 1.15 + i * 0.1, 1.35), frame, 0.01)
    for side in (-0.27, 0.27):
        where = (at[0] + i * side, at[1] + j * side, at[2])
        box("pane", where, (i * 0.46 + j * 0.12, j * 0.46 + i * 0.12, 1.15), pane)
    sill = (at[0], at[1], at[2] - 0.7)
    box("sill", sill, (i * 1.35 + j * 0.3, j * 1.35 + i * 0.3, 0.06), frame)
