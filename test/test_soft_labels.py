"""Soft labels: answers of another model, or of before, that are learnt instead of the truth."""

import numpy as np
import pytest
from test_gradients import BOXES, clone, directions, frames, slope, small, whole

from pvm_perception.api import default_model
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError
from pvm_perception.training.clip_streams import Frames
from pvm_perception.training.soft_labels import SoftLabels
from pvm_perception.training.train import Trainer, TrainOptions
from pvm_perception.types import Box, Truth


def own_answers(network):
    """Return a network's answers as soft labels."""
    soft = network.answers().copy()  # (B, R, C, T, 5)
    soft[..., 0] = network.heat()
    return soft


def test_gradients_of_soft_labels_are_those_of_the_loss():
    rng = np.random.default_rng(1)
    network, images = Hierarchy(small(), 2, seed=6), frames(2, rng)
    network.step(images[0])
    before = clone(network)
    out = network.step(images[1])
    soft = rng.uniform(0.05, 0.95, out.shape).astype(np.float32)
    soft[rng.random(out.shape) < 0.3] = np.nan  # there the truth is learnt
    grads, _, _ = network.readout.backward(network.part("readout"), out, BOXES, soft)

    def loss(net):
        losses = net.readout.backward(net.part("readout"), net.step(images[1]), BOXES, soft)[2]
        learning = net.config.learning
        return float(learning.presence_weight * losses.presence + learning.box_weight * losses.box)

    for name, direction in directions(network, rng):
        if name.startswith("readout"):
            expected = slope(before, name, direction, loss, 1e-2)
            assert np.vdot(whole(grads[name[8:]]), direction) == pytest.approx(expected, rel=0.05, abs=2e-3)


def test_who_answers_as_before_learns_nothing_but_what_is_known():
    network = Hierarchy(small(), 2, seed=6)
    out = network.step(frames(1, np.random.default_rng(2))[0])
    soft = own_answers(network)
    grads, errors, _ = network.readout.backward(network.part("readout"), out, BOXES, soft)
    assert max(np.abs(whole(g)).max() for g in grads.values()) < 1e-6
    soft[0, 1, 1] = np.nan
    grads, errors, _ = network.readout.backward(network.part("readout"), out, BOXES, soft)
    assert errors[0][0].any() and np.abs(errors[0][1]).max() < 1e-6


def test_a_teacher_says_what_is_learnt_of_its_targets_alone():
    config, weights, _ = load_model(default_model())
    labels = SoftLabels([("stop_sign", default_model())], config, 2, np)
    network = Hierarchy(config, 2, np, weights, learns=False)
    images = np.random.default_rng(0).integers(0, 256, (3, 2, config.height, config.width, 3), dtype=np.uint8)
    begins = np.array([[True, True], [False, False], [False, True]])
    for image, new in zip(images, begins, strict=True):
        soft = labels(image, np.zeros((2, 4), np.float32), new)
        network.reset(new)
        network.step(image)
        np.testing.assert_array_equal(soft[..., 1, 0], network.heat()[..., 1])
        assert np.isnan(soft[..., 0, :]).all() and np.isnan(soft[..., 1:]).all()
    assert SoftLabels([], config, 2, np)(image, np.zeros((2, 4), np.float32), new) is None


def test_a_teacher_that_does_not_know_the_target_is_refused():
    with pytest.raises(PvmError, match="both models must know 'cup'"):
        SoftLabels([("cup", default_model())], preset("robot"), 1, np)
    with pytest.raises(PvmError, match="answers on another grid"):
        SoftLabels([("stop_sign", default_model())], small(), 1, np)


def test_training_with_itself_as_teacher_leaves_presence_as_it_is(tmp_path):
    class Streams:
        def next(self):
            images = np.random.default_rng(0).integers(0, 256, (2, 128, 160, 3), dtype=np.uint8)
            truth = np.stack([Truth.rows([Box("stop_sign", 20, 20, 30, 30)])] * 2)
            still = np.zeros((2, 4), np.float32)
            return Frames(images, truth, still, still, np.ones(2, bool))

        def learnt(self, errors):
            assert errors.shape == (2,)

    def presence_changed(*targets):
        teachers = tuple((t, default_model()) for t in targets)
        trainer = Trainer(TrainOptions(tmp_path, start=default_model(), teachers=teachers, streams=2))
        before = trainer.network.weights["readout.b2"].copy()
        trainer._step(Streams(), 1e-3)
        return np.abs(trainer.network.weights["readout.b2"] - before)[[0, 5]] > 1e-7  # ball, sign

    assert presence_changed().tolist() == [True, True]
    assert presence_changed("stop_sign").tolist() == [True, False]
