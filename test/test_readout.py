"""The readout: what it is taught and what it answers must be the same boxes."""

import dataclasses

import numpy as np
import pytest
from conftest import noise_images, tiny

from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.readout import BoxReadout


def truth_of(readout, boxes):
    """Return heat, box, weight, care: what the cells should answer."""
    return dataclasses.astuple(readout.cells.truth(boxes))


@pytest.fixture
def readout():
    return BoxReadout(preset("robot"), 1, np)


@pytest.mark.parametrize("box", [(20, 30, 8, 9), (90, 60, 60, 50), (150, 100, 25, 40), (2, 3, 30, 20)])
def test_what_is_taught_can_be_read_back(readout, box):
    boxes = np.full((1, 2, 7), -1, np.float32)
    boxes[0, 0] = [1, *box, 1, 1]
    heat, answers, weight, care = truth_of(readout, boxes)
    assert heat[..., 1].max() == 1
    assert heat[..., 0].max() == 0
    assert (care == 1).all()
    assert (weight > 0).sum() >= 1
    out = np.concatenate(
        [np.log(np.clip(heat, 1e-4, 0.99) / (1 - np.clip(heat, 1e-4, 0.99)))[..., None], answers], axis=-1
    )
    none, found = readout.decode(out, 0.3)[0]
    assert len(none) == 0
    np.testing.assert_allclose(found[0, :4], box, atol=1.0)


def test_neighbours_that_agree_make_a_score_credible(readout):
    boxes = np.full((1, 1, 7), -1, np.float32)
    boxes[0, 0] = [0, 80, 50, 50, 50, 1, 1]
    heat, answers, *_ = truth_of(readout, boxes)
    heat = np.clip(heat, 1e-3, 0.9)
    row, col = np.unravel_index(heat[0, :, :, 0].argmax(), heat.shape[1:3])
    near = (slice(None), slice(row - 1, row + 2), slice(col - 1, col + 2))
    dx = (readout.cells.x[col - 1 : col + 2] - readout.cells.x[col])[None, :] / readout.stride[1]
    dy = (readout.cells.y[row - 1 : row + 2] - readout.cells.y[row])[:, None] / readout.stride[0]
    peak = answers[0, row, col, 0].copy()
    agreeing = answers.copy()
    agreeing[near][..., 0, :] = peak
    agreeing[near][..., 0, 0] = peak[0] - dx
    agreeing[near][..., 0, 1] = peak[1] - dy
    quarrelling = agreeing.copy()
    rng = np.random.default_rng(0)
    quarrelling[near][..., 0, :] += rng.normal(0, 1.5, (1, 3, 3, 4))
    quarrelling[0, row, col, 0] = peak
    logit = np.log(heat / (1 - heat))[..., None]
    scores = [
        readout.decode(np.concatenate([logit, a], -1), 0.3)[0][0][0, 4] for a in (agreeing, quarrelling)
    ]
    assert scores[0] == pytest.approx(0.9, abs=0.02)
    assert scores[1] < 0.75 * scores[0]


def test_a_peak_whose_neighbours_name_no_common_box_scores_zero(readout):
    out = np.zeros((1, readout.rows, readout.cols, 2, 5), np.float32)
    out[..., 0] = -9
    out[..., 1:3] = 50  # each cell points somewhere far off, and its box is tiny
    out[..., 3:] = -3
    out[:, ::2, :, :, 1:3] = -50
    out[:, :, ::2, :, 2] *= -3
    out[0, 10, 10, 0, 0] = 3
    found = readout.decode(out, 0.3)[0][0]
    assert found.dtype == np.float32
    assert 0 <= found[0, 4] < 0.5


def test_hidden_targets_are_neither_taught_nor_punished(readout):
    boxes = np.full((1, 1, 7), -1, np.float32)
    boxes[0, 0] = [0, 80, 50, 50, 50, 0.1, 1]
    heat, _, weight, care = truth_of(readout, boxes)
    assert heat.max() == 0
    assert weight.max() == 0
    assert (care[..., 0] == 0).sum() > 20


def test_soft_labels_count_as_much_as_they_are_sure(readout):
    boxes = np.full((1, 2, 7), -1, np.float32)
    boxes[0, 0] = [0, 80, 50, 50, 50, 1, 1]
    heat, answers, weight, care = truth_of(readout, boxes)
    boxes[0, 0, 6] = 0.25
    soft_heat, soft_answers, soft_weight, soft_care = truth_of(readout, boxes)
    np.testing.assert_array_equal(soft_heat, heat)
    np.testing.assert_array_equal(soft_answers, answers)
    np.testing.assert_allclose(soft_weight, 0.25 * weight)
    assert (care == 1).all()
    assert set(np.unique(soft_care)) == {0.25, 1}
    assert (soft_care[heat > 0.5] == 0.25).all()
    boxes[0, 0, 6] = 0
    heat, _, weight, care = truth_of(readout, boxes)
    assert heat.max() == weight.max() == 0
    assert (care == 0).sum() == (soft_care == 0.25).sum()
    boxes[0, 1] = [0, 90, 60, 30, 30, 1, 1]  # a sure one among what nobody is sure of
    heat, _, weight, care = truth_of(readout, boxes)
    assert heat.max() == weight.max() == 1
    assert care[heat == 1] == 1


def test_heat_map_readout_finds_the_extent_around_its_peak():
    from pvm_perception.core.heatmap import HeatmapReadout

    config = preset("paper")
    readout = HeatmapReadout(config, 1, np)
    boxes = np.full((1, 1, 7), -1, np.float32)
    boxes[0, 0] = [0, 20, 30, 25, 15, 1, 1]
    found, none = readout.decode(readout.truth(boxes) * 0.8, 0.3)[0]
    assert len(none) == 0
    np.testing.assert_allclose(found[0, :4], [20, 30, 25, 15], atol=5.1)
    assert tiny().readout.kind == "box"


def test_answers_are_read_at_the_next_frame_until_they_are_forgotten():
    import dataclasses

    config = tiny(readout=dataclasses.replace(tiny().readout, memory=1))
    images = noise_images(2, batch=2)
    network = Hierarchy(config, 2, seed=3)
    network.step(images[0])
    answers_then = network.readout.memory.copy()
    assert answers_then[:, :-1].any()
    network.step(images[1])
    np.testing.assert_array_equal(network.readout.memory_before, answers_then)
    network.reset(np.array([True, False]))
    assert not network.readout.memory[0].any()
    assert network.readout.memory[1].any()
