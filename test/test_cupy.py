"""The whole network on CuPy's arrays, without a GPU: on a strict stand-in, against NumPy."""

import json
import sys

import numpy as np
import pytest
from conftest import tiny
from cupy_listing import listing
from strict_cupy import NAMES, StrictCupy
from test_gradients import VARIANTS

from pvm_perception import Tracker
from pvm_perception.core.backend import array_module, to_numpy
from pvm_perception.core.config import Forecast, Learning, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu
from pvm_perception.evaluation import machine
from pvm_perception.evaluation.bench import Bench, BenchOptions
from pvm_perception.streams.generated import SimulatedStream

BATCH = 3
CLOSE = {"rtol": 2e-3, "atol": 2e-4}
MUON = Learning("muon", decay=0.1)


@pytest.fixture(autouse=True)
def arrays_alone(monkeypatch):
    """Let NumPy make the products: rounded otherwise, they would not stay as near through learning."""
    monkeypatch.setattr(cpu, "products", lambda: None)


@pytest.fixture
def xp():
    return StrictCupy()


@pytest.fixture
def gpu(monkeypatch):
    """Return the stand-in as what `import cupy` gives, with a GPU that answers."""
    module = StrictCupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def pair(config, batch, xp, step=0):
    """Return one network on NumPy and the same on the stand-in."""
    host = Hierarchy(config, batch, seed=3, step=step)
    return host, Hierarchy(config, batch, xp, host.weights, step=step)


def shown(config, frames, batch=BATCH):
    """Return images, motion and boxes of some frames, noise all of it."""
    rng = np.random.default_rng(5)
    boxes = np.full((frames, batch, 2, 7), -1, np.float32)
    boxes[:, 0, 0] = [0, 3, 4, 11, 9, 1, 1]
    boxes[:, -1, 0] = [1, 6, 2, 9, 12, 1, 0.5]
    boxes[:, -1, 1] = [0, 0, 5, 8, 8, 0.1, 1]  # hidden: neither taught nor punished
    return (
        rng.integers(0, 256, (frames, batch, config.height, config.width, 3), np.uint8),
        rng.uniform(-0.05, 0.05, (frames, batch, 4)).astype(np.float32),
        boxes,
    )


def assert_same(host, device, out, other):
    readout = host.readout
    np.testing.assert_allclose(other.get(), out, **CLOSE)
    np.testing.assert_allclose(device.readout.heat(other), readout.heat(out), **CLOSE)
    found, expected = device.readout.decode(other, 0.01), readout.decode(out, 0.01)
    for stream, answers in zip(found, expected, strict=True):
        for boxes, right in zip(stream, answers, strict=True):
            np.testing.assert_allclose(boxes, right, rtol=1e-2, atol=0.05)
    np.testing.assert_allclose(device.surprise(), host.surprise(), **CLOSE)
    pictures = device.predicted_images().astype(int), host.predicted_images().astype(int)
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    np.testing.assert_allclose(device.forecast_errors()[1], host.forecast_errors()[1], rtol=1e-4)


CONFIGS = {
    "robot": preset("robot"),
    "paper": preset("paper"),
    "muon": tiny(learning=MUON),
    "adam": tiny(learning=Learning("adam")),
    "momentum": tiny(learning=Learning("momentum")),
}
CONFIGS |= {f"variant {i}": config for i, config in enumerate(VARIANTS)}


def learn_beside(config, xp):
    """Run both with every link open, with and without motion and boxes; streams begin anew."""
    host, device = pair(config, BATCH, xp, step=1_000_000)
    for t, (image, motion, boxes) in enumerate(zip(*shown(config, 6), strict=True)):
        if t in (2, 4):
            some = np.array([False, t == 2, t == 4])
            host.reset(some), device.reset(some)
        moved, truth = (motion if t % 2 else None), (boxes if t % 3 else None)
        out, other = host.step(image, moved), device.step(image, moved)
        assert_same(host, device, out, other)
        losses, others = host.learn(truth, rate=1e-4), device.learn(truth, rate=1e-4)
        assert all(isinstance(v, float) for v in others.means().values())
        np.testing.assert_allclose(list(others.means().values()), list(losses.means().values()), rtol=2e-3)
        np.testing.assert_allclose(others.by_stream, losses.by_stream, rtol=2e-3, atol=1e-6)
    for key, weight in host.weights.items():
        np.testing.assert_allclose(device.weights[key].get(), weight, rtol=1e-3, atol=1e-5, err_msg=key)
    averages = device.optimizer.averaged(device.weights)
    for key, weight in host.optimizer.averaged(host.weights).items():
        np.testing.assert_allclose(averages[key].get(), weight, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_learning_and_resets_are_those_of_numpy(name, xp):
    learn_beside(CONFIGS[name], xp)


def test_a_twin_shares_the_weights_and_has_a_past_of_its_own(xp):
    host, device = pair(tiny(), 1, xp)
    image = shown(host.config, 2, 1)[0]
    host.step(image[0]), device.step(image[0])
    twins = host.twin(), device.twin()
    assert twins[1].weights is device.weights
    np.testing.assert_allclose(twins[1].step(image[1]).get(), twins[0].step(image[1]), **CLOSE)


def test_a_gradient_that_is_not_finite_changes_nothing(xp):
    _, device = pair(tiny(), 1, xp)
    for image in shown(device.config, 2, 1)[0]:
        device.step(image)
        device.learn()
    before = {k: v.get() for k, v in device.weights.items()}
    device.encoders[0].error[...] = np.nan
    assert device.learn().gradient == np.inf
    for key, value in before.items():
        np.testing.assert_array_equal(device.weights[key].get(), value)


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(0, (240, 320), 30.0, 12)]


