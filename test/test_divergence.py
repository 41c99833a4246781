"""A state that has lost itself is noticed and begun anew; a sound one is left alone."""

import math

import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.vision.divergence import DivergenceMonitor


def test_one_bad_forecast_is_surprise_and_many_are_a_lost_state():
    monitor = DivergenceMonitor()
    assert not any(monitor.diverged(0.002, 0.0015) for _ in range(50))
    assert not monitor.diverged(0.01, 0.002)  # something came round a corner
    assert not any(monitor.diverged(0.002, 0.0015) for _ in range(20))
    assert [monitor.diverged(0.01, 0.0005) for _ in range(8)].count(True) == 1
    assert [monitor.diverged(0.01, 0.0005) for _ in range(150)].count(True) <= 10  # beyond all forecast
    monitor.reset()
    assert not monitor.diverged(0.002, 0.0015)


@pytest.mark.parametrize(("forecast", "copied"), [(0.05, 0.06), (0.0009, 0.0)])
def test_fast_and_still_pictures_are_no_lost_state(forecast, copied):
    monitor = DivergenceMonitor()
    assert not any(monitor.diverged(forecast, copied) for _ in range(100))


def test_what_is_not_finite_is_lost_at_once():
    assert DivergenceMonitor().diverged(math.nan, 0.001)
    assert DivergenceMonitor().diverged(math.inf, 0.001)


def test_a_tracker_recovers_from_codes_that_lead_nowhere():
    tracker = Tracker()
    frames = [f.image for f in SimulatedStream(3, (240, 320), 30.0, 60, seconds=2.0)]
    for image in frames[:30]:
        tracker.update(image)
    assert tracker.times_diverged == 0
    twin = Tracker()
    network = tracker._network
    on_kernels = getattr(network, "_device", None)
    arrays = on_kernels.predictions if on_kernels else [encoder.prediction for encoder in network.encoders]
    for prediction in arrays:
        prediction[...] = np.nan  # would stay in the codes for ever
    for image in frames[30:33]:
        tracker.update(image)
        twin.update(image)
    assert tracker.times_diverged == 1
    for layer, codes in twin.codes().items():
        np.testing.assert_allclose(tracker.codes()[layer], codes, atol=1e-5)  # as if begun with frame 30
