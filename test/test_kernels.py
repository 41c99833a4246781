"""The CUDA kernels against the NumPy network, on the host; and what compilers say of them."""

import csv
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kernel_costs as costs
import numpy as np
import pytest
from conftest import ROOT, tiny
from host_kernels import SANITIZE, HostRunner, build, compare, run_beside

from pvm_perception.core import work
from pvm_perception.core.backend import find_gpu
from pvm_perception.core.config import MOTION, Link, ReadoutConfig, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import plan
from pvm_perception.core.kernels.engine import Engine
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError
from pvm_perception.shipped import default_model

needs_host_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++ to run the kernels on the host"
)


def small(**changes):
    """Return a network of the robot's kind with ragged tiles, gains, and a cut link."""
    base = tiny()
    layers = tuple(
        dataclasses.replace(k, terms=("signal", "error") if k.name != "L3" else ("signal",))
        for k in base.layers
    )
    gains = {"lateral": 0.5, "feedback": 0.0, "global": 1.5, "feedforward": 0.75}
    links = tuple(dataclasses.replace(k, gain=gains[k.kind]) for k in base.links)
    links += tuple(Link(MOTION, k.name) for k in layers)
    values = {
        "layers": layers,
        "links": links,
        "activation": "leaky",
        "normalise": True,
        "readout": ReadoutConfig(hidden=20, radius=(0, 1), cells="L2", memory=1, mixing=14),
    }
    return dataclasses.replace(base, **(values | changes))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Return the kernels for the host, blocks and threads run forwards and backwards."""
    return [build(tmp_path_factory.mktemp("kernels"), *options) for options in ((), ("-DBACKWARDS",))]


@needs_host_compiler
@pytest.mark.parametrize(("batch", "multiprocessors"), [(1, 132), (1, 46), (2, 8), (2, 1)])
def test_shipped_model_computes_what_the_network_computes(libraries, batch, multiprocessors):
    config, weights, _ = load_model(default_model())
    network = Hierarchy(config, batch, weights=weights)
    compare(network, Engine(network, HostRunner(libraries[0], multiprocessors)))


@needs_host_compiler
@pytest.mark.parametrize("multiprocessors", [1, 4, 16, 64])
def test_ragged_tiles_gains_and_cut_links(libraries, multiprocessors):
    network = Hierarchy(small(), 3, seed=3)
    compare(network, Engine(network, HostRunner(libraries[0], multiprocessors)), 5)


@needs_host_compiler
def test_order_of_blocks_and_threads_does_not_matter(libraries):
    network = Hierarchy(small(), 2, seed=3)
    forwards, backwards = (Engine(network, HostRunner(path, 8)) for path in libraries)
    for (_, a), image in zip(run_beside(network, forwards), run_beside(network, backwards), strict=True):
        np.testing.assert_array_equal(a, image[1])
        np.testing.assert_array_equal(forwards.surprise(), backwards.surprise())


@needs_host_compiler
def test_a_fresh_stream_answers_as_a_new_network(libraries):
    network = Hierarchy(small(), 1, seed=3)
    engine = Engine(network, HostRunner(libraries[0], 8))
    image = np.random.default_rng(0).integers(0, 256, (1, 24, 32, 3), np.uint8)

    def answered():
        engine.step(image)
        return engine.answers()

    first = answered()
    assert np.abs(answered() - first).max() > 1e-4
    engine.reset()
    np.testing.assert_array_equal(answered(), first)


@needs_host_compiler
def test_tables_have_the_size_of_the_kernels_structs(libraries):
    library = HostRunner(libraries[0], 1).library
    assert library.input_blocks_table() == plan.INPUT_TABLE.itemsize
    assert library.layer_1_table() == plan.LAYER.itemsize
    assert library.answer_1_table() == plan.READOUT.itemsize
    assert library.decode_table() == plan.DECODE.itemsize


@needs_host_compiler
def test_sanitizers_find_nothing(tmp_path):
    where = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(where).is_absolute():
        pytest.skip("g++ has no address sanitizer here")
    environment = os.environ | {
        "LD_PRELOAD": where,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name("host_kernels.py"), build(tmp_path, *SANITIZE)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout == "compared\n"
    assert not process.stderr


class Unmoved:
    """A device that holds tables and runs nothing."""

    name, xp, shares, packing = "nothing", np, False, None

    def __init__(self, multiprocessors):
        self.multiprocessors = multiprocessors

    def host(self, size):
        return np.zeros(size, np.uint8)

    def put(self, array):
        return array

    def address(self, array):
        return array.ctypes.data

    def load(self, launches):
        return lambda: None


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("card", costs.CARDS, ids=lambda c: c.name)
def test_a_frame_is_few_launches_within_every_cards_limits(card, batch):
    network = Hierarchy(preset("robot"), batch)
    launches = costs.launches_with_costs(network, Engine(network, Unmoved(card.multiprocessors)))
    assert len(launches) <= 12
    for launch, cost in launches:
        assert launch.shared <= plan.SHARED_LIMIT
        assert launch.threads <= 1024
        assert costs.predicted_us(launch, cost, card, costs.NODE) > costs.NODE


def test_work_is_what_the_network_counts():
    """Spread links cost the kernels more: they do not share a parent's product."""
    network = Hierarchy(preset("robot"))
    launches = costs.launches_with_costs(network, Engine(network, Unmoved(8)))
    for encoder, (_, cost) in zip(network.encoders, launches[1:], strict=False):
        spread = (
            sum((encoder.units - e.units) * (e.rows.stop - e.rows.start) for e in encoder.inputs.parts)
            * encoder.layer.code
        )
        assert cost.flops == 2 * (work.multiply_adds(encoder) + spread)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"activation": "tanh"}, "activation tanh"),
        ({"schedule": "parallel"}, "schedule parallel"),
        ({"normalise": False}, "not normalised"),
        ({"layers": tiny().layers}, "signal terms"),
    ],
)
def test_refuses_what_the_kernels_do_not_compute(changes, what):
    with pytest.raises(PvmError, match=what):
        Engine(Hierarchy(small(**changes)), Unmoved(8))


