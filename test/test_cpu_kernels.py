"""The CPU kernels, every build that runs here, against the NumPy network; and the tracker on them."""

import ctypes
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from host_kernels import SANITIZE, compare
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import small

from pvm_perception import Tracker
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu, plan
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.core.kernels.packing import Packing, Range
from pvm_perception.core.learning import pass_down
from pvm_perception.core.model_file import load_model
from pvm_perception.core.placement import build_network
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.machine import allocations
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.types import Truth

FOLDER = Path(cpu.__file__).parent
pytestmark = pytest.mark.skipif(
    not list(FOLDER.glob("_cpu_*.so")),
    reason="the CPU kernels were not compiled: no C++ compiler at `make setup`",
)


def load(name, monkeypatch):
    """Let a runner take this build of the kernels alone; skip where the processor lacks its instructions."""
    found = next(iter(FOLDER.glob(f"_cpu_{name}.*so")), None)
    if found is None or not ctypes.CDLL(str(found)).runs_here():
        pytest.skip(f"this processor has no {name}")
    monkeypatch.setattr(cpu, "BUILDS", (name,))
    monkeypatch.setattr(cpu, "compiled", cpu.compiled.__wrapped__)
    return cpu.CpuRunner()


@pytest.mark.parametrize("build", cpu.BUILDS)
@pytest.mark.parametrize("batch", [1, plan.STREAMS])
def test_shipped_model_computes_what_the_network_computes(build, batch, monkeypatch):
    config, weights, _ = load_model(default_model())
    network = Hierarchy(config, batch, weights=weights)
    compare(network, Engine(network, load(build, monkeypatch)))


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_ragged_widths_gains_and_cut_links(build, monkeypatch):
    network = Hierarchy(small(), 3, seed=3)
    compare(network, Engine(network, load(build, monkeypatch)), 5)


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_odd_widths_and_columns_of_zeros(build, monkeypatch):
    base = small()
    layers = tuple(dataclasses.replace(k, code=n) for k, n in zip(base.layers, (7, 5, 9), strict=True))
    readout = dataclasses.replace(base.readout, hidden=11, mixing=13)
    network = Hierarchy(dataclasses.replace(base, layers=layers, readout=readout), 2, seed=3)
    for name in ("L1.w1", "L2.w1", "L2.w2", "readout.mix", "readout.project2"):
        network.weights[name][:, 1] = 0
    compare(network, Engine(network, load(build, monkeypatch)), 5)


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_no_sum_overflows(build, monkeypatch):
    """All weights alike, of any size, and the brightest image: sums are as large as they can be."""
    network, runner = Hierarchy(small(), 1, seed=3), load(build, monkeypatch)
    image = np.full((1, 24, 32, 3), 255, np.uint8)
    for size in (1e-6, 1.0, 1e6):
        network.reset()
        network.weights["L1.w1"][...] = size
        engine = Engine(network, runner)
        network.step(image), engine.step(image)
        np.testing.assert_allclose(engine.codes("L1"), network.encoders[0].h, rtol=1e-3, atol=1e-4)


@given(st.data())
def test_packed_weights_are_close_and_their_sums_fit(data):
    """The row that makes a column's sum largest stays below 2^31, in any weights."""
    width, pieces, columns = (data.draw(st.integers(1, most)) for most in (45, 40, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    w = rng.standard_normal((pieces * width, columns)) ** data.draw(st.sampled_from((0, 1, 9)))
    w *= 10.0 ** rng.integers(-30, 30, columns) * rng.integers(0, 2, columns)
    w, gain = w.astype(np.float32), data.draw(st.sampled_from((0.3, 1.0, -4.0)))
    held = Range(data.draw(st.sampled_from((0.5, 9.8))), of_norm=data.draw(st.booleans()))
    build = Packing(data.draw(st.sampled_from((4, 16))), pairs=True)
    paired, scale = build.weights(w, width, held, gain)
    rows = 2 * build.pitch(width)
    packed = paired.transpose(0, 2, 1).reshape(pieces, rows, -1).astype(np.int64)
    together = build.together(width)
    for k in range(0, pieces, together):
        block = packed[k : k + together]
        if held.of_norm:
            size = np.maximum(np.sqrt((block**2).sum(1, keepdims=True)), 1)
            x = np.rint(block * (held.largest / size)).astype(np.int64)
        else:
            x = np.sign(block) * held.largest
        assert (x * block).sum((0, 1)).max() < 2**31
    assert np.abs(packed).max() < 2**15
    again = packed[:, :width, :columns].reshape(-1, columns) * (scale[:columns].astype(float) * held.steps)
    coarse = np.abs(w * gain).max(0) / 100  # at the least: of a single large weight among many small ones
    assert (np.abs(again - w * gain) <= coarse).all()


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_inputs_that_do_not_fit_the_cache_are_taken_in_parts(build, monkeypatch):
    """Codes wider than what is multiplied at a time, as no model that fits a robot has them."""
    base = small()
    layers = tuple(dataclasses.replace(k, code=700) if k.name == "L2" else k for k in base.layers)
    readout = dataclasses.replace(base.readout, hidden=660, mixing=650)
    network = Hierarchy(dataclasses.replace(base, layers=layers, readout=readout), 1, seed=5)
    monkeypatch.setattr(plan, "SHARED_LIMIT", 1 << 30)  # of a GPU's block
    compare(network, Engine(network, load(build, monkeypatch)))


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_twins_share_weights_and_nothing_else(build, monkeypatch):
    network = Hierarchy(small(), 1, seed=3)
    engine = Engine(network, load(build, monkeypatch))
    twin, image = engine.twin(), np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), np.uint8)
    engine.step(image)
    first = engine.answers()
    engine.step(255 - image)
    twin.step(image)
    np.testing.assert_array_equal(twin.answers(), first)
    mine, its = engine._device, twin._device
    assert all(mine.weight_address(name) == its.weight_address(name) for name in network.weights)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to build with sanitizers")
