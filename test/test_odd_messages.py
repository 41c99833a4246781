"""Whatever well-formed message comes: no callback raises, no odd number leaves, and good messages work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
pytest.importorskip("nav2_msgs.msg", reason="no nav2_msgs here; run `make setup`")

from odd_sender import (  # noqa: E402
    Bench,
    OptionalInputs,
    throw_at,
    throw_at_lessons,
    throw_at_optional_inputs,
    throw_at_parameters,
)

from pvm_perception.ros.node_settings import NODES  # noqa: E402


@pytest.mark.parametrize("kind", ["follower", "guard"])
@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False), count=st.integers(1, 20))
def test_any_messages_then_good_ones(nodes, kind, rng, count):
    bench = Bench(nodes[kind], kind)
    for _ in range(count):
        bench.throw(rng)
    bench.check()
    assert not bench.failures


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False), count=st.integers(1, 20))
def test_any_odometry_and_calibration_then_good_ones(rng, count):
    inputs = OptionalInputs()
    for _ in range(count):
        inputs.throw(rng)
    inputs.check()
    assert not inputs.failures


@pytest.mark.parametrize("kind", ["follower", "guard"])
def test_many_messages(nodes, kind):
    assert throw_at(nodes[kind], kind, 2000) == {}


def test_many_boxes_and_names_to_teach_and_forget():
    assert throw_at_lessons(2000) == {}


def test_many_odometries_and_calibrations():
    assert throw_at_optional_inputs(2000) == {}


@pytest.mark.parametrize("kind", NODES)
def test_any_parameters(nodes, kind):
    assert throw_at_parameters(nodes[kind], NODES[kind], 500) == {}
