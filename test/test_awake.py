"""Learning while it works: only the forecast moves, boxes stay, and what goes wrong is given up."""

from __future__ import annotations

import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.core import awake
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.streams.generated import SimulatedStream


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(7, (240, 320), 30.0, 24)]


def test_boxes_and_all_weights_but_the_forecasts_stay_bit_for_bit(images):
    frozen, learns = Tracker(), Tracker(learn=True)
    runs_on = frozen.runs_on
    before = {name: w.copy() for name, w in learns._network.weights.items()}
    found = 0
    for round_ in range(3):
        for k, image in enumerate(images):
            learns.learning = round_ != 1  # off and on again
            tracks = frozen.update(image)
            assert learns.update(image) == tracks
            found += len(tracks)
            for name, codes in frozen.codes().items():
                np.testing.assert_array_equal(learns.codes()[name], codes)
            np.testing.assert_array_equal(learns.heatmap("green_ball"), frozen.heatmap("green_ball"))
            assert learns.runs_on == runs_on, k
    assert found and learns.model_version > 3
    for name, w in learns._network.weights.items():
        assert (w != before[name]).any() == name.startswith("forecast"), name


def test_off_means_that_nothing_learns(images):
    tracker = Tracker(learn=True)
    for image in images[:8]:
        tracker.update(image)
    version, tracker.learning = tracker.model_version, False
    weights = {name: w.copy() for name, w in tracker._network.weights.items()}
    for image in images:
        tracker.update(image)
    assert tracker.model_version == version
    for name, w in tracker._network.weights.items():
        np.testing.assert_array_equal(w, weights[name])


def test_the_forecast_gets_better_in_every_pass(images):
    tracker = Tracker(learn=True)
    errors = []
    for _ in range(6):
        tracker.reset()
        found = [tracker.prediction_error() for image in images if tracker.update(image) or True]
        errors.append(np.nanmean([f for f, _ in found]))
    assert max(errors[1:]) < errors[0] and errors[-1] < errors[1], errors


def test_a_budget_bounds_the_time_of_learning(images):
    tracker, clock, spent = Tracker(learn=True), [0.0], [0.0]
    learner = tracker._perception.learner
    learner.budget = 0.1

    class Time:
        monotonic = staticmethod(lambda: clock[0])
        thread_time = staticmethod(lambda: spent[0])

    learn = learner._learn

    def slow(*some):
        spent[0] += 0.020
        return learn(*some)

    learner._learn, calls = slow, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(awake, "time", Time)
        learner._last = 0.0
        for k in range(300):  # ten seconds at 30 Hz
            clock[0] = k / 30
            tracker.update(images[k % len(images)])
    calls = round(spent[0] / 0.020)
    assert 10.0 * 0.1 / 0.020 - 2 <= calls <= 10.0 * 0.1 / 0.020 + 1


def test_what_foresees_worse_than_before_is_given_up(images, monkeypatch):
    monkeypatch.setattr(awake, "RATE", 0.3)  # far too much
    monkeypatch.setattr(awake, "FRAMES", 1)
    monkeypatch.setattr(awake, "CHECK_EVERY", 5)
    monkeypatch.setattr(awake, "CHECKED", 6)
    tracker = Tracker(learn=True)
    first = {name: w.copy() for name, w in tracker._perception.learner._weights.items()}
    gave_up = False
    for _ in range(3):
        for image in images:
            tracker.update(image)
            if tracker.times_given_up and not gave_up:
                gave_up = True
                for name, w in tracker._perception.learner._weights.items():
                    np.testing.assert_array_equal(w, first[name])
    assert gave_up


def test_weights_that_are_not_finite_are_given_up_at_once(images):
    tracker = Tracker(learn=True)
    for image in images[:6]:
        tracker.update(image)
    tracker._network.weights["forecast1.w1"][0, 0] = np.nan
    for image in images[6:9]:
        tracker.update(image)
    assert tracker.times_given_up == 1
    assert all(np.isfinite(w).all() for w in tracker._network.weights.values())
    tracker.reset()
    for image in images[:4]:
        tracker.update(image)
    assert np.isfinite(tracker.prediction_error()).all() and np.isfinite(tracker.prediction()).all()


def test_a_still_picture_teaches_nothing(images):
    tracker = Tracker(learn=True)
    for _ in range(30):
        tracker.update(images[0])
    assert tracker.model_version == 0


def test_a_model_without_a_forecast_says_that_nothing_learns(tmp_path, images):
    config = preset("paper")
    save_model(tmp_path / "paper.safetensors", config, Hierarchy(config).weights)
    tracker = Tracker(config.targets, tmp_path / "paper.safetensors", learn=True)
    assert "nothing" in tracker.notice and "no forecast" in tracker.notice and "\n" not in tracker.notice
    weights = {name: w.copy() for name, w in tracker._network.weights.items()}
    for image in images[:3]:
        tracker.update(image)
    assert tracker.model_version == 0 and tracker.learning
    for name, w in tracker._network.weights.items():
        np.testing.assert_array_equal(w, weights[name])


def test_what_was_learnt_is_saved_and_goes_on(tmp_path, images):
    tracker = Tracker(learn=True)
    for image in images:
        tracker.update(image)
    tracker.save(tmp_path / "learnt.safetensors")
    _, weights, history = load_model(tmp_path / "learnt.safetensors")
    assert history["awake_steps"] == tracker.model_version > 0
    again = Tracker(model=tmp_path / "learnt.safetensors", learn=True)
    for name, w in again._network.weights.items():
        np.testing.assert_array_equal(w, weights[name])
