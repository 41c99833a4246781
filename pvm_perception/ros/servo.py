"""Visual servoing to a target: speeds from its bearing and distance, within limits. No ROS in it.

Speeds are those of REP 103: forward in m/s, turn in rad/s and positive to the left; bearings are
radians and positive to the right, as the camera sees them. Times are seconds of one clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pvm_perception.core.settings import check, setting

LONGEST_STEP = 0.2  # s; a step that came later must not accelerate as if it had been on time
LEAST_TURN = 1e-3  # rad/s; less is none
FAREWELL = 1.0  # s of zero speed before silence, which lets other sources of commands drive


@dataclass(frozen=True)
class ServoSettings:
    """How the robot may move."""

    follow_distance: float = setting(1.0, "metres to keep from the target's centre", low=0.1, high=20.0)
    distance_tolerance: float = setting(
        0.1,
        "metres by which the distance may differ from `follow_distance` without a command to drive",
        low=0.0,
        high=5.0,
    )
    bearing_tolerance: float = setting(
        0.03,
        "radians by which the target may lie off straight ahead without a command to turn",
        low=0.0,
        high=1.0,
    )
    distance_gain: float = setting(
        0.8, "speed in m/s for each metre that the target is too far", low=0.0, high=10.0
    )
    bearing_gain: float = setting(
        1.5,
        "turning speed in rad/s for each radian that the target lies off straight ahead",
        low=0.0,
        high=10.0,
    )
    distance_trust: float = setting(
        0.3,
        "share of the newest distance in the one that is used; the rest is what the last one and the "
        "robot's motion make of it, 1 = no smoothing",
        low=0.05,
        high=1.0,
    )
    reverse: bool = setting(
        False, "drive backwards when the target comes nearer than `follow_distance`; false = stand still"
    )
    max_speed: float = setting(0.3, "largest speed in m/s, forward and backward", low=0.0, high=5.0)
    max_turn: float = setting(1.0, "largest turning speed in rad/s, to either side", low=0.0, high=10.0)
    max_acceleration: float = setting(
        0.5, "largest acceleration in m/s² when getting faster", low=0.01, high=20.0
    )
    max_deceleration: float = setting(
        1.0,
        "largest deceleration in m/s² when getting slower; a stop after `dead_man_timeout` is at once",
        low=0.01,
        high=20.0,
    )
    max_turn_acceleration: float = setting(
        2.0,
        "largest change of the turning speed in rad/s², when getting faster and slower",
        low=0.01,
        high=50.0,
    )
    min_speed: float = setting(
        0.02, "speed in m/s below which the robot stands still instead", low=0.0, high=1.0
    )
    loss_timeout: float = setting(
        0.5, "seconds without the target after which the robot brakes to a stop", low=0.0, high=10.0
    )
    dead_man_timeout: float = setting(
        0.5,
        "seconds without detections, or with `dead_man` without a true on its topic, after which the "
        "speed is zero at once",
        low=0.05,
        high=10.0,
    )
    dead_man: bool = setting(False, "drive only while the messages on the topic `dead_man` are true")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Command:
    """Speeds: `forward` in m/s, `turn` in rad/s, positive to the left."""

    forward: float = 0.0
    turn: float = 0.0


class Servo:
    """Follows a target; `step` says what to do now.

    Between frames the target is carried along by the robot's own motion, so that a bearing that
    is some frames old does not make it turn too far.
    """

    def __init__(self, settings: ServoSettings) -> None:
        self.settings = settings
        self.command = Command()
        self.bearing = self.distance = 0.0
        self.share = 1.0  # of max_speed and max_turn, as a speed limit leaves it
        self.state = "waiting"
        self._frame = self._seen = self._held = -math.inf
        self._last: float | None = None
        self._still = -math.inf  # since when there was a reason to drive

    def saw(self, bearing: float, distance: float, now: float) -> None:
        """Take note of a frame with the target in it.

        Parameters
        ----------
        bearing
            Radians, positive to the left of the camera's middle.
        distance
            m.
        now
            Seconds, on a clock that nobody sets.
        """
        # a box's size, hence the distance, errs by a fifth from frame to frame; its centre hardly
        known = now - self._seen <= self.settings.loss_timeout
        trust = self.settings.distance_trust if known else 1.0
        self.distance += trust * (distance - self.distance)
        self.bearing = bearing
        self._frame = self._seen = now

    def missed(self, now: float) -> None:
        """Take note of a frame without the target."""
        self._frame = now

    def held(self, pressed: bool, now: float) -> None:
        """Take note of the dead-man's switch.

        Parameters
        ----------
        pressed
            Whether somebody holds it.
        now
            Seconds, on a clock that nobody sets.
        """
        self._held = now if pressed else -math.inf

    def limit(self, share: float) -> None:
        """Drive at no more than a share, 0..1, of the largest speeds."""
        self.share = min(max(share, 0.0), 1.0)

    def step(self, now: float) -> Command | None:
        """Return the speeds for now; None when nothing is to be said.

        Call it at a steady rate. Time that jumps back is a new beginning.
        """
        if self._last is not None and now < self._last:
            self._frame = self._seen = self._held = -math.inf
            self._still = now
        dt = 0.0 if self._last is None else min(max(now - self._last, 0.0), LONGEST_STEP)
        self._last = now
        self._carry(dt)
        s, wanted, at_once = self.settings, Command(), False
        if s.dead_man and now - self._held > s.dead_man_timeout:
            self.state, at_once = "dead-man's switch released", True
        elif now - self._frame > s.dead_man_timeout:
            self.state, at_once = "no detections", True
        elif now - self._seen > s.loss_timeout:
            self.state = "target lost"
        else:
            self.state, wanted = "following", self._wanted()
            self._still = now
        if at_once:
            self.command = Command()
        else:
            forward = _ramp(
                self.command.forward, wanted.forward, s.max_acceleration * dt, s.max_deceleration * dt
            )
            if abs(forward) < s.min_speed and abs(wanted.forward) < s.min_speed:
                forward = 0.0
            self.command = Command(
                forward, _ramp(self.command.turn, wanted.turn, *[s.max_turn_acceleration * dt] * 2)
            )
        moving = self.command != Command()
        if moving:
            self._still = now
        return self.command if moving or now - self._still <= FAREWELL else None

    def _carry(self, dt: float) -> None:
        """Let the target move in the robot's frame as the robot's own motion makes it."""
        x = self.distance * math.cos(self.bearing) - self.command.forward * dt
        right = self.distance * math.sin(self.bearing)
        self.distance = math.hypot(x, right)
        self.bearing = math.atan2(right, x) + self.command.turn * dt

    def _wanted(self) -> Command:
        s = self.settings
        turn = -s.bearing_gain * _beyond(self.bearing, s.bearing_tolerance)
        error = _beyond(self.distance - s.follow_distance, s.distance_tolerance)
        # never faster than what braking from it, over the way left, allows
        forward = math.copysign(
            min(abs(s.distance_gain * error), math.sqrt(2 * s.max_deceleration * abs(error))), error
        )
        forward *= max(0.0, math.cos(self.bearing)) ** 2  # first turn, then drive
        if forward < 0 and not s.reverse:
            forward = 0.0
        speed, spin = s.max_speed * self.share, s.max_turn * self.share
        forward, turn = _clip(forward, speed), _clip(turn, spin)
        return Command(
            forward if abs(forward) >= s.min_speed else 0.0, turn if abs(turn) >= LEAST_TURN else 0.0
        )


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _beyond(error: float, tolerance: float) -> float:
    """Return by how much an error exceeds its tolerance, with its sign."""
    return math.copysign(max(abs(error) - tolerance, 0.0), error)


def _ramp(now: float, wanted: float, up: float, down: float) -> float:
    """Return the next speed on the way to the wanted one: `up` when faster, `down` when slower."""
    if now * wanted < 0:  # brake first
        wanted = 0.0
    change = up if abs(wanted) > abs(now) else down
    return now + _clip(wanted - now, change)
