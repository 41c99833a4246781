"""The network: shapes, wiring, state, learning."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from conftest import noise_images, tiny

from pvm_perception.core import wiring
from pvm_perception.core.config import MOTION, PRESETS, HierarchyConfig, Layer, Learning, Link, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.pictures import MOTION_LIMIT
from pvm_perception.core.size import weight_shapes
from pvm_perception.errors import PvmError


@pytest.mark.parametrize("name", ["robot", "paper"])
def test_presets_run_and_learn(name):
    config = preset(name)
    network = Hierarchy(config, batch=2)
    images = np.random.default_rng(0).integers(0, 256, (3, 2, config.height, config.width, 3), dtype=np.uint8)
    for image in images:
        out = network.step(image)
        losses = network.learn()
    layer = config.layers[0]
    assert out.shape[0] == 2
    assert out.shape[3] == len(config.targets)
    assert network.predicted_images().shape == images[0].shape
    assert network.surprise().shape == (2, layer.rows, layer.cols)
    assert np.isfinite([losses.prediction, losses.copy, losses.gradient]).all()
    for encoder, spec in zip(network.encoders, config.layers, strict=True):
        assert encoder.h.shape == (2, spec.rows * spec.cols, spec.code)


def test_paper_preset_has_the_papers_shape():
    config = preset("paper")
    assert [(k.rows, k.cols, k.code) for k in config.layers] == [(s, s, 49) for s in (16, 8, 4, 3, 2, 1)]
    assert config.learning.momentum == 0.5
    starts = {k.kind: k.start for k in config.links if k.kind != "feedforward"}
    assert starts == {"lateral": 100_000, "feedback": 700_000, "global": 900_000}
    total = sum(int(np.prod(s)) for s in weight_shapes(config).values())
    assert 21e6 < total < 25e6


def test_configuration_survives_plain_data():
    for name in ("robot", "paper"):
        assert HierarchyConfig.from_dict(preset(name).to_dict()) == preset(name)


def part_of(network, kind):
    """Return what layer 1 reads through its link of that kind."""
    return next(part for link, part in network.encoders[0].inputs.context if link.kind == kind)


@pytest.mark.parametrize("kind", ["lateral", "feedback", "global"])
def test_removing_a_link_changes_only_what_it_should(kind):
    """The first frame has no past to read; afterwards only the target and what reads it differ."""
    whole = tiny()
    link = next(k for k in whole.links if k.kind == kind and k.target == "L1")
    cut = dataclasses.replace(
        whole, links=tuple(dataclasses.replace(k, gain=0.0) if k is link else k for k in whole.links)
    )
    a, b = Hierarchy(whole, seed=1), Hierarchy(cut, seed=1)
    first, second = noise_images(2)
    a.step(first), b.step(first)
    for x, y in zip(a.encoders, b.encoders, strict=True):
        np.testing.assert_array_equal(x.h, y.h)
    a.step(second), b.step(second)
    for part, other in zip(a.encoders[0].inputs.parts, b.encoders[0].inputs.parts, strict=True):
        if part is part_of(a, kind):
            assert part.now.any()
            assert not other.now.any()
        else:
            np.testing.assert_array_equal(part.now, other.now)
    assert np.abs(a.encoders[0].h - b.encoders[0].h).max() > 1e-3


def test_a_gain_grades_a_link():
    whole = tiny()
    half = dataclasses.replace(
        whole,
        links=tuple(dataclasses.replace(k, gain=0.5) if k.kind == "lateral" else k for k in whole.links),
    )
    a, b = Hierarchy(whole, seed=1), Hierarchy(half, seed=1)
    for image in noise_images(2):
        before = a.sources["L1"].now.copy()
        a.step(image), b.step(image)
    assert before.any()
    np.testing.assert_allclose(part_of(b, "lateral").now, 0.5 * part_of(a, "lateral").now, atol=1e-6)


def test_links_and_layers_start_at_their_learning_step():
    config = tiny()
    links = tuple(dataclasses.replace(k, start=2) if k.kind == "lateral" else k for k in config.links)
    layers = (*config.layers[:2], dataclasses.replace(config.layers[2], start=3))
    network = Hierarchy(dataclasses.replace(config, links=links, layers=layers))
    opened, ran = [], []
    for image in noise_images(5):
        network.step(image)
        opened.append(bool(part_of(network, "lateral").now.any()))
        ran.append(bool(network.encoders[2].h.any()))
        network.learn()
    assert opened == [False, False, True, True, True]
    assert ran == [False, False, False, True, True]


def test_streams_of_a_batch_do_not_affect_each_other():
    config, images = tiny(), noise_images(4, batch=3)
    together = Hierarchy(config, 3, seed=2)
    alone = Hierarchy(config, 1, seed=2)
    for image in images:
        out, single = together.step(image), alone.step(image[1:2])
    np.testing.assert_allclose(out[1], single[0], atol=1e-5)


def test_reset_forgets_one_stream_and_keeps_weights():
    network = Hierarchy(tiny(), 2, seed=2)
    fresh = Hierarchy(tiny(), 2, seed=2)
    images = noise_images(3, batch=2)
    for image in images[:2]:
        network.step(image)
    network.reset(np.array([True, False]))
    out, first = network.step(images[2]), fresh.step(images[2])
    np.testing.assert_allclose(out[0], first[0], atol=1e-5)
    assert np.abs(out[1] - first[1]).max() > 1e-6


def hearing_motion():
    config = tiny()
    links = (*config.links, *(Link(MOTION, layer.name) for layer in config.layers))
    return dataclasses.replace(config, links=links)


def test_every_layer_reads_the_robots_motion_except_at_a_streams_first_frame():
    network, still = (Hierarchy(hearing_motion(), 2, seed=1) for _ in range(2))
    first, second = noise_images(2, batch=2)
    motion = np.float32([[0.05, -0.025, 0, 0], [0, 0, 0.01, 9.0]])
    network.step(first, motion), still.step(first)
    for a, b in zip(network.encoders, still.encoders, strict=True):
        np.testing.assert_array_equal(a.h, b.h)
    network.reset(np.array([False, True]))
    still.reset(np.array([False, True]))
    network.step(second, motion), still.step(second, np.zeros((2, 4), np.float32))
    for a, b in zip(network.encoders, still.encoders, strict=True):
        values = a.inputs.context[-1][1].now[:, :-1]
        np.testing.assert_allclose(values[0], np.broadcast_to([2, -1, 0, 0], values[0].shape), atol=1e-6)
        assert not values[1].any()
        assert np.abs(a.h[0] - b.h[0]).max() > 1e-3
        np.testing.assert_array_equal(a.h[1], b.h[1])
    network.step(second, motion)
    assert network.motion[1, 0, 3] == MOTION_LIMIT  # a jump of the odometry does not drown the rest
    with pytest.raises(PvmError, match=r"\(2, 4\)"):
        network.step(second, motion[0])
    with pytest.raises(PvmError, match="finite"):
        network.step(second, motion * np.nan)


def test_what_the_robots_motion_tells_is_learnt():
    """A pattern that goes left or right, seen by units that have nothing else to tell which."""
    layer = Layer("L1", 6, 8, 24, terms=("signal",))
    network = Hierarchy(
        tiny(
            layers=(layer,),
            links=(Link("input", "L1", "feedforward", radius=1, shape="square"), Link(MOTION, "L1")),
            output="change",
            activation="leaky",
            normalise=True,
            learning=Learning("muon", prediction_weight=20.0),
        ),
        8,
        seed=0,
    )
    rng = np.random.default_rng(0)
    x = np.arange(32)

    def clip():
        """Return three frames each of eight streams, and how each of them moves, px a frame."""
        way, start = rng.choice([-2, 2], 8), rng.uniform(0, 16, 8)
        waves = [np.sin((x - way[:, None] * t - start[:, None]) * 2 * np.pi / 16) for t in range(3)]
        pictures = np.broadcast_to(
            (127.5 + 120 * np.stack(waves))[:, :, None, :, None], (3, 8, 24, 32, 3)
        ).astype(np.uint8)
        motion = np.zeros((8, 4), np.float32)
        motion[:, 0] = way / 32
        return pictures, motion

    def error(informed):
        pictures, motion = clip()
        network.reset()
        for picture in pictures:
            network.step(picture, motion if informed else None)
        return network.forecast_errors()[0]

    for k in range(600):
        pictures, motion = clip()
        network.reset()
        for picture in pictures:
            network.step(picture, motion * (k % 2))
            network.learn(rate=3e-3)
    silent, informed = (np.mean([error(t) for _ in range(20)]) for t in (False, True))
    assert silent > 0.5 * network.forecast_errors()[1]
    assert informed < 0.3 * silent


def test_motion_is_a_source_of_context_and_no_layer():
    config = tiny()
    for layers, links in (
        ((dataclasses.replace(config.layers[0], name=MOTION),), ()),
        (config.layers, (Link(MOTION, "L1", "feedforward"),)),
    ):
        with pytest.raises(PvmError):
            dataclasses.replace(config, layers=layers, links=(*links, *config.links))


@pytest.mark.parametrize(
    ("output", "activation", "shared"),
    [("change", "tanh", True), ("linear", "tanh", True), ("activation", "polynomial", False)],
)
def test_learns_to_predict_a_moving_pattern(output, activation, shared):
    """A pattern that moves two pixels a frame: the forecast must beat repeating the last frame."""
    low = 0.0 if output == "activation" else -1.0
    learning = Learning(rate=2e-3) if shared else Learning("momentum", rate=0.02, momentum=0.5, clip=0.0)
    network = Hierarchy(
        tiny(output=output, activation=activation, shared=shared, low=low, learning=learning), 4, seed=0
    )
    y, x = np.mgrid[:24, :32]
    shift = np.arange(4) * 3

    def frame(t):
        wave = [np.sin((x + 2 * t + s) * 2 * np.pi / 16) * np.cos(y * 2 * np.pi / 12) for s in shift]
        return np.repeat((127.5 + 120 * np.stack(wave))[..., None], 3, 3).astype(np.uint8)

    losses = []
    for t in range(600 if shared else 1500):
        network.step(frame(t))
        losses.append(network.learn(rate=learning.rate))
    prediction = np.mean([k.prediction for k in losses[-50:]])
    copy = np.mean([k.copy for k in losses[-50:]])
    print(f"\n{output}: prediction error {prediction:.5f}, copying the last frame {copy:.5f}")
    assert prediction < 0.5 * copy


def test_learning_from_one_stream_at_a_time():
    """A single stream without labels, as on a robot: what recurs is predicted ever better."""
    network = Hierarchy(tiny(), 1, seed=0)
    y, x = np.mgrid[:24, :32]
    errors = []
    for t in range(800):
        image = np.repeat((127 + 100 * np.sin((x + t) / 2.5 + y / 4))[..., None], 3, 2)
        network.step(image.astype(np.uint8)[None])
        errors.append(network.learn(rate=5e-4).prediction)
    early, middle, late = (np.mean(errors[a:b]) for a, b in ((1, 50), (50, 150), (500, 800)))
    assert late < middle / 2 < early / 4


def test_blocks_tile_or_overlap_and_cover_everything():
    tiles = wiring.block_index((24, 32), (12, 16), (2, 2))
    assert sorted(tiles.ravel()) == list(range(24 * 32))
    overlapping = wiring.block_index((4, 4), (3, 3), (2, 2))
    assert set(overlapping.ravel()) == set(range(16))


def test_neighbours_outside_are_the_row_of_zeros():
    index = wiring.neighbour_index((3, 4), (3, 4), 1, "square")
    assert index.shape == (12, 9)
    assert (index[0] == 12).sum() == 5  # a corner reads four of nine


@pytest.mark.parametrize(
    "bad",
    [
        {"layers": ()},
        {"height": 25},
        {"targets": ()},
        {"targets": ("a", "a")},
        {"links": ()},
        {"links": (Link("input", "L1", "feedforward"),)},
        {"layers": (Layer("input"),)},
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(bad):
    with pytest.raises(PvmError) as error:
        tiny(**bad)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("images", [np.zeros((1, 24, 31, 3), np.uint8), np.zeros((1, 24, 32, 3), np.float32)])
def test_wrong_images_are_refused(images):
    with pytest.raises(PvmError, match="takes uint8 images"):
        Hierarchy(tiny()).step(images)


def test_a_gradient_that_is_not_finite_changes_nothing():
    network = Hierarchy(tiny())
    for image in noise_images(2):
        network.step(image)
        network.learn()
    before = {k: v.copy() for k, v in network.weights.items()}
    network.encoders[0].error[...] = np.nan
    network.learn()
    for name, value in before.items():
        np.testing.assert_array_equal(network.weights[name], value)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_frame_takes_no_new_memory_that_matters(name, learns):
    """All large arrays are there from the beginning; what comes anew is answers and masks."""
    config = preset(name)
    network = Hierarchy(config, 1, learns=learns)
    image = np.zeros((1, config.height, config.width, 3), np.uint8)
    largest = max(max(e.h.nbytes, e.signal.nbytes) for e in network.encoders)
    for _ in range(3):
        network.step(image)
    tracemalloc.start()
    try:
        network.step(image)
        tracemalloc.reset_peak()
        level = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            network.step(image)
            network.forecast_errors()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - level < 64_000 < largest
    assert now - level < 16_000


def test_what_learns_and_what_does_not_compute_the_same():
    """Without learning all input parts share memory; asked to learn later, a network goes on from there."""
    config = preset("robot")
    keeps = Hierarchy(config, 2, seed=1)
    shares = Hierarchy(config, 2, weights=keeps.weights, learns=False)
    images = np.random.default_rng(0).integers(0, 256, (5, 2, config.height, config.width, 3), np.uint8)
    for image in images[:3]:
        np.testing.assert_array_equal(shares.step(image), keeps.step(image))
    first = shares.encoders[0]
    assert first.inputs.views[0].now is shares.sources["input"].now  # its very memory
    shares.prepare_learning()
    for image in images[3:]:
        np.testing.assert_array_equal(shares.step(image), keeps.step(image))
    for part, other in zip(shares.encoders[0].inputs.parts, keeps.encoders[0].inputs.parts, strict=True):
        np.testing.assert_array_equal(part.before, other.before)
    assert shares.learn().gradient == pytest.approx(keeps.learn().gradient)
