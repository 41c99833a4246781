"""Update rules: what a step looks like, and that it goes downhill."""

import tracemalloc

import numpy as np
import pytest

from pvm_perception.core.algebra import Outer
from pvm_perception.core.config import Learning
from pvm_perception.core.optimizer import Optimizer, orthogonalised


@pytest.mark.parametrize("shape", [(300, 24), (24, 300), (40, 40)])
def test_an_orthogonalised_gradient_has_singular_values_near_one(shape):
    rng = np.random.default_rng(0)
    g = rng.standard_normal(shape).astype(np.float32) * np.geomspace(1, 20, shape[1])
    u = orthogonalised(g.astype(np.float32), np)
    values = np.linalg.svd(u, compute_uv=False)
    assert u.shape == shape
    assert values.max() < 1.3
    assert np.median(values) > 0.6
    assert np.vdot(u, g) > 0  # still along the gradient
    assert np.isfinite(orthogonalised(np.zeros(shape, np.float32), np)).all()


@pytest.mark.parametrize("rule", ["adam", "muon", "momentum"])
def test_every_rule_goes_downhill(rule):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 12)).astype(np.float32) * np.geomspace(1, 5, 12).astype(np.float32)
    goal = x @ rng.standard_normal((12, 6)).astype(np.float32)
    weights = {"L1.w1": np.zeros((12, 6), np.float32), "L1.b1": np.zeros(6, np.float32)}
    optimizer = Optimizer(weights, Learning(rule, clip=0.0, average=0.9), np)
    losses = []
    for _ in range(300):
        miss = x @ weights["L1.w1"] + weights["L1.b1"] - goal
        losses.append(float((miss**2).mean()))
        optimizer.update(weights, {"L1.w1": x.T @ miss / len(x), "L1.b1": miss.mean(axis=0)}, 0.02)
    assert losses[-1] < 0.1 * losses[0]
    assert optimizer.averaged(weights)["L1.w1"].shape == (12, 6)


@pytest.mark.parametrize("streams", [1, 2, 5])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_own_weights_move_alike_whether_momentum_is_kept_as_factors_or_whole(streams, clip):
    rng = np.random.default_rng(3)
    start = rng.standard_normal((7, 30, 5)).astype(np.float32)
    kinds = {n: {"L1.w1": start.copy()} for n in ("factors", "whole")}
    learning = Learning("momentum", clip=clip, average=0.0)
    rules = {
        "factors": Optimizer(kinds["factors"], learning, np, streams),
        "whole": Optimizer(kinds["whole"], learning, np, streams=10**6),
    }
    assert ("m.L1.w1" in rules["factors"].state) == (streams == 5)  # more would not pay
    assert "m.L1.w1" in rules["whole"].state
    for _ in range(40):
        x = rng.standard_normal((streams, 7, 30)).astype(np.float32)
        d = rng.standard_normal((streams, 7, 5)).astype(np.float32)
        norms = [rules[n].update(kinds[n], {"L1.w1": Outer.of(x, d)}, 0.01) for n in kinds]
        assert norms[0] == pytest.approx(np.linalg.norm(np.einsum("bud,bun->udn", x, d)), rel=1e-4)
        assert norms[0] == norms[1]
    moved = np.abs(kinds["whole"]["L1.w1"] - start).max()
    np.testing.assert_allclose(kinds["factors"]["L1.w1"], kinds["whole"]["L1.w1"], atol=1e-3 * moved)


def test_muon_keeps_no_second_moment_of_matrices():
    weights = {
        "L1.w1": np.zeros((12, 6), np.float32),
        "L1.b1": np.zeros(6, np.float32),
        "readout.w2": np.zeros((4, 10), np.float32),
    }
    state = Optimizer(weights, Learning("muon", average=0.0), np).state
    assert set(state) == {"m.L1.w1", "m.L1.b1", "m.readout.w2", "v.L1.b1", "v.readout.w2"}


def test_decay_shrinks_what_muon_moves_and_nothing_else():
    weights = {"L1.w1": np.ones((8, 4), np.float32), "L1.b1": np.ones(4, np.float32)}
    optimizer = Optimizer(weights, Learning("muon", decay=0.5, clip=0.0), np)
    optimizer.update(weights, {k: np.zeros_like(w) for k, w in weights.items()}, 0.1)
    np.testing.assert_allclose(weights["L1.w1"], 0.95, rtol=1e-6)
    np.testing.assert_allclose(weights["L1.b1"], 1.0)


@pytest.mark.parametrize("rule", ["muon", "adam"])
def test_an_update_works_in_memory_that_is_there(rule):
    """Beside the small Gram matrix's polynomial it takes no new memory."""
    weights = {"w1": np.ones((2000, 96), np.float32)}
    optimizer = Optimizer(weights, Learning(rule, clip=1e-3, decay=0.1), np)
    g = np.random.default_rng(0).standard_normal((2000, 96), np.float32)
    tracemalloc.start()
    try:
        optimizer.update(weights, {"w1": g}, 1e-3)
        level, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert level < 16_000
    assert peak < 12 * 96 * 96 * 4 < g.nbytes
