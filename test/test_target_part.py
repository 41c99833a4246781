"""One target's presence learns alone: boxes and the other targets' answers stay, to the last bit."""

import dataclasses

import numpy as np
import pytest
from conftest import noise_images, tiny

from pvm_perception.core.config import ReadoutConfig, preset
from pvm_perception.core.growth import grown
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.errors import PvmError
from pvm_perception.training.target_part import optimizer_for, own_part
from pvm_perception.types import Box, Truth

BALL, SIGN = 0, 1
OLD, NEW = 20, 8  # units of the readout's mixing layer, and those that it grew by; as many again below it


def grown_network(optimizer: str) -> Hierarchy:
    """Return a network whose readout has grown, so that it has units that nobody hears."""
    config = tiny(readout=ReadoutConfig(hidden=OLD, mixing=OLD))
    config = dataclasses.replace(
        config, learning=dataclasses.replace(config.learning, optimizer=optimizer, decay=0.1)
    )
    readout = dataclasses.replace(config.readout, hidden=OLD + NEW, mixing=OLD + NEW)
    wide = dataclasses.replace(config, readout=readout)
    network = Hierarchy(config, seed=5)
    return Hierarchy(wide, weights=grown(config, network.weights, wide))


def test_what_nobody_hears_and_the_targets_presence_are_its_part():
    network = grown_network("adam")
    part = own_part(network.config, network.weights, "stop_sign")
    np.testing.assert_array_equal(part["readout.w2"], np.arange(10) == 5)
    for name in ("readout.mix", "readout.b_mix", "readout.b1", "readout.project2"):
        np.testing.assert_array_equal(part[name], np.arange(OLD + NEW) >= OLD)
    assert all(name.startswith("readout.") for name in part)


@pytest.mark.parametrize("optimizer", ["adam", "muon", "momentum"])
def test_only_its_part_learns_and_the_other_targets_answers_stay(optimizer):
    network = grown_network(optimizer)
    before = {name: w.copy() for name, w in network.weights.items()}
    images = noise_images(6)
    first = np.stack([network.step(image) for image in images])
    network.optimizer = optimizer_for(network, "green_ball", 1)
    boxes = Truth.rows([Box("green_ball", 4, 4, 8, 8), Box("stop_sign", 8, 8, 6, 6)])[None]
    for image in images * 4:
        network.step(image)
        network.learn(boxes, rate=1e-2, codes=False)
    network.reset()
    then = np.stack([network.step(image) for image in images])
    np.testing.assert_array_equal(then[..., SIGN, :], first[..., SIGN, :])
    np.testing.assert_array_equal(then[..., BALL, 1:], first[..., BALL, 1:])
    assert np.abs(then[..., BALL, 0] - first[..., BALL, 0]).max() > 0.05
    moved = {name for name, w in network.weights.items() if (w != before[name]).any()}
    assert {"readout.w2", "readout.mix", "readout.project1"} <= moved
    assert all(name.startswith("readout.") for name in moved)
    np.testing.assert_array_equal(network.weights["readout.mix"][:, :OLD], before["readout.mix"][:, :OLD])


def test_a_network_without_such_a_part_is_refused_in_one_line():
    with pytest.raises(PvmError, match="no part for 'cup'"):
        own_part(preset("robot"), {}, "cup")
    with pytest.raises(PvmError, match="no part for 'green_ball'"):
        own_part(preset("paper"), {}, "green_ball")
