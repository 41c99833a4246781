"""Scores that mean something: the fit, the probability, and what a model file may say."""

import numpy as np
import pytest

from pvm_perception.errors import PvmError
from pvm_perception.training.calibrate import calibrate, fit
from pvm_perception.types import TARGETS, Candidate
from pvm_perception.vision.calibration import Calibration


def test_the_fit_finds_the_sigmoid_and_the_doubt_that_made_the_hits():
    rng = np.random.default_rng(0)
    truth = Calibration(3.0, 2.5, {"stop_sign": 0.8})
    scores, sides = rng.uniform(0.01, 0.9, 40000), rng.uniform(2, 8, 40000)
    targets = rng.integers(0, 2, 40000)
    large = (targets == 1) & (rng.random(40000) < 0.2)
    sides[large] = rng.uniform(8, 80, large.sum())
    found = [
        truth.detection(Candidate(TARGETS[t], 0, 0, 2 * s, 2 * s, p), 0.5).score
        for t, s, p in zip(targets, sides, scores, strict=True)
    ]
    fitted = fit(np.stack([targets, scores, sides, rng.random(40000) < found], 1))
    assert fitted.slope == pytest.approx(truth.slope, rel=0.1)
    assert fitted.doubt["stop_sign"] == pytest.approx(0.8, abs=0.1)
    assert fitted.doubt["green_ball"] == pytest.approx(0, abs=0.05)
    assert Calibration.of(fitted.entries()) == fitted


def test_a_large_box_of_a_middling_score_is_doubted():
    calibration = Calibration(2.0, 1.0, {"stop_sign": 0.6})

    def probability(target: str, side: float, score: float) -> float:
        return calibration.detection(Candidate(target, 0, 0, side, side, score), 0.25).score

    assert probability("stop_sign", 20, 0.5) == calibration.probability(0.5)
    assert probability("stop_sign", 160, 0.5) < 0.4 < 0.6 < probability("stop_sign", 60, 0.5)
    assert probability("stop_sign", 160, 0.9) > 0.9
    assert probability("stop_sign", 400, 0.5) == probability("stop_sign", 200, 0.5)
    assert probability("cup", 160, 0.5) == calibration.probability(0.5)
    found = calibration.detection(Candidate("stop_sign", 0, 0, 160, 160, 0.5), 0.25, evidence=0.3)
    assert found.score == calibration.probability(0.5, found.evidence - found.doubt) and found.doubt > 1


def test_without_a_fit_the_probability_is_the_score():
    assert Calibration.of({}).probability(0.3) == pytest.approx(0.3)
    assert 0 < Calibration(5, 8).probability(0.0) < 0.01
    assert Calibration(5, 8).probability(1.0) > 0.99
    assert Calibration(1e308, -1e308).probability(0.2) == pytest.approx(0, abs=1e-300)  # no overflow


@pytest.mark.parametrize("pair", ["no", [1], [0, 1], [float("nan"), 0], [1, None], [10**400, 0]])
def test_a_wrong_calibration_is_refused_in_one_line(pair):
    with pytest.raises(PvmError, match="slope above 0"):
        Calibration.of({"calibration": pair})


@pytest.mark.parametrize("doubt", ["no", {"stop_sign": -1}, {"stop_sign": float("nan")}, {"stop_sign": "x"}])
def test_a_wrong_doubt_is_refused_in_one_line(doubt):
    with pytest.raises(PvmError, match="0 or more by target"):
        Calibration.of({"doubt_by_size": doubt})


def test_a_model_can_be_calibrated_on_generated_scenes():
    from pvm_perception.shipped import default_model

    found = calibrate(default_model(), count=4)
    assert found.slope > 0
    assert found.probability(0.6) > found.probability(0.1)