def test_refuses_what_the_network_refuses():
    engine = Engine(Hierarchy(small()), Unmoved(8))
    with pytest.raises(PvmError, match="uint8 images of shape"):
        engine.step(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(PvmError, match="finite"):
        engine.step(np.zeros((1, 24, 32, 3), np.uint8), np.full((1, 4), np.nan))


@needs_host_compiler
def test_the_bench_measures_what_a_device_runs(libraries):
    import kernels  # sets the number of threads

    rows = kernels.measure(Hierarchy(small(), 2, seed=3), HostRunner(libraries[0], 8), "host", rounds=3)
    assert [r["what"].partition("_")[0] for r in rows] == [
        "frame",
        "input",
        *["layer"] * 3,
        "project",
        "answer",
        "decode",
    ]
    assert rows[0]["largest_difference"] < 1e-3
    for row in rows:
        assert (row["gpu"], row["batch"]) == ("host", 2)
        assert 0 < row["us_median"] <= row["us_p99"]


def test_measuring_without_a_gpu_is_refused_in_one_line(tmp_path):
    if find_gpu()[0] is not None:
        pytest.skip("there is a GPU")
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "kernels.py", "--measure", tmp_path / "gpu.csv"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1 and "device 'cuda' cannot be used" in process.stderr
    assert not process.stdout and not list(tmp_path.iterdir())


def test_compiles_without_spilling(tmp_path):
    """The bench compiles for every architecture that a compiler here knows, and predicts."""
    table = tmp_path / "kernels.csv"
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "kernels.py", "--output", table],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("as a graph") == len(costs.CARDS)
    if not table.exists():
        pytest.skip("needs nvcc, or the NVRTC that comes with CuPy, to compile the kernels")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kernels = dict(re.findall(r"^KERNEL\((\w+), (\d+)", plan.source_code(), re.MULTILINE))
    found = {}
    for row in rows:
        found.setdefault(row["architecture"], set()).add(row["kernel"])
        assert int(row["spilled_bytes"]) == 0, row
        assert int(row["static_shared_bytes"]) <= plan.SHARED_LIMIT
        assert int(row["registers"]) * int(kernels[row["kernel"]]) <= 65536, row
    assert all(names == set(kernels) for names in found.values())
    assert {"sm_87", "sm_89", "sm_90"} <= set(found)
