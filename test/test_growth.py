"""A narrower network in a wider one: the same answers where it can be, nearly where codes are new."""

import dataclasses

import numpy as np
import pytest
from conftest import noise_images, tiny

from pvm_perception.core.config import MOTION, Link, ReadoutConfig, preset
from pvm_perception.core.growth import fits_in, grown
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import OPTIMIZER
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError

LEAKY = {"activation": "leaky", "normalise": True}


def wider(config, codes, hidden=0, mixing=0):
    """Return a configuration with more in each code, and in the readout's layers."""
    layers = tuple(
        dataclasses.replace(layer, code=layer.code + more)
        for layer, more in zip(config.layers, codes, strict=True)
    )
    readout = dataclasses.replace(
        config.readout, hidden=config.readout.hidden + hidden, mixing=config.readout.mixing + mixing
    )
    return dataclasses.replace(config, layers=layers, readout=readout)


def answers(network, images, motion=None):
    return np.stack([network.step(image, motion) for image in images])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    "readout", [ReadoutConfig(), ReadoutConfig(memory=1, mixing=20), ReadoutConfig("heatmap", hidden=9)]
)
def test_a_network_that_comes_to_read_motion_makes_nothing_of_it_at_first(shared, readout):
    config = tiny(shared=shared, readout=readout)
    hearing = dataclasses.replace(
        config, links=(*config.links, *(Link(MOTION, layer.name) for layer in config.layers))
    )
    network = Hierarchy(config, seed=5)
    grew = Hierarchy(hearing, weights=grown(config, network.weights, hearing))
    images = noise_images(3)
    np.testing.assert_allclose(
        answers(grew, images, np.full((1, 4), 0.03, np.float32)), answers(network, images), atol=1e-5
    )


@pytest.mark.parametrize("readout", [ReadoutConfig(), ReadoutConfig(memory=1, mixing=20)])
def test_wider_hidden_layers_of_the_readout_change_nothing_at_first(readout):
    config = tiny(readout=readout, **LEAKY)
    wide = wider(config, (0, 0, 0), hidden=24, mixing=12 if readout.mixing else 0)
    network, images = Hierarchy(config, seed=5), noise_images(3)
    grew = Hierarchy(wide, weights=grown(config, network.weights, wide))
    np.testing.assert_allclose(answers(grew, images), answers(network, images), atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_wider_codes_change_nothing_at_first_without_normalising(shared):
    config = tiny(shared=shared, readout=ReadoutConfig(memory=1))
    wide = wider(config, (3, 5, 2))
    network, images = Hierarchy(config, seed=5), noise_images(4)
    grew = Hierarchy(wide, weights=grown(config, network.weights, wide))
    np.testing.assert_allclose(answers(grew, images), answers(network, images), atol=1e-5)
    for layer, old, new in zip(config.layers, network.encoders, grew.encoders, strict=True):
        np.testing.assert_allclose(new.h[..., : layer.code], old.h, atol=1e-5)
        assert np.abs(new.h[..., layer.code :]).max() > 0.01  # what is new listens


def test_wider_normalised_codes_answer_nearly_as_before():
    config = tiny(readout=ReadoutConfig(memory=1), **LEAKY)
    wide = wider(config, (12, 10, 8))
    network, images = Hierarchy(config, seed=5), noise_images(6)
    before = answers(network, images)
    grew = answers(Hierarchy(wide, weights=grown(config, network.weights, wide)), images)
    strange = answers(Hierarchy(config, seed=6), images)
    assert np.abs(grew - before).mean() < 0.3 * np.abs(strange - before).mean()


def test_what_is_new_is_learnt():
    config = tiny(readout=ReadoutConfig(memory=1, mixing=20), **LEAKY)
    wide = wider(config, (3, 5, 2), hidden=24, mixing=12)
    network = Hierarchy(wide, weights=grown(config, Hierarchy(config, seed=5).weights, wide))
    before = {name: w.copy() for name, w in network.weights.items()}
    boxes = np.array([[[0, 8, 8, 9, 9, 1, 1]]], np.float32)
    for image in noise_images(12):
        network.step(image)
        network.learn(boxes, rate=1e-2)
    moved = {name: w - before[name] for name, w in network.weights.items()}
    for name in ("L1.w1", "L2.w1", "readout.project2", "readout.mix", "readout.w2"):
        new = [slice(n, None) for n in weight_shapes(config)[name]]
        assert np.abs(moved[name][new[0]]).any() or name == "L1.w1", name  # which reads no new input
        assert np.abs(moved[name][:, new[1]]).any() or name == "readout.w2", name


def test_an_optimizers_state_grows_with_its_weights():
    config = tiny(readout=ReadoutConfig(memory=1), **LEAKY)
    wide = wider(config, (3, 5, 2), hidden=4)
    network = Hierarchy(config, seed=5)
    state = Optimizer(network.weights, config.learning, np).state
    for moments in state.values():
        moments += 0.5
    grew = grown(config, network.weights | {OPTIMIZER + k: v for k, v in state.items()}, wide)
    expected = Optimizer(Hierarchy(wide).weights, wide.learning, np).state
    assert {k: v.shape for k, v in expected.items()} == {
        k.removeprefix(OPTIMIZER): v.shape for k, v in grew.items() if k.startswith(OPTIMIZER)
    }
    for name in weight_shapes(config):
        if (moments := grew.get(f"{OPTIMIZER}v.{name}")) is not None:
            assert (moments >= 0).all()  # its root is taken
            assert np.count_nonzero(moments) == network.weights[name].size


def test_what_does_not_fit_is_refused():
    config = tiny()
    for other in (
        wider(config, (-1, 0, 0)),
        wider(config, (0, 0, 0), hidden=-8),
        tiny(height=48),
        tiny(links=config.links[:-1]),
        tiny(readout=ReadoutConfig(memory=1)),
        preset("robot"),
    ):
        assert not fits_in(config, other)
        with pytest.raises(PvmError, match="cannot grow"):
            grown(config, Hierarchy(config).weights, other)
    assert fits_in(config, config)
