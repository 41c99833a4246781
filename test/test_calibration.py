"""Scores that mean something: the fit, the probability, and what a model file may say."""

import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.training.calibrate import calibrate, fit
from pvm_perception.vision.calibration import Calibration


def test_the_fit_finds_the_sigmoid_that_made_the_hits():
    rng = np.random.default_rng(0)
    truth = Calibration(3.0, 2.5)
    scores = rng.uniform(0.01, 0.9, 20000)
    hits = rng.random(20000) < [truth.probability(s) for s in scores]
    found = fit(np.stack([scores, hits], 1))
    assert found.slope == pytest.approx(truth.slope, rel=0.1)
    assert found.offset == pytest.approx(truth.offset, rel=0.1)


def test_without_a_fit_the_probability_is_the_score():
    assert Calibration.of({}).probability(0.3) == pytest.approx(0.3)
    assert 0 < Calibration(5, 8).probability(0.0) < 0.01
    assert Calibration(5, 8).probability(1.0) > 0.99
    assert Calibration(1e308, -1e308).probability(0.2) == pytest.approx(0, abs=1e-300)  # no overflow


@pytest.mark.parametrize("pair", ["no", [1], [0, 1], [float("nan"), 0], [1, None], [10**400, 0]])
def test_a_wrong_calibration_is_refused_in_one_line(pair):
    with pytest.raises(PvmError, match="slope above 0"):
        Calibration.of({"calibration": pair})


def test_a_model_can_be_calibrated_on_generated_scenes():
    from pvm_perception.shipped import default_model

    found = calibrate(default_model(), count=4)
    assert found.slope > 0
    assert found.probability(0.6) > found.probability(0.1)
