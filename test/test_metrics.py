"""Measures against cases that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvm_perception.evaluation import metrics
from pvm_perception.evaluation.evaluate import shot
from pvm_perception.types import Box, Frame, Track

side = st.floats(0.1, 100)
place = st.floats(-100, 100)
box = st.tuples(place, place, side, side).map(np.array)


@given(a=box, b=box)
def test_overlap_is_symmetric_and_bounded(a, b):
    value = metrics.overlap(a, b)
    assert 0 <= value <= 1 + 1e-9
    assert value == pytest.approx(metrics.overlap(b, a))
    assert metrics.overlap(a, a) == pytest.approx(1)


def test_overlap_by_hand():
    assert metrics.overlap(np.array([0, 0, 2, 2]), np.array([1, 0, 2, 2])) == pytest.approx(1 / 3)


def test_success_auc_by_hand():
    assert metrics.success_auc(np.ones(5)) == pytest.approx(0.995, abs=0.006)
    assert metrics.success_auc(np.zeros(5)) == pytest.approx(0, abs=0.006)
    assert metrics.success_auc(np.array([0.5, 0.5])) == pytest.approx(0.5, abs=0.006)


def test_precision_by_hand():
    assert metrics.precision_at([5, 20, 21, np.inf], 20) == 0.5
    assert metrics.normalised_precision([0, 0]) == 1
    assert metrics.normalised_precision([0.25, 0.25]) == pytest.approx(0.5, abs=0.02)


def test_long_term_takes_the_best_threshold():
    """Frame 3 is a loud false alarm with the lowest score: leaving it out is best."""
    result = metrics.long_term(
        np.array([0.8, 0.6, 0.0, 0.0]), np.array([0.9, 0.8, 0.1, -1]), np.array([True, True, False, True])
    )
    assert result["precision"] == pytest.approx(0.7)
    assert result["recall"] == pytest.approx(1.4 / 3)


def test_presence_by_hand():
    reported, there = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    found = metrics.presence(reported, there)
    assert (found["presence_f1"], found["false_alarms"]) == (0.5, 0.5)
    assert np.isnan(metrics.presence(reported, np.ones(4, bool))["false_alarms"])


def test_finding_any_instance_is_right():
    image = np.zeros((100, 320, 3), np.uint8)
    frame = Frame(image, "0", boxes=(Box("a", 0, 0, 10, 10), Box("a", 50, 50, 10, 10)))
    s = shot(frame, "a", [Track("a", 50, 50, 10, 10, 0.9, 1), Track("b", 0, 0, 10, 10, 1.0, 2)])
    assert s.iou == pytest.approx(1)
    assert s.error == 0
    missed = shot(frame, "a", [])
    assert (missed.iou, missed.score, missed.present) == (0, -1, True)


def test_a_calibrated_score_has_no_calibration_error():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 50000)
    assert metrics.calibration_error(scores, rng.random(50000) < scores) < 0.02
    assert metrics.calibration_error(scores, np.zeros(50000)) == pytest.approx(0.5, abs=0.01)
    assert np.isnan(metrics.calibration_error(np.zeros(0), np.zeros(0)))
    rows = metrics.reliability(np.array([0.05, 0.05, 1.0]), np.array([0, 1, 1]))
    np.testing.assert_allclose(rows[0], [0.05, 0.5, 2])
    np.testing.assert_allclose(rows[-1], [1, 1, 1])


def test_false_alarms_per_minute_count_beginnings():
    """Two episodes in 900 frames without the target, which are half a minute."""
    reported, there = np.zeros(1000, bool), np.zeros(1000, bool)
    there[:100] = reported[:50] = True
    reported[200:230] = reported[999] = True
    found = metrics.presence(reported, there)
    assert found["false_alarms_per_minute"] == pytest.approx(4)
    assert found["false_alarms"] == pytest.approx(31 / 900)
    assert np.isnan(metrics.presence(reported, np.ones(1000, bool))["false_alarms_per_minute"])
