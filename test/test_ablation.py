"""The ablation's variants: each trains and is scored; what is more than a setting does what it says."""

import dataclasses
import importlib

import numpy as np
import pytest
from conftest import ROOT
from test_gradients import clone

from pvm_perception.core.config import Forecast, HierarchyConfig, Layer, Learning, Link, ReadoutConfig, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.streams.generated import make_clip

SMALL = HierarchyConfig(
    "small",
    16,
    16,
    2,
    (Layer("L1", 4, 4, 6, terms=("signal", "error")), Layer("L2", 2, 2, 5)),
    (
        Link("input", "L1", "feedforward", radius=1, shape="square"),
        Link("L1", "L1", "lateral", 1),
        Link("L1", "L2", "feedforward"),
        Link("L2", "L1", "feedback", gain=0.7),
    ),
    activation="leaky",
    normalise=True,
    readout=ReadoutConfig("box", 7),
    learning=Learning(prediction_weight=0.9),
)
IMAGES = np.random.default_rng(4).integers(0, 256, (6, 2, 16, 16, 3), dtype=np.uint8)
BOXES = np.array([[[0, 3, 4, 6, 7, 1, 1]], [[1, 7, 2, 9, 12, 1, 1]]], np.float32)


@pytest.fixture(name="ablation")
def _ablation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    module = importlib.import_module("ablation")
    monkeypatch.setattr(module, "STREAMS", 2)
    return module


def test_every_variant_trains_and_is_scored_and_is_not_as_shipped(ablation):
    clips = {size: [make_clip(n, 3, size) for n in range(4)] for size in (ablation.SIZE, ablation.LARGE)}
    found, gains = {}, {}
    for name, variant in ablation.VARIANTS.items():
        config = variant.change(preset("robot", forecast=Forecast()))
        mine = [ablation.fitted(clip, (config.height, config.width)) for clip in clips[variant.rendered]]
        network = ablation.trained(variant, mine, seed=1, frames=6)
        assert network.step_count == 3 * variant.looks
        scores = ablation.scored(network, mine, variant.looks)
        assert tuple(scores) == ablation.SCORES
        assert float(scores["prediction_over_copy"]) > 0
        found[name] = b"".join(w.tobytes() for w in network.weights.values())
        gains[name] = [link.gain for link in network.config.links]
    same = {name for name, weights in found.items() if weights == found["as shipped"]}
    # what begins later than after three steps; the clips that come again wait for many more, and gains first
    # change in the third
    learnt = {"gains learn", "gains learn ten times as fast"}
    assert same == {"as shipped", "the hardest clips come again", *learnt}
    assert all(gains[name] != gains["as shipped"] for name in learnt)


def test_the_table_keeps_scenes_apart(ablation, tmp_path, capsys):
    scores = dict.fromkeys(ablation.SCORES, "0.5")
    rows = [
        {"variant": "as shipped", "scenes": scenes, "seed": seed} | scores | {"auc_green_ball": auc}
        for scenes, seed, auc in (("old", "1", "0.2"), ("new", "1", "0.3"), ("new", "2", "0.5"))
    ]
    ablation.write_csv(tmp_path / "table.csv", rows)
    ablation.table(tmp_path / "table.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| old | as shipped | 1 | 0.200 ± nan |")
    assert lines[3].startswith("| new | as shipped | 2 | 0.400 ± 0.141 |")


def test_a_mark_tells_scenes_apart(ablation, monkeypatch):
    first = ablation.mark((16, 16), None)
    assert first == ablation.mark((16, 16), None)
    monkeypatch.setattr(ablation, "VALIDATION_SEED", 1)
    assert ablation.mark((16, 16), None) != first


def test_context_opens_half_way(ablation):
    variant = ablation.VARIANTS["context opens after half of the clips"]
    config = variant.change(preset("robot", forecast=Forecast()))
    closed = {link for link in config.links if link.start}
    assert {link.kind for link in closed} == {"lateral", "feedback", "global"}
    assert {link.start for link in closed} == {400}
    assert all(link.kind in {"feedforward", "context"} for link in config.links if link not in closed)


