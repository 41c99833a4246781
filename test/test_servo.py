"""The servo keeps its limits whatever it gets; the rule of the stop sign has its hysteresis."""

import itertools
import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pvm_perception.ros.servo import Command, Servo, ServoSettings
from pvm_perception.ros.stop_rule import CLEAR, RELEASED, STOPPING, StopRule, StopSettings

events = st.lists(
    st.tuples(
        st.sampled_from(["saw", "missed", "nothing", "limit", "held", "released"]),
        st.floats(-math.pi, math.pi),
        st.floats(0, 20),
        st.floats(0.001, 1.5),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@example([("saw", 0.0, 2.0, 1.0), ("limit", 0.0, 3.0, 0.5), ("saw", 0.0, 0.0, 0.03125)], False, False)
@given(events, st.booleans(), st.booleans())
def test_limits_hold_whatever_happens(events, reverse, dead_man):
    s = ServoSettings(reverse=reverse, dead_man=dead_man)
    servo, now, last = Servo(s), 100.0, Command()
    for kind, bearing, distance, dt in events:
        now += dt
        if kind == "saw":
            servo.saw(bearing, distance, now)
        elif kind == "missed":
            servo.missed(now)
        elif kind == "limit":
            servo.limit(distance / 20)
        elif kind in ("held", "released"):
            servo.held(kind == "held", now)
        command = servo.step(now) or Command()
        assert -s.max_speed * reverse <= command.forward <= s.max_speed
        assert abs(command.turn) <= s.max_turn
        step = min(dt, 0.2) + 1e-9
        if command != Command():
            assert servo.state in ("following", "target lost")
            up, down = s.max_acceleration * step, s.max_deceleration * step
            down += s.min_speed * (command.forward == 0)  # what is slower than that is a stop
            faster = abs(command.forward) > abs(last.forward)
            assert abs(command.forward - last.forward) <= (up if faster else down) + 1e-9
            assert abs(command.turn - last.turn) <= s.max_turn_acceleration * step + 1e-9
        last = command


def run(servo, seconds, now=0.0, see=None, period=0.05):
    """Step at 20 Hz; `see` sets what each frame shows. Return commands and the time."""
    commands = []
    for _ in range(round(seconds / period)):
        now += period
        if see:
            see(servo, now)
        commands.append(servo.step(now))
    return commands, now


def test_it_comes_to_its_distance_and_does_not_overshoot():
    """A point robot before a ball that stands still, 4 m ahead and 40 degrees to the left."""
    servo = Servo(ServoSettings())
    x = y = heading = now = 0.0
    ball = (4 * math.cos(0.7), 4 * math.sin(0.7))
    nearest = math.inf
    for k in range(600):
        now += 0.05
        dx, dy = ball[0] - x, ball[1] - y
        distance = math.hypot(dx, dy)
        nearest = min(nearest, distance)
        if k % 2 == 0:
            servo.saw(-(math.atan2(dy, dx) - heading), distance, now)
        command = servo.step(now) or Command()
        heading += command.turn * 0.05
        x += command.forward * math.cos(heading) * 0.05
        y += command.forward * math.sin(heading) * 0.05
    assert nearest == pytest.approx(1.0, abs=0.15)
    assert servo.step(now + 0.05) in (None, Command())


def test_distances_that_err_do_not_shake_the_robot():
    rng = random.Random(0)
    changes = {}
    for trust in (0.3, 1.0):
        servo = Servo(
            ServoSettings(distance_trust=trust, max_speed=2.0, max_acceleration=5.0, max_deceleration=5.0)
        )
        commands, _ = run(servo, 10, 0.0, lambda s, t: s.saw(0.0, 1.8 * math.exp(rng.gauss(0, 0.2)), t))
        speeds = [c.forward for c in commands[20:]]
        changes[trust] = sum(abs(b - a) for a, b in itertools.pairwise(speeds))
    assert changes[0.3] < 0.5 * changes[1.0]


def ahead(servo, now):
    servo.saw(0.0, 3.0, now)


def test_loss_brakes_and_then_is_silent():
    servo = Servo(ServoSettings())
    assert run(servo, 1)[0] == [None] * 20  # nothing seen yet, no command
    commands, now = run(servo, 2, 1.0, ahead)
    assert commands[-1].forward == pytest.approx(0.3)
    commands, now = run(servo, 4, now, lambda s, t: s.missed(t))
    assert servo.state == "target lost"
    speeds = [c.forward for c in commands if c]
    assert speeds[8] == pytest.approx(0.3)  # within loss_timeout it drives on
    assert speeds[-1] == 0 and all(a >= b for a, b in itertools.pairwise(speeds))
    assert commands[-1] is None  # and lets others drive
    commands, now = run(servo, 1, now, ahead)
    assert commands[-1].forward > 0.2


def test_silence_is_a_stop_at_once():
    servo = Servo(ServoSettings())
    _, now = run(servo, 2, 0.0, ahead)
    commands, _ = run(servo, 1, now)
    k = next(k for k, c in enumerate(commands) if c == Command())
    assert k == pytest.approx(10, abs=1)  # dead_man_timeout
    assert commands[k - 1].forward > 0.25
    assert servo.state == "no detections"


def test_the_dead_mans_switch():
    servo = Servo(ServoSettings(dead_man=True))
    assert set(run(servo, 1, 0.0, ahead)[0]) <= {None, Command()}

    def pressed(servo, now):
        servo.held(True, now)
        ahead(servo, now)

    commands, now = run(servo, 2, 1.0, pressed)
    assert commands[-1].forward > 0.25
    servo.held(False, now)
    assert servo.step(now + 0.05) == Command()
    commands, now = run(servo, 2, now, pressed)
    commands, now = run(servo, 2, now, ahead)  # the button's radio is gone
    assert commands[12] == Command()


def test_a_speed_limit_and_a_clock_that_jumps_back():
    servo = Servo(ServoSettings())
    servo.limit(0.5)
    commands, now = run(servo, 2, 100.0, ahead)
    assert commands[-1].forward == pytest.approx(0.15)
    servo.limit(0.01)
    commands, now = run(servo, 2, now, ahead)
    assert commands[-1].forward == 0  # below min_speed
    servo.limit(1.0)
    run(servo, 2, now, ahead)
    commands, _ = run(servo, 3, 5.0)
    assert commands[0] == Command() and commands[-1] is None
    commands, _ = run(servo, 2, 8.0, ahead)
    assert commands[-1].forward > 0.2


def frames(rule, distance, count, now, period=0.1):
    for _ in range(count):
        now += period
        rule.saw(distance, now)
        rule.step(now)
    return now


def test_the_stop_begins_lasts_and_ends():
    rule = StopRule(StopSettings())
    now = frames(rule, 2.5, 20, 0.0)
    assert rule.state == CLEAR
    now = frames(rule, 1.9, 4, now)
    now = frames(rule, None, 1, now)  # frames must agree without a gap
    now = frames(rule, 1.9, 4, now)
    assert rule.state == CLEAR
    now = frames(rule, 1.9, 1, now)
    assert rule.state == STOPPING
    now = frames(rule, None, 29, now)  # out of sight, the stop goes on
    assert rule.step(now)
    now = frames(rule, None, 3, now)
    assert rule.state == RELEASED
    now = frames(rule, 1.0, 50, now)  # the same sign does not stop it again
    assert rule.state == RELEASED
    now = frames(rule, 2.5, 50, now)  # nor between the two distances
    assert rule.state == RELEASED
    now = frames(rule, None, 20, now)  # nor after a short gap
    now = frames(rule, 1.0, 10, now)
    assert rule.state == RELEASED
    now = frames(rule, 3.5, 32, now)
    assert rule.state == CLEAR
    frames(rule, 1.0, 5, now)
    assert rule.state == STOPPING


def test_the_stop_is_counted_from_the_standstill():
    rule = StopRule(StopSettings())
    rule.moved(0.5)
    now = frames(rule, 1.5, 5, 0.0)
    now = frames(rule, 1.5, 50, now)
    assert rule.step(now)  # still rolling
    rule.moved(0.01)
    now = frames(rule, 1.5, 29, now)
    assert rule.step(now)
    now = frames(rule, 1.5, 3, now)
    assert rule.state == RELEASED


def test_a_sign_must_stay_while_the_robot_drives():
    """At 0.6 m/s and ten frames a second, 0.2 m are four periods; at 0.11 m/s nineteen."""
    for speed, needed in ((0.6, 5), (0.11, 20)):
        rule = StopRule(StopSettings())
        now = 0.0
        for k in range(needed):
            assert rule.state == CLEAR, k
            rule.moved(speed)
            now = frames(rule, 1.5, 1, now)
        assert rule.state == STOPPING
    rule, now = StopRule(StopSettings(travel=0.0)), 0.0
    rule.moved(0.1)
    frames(rule, 1.5, 5, now)
    assert rule.state == STOPPING


def test_the_way_counts_from_the_first_sight_of_the_sign_and_anew_after_a_gap():
    rule, now = StopRule(StopSettings()), 0.0
    for distance, count in ((4.0, 30), (1.9, 5)):  # seen from afar: five frames near are enough
        for _ in range(count):
            assert rule.state == CLEAR
            rule.moved(0.11)
            now = frames(rule, distance, 1, now)
    assert rule.state == STOPPING
    rule, now = StopRule(StopSettings()), 0.0
    for distance, count in ((4.0, 30), (None, 1), (1.9, 19)):
        for _ in range(count):
            rule.moved(0.11)
            now = frames(rule, distance, 1, now)
    assert rule.state == CLEAR
    rule.moved(0.11)
    frames(rule, 1.9, 1, now)
    assert rule.state == STOPPING


def test_without_odometry_or_when_it_falls_silent_the_frames_decide():
    rule = StopRule(StopSettings())
    rule.moved(0.0)  # standing, as far as is known
    now = frames(rule, 1.5, 10, 0.0)
    assert rule.state == CLEAR
    frames(rule, 1.5, 2, now)  # 1.1 s later nobody has repeated it
    assert rule.state == STOPPING


def test_a_stop_that_nobody_obeys_ends_too():
    rule = StopRule(StopSettings())
    rule.moved(0.5)
    now = frames(rule, 1.5, 5, 0.0)
    now = frames(rule, 1.5, 195, now)
    assert rule.step(now)
    frames(rule, 1.5, 10, now)
    assert rule.state == RELEASED
