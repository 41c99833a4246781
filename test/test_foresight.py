"""Forecasts measured by hand, and what a tracker foresees further ahead."""

import importlib

import cv2
import numpy as np
import pytest
from conftest import ROOT, noise_images, tiny

from pvm_perception import Tracker
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.core.model_file import save_model
from pvm_perception.core.placement import on_kernels
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.forecast import HORIZONS, Forecasts, means, moved_on, pop_out, ratios
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.types import Box
from pvm_perception.vision.draw import colour_wheel
from pvm_perception.vision.frame import View

NETWORK = (128, 160)


def texture(size, seed=0):
    """Return smooth noise (rows, cols, 3), which optical flow can follow."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


class Oracle:
    """Stands in for a tracker that knows the film: it expects the frames that come, brighter by `off`."""

    config = tiny(height=NETWORK[0], width=NETWORK[1])

    def __init__(self, film, off=0):
        self.film, self.off, self.shown = film, off, 0

    def foresee(self, steps):
        """Return the film's next frames; its last one where there are no more."""
        self.shown += 1
        last = len(self.film) - 1
        return [self.film[min(self.shown + k, last)] + np.uint8(self.off) for k in range(1, steps + 1)]

    def surprise(self):
        return np.zeros((32, 40), np.float32)


@pytest.fixture(scope="module")
def film():
    """Return a texture that moves by 3 px a frame to the left."""
    wide = texture((NETWORK[0], NETWORK[1] + 60))
    return [wide[:, 3 * k : 3 * k + NETWORK[1]] // 2 for k in range(20)]  # at most 127


@pytest.mark.parametrize("off", [0, 51])
def test_errors_are_those_of_each_frame_against_its_forecast(film, off):
    forecasts, oracle = Forecasts(), Oracle(film, off)
    for image in film:
        forecasts.see(oracle, image)
    for horizon in HORIZONS:
        table = np.array(forecasts.errors[horizon])
        # the first frame has no flow, so forecasts of others begin with the second
        assert table.shape == (len(film) - 1 - horizon, 3)
        np.testing.assert_allclose(table[:, 1], (off / 255) ** 2, rtol=1e-5)
        copied = np.square(film[1 + horizon].astype(float) - film[1]).mean() / 255**2
        assert table[0, 0] == pytest.approx(copied, rel=1e-5)
    first = forecasts.rows("film")[0]
    assert first["flow"] < 0.2
    assert first["moving_frames"] == first["frames"] == len(film) - 2
    assert np.isnan(first["pop_out_1"])


def test_ratios_by_hand():
    table = np.array([[4, 1, 8], [2, 2, 1.0]])
    assert ratios(table) == {"forecast": 0.5, "flow": 1.5, "copy_or_flow": pytest.approx(5 / 6)}
    assert np.isnan(list(ratios(np.zeros((3, 3))).values())).all()
    assert np.isnan(list(ratios(np.zeros((0, 3))).values())).all()


def test_moving_frames_are_those_where_copying_is_wrong():
    forecasts = Forecasts()
    forecasts.errors[1] = [(1e-3, 5e-4, 2e-3), (1e-4, 9e-4, 1e-4)]
    row = forecasts.rows("a")[0]
    assert (row["frames"], row["moving_frames"]) == (2, 1)
    assert row["moving_forecast"] == pytest.approx(0.5)
    assert row["moving_flow"] == pytest.approx(2)
    assert row["forecast"] == pytest.approx(14 / 11)


def test_means_are_geometric():
    rows = [
        {"sequence": s, "horizon": 1, "frames": 3, "copy_error": c, "forecast": r, "pop_out_1": p}
        for s, c, r, p in (("a", 0.1, 0.5, 1.0), ("b", 0.3, 2.0, 0.5), ("c", 0.2, np.nan, np.nan))
    ]
    mean = means(rows)[0]
    assert mean == {
        "sequence": "geometric mean",
        "horizon": 1,
        "frames": 9,
        "copy_error": pytest.approx(0.2),
        "forecast": pytest.approx(1),
        "pop_out_1": pytest.approx(0.75),
    }


def test_flow_carries_on_what_moves(film):
    first, second = moved_on(film[0], film[1], 2, cv2.DISOpticalFlow_create(1))
    inner = (slice(16, -16), slice(16, -16))  # what comes into view cannot be known
    for found, true in ((first, film[2]), (second, film[3])):
        assert np.abs(found[inner].astype(int) - true[inner]).mean() < 2


def test_a_target_pops_out_where_surprise_has_its_peaks():
    """A 640 x 480 frame fills 160 x 120 of the input; a unit's 4 x 4 px are 16 x 16 source px."""
    view, surprise = View.fit((480, 640), NETWORK), np.full((32, 40), 0.1, np.float32)
    box = Box("a", 320, 240, 64, 64)  # input px 80..96, and 60 + 4..80 + 4 for the bar above
    surprise[0, 0] = 9  # in the bar, which does not count
    assert pop_out(surprise, view, box) == np.inf
    surprise[18, 21] = 1  # px 84..88, 72..76
    assert pop_out(surprise, view, box) == 1
    surprise[5, 5:8] = 3, 4, 3  # one place: neighbours are less than the box's side away
    assert pop_out(surprise, view, box) == 2
    surprise[28, 35] = 2
    assert pop_out(surprise, view, box) == 3
    surprise[5, 30] = 2
    assert pop_out(surprise, view, box) == np.inf
    small = Box("a", 344.5, 296.5, 3, 3)  # in the block of unit (18, 21), off its middle at (344, 280)
    alone = (surprise == 1).astype(np.float32)
    assert pop_out(alone, view, small) == np.inf
    assert pop_out(alone, view, Box("a", 342, 278, 3, 3)) == 1


@pytest.mark.parametrize("kind", ["learner", "arrays", "kernels", "forecaster", "forecaster on kernels"])
def test_a_copy_goes_on_by_itself(kind):
    config = preset("robot") if kind.startswith("forecaster") else tiny()
    network, size = Hierarchy(config, learns=kind == "learner"), (config.height, config.width)
    if kind == "kernels":
        network, size = Tracker(fovea=False)._network, NETWORK
    elif kind == "forecaster on kernels":
        network = on_kernels(network)
    if kind.endswith("kernels") and not isinstance(network, Engine):
        pytest.skip("the CPU kernels were not compiled: a C++ compiler is missing")
    images = noise_images(6, size=size)
    for image in images[:3]:
        network.step(image)
    copy = network.copy()
    here, there = network.predicted_images(), copy.predicted_images()
    np.testing.assert_array_equal(there, here)
    copy.step(images[5])
    np.testing.assert_array_equal(network.predicted_images(), here)
    assert (copy.predicted_images() != here).any()
    for again in (None, copy):  # from new memory, and from memory that has been elsewhere
        copy = network.copy(again)
        copy.step(images[3])
        mine = copy.predicted_images(), copy.surprise(), copy.forecast_errors(), copy.heat()
        network.copy(copy)
        for _ in range(2):
            copy.step(images[4])
    network.step(images[3])
    for found, true in zip(
        mine,
        (network.predicted_images(), network.surprise(), network.forecast_errors(), network.heat()),
        strict=True,
    ):
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=1e-6)
    assert copy.weights is network.weights


