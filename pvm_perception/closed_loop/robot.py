"""A differential-drive base: from speeds to wheels within limits, from wheels to odometry.

No ROS and no physics in it. Speeds are those of REP 103: forward in m/s, turn in rad/s and positive
to the left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WHEEL_RADIUS, TRACK = 0.05, 0.26  # m; TRACK is the distance between the wheels


@dataclass(frozen=True)
class BaseLimits:
    """What the motors can do."""

    speed: float = 0.6  # m/s
    turn: float = 2.0  # rad/s
    acceleration: float = 1.0  # m/s², also when braking
    turn_acceleration: float = 4.0  # rad/s²
    least_speed: float = 0.02  # m/s; less does not overcome the gears, the robot stands
    least_turn: float = 0.01  # rad/s, likewise


def wheel_rates(forward: float, turn: float) -> tuple[float, float]:
    """Return the left and the right wheel's rate, rad/s.

    Parameters
    ----------
    forward
        m/s.
    turn
        rad/s, positive to the left.
    """
    half = turn * TRACK / 2
    return (forward - half) / WHEEL_RADIUS, (forward + half) / WHEEL_RADIUS


def body_speeds(left: float, right: float) -> tuple[float, float]:
    """Return the forward speed, m/s, and the turning speed, rad/s, that wheels make without slip.

    Parameters
    ----------
    left, right
        The wheels' rates, rad/s.
    """
    return (left + right) / 2 * WHEEL_RADIUS, (right - left) * WHEEL_RADIUS / TRACK


class Base:
    """The base's controller: takes speeds, drives the wheels, reckons where it is.

    Attributes
    ----------
    x, y, yaw : metres and radians, from the wheels alone, in a frame that begins where the robot did
    forward, turn : speeds by the wheels
    """

    def __init__(self, limits: BaseLimits | None = None) -> None:
        self.limits = limits or BaseLimits()
        self.x = self.y = self.yaw = self.forward = self.turn = 0.0
        self._wanted = self._now = (0.0, 0.0)  # speeds: as commanded, and as the ramp has them

    def command(self, forward: float, turn: float) -> None:
        """Take the speeds to drive from now on; beyond the limits they are cut, too small is none.

        Parameters
        ----------
        forward
            m/s.
        turn
            rad/s, positive to the left.
        """
        most = self.limits
        self._wanted = (
            _within(forward, most.least_speed, most.speed),
            _within(turn, most.least_turn, most.turn),
        )

    def drive(self, dt: float) -> tuple[float, float]:
        """Return the wheels' rates, rad/s, for the next `dt` seconds."""
        changes = self.limits.acceleration * dt, self.limits.turn_acceleration * dt
        forward, turn = (
            now + min(max(wanted - now, -change), change)
            for now, wanted, change in zip(self._now, self._wanted, changes, strict=True)
        )
        self._now = forward, turn
        return wheel_rates(*self._now)

    def reckon(self, left: float, right: float, dt: float) -> None:
        """Move the odometry on by how far the wheels have turned.

        Parameters
        ----------
        left, right
            Radians that the wheels have turned.
        dt
            In which time, s.
        """
        way, angle = body_speeds(left, right)
        middle = self.yaw + angle / 2
        self.x += way * math.cos(middle)
        self.y += way * math.sin(middle)
        self.yaw += angle
        self.forward, self.turn = way / dt, angle / dt


def _within(value: float, least: float, most: float) -> float:
    return 0.0 if abs(value) < least else min(max(value, -most), most)
