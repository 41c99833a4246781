"""The tracker on kernels, CUDA's run on the host and the CPU's own, against the tracker on NumPy."""

import json
import shutil
import sys

import numpy as np
import pytest
from conftest import tiny
from host_kernels import HostRunner, build
from strict_cupy import StrictCupy

from pvm_perception import Tracker
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cuda
from pvm_perception.core.placement import build_network
from pvm_perception.evaluation.bench import Bench, BenchOptions
from pvm_perception.streams.generated import SimulatedStream

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to run the kernels on the host"),
    pytest.mark.usefixtures("numpy_on_the_cpu"),
]
CLOSE = {"rtol": 2e-3, "atol": 2e-3}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def gpu(monkeypatch, library):
    """Let a GPU answer whose arrays are the strict stand-in's, and whose kernels run on the host."""
    xp = StrictCupy()
    monkeypatch.setitem(sys.modules, "cupy", xp)
    monkeypatch.setattr(cuda, "CudaRunner", lambda: HostRunner(library, 8, xp))
    return xp


@pytest.fixture(scope="module")
def images():
    return [f.image for f in SimulatedStream(1, (240, 320), 30.0, 48, seconds=1.0)]


def assert_same(host, device):
    """Compare all that a tracker shows of its last frame."""
    assert host.fovea == device.fovea
    assert host.times_diverged == device.times_diverged
    for target in host.targets:
        np.testing.assert_allclose(device.heatmap(target), host.heatmap(target), **CLOSE)
    np.testing.assert_allclose(device.surprise(), host.surprise(), **CLOSE)
    np.testing.assert_allclose(device.prediction_error(), host.prediction_error(), rtol=1e-2)
    assert np.abs(device.prediction().astype(int) - host.prediction()).max() <= 1
    for layer, codes in host.codes().items():
        np.testing.assert_allclose(device.codes()[layer], codes, **CLOSE)


def assert_same_tracks(host, device):
    assert [(t.target, t.id, t.state) for t in device] == [(t.target, t.id, t.state) for t in host]
    for a, b in zip(host, device, strict=True):
        np.testing.assert_allclose(
            (b.x, b.y, b.w, b.h, b.score), (a.x, a.y, a.w, a.h, a.score), rtol=1e-2, atol=0.1
        )


def test_what_is_foreseen_is_the_same(gpu, images):
    host, device = (Tracker(device=d) for d in ("cpu", "cuda"))
    for image in images[:4]:
        for tracker in (host, device):
            tracker.update(image)
        for mine, its in zip(host.foresee(3), device.foresee(3), strict=True):
            assert np.abs(mine.astype(int) - its).max() <= 1
    assert_same(host, device)


def track_beside(images, fovea):
    """Run both through motion, a missing frame, a gap, time that jumps back, another size, resets."""
    host, device = (Tracker(device=d, fovea=fovea) for d in ("cpu", "cuda"))
    assert (device.device, device.runs_on, device.notice) == ("cuda", "cuda kernels", "")
    assert host.runs_on == "cpu (NumPy)"
    stamp, found = 50.0, 0
    for k, image in enumerate(images):
        stamp += {20: 3.0, 25: -10.0}.get(k, 1 / 30)
        seen = {15: None, 30: image[:200]}.get(k, image)
        motion = (0.01, -0.02, 0.005, 0.01) if k % 3 == 1 else None
        tracks = host.update(seen, stamp, motion)
        assert_same_tracks(tracks, device.update(seen, stamp, motion))
        assert_same(host, device)
        if k == 35:
            host.reset(), device.reset()
            assert_same(host, device)  # nothing is left of the past
        found += len(tracks)
    assert found > 20
    assert_same_tracks(host.track_still(images[0]), device.track_still(images[0]))
    assert json.dumps(device.info())


@pytest.mark.parametrize("fovea", [True, False])
def test_the_tracker_answers_as_on_the_cpu(gpu, images, fovea):
    track_beside(images, fovea)


def test_before_the_first_frame_there_is_nothing(gpu):
    assert_same(Tracker(), Tracker(device="cuda"))


def test_warming_up_changes_nothing(gpu, images):
    for device in ("cpu", "cuda"):
        warm, cold = Tracker(device=device), Tracker(device=device)
        warm.warm_up()
        assert_same(warm, Tracker(device=device))
        for k, image in enumerate(images[:4]):
            assert warm.update(image, k / 30) == cold.update(image, k / 30)


