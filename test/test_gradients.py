"""Every gradient against finite differences, on small networks of every kind."""

import copy
import dataclasses

import numpy as np
import pytest

from pvm_perception.core.algebra import Outer
from pvm_perception.core.config import MOTION, HierarchyConfig, Layer, Learning, Link, ReadoutConfig
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.learning import pass_down
from pvm_perception.types import Truth


def small(shared=True, activation="tanh", output="linear", schedule="sweep", readout="box"):
    layers = (Layer("L1", 4, 4, 6), Layer("L2", 2, 2, 5), Layer("L3", 1, 1, 4))
    links = (
        Link("input", "L1", "feedforward", radius=1, shape="square"),
        Link("L1", "L1", "lateral", 1),
        Link("L1", "L2", "feedforward", radius=1, gain=0.8),
        Link("L2", "L2", "lateral", 1),
        Link("L2", "L3", "feedforward"),
        Link("L3", "L3", "lateral"),
        Link("L2", "L1", "feedback", gain=0.7),
        Link("L3", "L2", "feedback"),
        Link("L3", "L1", "global"),
    )
    return HierarchyConfig(
        "small",
        16,
        16,
        2,
        layers,
        links,
        shared=shared,
        activation=activation,
        output=output,
        schedule=schedule,
        readout=ReadoutConfig(readout, 7),
        learning=Learning(prediction_weight=0.9, presence_weight=1.1, box_weight=0.8),
    )


def with_own_motion(config):
    links = (*config.links, *(Link(MOTION, layer.name, gain=0.7) for layer in config.layers))
    return dataclasses.replace(config, links=links)


VARIANTS = [
    small(),
    small(shared=False),
    small(output="activation"),
    small(output="change"),
    small(False, "polynomial", "activation", "parallel", "heatmap"),
    dataclasses.replace(small(), learning=Learning(prediction_weight=0.9)),
    small(activation="leaky", output="change"),
    dataclasses.replace(small(), normalise=True),
    dataclasses.replace(small(activation="leaky", output="change"), normalise=True),
    dataclasses.replace(small(), readout=ReadoutConfig("box", 7, cells="L2", mixing=6, shape="square")),
    dataclasses.replace(small(), readout=ReadoutConfig("box", 7, memory=1)),
    with_own_motion(small()),
    with_own_motion(small(shared=False)),
    with_own_motion(dataclasses.replace(small(activation="leaky"), normalise=True)),
]
MOTION_OF = np.random.default_rng(3).uniform(-0.04, 0.04, (4, 2, 4)).astype(np.float32)
BOXES = np.full((2, 2, 7), -1, np.float32)
BOXES[0, 0] = [0, 3, 4, 6, 5, 1, 1]
BOXES[1, 0] = [1, 7, 2, 9, 12, 1, 1]
BOXES[1, 1] = [0, 0, 9, 5, 5, 0.5, 1]


def clone(network):
    return copy.deepcopy(network, {id(np): np})  # modules are shared, not copied


def frames(n, rng, batch=2):
    return rng.integers(0, 255, (n, batch, 16, 16, 3), dtype=np.uint8)


def slope(before, weight, direction, loss, eps):
    """Return the finite difference of `loss` along `direction` from a copied network."""
    values = []
    for sign in (1, -1):
        network = clone(before)
        network.weights[weight] = network.weights[weight] + np.float32(sign * eps) * direction
        values.append(loss(network))
    return (values[0] - values[1]) / (2 * eps)


def whole(gradient):
    """Return a gradient as an array; that of own weights comes in factors."""
    return gradient.dense() if isinstance(gradient, Outer) else gradient


def directions(network, rng):
    for name, w in network.weights.items():
        d = rng.standard_normal(w.shape).astype(np.float32)
        yield name, d / np.linalg.norm(d)


