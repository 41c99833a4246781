"""How robot and ball move: the robot's camera shakes as it drives; the ball flies, bounces and rolls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mathutils import Quaternion, Vector
from street import KERB, LANE

RADIUS = 0.11  # m, of the ball
STEP = 1 / 480  # s
GRAVITY, BOUNCE, GRIP, FRICTION = 9.81, 0.62, 0.9, 0.35  # m/s²; shares kept up and along; m/s² while it rolls
AWAY = (0.0, 0.0, -5.0)  # m, where the ball is before its first leg
CAMERA = 0.4  # m above the ground


@dataclass(frozen=True)
class Leg:
    """A kick or a throw.

    Attributes
    ----------
    start : s, when
    place : (3,) m, where the ball's middle is then
    speed : (3,) m/s, its speed then
    """

    start: float
    place: tuple[float, float, float]
    speed: tuple[float, float, float]


@dataclass(frozen=True)
class Route:
    """How the robot drives.

    Attributes
    ----------
    start : (2,) m, where it begins
    speed : m/s
    turns : pairs of a time, s, and the heading then, rad, left of +y; smooth between
    """

    start: tuple[float, float]
    speed: float
    turns: tuple[tuple[float, float], ...]

    def heading(self, time: float) -> float:
        """Return the heading at a time, rad."""
        for (t0, a0), (t1, a1) in zip(self.turns, self.turns[1:], strict=False):
            if time < t1:
                share = min(max((time - t0) / (t1 - t0), 0.0), 1.0)
                return a0 + (a1 - a0) * share * share * (3 - 2 * share)
        return self.turns[-1][1]

    def poses(self, times: Sequence[float], rng: np.random.Generator) -> list[tuple[tuple, tuple]]:
        """Return place, m, and angles, rad, of the camera at each of the times.

        Parameters
        ----------
        times
            (N,) s, ascending.
        rng
            Source of chance, for the shaking.
        """
        phases, poses = rng.uniform(0, 6.28, 6), []
        place, now = np.array(self.start), 0.0
        for time in times:
            while now < time - 1e-9:
                step = min(0.01, time - now)
                angle = self.heading(now)
                place = place + step * self.speed * np.array([-math.sin(angle), math.cos(angle)])
                now += step
            shake = [
                math.sin(2 * math.pi * f * time + p)
                for f, p in zip((0.7, 1.9, 3.4, 5.1, 1.1, 2.7), phases, strict=True)
            ]
            pitch = math.radians(0.35 * shake[0] + 0.3 * shake[1] + 0.16 * shake[2] + 0.06 * shake[3] - 0.5)
            roll = math.radians(0.35 * shake[4] + 0.2 * shake[5])
            yaw = self.heading(time) + math.radians(0.25 * shake[5])
            up = CAMERA + 0.003 * shake[2]
            poses.append(((place[0], place[1], up), (math.pi / 2 + pitch, roll, yaw)))
        return poses


def _ground(x: float) -> float:
    """Return the height of the ground beside or on the lane, m."""
    return KERB if abs(x) > LANE else 0.0


def _step(place: Vector, speed: Vector) -> Vector:
    """Move the ball on by a step; return its speed then."""
    place += speed * STEP
    floor = _ground(place.x) + RADIUS
    inside = abs(place.x) < LANE + 0.02
    if inside and abs(place.x) > LANE - RADIUS and place.z < KERB + RADIUS * 0.8 and speed.x * place.x > 0:
        place.x = math.copysign(LANE - RADIUS, place.x)
        speed.x *= -0.5
    if place.z > floor + 1e-4:
        speed.z -= GRAVITY * STEP
    elif speed.z < -0.35:
        place.z = floor
        speed = Vector((speed.x * GRIP, speed.y * GRIP, -BOUNCE * speed.z))
    else:
        place.z, speed.z = floor, 0.0
        pace = speed.length
        speed *= max(0.0, 1 - FRICTION * STEP / pace) if pace else 0.0
    return speed


def roll(legs: Sequence[Leg], times: Sequence[float]) -> list[tuple[Vector, Quaternion]]:
    """Return place and attitude of the ball at each of the times.

    Parameters
    ----------
    legs
        Its kicks and throws, in order.
    times
        (N,) s, ascending.
    """
    place, speed, turn = Vector(AWAY), Vector((0, 0, 0)), Quaternion((1, 0, 0, 0))
    now, waiting, poses, begun = 0.0, list(legs), [], False
    for time in times:
        while now < time - 1e-9:
            if waiting and now >= waiting[0].start:
                leg = waiting.pop(0)
                place, speed, begun = Vector(leg.place), Vector(leg.speed), True
            if begun:
                speed = _step(place, speed)
                spin = Vector((-speed.y, speed.x, 0)) / RADIUS  # rad/s, as if it rolled
                if spin.length > 1e-6:
                    turn = Quaternion(spin.normalized(), spin.length * STEP) @ turn
            now += STEP
        poses.append((place.copy(), turn.copy()))
    return poses
