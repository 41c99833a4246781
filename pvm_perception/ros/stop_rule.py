"""When a stop sign makes a robot stop, and when it may go on. No ROS in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pvm_perception.core.settings import check, setting

CLEAR, STOPPING, RELEASED = "clear", "stopping", "released"
SILENT = 1.0  # s after which the last speed, or the last frame, says nothing about now


@dataclass(frozen=True)
class StopSettings:
    """Distances, frames and times of the stop."""

    stop_distance: float = setting(
        2.0, "distance in metres; a sign nearer than this makes the robot stop", low=0.2, high=50.0
    )
    release_distance: float = setting(
        3.0,
        "distance in metres; after a stop, the next is for a sign that comes from beyond this, or from "
        "out of sight",
        low=0.2,
        high=60.0,
    )
    frames: int = setting(
        5,
        "number of consecutive frames that must show the sign nearer than `stop_distance` before the "
        "robot stops",
        low=1,
        high=100,
    )
    travel: float = setting(
        0.2,
        "metres that the robot must have driven with the sign in view, at whatever distance, before it "
        "stops; without `odom`, and with 0, the frames alone decide",
        low=0.0,
        high=10.0,
    )
    rearm_time: float = setting(
        3.0, "seconds without a sign within `release_distance` before the next stop", low=0.0, high=60.0
    )
    stop_time: float = setting(3.0, "seconds to stand still at the sign", low=0.0, high=60.0)
    standstill: float = setting(
        0.05,
        "speed in m/s of `odom` below which the robot counts as standing; without `odom` it counts as "
        "standing from the stop's begin",
        low=0.0,
        high=1.0,
    )
    longest_stop: float = setting(
        20.0,
        "seconds after which a stop ends in any case, whether the robot has stood or not",
        low=1.0,
        high=600.0,
    )

    def __post_init__(self) -> None:
        check(self)


class StopRule:
    """Clear → stopping, when a sign is near for some frames → released, until it has gone.

    The robot must also have driven some way with the sign in view: what flickers up beside a robot that
    creeps lasts for many frames, but not for a long way.

    A sign that goes out of sight while the robot stops for it does not end the stop: close to a
    sign the camera often sees past it.
    """

    def __init__(self, settings: StopSettings) -> None:
        self.settings = settings
        self.state = CLEAR
        self._count = 0  # consecutive frames with the sign near
        self._gone = math.nan  # since when, after a stop, no sign is within release_distance
        self._since = self._standing = math.nan  # of the stop: its begin, and the standstill's
        self._speed: float | None = None
        self._told = math.nan  # when the speed was last known, where the frames have a clock
        self._driven = 0.0  # metres, with the sign in view
        self._seen = math.nan  # when the sign was last in view

    def saw(self, distance: float | None, now: float) -> None:
        """Take note of a frame: the nearest sign's distance in metres, or None for no sign.

        Parameters
        ----------
        distance
            m to the nearest sign; None where none is seen.
        now
            Seconds, on a clock that nobody sets.
        """
        s = self.settings
        known = self._travel(distance, now)
        if self.state == CLEAR:
            near = distance is not None and distance < s.stop_distance
            self._count = self._count + 1 if near else 0
            if self._count >= s.frames and (self._driven >= s.travel or not known):
                self.state, self._since, self._standing = STOPPING, now, math.nan
        elif self.state == RELEASED:
            if distance is not None and distance <= max(s.release_distance, s.stop_distance):
                self._gone = math.nan
            elif not now >= self._gone:  # just gone, or a clock that jumped back
                self._gone = now
            if now - self._gone >= s.rearm_time:
                self.state, self._count = CLEAR, 0

    def _travel(self, distance: float | None, now: float) -> bool:
        """Count what the robot drives with the sign in view; return whether its speed is known."""
        if self._speed is not None and math.isnan(self._told):
            self._told = now
        if distance is None:
            self._driven, self._seen = 0.0, math.nan
        else:
            if self._speed is not None and 0 < now - self._seen <= SILENT:
                self._driven += self._speed * (now - self._seen)
            self._seen = now
        return self._speed is not None and now - self._told <= SILENT

    def moved(self, speed: float) -> None:
        """Take note of the robot's own speed, m/s."""
        self._speed, self._told = abs(speed), math.nan

    def step(self, now: float) -> bool:
        """Return whether the robot has to stop now; call it at a steady rate."""
        if self.state != STOPPING:
            return False
        if now < self._since:  # a clock that jumps back
            self._since, self._standing = now, math.nan
        standing = self._speed is None or self._speed <= self.settings.standstill
        if not standing:
            self._standing = math.nan
        elif math.isnan(self._standing):
            self._standing = now
        if (
            now - self._standing >= self.settings.stop_time  # false while it is NaN
            or now - self._since >= self.settings.longest_stop
        ):
            self.state, self._gone = RELEASED, math.nan
        return self.state == STOPPING
