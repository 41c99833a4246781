"""The forecast by moves: its steps against NumPy, its gradients, and that it foresees what moves."""

import ctypes
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvm_perception.core import forecast_scale
from pvm_perception.core.config import Forecast, preset
from pvm_perception.core.forecast import CLEAN, Forecaster, first_weights
from pvm_perception.core.forecast_frame import TERMS as NAMES
from pvm_perception.core.forecast_frame import WHITE, Frame, Geometry
from pvm_perception.core.forecast_reference import NumpySteps
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import forecast as kernels
from pvm_perception.core.kernels.cpu import BUILDS
from pvm_perception.core.kernels.forecast import CompiledSteps
from pvm_perception.core.pictures import motion_ahead
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError

TERMS = len(NAMES)
STEP = 0.1  # of weights, in differences: those of smaller ones drown in the forecasts' rounding


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(3).integers(0, 255, (260, 300, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def cut(picture, down, right, height=128, width=160):
    return np.ascontiguousarray(picture[40 + down : 40 + down + height, 40 + right : 40 + right + width])


def small(scales=3, code=12, **changes):
    config = preset("robot")
    return dataclasses.replace(
        config, forecast=dataclasses.replace(config.forecast, scales=scales, code=code, **changes)
    )


def geometry(height, width, top):
    """Odd numbers of units and of moves, among them moves that others equal."""
    whole = [(y, x) for y in (0, -4, 3) for x in (0, 5, -2)]
    around = tuple((y, x) for y in (-2, 0, 1) for x in (-1, 0, 4))
    inherited, context = (() if top else around), ("lateral", "feedback", "motion")
    return Geometry(height, width, tuple(whole), inherited, around[:5], 7, top, context)


def run_steps(steps, g, images, fine, pictures=(), seed=0):
    """Return all that is made of three frames of a scale and its parent, and of learning, by name.

    Given `pictures`, forecasts of others, it goes on with them instead of its own.
    """
    rng, given = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    motion = np.array([0.02, -0.01, 0.03, 0.04], np.float32)
    weights = {"w1": (g.inputs, g.code), "b1": (g.code,), "w2": (g.code, TERMS), "b2": (TERMS,)}
    weights = {name: 0.4 * rng.standard_normal(shape, np.float32) for name, shape in weights.items()}
    if fine:
        above = dataclasses.replace(g, height=g.height // 2, width=g.width // 2, top=True, inherited=())
        parent = Frame.zeros(above, 1)
        parent.likeliest[...] = given.integers(-60, 60, parent.likeliest.shape)
        parent.mean[...] = given.standard_normal(parent.mean.shape, np.float32)
        parent.code[...] = given.standard_normal(parent.code.shape, np.float32)
        parent = steps.bind(above, parent.stream(0))
    frames = [Frame.zeros(g, 1)]
    frames.append(Frame.zeros(g, 1, frames[0]))
    frames[0].shown[...] = 3, 2, g.height - 5, g.width - 4
    bound = [steps.bind(g, frame.stream(0)) for frame in frames]
    usual, surprise = np.zeros(g.units, np.float32), np.zeros(g.units, np.float32)
    found, gates = {}, np.zeros((TERMS, g.lanes), np.float32)
    for t, image in enumerate(images):
        frame, now, last = frames[t % 2], bound[t % 2], bound[t % 2 - 1]
        steps.see(now, image)
        steps.compare(now, last)
        steps.foresee(now, last, parent if fine else None, weights, motion if t else None, t > 0)
        steps.judge(now, usual, surprise)
        found[f"departure {t}"] = np.float32(steps.departure(now))
        if t == 2:
            steps.gradient(last, 2.0, gates)
        for name, value in vars(frame).items():
            rows = value[0][..., : g.units] if value.shape[-1] == g.lanes else value[0]
            found[f"{name} of frame {t}"] = rows.copy()
        if pictures:
            frame.picture[0] = pictures[t]
    return found | {"usual": usual, "surprise": surprise, "gradient": gates[:, : g.units]}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(("height", "width", "fine"), [(128, 160, True), (16, 20, False), (24, 40, True)])
def test_compiled_steps_agree_with_numpy(texture, build, height, width, fine):
    libraries = [ctypes.CDLL(str(p)) for p in Path(kernels.__file__).parent.glob(f"_cpu_{build}.*so")]
    if not libraries or not libraries[0].runs_here():
        pytest.skip(f"no build {build} runs on this machine")
    g = geometry(height, width, not fine)
    images = [cut(texture, 2 * t, -t, height, width) for t in range(3)]
    expected = run_steps(NumpySteps(), g, images, fine)
    pictures = [expected[f"picture of frame {t}"] for t in range(3)]
    for what, value in run_steps(CompiledSteps(libraries[0]), g, images, fine, pictures).items():
        if what.startswith("picture"):  # shares are rounded, too: a step, where a sum is about half of one
            np.testing.assert_allclose(value, expected[what], atol=1, rtol=0, err_msg=what)
            assert (value != expected[what]).mean() < 0.2
            continue
        atol = 3e-4 * max(1, np.abs(expected[what]).max()) if value.dtype == np.float32 else 0
        np.testing.assert_allclose(value, expected[what], atol=atol, rtol=3e-4 if atol else 0, err_msg=what)


def test_a_picture_of_half_the_size_is_the_mean_of_its_pixels(texture):
    fine, coarse = geometry(32, 48, False), geometry(16, 24, True)
    planes = []
    for steps in (NumpySteps(), kernels.steps()):
        of, half = Frame.zeros(fine, 1), Frame.zeros(coarse, 1)
        finer, now = steps.bind(fine, of.stream(0)), steps.bind(coarse, half.stream(0))
        of.shown[...], half.shown[...] = (0, 0, 32, 48), (0, 0, 16, 24)
        steps.see(finer, cut(texture, 0, 0, 32, 48))
        steps.halve(now, finer)
        planes.append(half.planes)
    np.testing.assert_array_equal(planes[1], planes[0])
    inner = planes[0][0, 0, 0, 12:-12, 12:-12] / WHITE
    mean = cv2.resize(cut(texture, 0, 0, 32, 48), (24, 16), interpolation=cv2.INTER_AREA)[..., 0] / 255
    np.testing.assert_allclose(inner, mean, atol=0.003)


def test_a_machine_without_compiled_kernels_forecasts_the_same(texture, monkeypatch):
    frames = [cut(texture, 2 * t, t)[None] for t in range(4)]
    forecasters = []
    for steps in (kernels.steps, NumpySteps):
        monkeypatch.setattr(forecast_scale, "steps", steps)
        config = small()
        forecaster = Forecaster(config, 1)
        weights = first_weights(config.forecast, np.random.default_rng(0))
        for frame in frames:
            forecaster.step(frame, weights)
        forecasters.append(forecaster)
    compiled, numpy = forecasters
    np.testing.assert_allclose(numpy.moves(), compiled.moves(), atol=1e-4)
    np.testing.assert_allclose(numpy.scales[0].picture, compiled.scales[0].picture, atol=2.01 / WHITE)
    # where nearly nothing was wrong, a pixel that was rounded the other way counts
    np.testing.assert_allclose(numpy.surprise(), compiled.surprise(), rtol=0.15)


def test_gradients_are_those_of_the_forecasts_error(texture):
    # learning takes a parent's move for given: neither tried moves nor the nearness to it send errors up
    terms = tuple(term for term in NAMES if term != "parent")
    config = small(inherit=0, terms=terms)
    rng = np.random.default_rng(5)
    frames = [cut(texture, 3 * t, 2 * t) for t in range(4)]
    frames[2] = np.minimum(frames[2], 250) + np.uint8(3)
    cv2.circle(frames[3], (80, 60), 14, (20, 200, 20), -1)
    motion = np.array([[0.01, 0.02, 0.01, 0.01]], np.float32)
    weights = first_weights(config.forecast, rng)
    for name, w in weights.items():
        if name.endswith("w2"):
            w += 0.05 * rng.standard_normal(w.shape, np.float32)

    def run(last):  # only the last forecast is made with the weights that are varied
        forecaster = Forecaster(config, 1)
        for frame in frames[:2]:
            forecaster.step(frame[None], weights, motion)
        forecaster.step(frames[2][None], last, motion)
        forecaster.step(frames[3][None], last, motion)
        return forecaster

    forecaster = run(weights)
    gradients = forecaster.gradients(weights, 1.0)
    scale = float(forecaster._error[0] + CLEAN)

    def error(last):
        return sum(s.wrong.mean(dtype=np.float64) for s in run(last).scales) / scale

    for name, g in gradients.items():
        for i in np.argsort(-np.abs(g).ravel())[:3]:
            index, up, down = np.unravel_index(i, g.shape), {**weights}, {**weights}
            up[name], down[name] = weights[name].copy(), weights[name].copy()
            up[name][index], down[name][index] = weights[name][index] + STEP, weights[name][index] - STEP
            numeric = (error(up) - error(down)) / (2 * STEP)
            # up to 0.37 of it off: moves below `LEAST` are left out, and pictures rounded (0.26 without that)
            assert g[index] == pytest.approx(numeric, rel=0.45, abs=3e-4), name


def test_where_moves_explain_nothing_the_last_picture_stays(texture):
    # a slow camera: each picture comes three times, then the world has moved on
    rng, ratio = np.random.default_rng(7), {}
    weights = first_weights(small().forecast, rng)
    for name, w in weights.items():
        if name.endswith("b2"):
            w[NAMES.index("habit")] = 3  # units that go on as before, come what may
    for trust in (0.0, 0.95):
        forecaster, errors, last = Forecaster(small(trust=trust), 1), [], None
        for t in range(60):
            frame = cut(texture, 0, 4 * (t // 3))[None]
            if t > 20:
                came, expected = frame.astype(int), forecaster.images().astype(int)
                errors.append([((came - expected) ** 2).mean(), ((came - last) ** 2).mean()])
            forecaster.step(frame, weights)
            last = frame.astype(int)
            if t > 20:  # what is reported is the error of the pictures that are shown
                span = 255 / 2
                assert forecaster.mean_errors()[0] * span**2 == pytest.approx(errors[-1][0], rel=0.05, abs=1)
        wrong, copied = np.sum(errors, 0)
        ratio[trust] = wrong / copied
    assert ratio[0.0] > 1.1
    assert ratio[0.95] < 1.01


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 2), (3, -5), (-8, 9)])
def test_untaught_units_foresee_a_picture_that_moves_on(texture, down, right):
    config = small(scales=4, code=16)
    weights, forecaster = first_weights(config.forecast, np.random.default_rng(0)), Forecaster(config, 1)
    for t in range(5):
        forecaster.step(cut(texture, down * t, right * t)[None], weights)
    wrong, copied = forecaster.mean_errors()
    if (down, right) == (0, 0):
        assert wrong < 1e-5
        return
    inner = forecaster.moves()[0, 8:-8, 8:-8].reshape(-1, 2)
    assert np.median(inner, 0) == pytest.approx([down, right], abs=0.3)
    assert wrong < 0.3 * copied  # what comes in at the border was not there to be seen


def test_streams_do_not_affect_each_other_and_forget_apart(texture):
    config = small()
    weights = first_weights(config.forecast, np.random.default_rng(0))
    both, alone = Forecaster(config, 2), Forecaster(config, 1)
    for t in range(4):
        both.step(np.stack([cut(texture, 2 * t, t), cut(texture, -t, 3 * t)]), weights)
        alone.step(cut(texture, -t, 3 * t)[None], weights)
        np.testing.assert_allclose(both.scales[0].picture[1], alone.scales[0].picture[0], atol=1e-5)
    both.reset(np.array([True, False]))
    both.step(np.stack([cut(texture, 0, 0), cut(texture, -4, 12)]), weights)
    assert both.known.tolist() == [False, True]
    np.testing.assert_allclose(
        both.scales[0].picture[0].transpose(1, 2, 0), cut(texture, 0, 0) / 255, atol=1e-6
    )
    fresh = Forecaster(config, 1)
    for t in range(4):
        picture = cut(texture, 3 * t, 2 * t)
        if t:
            both.step(np.stack([picture, picture]), weights)
        fresh.step((picture if t else cut(texture, 0, 0))[None], weights)
        np.testing.assert_array_equal(both.scales[0].picture[0], fresh.scales[0].picture[0])


def test_bars_are_neither_moved_nor_counted(texture):
    config = small()
    weights, forecaster = first_weights(config.forecast, np.random.default_rng(0)), Forecaster(config, 1)
    for t in range(4):
        image = np.full((128, 160, 3), 114, np.uint8)
        image[19:109] = cut(texture, 0, 2 * t)[19:109]
        forecaster.step(image[None], weights, shown=np.array([[19, 0, 90, 160]]))
    assert forecaster.scales[0].wrong.reshape(32, 40)[:4].max() == 0
    wrong, copied = forecaster.mean_errors()
    assert wrong < 0.2 * copied


def test_the_robots_motion_tells_where_things_come_from(texture):
    config = small(scales=1)
    weights = first_weights(config.forecast, np.random.default_rng(0))
    weights["forecast1.b2"][NAMES.index("motion")] = 3.0
    frames = [np.full((1, 128, 160, 3), 90, np.uint8)] * 3  # nothing to see: all moves explain it
    forecaster = Forecaster(config, 1)
    for frame in frames:
        forecaster.step(frame, weights, np.array([[1.5 / 160, -1.0 / 128, 0, 0]], np.float32))
    assert np.median(forecaster.moves().reshape(-1, 2), 0) == pytest.approx([1.0, -1.5], abs=0.3)


def test_a_robot_that_stops_knows_that_nothing_will_move_and_one_without_odometry_does_not(texture):
    config = small(scales=1)
    network = Hierarchy(preset("robot", forecast=config.forecast), 2, seed=3)
    network.weights["forecast1.b2"][NAMES.index("motion")] = 20.0
    still = np.array([[0.0] * 4, [np.nan] * 4], np.float32)
    for k in range(4):
        network.step(np.repeat(cut(texture, 0, 2 * k)[None], 2, 0), ahead=still if k == 3 else None)
    knows, guesses = (np.abs(moves).mean() for moves in network.moves())
    assert knows < 0.2 < 0.5 < guesses


def test_the_motion_ahead_is_the_motion_so_far_where_it_is_not_told():
    motion = np.array([[0.1] * 4, [0] * 4], np.float32)
    assert motion_ahead(2, None, None) is None
    np.testing.assert_array_equal(motion_ahead(2, motion, None), [[np.float32(0.1)] * 4, [np.nan] * 4])
    np.testing.assert_array_equal(motion_ahead(2, motion, -motion), -motion)
    told = np.array([[np.nan] * 4, [0] * 4], np.float32)
    np.testing.assert_array_equal(motion_ahead(2, motion, told), [[np.float32(0.1)] * 4, [0] * 4])
    np.testing.assert_array_equal(motion_ahead(2, None, told), told)
    with pytest.raises(PvmError, match=r"the motion ahead must be an array of shape \(2, 4\), not \(4,\)"):
        motion_ahead(2, motion, motion[0])


def test_surprise_is_a_half_where_all_is_as_usual_and_a_ball_stands_out():
    config, rng = small(scales=2), np.random.default_rng(1)
    weights = first_weights(config.forecast, rng)
    forecaster = Forecaster(config, 1)
    for t in range(30):
        image = 127 + 4 * rng.standard_normal((128, 160, 3))
        image[:32] += 20 * rng.standard_normal((32, 160, 3))  # leaves that flicker
        if t == 29:
            cv2.circle(image, (80, 90), 7, (60.0, 190.0, 60.0), -1)
        forecaster.step(np.clip(image, 0, 255).astype(np.uint8)[None], weights)
        if t == 28:
            usual = forecaster.surprise()[0]
            assert 0.3 < np.median(usual[10:]) < 0.7
    row, col = np.unravel_index(forecaster.surprise()[0].argmax(), (32, 40))
    assert abs(4 * row + 2 - 90) <= 8
    assert abs(4 * col + 2 - 80) <= 8


def test_learning_lowers_the_error_on_what_it_sees(texture):
    network = Hierarchy(small(scales=2, weight=1.0), batch=2, seed=1)
    ratios = []
    for _ in range(9):
        network.reset()
        errors = np.zeros(2)
        for t in range(8):
            noise = np.random.default_rng(t).normal(0, 12, (2, 128, 160, 3))
            images = np.stack([cut(texture, 2 * t, t), cut(texture, -t, t)])
            network.step(np.clip(images + noise, 0, 255).astype(np.uint8))
            network.learn(rate=3e-3)
            errors += network.forecast_errors()
        ratios.append(errors[0] / errors[1])
    assert ratios[-1] < 0.98 * ratios[0]


def test_weights_have_the_shapes_that_the_configuration_tells():
    config = preset("robot")
    shapes = {name: s for name, s in weight_shapes(config).items() if name.startswith("forecast")}
    assert {k: w.shape for k, w in first_weights(config.forecast, np.random.default_rng(0)).items()} == shapes


@pytest.mark.parametrize("shown", [(0, 0, 129, 160), (-1, 0, 9, 9), (0, 0, 0, 160), (120, 0, 9, 1)])
def test_a_part_that_lies_outside_is_refused(shown):
    forecaster, weights = Forecaster(small(), 1), first_weights(small().forecast, np.random.default_rng(0))
    with pytest.raises(PvmError, match="must lie in a picture of 160x128"):
        forecaster.step(np.zeros((1, 128, 160, 3), np.uint8), weights, shown=np.array([shown]))


@pytest.mark.parametrize("changes", [{"terms": ("window", "luck")}, {"context": ["lateral"]}, {"whole": 99}])
def test_a_forecast_that_cannot_be_is_refused(changes):
    with pytest.raises(PvmError):
        Forecast(code=8, **changes)


def test_a_picture_must_have_room_for_all_scales():
    config = preset("robot")
    with pytest.raises(PvmError, match="scales"):
        dataclasses.replace(config, forecast=Forecast(code=8, scales=5))
