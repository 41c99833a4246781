"""Graded recurrence: gains of context links that learn, are kept in the model file, and can be set."""

import dataclasses

import numpy as np
import pytest
from test_gradients import frames, small

from pvm_perception.core.config import Learning
from pvm_perception.core.gains import LEAST, graded
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.errors import PvmError


def learning(speed, **changes):
    return dataclasses.replace(small(**changes), learning=Learning(gain_speed=speed))


def taught(config, steps=30):
    """Return a network that learnt from noise for a while."""
    network = Hierarchy(config, 2, seed=6)
    rng = np.random.default_rng(1)
    for image in frames(steps, rng):
        network.step(image)
        network.learn(rate=1e-2)
    return network


def gains_of(config):
    return [k.gain for k in config.links if k.kind != "feedforward"]


@pytest.mark.parametrize("shared", [True, False])
def test_gains_learn_only_where_they_are_told_to(shared):
    still, moved = taught(learning(0.0, shared=shared)), taught(learning(1.0, shared=shared))
    assert gains_of(still.gains.learnt_config()) == gains_of(still.config)
    assert all(
        a != b for a, b in zip(gains_of(moved.gains.learnt_config()), gains_of(moved.config), strict=True)
    )
    signals = [k.gain for k in moved.gains.learnt_config().links if k.kind == "feedforward"]
    assert signals == [k.gain for k in moved.config.links if k.kind == "feedforward"]


def test_learnt_gains_are_kept_in_the_model_file_and_give_the_same_codes(tmp_path):
    network = taught(learning(1.0))
    save_model(tmp_path / "m.safetensors", network.gains.learnt_config(), network.weights)
    config, weights, _ = load_model(tmp_path / "m.safetensors")
    assert gains_of(config) == gains_of(network.gains.learnt_config()) != gains_of(network.config)
    twin, other = network.twin(), Hierarchy(config, 2, weights=weights)
    network.reset()
    for image in frames(3, np.random.default_rng(2)):
        network.step(image)
        twin.step(image)
        other.step(image)
    for name in ("L1", "L2", "L3"):
        np.testing.assert_array_equal(network.codes(name), other.codes(name))
        np.testing.assert_array_equal(network.codes(name), twin.codes(name))


def test_a_cut_link_stays_cut_and_none_falls_out_of_reach():
    network = taught(graded(learning(50.0), {"lateral": 0.0}), 60)
    for link in network.gains.learnt_config().links:
        if link.kind == "lateral":
            assert link.gain == 0
        elif link.kind != "feedforward":
            assert LEAST <= link.gain <= 8


def test_gains_are_set_by_kind_and_odd_ones_refused():
    config = graded(small(), {"feedback": 0.25}, 1.0)
    assert {k.gain for k in config.links if k.kind == "feedback"} == {0.25}
    assert config.learning.gain_speed == 1
    assert {k.gain for k in config.links if k.kind == "lateral"} == {1.0}
    assert graded(config, {}) == config
    with pytest.raises(PvmError, match="no context link is 'feedforward'; this network has feedback, global"):
        graded(small(), {"feedforward": 0.5})
    with pytest.raises(PvmError, match="gain"):
        graded(small(), {"lateral": -1.0})


def test_a_gradient_that_is_not_finite_changes_no_gain():
    network = taught(learning(1.0))
    before = gains_of(network.gains.learnt_config())
    w1 = network.weights["L1.w1"]
    network.gains.learn("L1", w1, np.full_like(w1, np.nan), 0.1)
    assert gains_of(network.gains.learnt_config()) == before


def test_the_command_line_sets_gains_and_lets_them_learn(command_line, tmp_path):
    done = command_line(
        "train", "--output", tmp_path / "t", "--frames", 96, "--streams", 4, "--longest", 4,
        "--validation-clips", 2, "--calibration-scenes", 0, "--gains", "feedback=0.5", "--gain-speed", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config, _, _ = load_model(tmp_path / "t" / "model.safetensors")
    back = [k.gain for k in config.links if k.kind == "feedback"]
    assert all(0.4 < g < 0.6 and g != 0.5 for g in back)
    told = command_line("info", tmp_path / "t" / "model.safetensors").stdout
    assert "feedback from" in told and f"(gain {back[0]:.3g})" in told
    wrong = command_line("train", "--output", tmp_path / "u", "--gains", "sideways=1")
    assert wrong.returncode == 2
    assert "no context link is 'sideways'" in wrong.stderr
