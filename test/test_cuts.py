"""Another scene is noticed at its first frame; fast motion, lamps and walls are no other scene."""

import math

import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.types import Detection
from pvm_perception.vision.cuts import CutDetector
from pvm_perception.vision.tracker import TrackManager

RNG = np.random.default_rng(5)


def scene(seed):
    """Return (120, 160, 3) blocks of 8 px in random colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (15, 20, 3), np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def judged(after, errors=None):
    """Tell whether a picture after scene(0) is a cut; errors are copying's unless given."""
    detector = CutDetector()
    assert not detector.is_cut(scene(0), (math.nan, math.nan))
    copying = float(np.mean((after / 255.0 - scene(0) / 255.0) ** 2))
    return detector.is_cut(after, errors or (copying, copying))


def test_another_scene_is_a_cut():
    assert judged(scene(1))


def test_a_lamp_that_goes_off_leaves_the_edges_where_they_were():
    dark = (scene(0) * 0.1).astype(np.uint8)
    assert np.mean((dark / 255.0 - scene(0) / 255.0) ** 2) > dark.astype(float).var() / 255**2
    assert not judged(dark)


def test_a_turn_that_the_forecast_explains_is_no_cut():
    turned = np.roll(scene(0), 40, axis=1)
    assert judged(turned)  # if neither copying nor the forecast explains it, it may as well be another scene
    assert not judged(turned, errors=(0.02, 0.15))


def test_the_noise_of_a_plain_wall_is_no_cut():
    detector = CutDetector()
    walls = 120 + RNG.normal(0, 2, (6, 120, 160, 3))
    for wall, before in zip(walls[1:], walls, strict=False):
        error = float(np.mean((wall - before) ** 2)) / 255**2
        assert not detector.is_cut(wall.round().astype(np.uint8), (error, error))


def test_a_stream_with_a_cut_in_it_goes_on_as_if_it_began_there_and_says_that_it_was_surprised():
    first, second = (
        [f.image for f in SimulatedStream(seed, (240, 320), 30.0, 12, seconds=1.0)] for seed in (0, 8)
    )
    tracker, twin = Tracker(), Tracker()
    usual = [float(tracker.surprise().mean()) for image in first if tracker.update(image) is not None]
    for k, image in enumerate(second):
        tracker.update(image)
        twin.update(image)
        if k == 0:
            assert tracker.surprise().mean() > 2 * max(usual)
            assert tracker.prediction_error()[0] > 0
        for layer, codes in twin.codes().items():
            np.testing.assert_allclose(tracker.codes()[layer], codes, atol=1e-5)
    assert tracker.times_diverged == 0


@pytest.mark.parametrize("coast", [1, 20])
def test_tracks_do_not_coast_into_another_scene_but_keep_their_ids_where_they_are_seen_in_it(coast):
    manager = TrackManager()
    manager.settings = manager.settings.__class__(coast=coast, max_gap=60)
    here = Detection("green_ball", 50, 50, 40, 40, 0.95)
    for _ in range(8):
        (track,) = manager.update([here])
    manager.cut()
    assert manager.update([]) == []
    manager.cut()
    for _ in range(3):
        tracks = manager.update([here])
    assert [t.id for t in tracks] == [track.id]