@pytest.mark.parametrize("options", [(), ("-DFLOATS",)])
def test_sanitizers_find_nothing(tmp_path, options):
    """Kernels read past an array's end at most within the padding that `put` adds, and write nothing there.

    FLOATS: as on processors without products of pairs of integers.
    """
    where = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(where).is_absolute():
        pytest.skip("g++ has no address sanitizer here")
    library = tmp_path / "_cpu_any.x.so"
    subprocess.run(
        [
            "g++",
            "-std=gnu++17",
            "-O1",
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wno-unused-function",
            "-Werror",
            *SANITIZE,
            *options,
            *sorted(FOLDER.glob("*.cpp")),
            "-o",
            library,
        ],
        check=True,
    )
    code = (
        "import pathlib, sys; import numpy as np\n"
        "from host_kernels import compare; from test_kernels import small\n"
        "from pvm_perception.core.hierarchy import Hierarchy\n"
        "from pvm_perception.core.kernels import cpu\n"
        "from pvm_perception.core.kernels.engine import Engine\n"
        "found = cpu.compiled(pathlib.Path(sys.argv[1])); cpu.compiled = lambda: found\n"
        "network = Hierarchy(small(), 2, seed=3)\n"
        "compare(network, Engine(network, cpu.CpuRunner()), 3)\n"
        "boxes = np.float32([[[0, 8, 6, 10, 9, 1, 1]], [[-1] * 7]])\n"
        "network.learn(boxes, 0.01); network.learn(boxes, 0.01)\n"
        "assert cpu.products()._library is found[1]\n"
        "from pvm_perception.core.config import preset\n"
        "from pvm_perception.core.forecast import Forecaster, first_weights\n"
        "from pvm_perception.core.kernels import forecast\n"
        "forecast._library = lambda: found[1]; rng = np.random.default_rng(0)\n"
        "config = preset('robot'); foresees = Forecaster(config, 2)\n"
        "weights = first_weights(config.forecast, rng)\n"
        "for shown in ([0, 0, 128, 160], [19, 0, 90, 160], [0, 159, 128, 1], [127, 0, 1, 160]):\n"
        "    images = rng.integers(0, 256, (2, 128, 160, 3), np.uint8)\n"
        "    motion = rng.standard_normal((2, 4)).astype(np.float32)\n"
        "    foresees.step(images, weights, motion, np.array([shown] * 2))\n"
        "    for scale in foresees.scales: scale.now.likeliest[...] = rng.choice((-999, 0, 999))\n"
        "    foresees.gradients(weights, 1.0)\n"
        "assert isinstance(foresees.scales[0].steps, forecast.CompiledSteps); print('compared')"
    )
    environment = os.environ | {
        "LD_PRELOAD": where,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout == "compared\n"
    assert not process.stderr


def test_the_tracker_runs_on_them_and_tracks_as_numpy_does(monkeypatch):
    images = [f.image for f in SimulatedStream(20, (240, 320), 30.0, 40, seconds=1.0)]
    fast = Tracker()
    assert (fast.device, fast.runs_on, fast.notice) == ("cpu", f"cpu kernels ({cpu.compiled()[0]})", "")

    def missing():
        raise PvmError("the CPU kernels were not compiled")

    monkeypatch.setattr(cpu, "compiled", missing)
    plain = Tracker()
    assert (plain.runs_on, plain.notice) == ("cpu (NumPy)", "the CPU kernels were not compiled")
    found = 0
    for k, image in enumerate(images):
        a, b = fast.update(image, k / 30), plain.update(image, k / 30)
        assert [(t.target, t.id, t.state) for t in a] == [(t.target, t.id, t.state) for t in b]
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(
                (one.x, one.y, one.w, one.h, one.score),
                (other.x, other.y, other.w, other.h, other.score),
                rtol=1e-2,
                atol=1.5,  # px: rounding may decide whether a cell is in a box's mean
            )
        found += len(a)
    assert found > 20


def test_a_step_allocates_next_to_nothing():
    config, weights, _ = load_model(default_model())
    engine = Engine(Hierarchy(config, 1, weights=weights, learns=False), cpu.CpuRunner())
    image = np.zeros((1, config.height, config.width, 3), np.uint8)
    found = allocations(lambda _k: engine.step(image, foresee=False), 20)
    assert found["temporary_kb"] < 8 and found["retained_kb"] < 4, found  # Python's own small objects
    found = allocations(lambda _k: engine.step(image), 20)
    assert found["temporary_kb"] < 128 and found["retained_kb"] < 16, found  # and those of the forecast


def test_what_the_kernels_do_not_run_runs_on_numpy_and_says_so():
    config = preset("paper")
    network, notice = build_network(config, Hierarchy(config).weights, "cpu")
    assert network.runs_on == "cpu (NumPy)"
    assert "weights of each unit's own" in notice and "\n" not in notice


def test_builds_of_another_machine_are_passed_over(tmp_path):
    (tmp_path / "_cpu_avx512.x.so").write_bytes(b"not for this machine")
    with pytest.raises(PvmError, match=r"were not compiled.*apt install g"):
        cpu.compiled(tmp_path)
    shutil.copy(next(FOLDER.glob("_cpu_any.*so")), tmp_path)
    assert cpu.compiled.__wrapped__(tmp_path)[0] == "any"


@pytest.mark.parametrize("build", cpu.BUILDS)
def test_learning_takes_the_gradients_that_numpy_takes(build, monkeypatch):
    """The three products of learning, in ragged widths, with and without an index and gains."""
    load(build, monkeypatch)
    compiled = cpu.Products(cpu.compiled()[1])
    config, rng = small(), np.random.default_rng(0)
    boxes = np.full((3, 2, Truth.COLUMNS), -1, np.float32)
    boxes[1, 0] = [0, 8, 6, 10, 9, 1, 1]
    found = []
    for products in (compiled, None):
        monkeypatch.setattr(cpu, "products", lambda products=products: products)
        network, rng = Hierarchy(config, 3, seed=3), np.random.default_rng(0)
        for _k in range(3):
            network.step(rng.integers(0, 256, (3, 24, 32, 3), np.uint8), rng.normal(0, 0.05, (3, 4)))
            network.learn(boxes, rate=0.0)
        network.step(rng.integers(0, 256, (3, 24, 32, 3), np.uint8))
        grads, errors, _ = network.readout.backward(network.part("readout"), network.out, boxes)
        credit = pass_down(network, errors)
        own = [
            e.gradients(network.part(e.layer.name), network.known, 1.0, network.dz_readout[i])[0]
            for i, e in enumerate(network.encoders)
        ]
        found.append([*grads.values(), *credit, *(g.copy() for part in own for g in part.values())])
    for fast, plain in zip(*found, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-5 * max(np.abs(plain).max(), 1e-3))


def test_units_may_read_any_number_of_parts():
    """More than the engine's tables hold: a configuration sets no limit."""
    rng = np.random.default_rng(0)
    source = rng.standard_normal((2, 6, 3), np.float32)
    index = rng.integers(0, 6, (5, 2))
    w = rng.standard_normal((6 * 3 * plan.MAX_PARTS, 7), np.float32)
    parts = [(source, index, slice(k, k + 6)) for k in range(0, len(w), 6)]
    out = np.empty((2, 5, 7), np.float32)
    cpu.products().gather_matmul(out, parts, w, adds=False)
    x = source[:, index].reshape(2, 5, 6)
    np.testing.assert_allclose(out, sum(x @ w[rows] for *_, rows in parts), rtol=1e-3, atol=1e-4)


def test_products_of_other_arrays_are_left_to_numpy():
    """Of other types, and with gaps, as slices have them."""
    plain = np.zeros((2, 3), np.float32)
    assert cpu.Products.take(plain)
    for other in (plain.astype(np.float64), plain[:, 1:], np.ma.asarray(plain)):
        assert not cpu.Products.take(plain, other)


def test_setup_builds_what_the_runner_looks_for():
    setup = (ROOT / "setup.py").read_text()
    assert all(f'"{name}"' in setup for name in cpu.BUILDS)
