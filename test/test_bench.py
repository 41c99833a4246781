"""`bench` as a process; what it counts, against what can be counted otherwise."""

import csv
import math

import numpy as np
import pytest
from conftest import tiny

from pvm_perception import Tracker
from pvm_perception.core import work
from pvm_perception.core.backend import array_module
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.kernels import cpu
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.bench import COLUMNS, Load, grown
from pvm_perception.evaluation.machine import allocations, on_cores


def has_gpu():
    try:
        array_module("cuda")
    except PvmError:
        return False
    return True


def test_quick_run_leaves_table_and_picture(command_line, tmp_path):
    process = command_line("bench", "--quick", "--batch", 1, 2, "--output", tmp_path, timeout=600)
    assert process.returncode == 0, process.stderr
    with (tmp_path / "bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {r["part"] for r in rows} == {
        "tracker",
        "network",
        "input robot",
        "input paper",
        "code robot",
        "code paper",
        "peers",
    }
    cpu = [r for r in rows if r["device"] == "cpu" and r["part"] in ("tracker", "network")]
    assert {(r["what"], r["batch"], r["learn"]) for r in cpu} == {
        (p, b, s) for p in ("robot", "paper") for b in "12" for s in "01"
    }
    for row in rows:
        assert 0 < float(row["ms_median"]) <= float(row["ms_p99"]) + 1e-3
        if row["part"] != "peers":
            assert float(row["ms_busy"]) > 0
            per_frame = float(row["gflops"]) * float(row["ms_busy"]) / 1e3
            assert per_frame == pytest.approx(float(row["gflop_per_frame"]), rel=0.02, abs=1e-4)
            assert float(row["flop_over_peak"]) == pytest.approx(
                float(row["gflops"]) / float(row["gflops_peak"]), rel=0.02, abs=1e-4
            )
            assert float(row["flop_over_products"]) == pytest.approx(
                float(row["gflops"]) / float(row["gflops_products"]), rel=0.02, abs=1e-4
            )
    for part in {r["part"] for r in rows}:
        assert float(next(r for r in rows if r["part"] == part)["ratio"]) == 1
    for row in rows:
        if row["part"] == "tracker":
            assert float(row["cold_start_s"]) > 0
            assert float(row["peak_mb"]) > 20
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    assert "tracker: robot" in process.stdout
    assert has_gpu() or "cpu only: device 'cuda' cannot be used" in process.stdout


def test_bad_input_is_one_line(command_line, tmp_path):
    for arguments, word in (
        (("--batch", 0), "--batch"),
        (("--frames", 0), "--frames"),
        (("--output", "/proc/none"), "cannot be written"),
        *(() if has_gpu() else ((("--device", "cuda"), "cupy"),)),
    ):
        process = command_line("bench", "--quick", *arguments)
        assert process.returncode == 2, process.stderr
        assert len(process.stderr.strip().splitlines()) == 1
        assert word in process.stderr
    assert command_line("bench", "--preset", "none").returncode == 2


def test_work_is_one_multiplication_for_each_weight_where_units_own_theirs():
    for config in (preset("paper"), tiny(shared=False)):
        shapes = weight_shapes(config)
        for encoder in Hierarchy(
            config, 0, weights={k: np.broadcast_to(np.float32(0), s) for k, s in shapes.items()}
        ).encoders:
            own = [math.prod(shapes[f"{encoder.layer.name}.{w}"]) for w in ("w1", "w2")]
            assert work.multiply_adds(encoder) == sum(own)
            assert work.learning_multiply_adds(encoder) == sum(own) + own[1]


def test_products_are_all_the_work_that_is_listed(monkeypatch):
    """Against the matrix products that a look really asks NumPy for, where nothing is compiled."""
    monkeypatch.setattr(cpu, "products", lambda: None)
    network, asked = Hierarchy(preset("robot"), 1), []

    class Counting:
        """NumPy, whose `matmul` tells its shapes."""

        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def matmul(a, b, out=None):
            asked.append((a.size // a.shape[-1], a.shape[-1], b.shape[-1]))
            return np.matmul(a, b, out=out)

    network.xp = Counting()
    for part in (*network.encoders, *(e.inputs for e in network.encoders), network.readout):
        part.xp = network.xp
    network.step(np.zeros((1, 128, 160, 3), np.uint8))
    listed = [shape for part in (*network.encoders, network.readout) for shape in part.products]
    assert set(listed) - {listed[-1]} <= set(asked)  # the last one, the head, is no call of `matmul`


def test_streams_share_the_traffic_of_weights():
    one, many = (Load.of(Hierarchy(tiny(), b), learn=False) for b in (1, 16))
    assert one.flop == many.flop
    assert one.weights == many.weights
    assert one.traffic - many.traffic == pytest.approx(4 * one.weights * 15 / 16)
    assert many.products == tuple((16 * rows, d, n) for rows, d, n in one.products)


def test_grown_networks_run():
    config = tiny()
    for changes in ({"size": 2}, {"code": 2}, {"code": 0.5}):
        larger = grown(config, **changes)
        Hierarchy(larger, 1).step(np.zeros((1, larger.height, larger.width, 3), np.uint8))
    assert (grown(config, size=2).width, grown(config, size=2).layers[-1].rows) == (64, 1)
    assert [x.code for x in grown(config, code=2).layers] == [24, 20, 16]


def test_allocations_tell_what_stays_from_what_passes():
    kept = []
    passing = allocations(lambda _k: np.ones(25_000, np.float32).sum(), 20)
    assert passing["temporary_kb"] == pytest.approx(100, rel=0.1)
    assert abs(passing["retained_kb"]) < 10
    staying = allocations(lambda _k: kept.append(np.ones(25_000, np.float32)), 20)
    assert staying["retained_kb"] == pytest.approx(2000, rel=0.1)


def test_a_look_allocates_answers_and_boxes_alone():
    rng = np.random.default_rng(0)
    scene = rng.integers(20, 236, (120, 160, 3), np.int64)
    images = (scene + rng.integers(-20, 20, (8, *scene.shape))).astype(np.uint8)  # of one scene: no cuts
    tracker = Tracker()

    def step(k):
        tracker.update(images[k % 8])

    for k in range(8):
        step(k)
    with on_cores(1):  # as `bench` measures it; on two, those of two looks are there at a time
        found = allocations(step, 8)
    assert found["temporary_kb"] < 80
    assert found["retained_kb"] < 16