@pytest.mark.parametrize("learn", [False, True])
def test_a_tracker_foresees_and_stays_as_it_was(learn):
    """What is foreseen is what a tracker would expect that was shown the forecasts; nothing else changes."""
    asked, plain = (Tracker(learn=learn, fovea=False) for _ in range(2))
    assert len(asked.foresee(2)) == 2  # before there was a frame, too
    asked.reset()
    for frame in SimulatedStream(5, NETWORK, 30.0, 6, seconds=0.5):
        tracks, expected = asked.update(frame.image), asked.foresee(3)
        assert plain.update(frame.image) == tracks
        np.testing.assert_array_equal(asked.prediction(), plain.prediction())
        np.testing.assert_array_equal(asked.surprise(), plain.surprise())
    np.testing.assert_array_equal(expected[0], plain.prediction())
    plain.learning = False
    for image in expected[:2]:
        plain.update(image)
    difference = np.abs(expected[2].astype(int) - plain.prediction())
    assert difference.max() <= 1
    assert (expected[2] != expected[0]).any()


def test_a_tracker_foresees_at_least_one_frame():
    with pytest.raises(PvmError, match="at least 1"):
        Tracker().foresee(0)


def test_the_pictures_show_each_scene_and_the_horizons(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    draw = importlib.import_module("draw_prediction")
    monkeypatch.setattr(draw, "SCENES", draw.SCENES[-1:])
    rows, ahead = draw.draw(None)
    high, wide = draw.TILE[1] + draw.HEAD + draw.GAP, draw.TILE[0] + draw.GAP
    assert rows.shape == (high, 5 * wide, 3)  # frame, expected, came, surprise, moves
    assert ahead.shape == (2 * high, len(HORIZONS) * wide, 3)
    came = rows[draw.HEAD : draw.HEAD + draw.TILE[1], 2 * wide : 2 * wide + draw.TILE[0]]
    again = ahead[high + draw.HEAD : high + draw.HEAD + draw.TILE[1], : draw.TILE[0]]
    np.testing.assert_array_equal(came, again)  # what came one frame ahead


def test_the_colour_wheel_tells_directions_apart():
    """Right red, left cyan, still white; half of the top has half the saturation."""
    moves = np.array([[[4, 0], [-9, 0], [0, 0], [2, 0]]], np.float32)
    assert colour_wheel(moves).tolist() == [[[0, 0, 255], [255, 255, 0], [255] * 3, [128, 128, 255]]]


def test_moves_go_where_the_picture_goes(tmp_path, film):
    """Units of an untaught network choose about 3 px to the left; a model without such units has none."""
    config = preset("robot")
    model = tmp_path / "untaught.safetensors"
    save_model(model, config, Hierarchy(config).weights, {})
    tracker = Tracker(model=model, fovea=False)
    for image in film[:6]:
        tracker.update(image)
    moves = tracker.moves()
    assert moves.shape == (*tracker.surprise().shape, 2)
    right, down = np.median(moves[4:-4, 4:-4].reshape(-1, 2), axis=0)
    assert right == pytest.approx(-3, abs=0.5)
    assert down == pytest.approx(0, abs=0.5)