def lost_beside(images):
    """Return trackers on CPU and GPU that saw the same images and whose states then lost themselves."""
    host, device = Tracker(), Tracker(device="cuda")
    for image in images:
        host.update(image), device.update(image)
    for encoder in host._network.encoders:
        encoder.prediction[...] = np.nan
    for prediction in device._network._device.predictions:
        prediction[...] = np.nan
    return host, device


def test_a_state_that_lost_itself_is_begun_anew(gpu, images):
    host, device = lost_beside(images[:6])
    for image in images[6:9]:
        assert_same_tracks(host.update(image), device.update(image))
        assert_same(host, device)
    assert device.times_diverged == 1


def test_both_looks_read_the_same_weights(gpu):
    tracker = Tracker(device="cuda")
    first, second = tracker._network, tracker._perception.near.network
    for name in first.weights:
        assert first._device.weight_address(name) == second._device.weight_address(name)
    own = {first.runner.address(a) for a in first._device.kept}
    assert not own & {second.runner.address(a) for a in second._device.kept}


def test_a_look_is_one_copy_each_way_and_only_boxes_come_back(gpu, images, monkeypatch):
    copies = []
    for name in ("write", "read"):
        plain = getattr(HostRunner, name)
        monkeypatch.setattr(
            HostRunner,
            name,
            lambda self, array, *rest, plain=plain, name=name: (
                copies.append((name, array.nbytes)),
                plain(self, array, *rest),
            )[1],
        )
    tracker = Tracker(device="cuda")
    for k, image in enumerate(images[:6]):
        copies.clear()
        before = tracker.network_steps
        tracker.update(image, k / 30)
        tracker.prediction_error()  # costs none
        looks = tracker.network_steps - before
        assert looks >= (1 if k else 2)  # a network without a past looks twice
        assert [c[0] for c in copies] == ["write", "read"] * looks
        assert all(size < (64 * 1024 if way == "write" else 512) for way, size in copies)
        copies.clear()
        tracker.surprise()  # is on the host already
        tracker.heatmap("green_ball")  # lies on the device until somebody asks
        assert [c[0] for c in copies] == ["read"]
    assert gpu.counts.uploads == gpu.counts.downloads == 0  # no array code runs beside the kernels


def test_learning_leaves_the_kernels_at_work(gpu, images):
    asked, switched, host = Tracker(device="cuda", learn=True), Tracker(device="cuda"), Tracker(learn=True)
    assert asked.runs_on == switched.runs_on == "cuda kernels"
    for image in images[:12]:  # a step takes the gradients of eight frames that move
        assert_same_tracks(switched.update(image), asked.update(image))
        host.update(image)
    assert host.model_version == asked.model_version > 0
    for name, weight in asked._network.forecast_weights().items():
        np.testing.assert_allclose(weight, host._network.weights[name], rtol=1e-3, atol=1e-6)


def test_what_the_kernels_do_not_run_runs_as_arrays(gpu, monkeypatch):
    """A network of another kind, and a GPU or a compiler that does not take them; both say so."""
    config = preset("paper")
    network, notice = build_network(config, Hierarchy(config).weights, "cuda")
    assert network.runs_on == "cuda arrays"
    assert "weights of each unit's own" in notice and "\n" not in notice

    def refuse():
        raise RuntimeError("no compiler\nfor this card")

    monkeypatch.setattr(cuda, "CudaRunner", refuse)
    tracker = Tracker(device="auto")
    assert (tracker.device, tracker.runs_on) == ("cuda", "cuda arrays")
    assert "RuntimeError: no compiler for this card" in tracker.notice
    tracker.update(np.zeros((120, 160, 3), np.uint8))


def test_the_benchmark_runs_the_kernels(gpu, tmp_path):
    bench = Bench(BenchOptions(presets=("robot",), devices=("cuda",), frames=4), tmp_path)
    row = bench.ours("cuda")
    assert (row["device"], row["machine"], row["runs_on"]) == ("cuda", "stand-in", "cuda kernels")


def test_auto_without_a_gpu_takes_the_cpu_and_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as where it is not installed
    tracker = Tracker(device="auto")
    assert (tracker.device, tracker.runs_on) == ("cpu", "cpu (NumPy)")
    assert "cupy is not installed" in tracker.notice and "\n" not in tracker.notice
    assert "; the CPU kernels were not compiled" in tracker.notice
    config = tiny()
    weights = Hierarchy(config).weights
    assert build_network(config, weights, "cpu")[1] != ""