@pytest.mark.parametrize("fovea", [True, False])
@pytest.mark.parametrize("learn", [False, True])
def test_the_tracker_answers_as_on_the_cpu(gpu, numpy_on_the_cpu, images, tmp_path, fovea, learn):
    host, device = (Tracker(device=d, learn=learn, fovea=fovea) for d in ("cpu", "cuda"))
    assert (host.device, device.device) == ("cpu", "cuda")
    motion = (0.01, -0.02, 0.005, 0.01)
    for k, image in enumerate(images):
        moved = motion if k % 2 else None
        tracks, others = host.update(image, k / 30, moved), device.update(image, k / 30, moved)
        assert [t.target for t in others] == [t.target for t in tracks]
        for a, b in zip(tracks, others, strict=True):
            np.testing.assert_allclose(
                (b.x, b.y, b.w, b.h, b.score), (a.x, a.y, a.w, a.h, a.score), rtol=1e-2, atol=0.05
            )
    assert host.fovea == device.fovea
    np.testing.assert_allclose(device.heatmap("green_ball"), host.heatmap("green_ball"), **CLOSE)
    np.testing.assert_allclose(device.surprise(), host.surprise(), **CLOSE)
    np.testing.assert_allclose(device.prediction_error(), host.prediction_error(), rtol=1e-2)
    assert np.abs(device.prediction().astype(int) - host.prediction()).max() <= 1
    for layer, codes in host.codes().items():
        np.testing.assert_allclose(device.codes()[layer], codes, **CLOSE)
    json.dumps(device.info())
    device.save(tmp_path / "learnt.safetensors")
    again = Tracker(model=tmp_path / "learnt.safetensors")
    np.testing.assert_array_equal(again._network.weights["L1.w1"], device._network.weights["L1.w1"].get())
    device.track_still(images[0])


# --- what would stop a GPU, as upper bounds


def counted(xp, action):
    xp.counts.clear()
    action()
    return xp.counts


@pytest.mark.parametrize("name", ["robot", "paper"])
def test_a_step_uploads_its_picture_and_waits_for_nothing(name, xp):
    _, device = pair(preset(name), 2, xp)
    images, motion, _ = shown(device.config, 3, 2)
    device.step(images[0])
    counts = counted(xp, lambda: device.step(images[1]))
    assert (counts.uploads, counts.uploaded) == (1, images[1].nbytes)
    assert (counts.downloads, counts.waits) == (0, 0)
    counts = counted(xp, lambda: device.step(images[2], motion[2]))
    assert (counts.uploads, counts.uploaded) == (2, images[1].nbytes + motion[2].nbytes)
    assert (counts.downloads, counts.waits) == (0, 0)


@pytest.mark.parametrize("name", ["robot", "paper"])
def test_a_learning_step_waits_twice(name, xp):
    """For the gradient's norm, which decides whether it is used, and for the losses."""
    _, device = pair(preset(name, forecast=Forecast()), 2, xp)  # that of the forecast lies on the host
    images, _, boxes = shown(device.config, 4, 2)
    for image, truth in zip(images[:2], boxes[:2], strict=True):
        device.step(image)
        device.learn(truth)
    device.step(images[2])
    counts = counted(xp, device.learn)
    assert (counts.uploads, counts.downloads, counts.waits) == (0, 1, 1)
    device.step(images[3])
    counts = counted(xp, lambda: device.learn(boxes[3]))
    assert counts.uploads <= 4  # what the readout should have answered
    assert (counts.downloads, counts.waits) == (1, 1)


def test_forgetting_all_streams_or_one_alone_costs_no_copy(xp):
    _, device = pair(preset("robot"), 1, xp)
    image = shown(device.config, 1, 1)[0][0]
    device.step(image)
    for streams in (None, np.ones(1, bool), np.zeros(1, bool)):
        counts = counted(xp, lambda s=streams: (device.reset(s), device.step(image)))
        assert (counts.uploads, counts.downloads, counts.waits) == (1, 0, 0)