@pytest.mark.parametrize("config", VARIANTS)
def test_readout_gradients_reach_every_weight_of_this_frame(config):
    rng = np.random.default_rng(1)
    network = Hierarchy(config, 2, seed=6)
    images = frames(3, rng)
    for image, motion in zip(images[:2], MOTION_OF[:2], strict=True):
        network.step(image, motion)
    before = clone(network)

    def loss(net):
        out = net.step(images[2], MOTION_OF[2])
        losses = net.readout.backward(net.part("readout"), out, BOXES)[2]
        if config.readout.kind == "heatmap":  # the reported loss is of the mean map; learn per unit
            heat = net.readout.truth(BOXES).reshape(2, -1, 2)
            heat = np.concatenate([heat, np.zeros((2, 1, 2), np.float32)], 1)
            parts = [
                0.5 * ((s[2] - heat[:, b].reshape(s[2].shape)) ** 2).sum() / 2
                for s, b in zip(net.readout.seen, net.readout.blocks, strict=True)
            ]
            return config.learning.presence_weight * float(np.sum(parts, dtype=np.float64))
        return config.learning.presence_weight * losses.presence + config.learning.box_weight * losses.box

    out = network.step(images[2], MOTION_OF[2])
    grads, errors, _ = network.readout.backward(network.part("readout"), out, BOXES)
    dz = pass_down(network, errors)
    found = {f"readout.{k}": g for k, g in grads.items()}
    for i, encoder in enumerate(network.encoders):
        found[f"{encoder.layer.name}.w1"] = encoder.inputs.gradient(dz[i], before=False)
    checked = 0
    for name, direction in directions(network, rng):
        if name not in found:
            continue
        if config.schedule == "parallel" and not name.startswith("readout"):
            continue  # there this frame's codes do not depend on each other
        expected = slope(before, name, direction, loss, 1e-2)
        assert np.vdot(whole(found[name]), direction) == pytest.approx(expected, rel=0.06, abs=2e-3), name
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize("config", VARIANTS)
def test_prediction_gradients_are_those_of_the_next_frames_error(config):
    rng = np.random.default_rng(2)
    network = Hierarchy(config, 2, seed=4)
    images = frames(4, rng)
    for image, motion in zip(images[:2], MOTION_OF[:2], strict=True):
        network.step(image, motion)
    for encoder in network.encoders:
        before = clone(network)

        def loss(net, name=encoder.layer.name):
            """The layer's forecast against the signal that the unperturbed network sees next."""
            net.step(images[2], MOTION_OF[2])
            mine = next(e for e in net.encoders if e.layer.name == name)
            square = ((signal - mine.prediction) ** 2).mean(axis=(1, 2))
            if not config.shared:
                square = ((signal - mine.prediction) ** 2).sum(axis=(1, 2))
            return 0.5 * config.learning.prediction_weight * float(square.mean())

        real = clone(network)
        real.step(images[2], MOTION_OF[2])
        real.step(images[3], MOTION_OF[3])
        mine = next(e for e in real.encoders if e.layer.name == encoder.layer.name)
        signal = mine.signal.astype(np.float64)  # a slope is a small difference
        found, _ = mine.gradients(
            real.part(mine.layer.name), real.known, config.learning.prediction_weight, None
        )
        for key, gradient in found.items():
            name, gradient = f"{mine.layer.name}.{key}", whole(gradient)
            d = rng.standard_normal(gradient.shape).astype(np.float32)
            d /= np.linalg.norm(d)
            expected = slope(before, name, d, loss, 1e-2)
            assert np.vdot(gradient, d) == pytest.approx(expected, rel=0.05, abs=1e-3), name