def test_larger_units_leave_the_layers_above_as_they_were(ablation):
    before, after = preset("robot", forecast=Forecast()), ablation.grainy(preset("robot"))
    assert after.stride == before.stride
    assert after.grid("input") == after.grid("L2") == before.grid("L2")
    sources = {k.target: [] for k in after.links}
    for link in after.links:
        sources[link.target].append((link.source.replace("input", "L1"), link.kind, link.radius))
    for layer in before.layers[1:]:
        was = [(k.source, k.kind, k.radius) for k in before.links if k.target == layer.name]
        assert sources.pop(layer.name) == was
    assert not sources


def test_a_shrunk_clip_keeps_its_boxes_on_their_things(ablation):
    image = np.zeros((1, 192, 240, 3), np.uint8)
    image[0, 48:96, 60:120] = 255
    truth = np.array([[[1, 60, 48, 60, 48, 0.5, 1], [-1] * 7]], np.float32)
    clip = dataclasses.replace(make_clip(1, 1, (16, 16)), images=image, truth=truth)
    small = ablation.fitted(clip, (128, 160))
    t, x, y, w, h, visible, _ = small.truth[0, 0]
    assert (t, visible) == (1, 0.5)
    assert (small.truth[0, 1] == -1).all()
    inside = np.zeros((128, 160), bool)
    inside[round(y) : round(y + h), round(x) : round(x + w)] = True
    assert small.images[0, inside].mean() > 250
    assert small.images[0, ~inside].mean() < 1
    assert ablation.fitted(clip, (192, 240)) is clip


def test_two_ahead_compares_a_forecast_with_the_frame_after_the_next(ablation):
    network = ablation.TwoAhead(SMALL, 2, seed=3)
    forecasts, errors = [], []
    for k, image in enumerate(IMAGES):
        if k == 4:
            network.reset(np.array([False, True]))
        network.step(image)
        layer = network.encoders[0]
        forecasts.append(layer.prediction.copy())
        errors.append(layer.error.copy())
        np.testing.assert_array_equal(network.known, [k >= 2, 2 <= k < 4])
        if k >= 2:
            np.testing.assert_array_equal(
                errors[k][network.known], (layer.signal - forecasts[k - 2])[network.known]
            )
        assert not errors[k][~network.known].any()
    values = IMAGES / 127.5 - 1
    copied = [((values[5] - values[before])[b] ** 2).mean() for b, before in enumerate((3, 4))]
    assert network.forecast_errors()[1] == pytest.approx(np.mean(copied), rel=1e-4)  # 4 began a clip


def test_two_ahead_learns_from_what_it_read_two_frames_ago(ablation):
    """Gradients against finite differences: weights changed at one frame, the error two later."""
    network = ablation.TwoAhead(SMALL, 2, seed=3)
    for image in IMAGES[:3]:
        network.step(image)
    rng, real = np.random.default_rng(8), clone(network)
    for image in IMAGES[3:6]:
        real.step(image)
    for k, encoder in enumerate(real.encoders):
        found, loss = encoder.gradients(real.part(encoder.layer.name), real.known, 0.9, None)
        assert float(loss) == pytest.approx(float((encoder.error**2).mean()), rel=1e-5)
        for key, gradient in found.items():
            direction = rng.standard_normal(gradient.shape).astype(np.float32)
            direction /= np.linalg.norm(direction)
            values = []
            for sign in (1, -1):
                other = clone(network)
                other.weights[f"{encoder.layer.name}.{key}"] += np.float32(sign * 1e-2) * direction
                other.step(IMAGES[3])
                square = (encoder.signal - other.encoders[k].prediction) ** 2
                values.append(0.45 * float(square.mean()))
            slope = (values[0] - values[1]) / 2e-2
            assert np.vdot(gradient, direction) == pytest.approx(slope, rel=0.03, abs=3e-6), key


def test_two_ahead_teaches_the_readouts_error_to_its_own_inputs(ablation):
    """What one network learns at the second frame, the patient one learns at the third."""
    config = dataclasses.replace(SMALL, learning=dataclasses.replace(SMALL.learning, prediction_weight=0.0))
    learnt = []
    for kind, frames in ((Hierarchy, 2), (ablation.TwoAhead, 3)):
        network = kind(config, 2, seed=3)
        for image in IMAGES[:frames]:
            network.step(image)
            network.learn(BOXES, rate=0.0)
        learnt.append({k: v for k, v in network.optimizer.state.items() if k.startswith("m.L")})
    for name, moment in learnt[0].items():
        np.testing.assert_allclose(learnt[1][name], moment, rtol=1e-4, atol=1e-8, err_msg=name)
        assert moment.any() == name.endswith(("w1", "b1"))