@pytest.mark.parametrize("fovea", [True, False])
def test_a_frame_is_one_upload_and_two_downloads_a_look(gpu, images, fovea):
    tracker = Tracker(device="cuda", fovea=fovea)
    answers, eyes = tracker._network.readout.memory.nbytes, tracker._perception
    weights = [w.nbytes for n, w in tracker._network.weights.items() if n.startswith("forecast")]
    for k, image in enumerate(images):
        before = eyes.network_steps
        counts = counted(gpu, lambda i=image, t=k / 30: tracker.update(i, t))
        looks = 1 + (eyes.near is not None) + (eyes._fovea.beside is not None)
        assert counts.uploads == eyes.network_steps - before  # a look without a past takes two steps
        assert looks <= counts.uploads <= 2 * looks
        forecast = 0 if k else len(weights)  # at the first frame its weights are brought to the host
        assert counts.downloads <= 2 * looks + forecast  # answers; two errors
        assert counts.downloaded <= looks * (answers + 8) + (0 if k else sum(weights))
        assert counts.waits == 0


@pytest.mark.parametrize("show", ["prediction", "surprise"])
def test_what_it_foresees_is_on_the_host_already(gpu, images, show):
    tracker = Tracker(device="cuda", fovea=False)
    tracker.update(images[0])
    counts = counted(gpu, getattr(tracker, show))
    assert (counts.uploads, counts.downloads, counts.waits) == (0, 0, 0)
    assert counts.downloaded <= 3 * tracker.config.height * tracker.config.width


def test_the_benchmark_measures_on_the_device_that_was_asked_for(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "QUEUED", 2)  # the stand-in works at once
    bench = Bench(BenchOptions(presets=("robot",), devices=("cuda",), frames=8), tmp_path)
    for learn in (False, True):
        row = bench.network("robot", "cuda", 2, learn)
        assert row["device"] == "cuda"
        assert row["gflops_peak"] > 0
    assert bench.ours("cuda")["device"] == "cuda"


# --- the stand-in itself


def refused(xp):
    a, host = xp.asarray(np.arange(6, dtype=np.float32)), np.arange(6)
    return {
        "asarray": lambda: np.asarray(a),
        "numpy's function": lambda: np.exp(a),
        "numpy's stack": lambda: np.stack([a, a]),
        "numpy's operand": lambda: host * a,
        "operand": lambda: a * host,
        "in place": lambda: a.__iadd__(host),
        "assigned": lambda: a.__setitem__(slice(None), host),
        "a list": lambda: a + [1] * 6,
        "index": lambda: a[host],
        "mask": lambda: a[host > 2],
        "assigned by index": lambda: a.__setitem__(host, 0),
        "argument": lambda: xp.maximum(a, host),
        "out": lambda: xp.exp(a, out=np.empty(6, np.float32)),
        "where=": lambda: xp.exp(a, where=a > 1),
        "mode of take": lambda: a.take(a.astype(int), mode="clip"),
        "numbers joined": lambda: xp.stack([a.sum(), 1.0]),
        "overlap": lambda: a.__setitem__(slice(1, None), a[:-1]),
    }


@pytest.mark.parametrize("what", refused(StrictCupy()))
def test_the_stand_in_refuses_what_cupy_refuses(what, xp):
    with pytest.raises(TypeError):
        refused(xp)[what]()


def test_the_stand_in_serves_cupys_names_only(xp):
    for name in ("busday_count", "nditer", "longdouble"):
        assert hasattr(np, name)
        with pytest.raises(AttributeError):
            getattr(xp, name)
    with pytest.raises(AttributeError):
        xp.zeros(3).newbyteorder()


def test_the_stand_in_counts(xp):
    a = xp.asarray(np.ones((2, 3), np.float32))
    assert (xp.counts.uploads, xp.counts.uploaded) == (1, 24)
    assert to_numpy(a + 1).sum() == 12
    assert (xp.counts.downloads, xp.counts.downloaded) == (1, 24)
    float(a.sum()), bool(a.any()), int(a[0, 0]), a.max().item(), a[a > 0], list(a)
    assert xp.counts.waits == 6
    assert np.isnan(xp.empty(3, np.float32).get()).all()  # nobody may use what nobody wrote
    xp.counts.clear()
    a[xp.zeros(1, int)] = 0
    assert (xp.counts.uploads, xp.counts.uploaded) == (1, 4)


def test_numbers_and_types_are_numpys(xp):
    a = xp.ones((2, 2), np.float32)
    assert (np.float32(2) * a).dtype == np.float32
    assert (2.0 * a).dtype == np.float32
    assert (np.float64(2) * a).dtype == np.float64
    assert a.sum().shape == ()
    b = a
    b += 1
    assert b is a
    assert a.T.get().sum() == 8


def test_the_list_of_names_is_that_of_the_installed_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed (requirements/gpu.txt)")
    lines = NAMES.read_text().splitlines()
    if cupy.__version__ not in lines[0]:
        pytest.skip(f"the list is of another CuPy than {cupy.__version__}")
    assert listing() == lines


def test_the_stand_in_is_taken_for_a_gpu(gpu):
    assert array_module("auto") is array_module("cuda") is gpu