def test_credit_depth_bounds_how_far_the_readouts_error_descends():
    rng = np.random.default_rng(5)
    images = frames(1, rng)
    sizes = []
    for depth in (0, 1, 2, 16):
        config = dataclasses.replace(small(), learning=Learning(credit_depth=depth))
        network = Hierarchy(config, 2, seed=6)
        out = network.step(images[0])
        _, errors, _ = network.readout.backward(network.part("readout"), out, BOXES)
        dz = pass_down(network, errors)
        sizes.append(dz)
    np.testing.assert_allclose(sizes[0][2], sizes[3][2])  # nothing comes down onto the top
    assert not np.allclose(sizes[0][1], sizes[1][1])
    assert not np.allclose(sizes[1][0], sizes[2][0])
    np.testing.assert_allclose(sizes[2][0], sizes[3][0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_of_the_rows_that_read_the_robots_motion(shared):
    """Directions through all weights hardly notice four rows of many: here are these alone."""
    rng = np.random.default_rng(7)
    network = Hierarchy(with_own_motion(small(shared=shared)), 2, seed=4)
    images = frames(3, rng)
    network.step(images[0])
    real = clone(network)
    real.step(images[1], MOTION_OF[1])
    real.step(images[2], MOTION_OF[2])
    for k, encoder in enumerate(real.encoders):
        name, (link, part) = f"{encoder.layer.name}.w1", encoder.inputs.context[-1]
        assert link.source == MOTION
        assert part.rows.stop == real.weights[name].shape[-2]  # they come last
        found, _ = encoder.gradients(real.part(encoder.layer.name), real.known, 1.0, None)
        direction = np.zeros_like(real.weights[name])
        rows = direction[..., part.rows, :]
        rows[...] = rng.standard_normal(rows.shape)
        direction /= np.linalg.norm(direction)

        def loss(net, k=k, signal=encoder.signal):
            net.step(images[1], MOTION_OF[1])
            square = (signal - net.encoders[k].prediction) ** 2
            return 0.5 * float(square.mean() if shared else square.sum(axis=(1, 2)).mean())

        expected = slope(network, name, direction, loss, 1e-2)
        assert abs(expected) > 1e-6
        assert np.vdot(whole(found["w1"]), direction) == pytest.approx(expected, rel=0.05, abs=1e-4)


@pytest.mark.parametrize("config", VARIANTS)
def test_where_nothing_is_known_nothing_is_taught(config):
    """A frame of which nothing is known has no share in any gradient, nor in the loss: exactly none."""
    rng = np.random.default_rng(8)
    network, image = Hierarchy(config, 2, seed=6), frames(1, rng)[0]
    out = network.step(image)
    unknown = np.full((2, 3, 7), -1, np.float32)
    unknown[:, :2] = Truth.unknown((config.height, config.width))
    readout, part = network.readout, network.part("readout")
    grads, errors, losses = readout.backward(part, out, unknown)
    assert not any(whole(g).any() for g in grads.values())
    assert not any(e.any() for e in errors)
    assert losses.presence == losses.box == 0
    mixed = unknown.copy()
    mixed[0] = -1
    mixed[0, :2] = BOXES[0]
    _, errors, losses = readout.backward(part, out, mixed)
    assert all(e[0].any() and not e[1].any() for e in errors)
    assert losses.by_stream[0] > 0 == losses.by_stream[1]
    mixed[1, 2] = BOXES[1, 0]  # what is known to be there counts, whatever else there may be
    _, errors, losses = readout.backward(part, out, mixed)
    assert all(e[1].any() for e in errors)
    assert losses.by_stream[1] > 0


def with_gains(network, name, gains):
    """Return a copy of a network whose layer has other gains, in the order of its links."""
    other = clone(network)
    inputs = other.gains.layers[name]
    inputs.gains = dict(zip(inputs.gains, gains, strict=True))
    return other


@pytest.mark.parametrize("config", [with_own_motion(small()), with_own_motion(small(shared=False))])
def test_slopes_of_gains_are_those_of_the_next_frames_error(config):
    rng = np.random.default_rng(11)
    network = Hierarchy(config, 2, seed=4)
    images = frames(4, rng)
    for image, motion in zip(images[:2], MOTION_OF[:2], strict=True):
        network.step(image, motion)
    real = clone(network)
    real.step(images[2], MOTION_OF[2])
    real.step(images[3], MOTION_OF[3])
    for k, encoder in enumerate(real.encoders):
        name, signal = encoder.layer.name, encoder.signal.astype(np.float64)
        found, _ = encoder.gradients(real.part(name), real.known, 0.9, None)
        slopes = real.gains.slopes(name, real.weights[f"{name}.w1"], found["w1"])
        usual = np.array(list(real.gains.layers[name].gains.values()))
        assert len(slopes) == len(usual) >= 2
        for link in range(len(usual)):

            def loss(sign, k=k, name=name, signal=signal, usual=usual, link=link):
                moved = usual * np.exp(sign * 1e-2 * (np.arange(len(usual)) == link))
                other = with_gains(network, name, moved.tolist())
                other.step(images[2], MOTION_OF[2])
                square = (signal - other.encoders[k].prediction) ** 2
                return 0.45 * float(square.mean() if config.shared else square.sum(axis=(1, 2)).mean())

            expected = (loss(1) - loss(-1)) / 2e-2
            assert slopes[link] == pytest.approx(expected, rel=0.05, abs=2e-5), (name, link)
