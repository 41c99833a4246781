"""What stamps say: late frames, gaps and jumps."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvm_perception import Tracker
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.vision.frame_clock import FrameClock, Step


def steps(stamps):
    clock = FrameClock()
    return [clock.step(s) for s in stamps]


def test_even_stamps_are_one_period_apart():
    clock = FrameClock()
    assert [clock.step(50 + k / 30).periods for k in range(60)] == pytest.approx([1.0] * 60)
    assert clock.period == pytest.approx(1 / 30)


def test_a_slower_camera_is_measured():
    clock = FrameClock()
    for k in range(100):
        step = clock.step(k / 10)
    assert clock.period == pytest.approx(0.1, rel=1e-3)
    assert step.periods == pytest.approx(1.0, rel=1e-3)


def test_swapped_frames_are_late_and_no_jump():
    got = steps([0.0, 2 / 30, 1 / 30, 3 / 30])
    assert not any(s.jumped or s.gap for s in got)
    assert [round(s.periods, 1) for s in got][:3] == [1.0, 2.0, 0.0]
    assert 0 < got[3].periods < 1.1  # since the newest stamp, not since the late one


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.lists(st.floats(-2, 2), min_size=2, max_size=60))
def test_jitter_of_some_periods_never_jumps(rate, jitter):
    """At 30 Hz, and at whatever rate the clock has settled on."""
    clock = FrameClock()
    for k in range(200):
        clock.step(1000 + k / rate)
    period = clock.period
    got = [clock.step(1000 + 200 / rate + k * period + j * min(period, 0.1)) for k, j in enumerate(jitter)]
    assert not any(s.jumped for s in got)


@pytest.mark.parametrize("back", [0.3, 0.5, 5.0, 1e9])
def test_time_that_goes_back_further_is_a_jump(back):
    clock = FrameClock()
    for k in range(60):
        clock.step(2e9 + k / 30)
    assert clock.step(2e9 + 59 / 30 - back) == Step(1.0, jumped=True)
    step = clock.step(2e9 + 60 / 30 - back)  # it goes on from there
    assert step.periods == pytest.approx(1.0, rel=1e-3)
    assert not step.jumped and not step.gap


def test_a_clock_that_runs_backwards_jumps_in_the_end():
    assert any(s.jumped for s in steps([-k / 30 for k in range(20)]))


def test_a_long_gap():
    clock = FrameClock()
    clock.step(1.0)
    step = clock.step(4.0)
    assert step.gap and not step.jumped
    assert step.periods == pytest.approx(90)
    assert clock.period == pytest.approx(1 / 30)  # a gap says nothing of the camera's rate


@pytest.mark.parametrize("stamp", [None, math.nan, math.inf, -math.inf])
def test_no_stamp_is_one_period(stamp):
    assert steps([0.0, stamp, 1 / 30]) == [Step(1.0), Step(1.0), Step(pytest.approx(1.0))]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats()), max_size=20))
def test_any_stamps_give_finite_periods_that_are_not_negative(stamps):
    clock = FrameClock()
    for stamp in stamps:
        step = clock.step(stamp)
        assert step.periods >= 0
        assert 0 < clock.period <= 1.0


@pytest.fixture(scope="module")
def frames():
    return [f.image for f in SimulatedStream(2, (240, 320), 30.0, 40)]


def test_a_late_frame_costs_no_track_its_id(frames):
    order = list(range(len(frames)))
    for k in range(10, len(order) - 1, 4):
        order[k], order[k + 1] = order[k + 1], order[k]
    ids = {}
    for name, sequence in (("in order", range(len(frames))), ("swapped", order)):
        tracker = Tracker(targets=("green_ball",))
        ids[name] = {t.id for k in sequence for t in tracker.update(frames[k], 100 + k / 30)}
    assert ids["in order"]
    assert len(ids["swapped"]) <= len(ids["in order"])


def test_a_stamp_that_jitters_keeps_the_recurrent_state(frames):
    tracker = Tracker()
    for k, image in enumerate(frames[:10]):
        tracker.update(image, 100 + k / 30 - (0.05 if k % 3 == 2 else 0.0))
        assert math.isnan(tracker.prediction_error()[0]) == (k == 0)
