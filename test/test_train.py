"""Training: what the streams give, and models that are older than what their preset reads."""

import dataclasses

import cv2
import numpy as np
import pytest

from pvm_perception.core.config import Forecast, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Losses
from pvm_perception.core.model_file import OPTIMIZER, load_model, save_model
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.streams.generated import Clip
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.curve import read_curve
from pvm_perception.training.train import Trainer, TrainOptions
from pvm_perception.training.validate import validate
from pvm_perception.types import Box, Truth


class Clips:
    """Clips without end, of three frames each, all of which move the same way."""

    def clip(self):
        return Clip(
            np.zeros((3, 8, 8, 3), np.uint8),
            np.full((3, 1, 7), -1, np.float32),
            np.full((3, 4), 0.1, np.float32),
        )


def test_half_of_the_clips_keep_their_motion_to_themselves():
    streams = Streams(Clips(), 40, np.random.default_rng(0))
    before = streams.next().motion
    assert before.shape == (40, 4)
    given = []
    for _ in range(30):
        now = streams.next()
        motion, new = now.motion, now.new
        np.testing.assert_array_equal(motion[~new], before[~new])  # all along or not at all
        given += list(motion[new].any(axis=1))
        before = motion
    assert 0.4 < np.mean(given) < 0.6


def test_what_a_robot_takes_for_the_motion_ahead():
    class Faster:
        def clip(self):
            images, truth = np.zeros((4, 8, 8, 3), np.uint8), np.full((4, 1, 7), -1, np.float32)
            return Clip(images, truth, np.outer(np.arange(4), np.ones(4)).astype(np.float32))  # by 1 a frame

    streams, known, silent = Streams(Faster(), 40, np.random.default_rng(0)), [], 0
    for _ in range(40):
        now = streams.next()
        motion, ahead = now.motion, now.ahead
        unknown = np.isnan(ahead[:, 0])
        silent += (unknown & ~streams.with_motion).sum()
        assert not (unknown ^ np.isnan(ahead).any(1)).any()
        some = streams.with_motion & streams.knows_ahead & ~unknown
        change = ahead[some, 0] - motion[some, 0]  # of 1: all of it, or half where the speed alone is known
        np.testing.assert_allclose(change, 1 - streams.unknown_share[some], atol=1e-6)
        known += list(change)
        assert unknown[~streams.knows_ahead].all()
    assert min(known) < 0.6 and max(known) > 0.9
    assert silent > 400


def test_a_clip_knows_the_motion_to_the_next_frame_but_not_after_its_last():
    motion = np.array([[0] * 4, [1] * 4, [3] * 4], np.float32)
    clip = Clip(np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 0, 7), np.float32), motion)
    np.testing.assert_array_equal(clip.ahead()[:, 0], [1, 3, np.nan])
    np.testing.assert_array_equal(clip.ahead(0.5)[:, 0], [0.5, 2, np.nan])


def test_the_hardest_clips_come_again_but_not_for_ever():
    class Numbered:
        made = 0

        def clip(self):
            self.made += 1
            clip = Clips().clip()
            clip.motion[:] = self.made  # tells which it is
            return clip

    pool, seen = Numbered(), {}
    streams = Streams(pool, 4, np.random.default_rng(0), replay=0.25)
    for _ in range(6000):
        streams.next()
        numbers = [int(clip.motion[0, 0]) for clip in streams.clips]
        for number, position in zip(numbers, streams.positions, strict=True):
            if position == 1:
                seen[number] = seen.get(number, 0) + 1
        streams.learnt(np.array([n % 10 == 0 for n in numbers], np.float32))  # every tenth is hard
    total = 6000 * 4 / 3
    assert 0.15 < 1 - pool.made / total < 0.26
    hard = [times for number, times in seen.items() if number % 10 == 0]
    easy = [times for number, times in seen.items() if number % 10]
    assert np.mean(hard) > 2
    assert np.mean(easy) < 1.25
    assert max(hard) <= 4


def test_without_replay_every_clip_is_new():
    streams = Streams(Clips(), 2, np.random.default_rng(0))
    for _ in range(2000):
        streams.next()
        streams.learnt(np.ones(2, np.float32))
    assert len(streams.replay) == 0


def older(path):
    """Write a checkpoint of the robot preset from before it read motion; return its weights."""
    config = preset("robot")
    config = dataclasses.replace(config, links=tuple(k for k in config.links if k.source != "motion"))
    network = Hierarchy(config, seed=3)
    optimizer = Optimizer(network.weights, config.learning, np)
    for moments in optimizer.state.values():
        moments += 0.5
    save_model(path, config, network.weights, {"steps": 40, "frames": 640}, optimizer.state)
    return config, network.weights


def test_training_goes_on_from_a_model_that_is_older_than_motion(tmp_path):
    path = tmp_path / "old.safetensors"
    config, weights = older(path)
    trainer = Trainer(TrainOptions(tmp_path / "out", start=path, streams=1))
    network = trainer.network
    assert network.config == preset("robot")
    assert network.step_count == network.optimizer.steps == 40
    for layer in config.layers:
        w = network.weights[f"{layer.name}.w1"]
        moments = network.optimizer.state[f"m.{layer.name}.w1"]
        np.testing.assert_array_equal(w[:-4], weights[f"{layer.name}.w1"])
        assert not w[-4:].any()
        assert (moments[:-4] == 0.5).all()
        assert not moments[-4:].any()
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 128, 160, 3), dtype=np.uint8)
    motion = np.full((1, 4), 0.02, np.float32)
    for image in images:
        network.step(image, motion)
        network.learn(rate=1e-3)
    for layer in config.layers[:-1]:
        assert network.weights[f"{layer.name}.w1"][-4:].any()  # and reads it from now on
    assert not load_model(path)[0].uses_motion  # the file itself stays as it is
    assert any(name.startswith(OPTIMIZER) for name in load_model(path, optimizer=True)[1])


def test_a_learning_curve_grows_columns_with_the_network(tmp_path):
    path = tmp_path / "old.safetensors"
    older(path)
    trainer = Trainer(TrainOptions(tmp_path, start=path, streams=1, validation_clips=10))  # one long one
    trainer.curve.write_text("frames,seconds,auc_green_ball\n600,60,0.25\n")
    trainer.validation_set.clips = [
        Clip(
            np.zeros((3, 128, 160, 3), np.uint8),
            np.full((3, 1, 7), -1, np.float32),
            np.zeros((3, 4), np.float32),
        )
    ] * 2
    trainer.check([Losses(0.1, 0.1, 0.1, 0.1, 0.1, np.zeros(1, np.float32))], 1e-3, 1.0, 0.0)
    old, new = read_curve(trainer.curve)
    assert (old["frames"], old["auc_green_ball"]) == ("600", "0.25")
    assert old["auc_green_ball_with_motion"] == ""
    assert float(new["auc_green_ball_with_motion"]) == 0
    assert new["frames"] == "640"
    assert trainer.curve.with_suffix(".png").stat().st_size > 10_000


def test_validation_gives_the_motion_only_when_asked():
    config = preset("robot", forecast=Forecast())  # whose layers alone predict, with the motion
    rng = np.random.default_rng(1)
    clips = [
        Clip(
            rng.integers(0, 256, (4, 128, 160, 3), dtype=np.uint8),
            np.full((4, 1, 7), -1, np.float32),
            np.full((4, 4), 0.05, np.float32),
        )
    ]
    network = Hierarchy(config, seed=3)
    silent, informed = (validate(network, clips, motion=m) for m in (False, True))
    assert silent.prediction_ratio != informed.prediction_ratio
    still = [dataclasses.replace(clips[0], motion=np.zeros((4, 4), np.float32))]
    assert validate(network, still, motion=True) == silent


def test_validation_takes_the_last_look_and_the_forecast_that_the_first_one_meets():
    network = Hierarchy(preset("robot"), seed=3)
    images = np.random.default_rng(2).integers(0, 256, (3, 128, 160, 3), dtype=np.uint8)
    looks, errors = [], []
    for image in images:
        network.step(image[None])
        errors.append(network.forecast_errors())
        looks.append(network.step(image[None], foresee=False))
    (box,) = network.readout.decode(looks[-1], 0.01, most=1)[0][0]
    truth = np.array([[[0, *box[:4], 1]]] * 3, np.float32)
    clip = Clip(images, truth, np.zeros((3, 4), np.float32))
    found = validate(network, [clip], looks=2)
    assert found.auc["green_ball"] == pytest.approx(1)
    assert found.prediction_ratio == pytest.approx(errors[2][0] / errors[2][1])
    assert validate(network, [clip]).auc["green_ball"] < 1


def test_links_that_opened_in_training_are_open_in_validation(tmp_path):
    trainer = Trainer(TrainOptions(tmp_path, streams=1))
    late = tuple(dataclasses.replace(link, start=10) for link in trainer.config.links)
    trainer.network.gains.config = dataclasses.replace(trainer.config, links=late, forecast=Forecast())
    images = np.random.default_rng(2).integers(0, 256, (4, 128, 160, 3), dtype=np.uint8)
    trainer.validation_set.clips = [
        Clip(images, np.full((4, 1, 7), -1, np.float32), np.zeros((4, 4), np.float32))
    ]
    closed = trainer.validate()
    trainer.network.step_count = 10
    assert trainer.validate() != closed


@pytest.mark.parametrize("name", ["robot", "paper"])
def test_codes_learn_without_labels_and_the_readout_alone_on_them(name):
    """The paper's second experiment: first what it sees, then, briefly, what is asked for."""
    config = preset(name)
    network, rng = Hierarchy(config, 2, seed=1), np.random.default_rng(0)
    boxes = np.stack([Truth.rows([Box("green_ball", 20, 20, 30, 30)])] * 2)
    images = rng.integers(0, 256, (6, 2, config.height, config.width, 3), dtype=np.uint8)

    def changed(**how):
        before = {n: w.copy() for n, w in network.weights.items()}
        for image in images:
            network.step(image)
            network.learn(rate=1e-3, **how)
        return {n.split(".")[0].rstrip("1234") for n, w in network.weights.items() if (w != before[n]).any()}

    layers = {layer.name.rstrip("1234") for layer in config.layers}
    layers |= {"forecast"} if config.forecast.code else set()
    assert changed() == layers
    assert changed(boxes=boxes, codes=False) == {"readout"}
    assert changed(boxes=boxes) == layers | {"readout"}


def test_the_forecast_learns_alone_from_video_and_leaves_the_rest(tmp_path):
    rng, film = np.random.default_rng(0), tmp_path / "film"
    film.mkdir()
    picture = cv2.GaussianBlur(rng.integers(0, 256, (200, 260, 3), dtype=np.uint8), (0, 0), 3)
    for k in range(12):
        cv2.imwrite(str(film / f"{k:04}.png"), picture[2 * k : 2 * k + 120, 3 * k : 3 * k + 160])
    start = tmp_path / "start.safetensors"
    config = preset("robot", forecast=Forecast())
    before = Hierarchy(config, seed=3).weights
    save_model(start, config, before, {"steps": 7, "validation": {"prediction_over_copy": 0.9}})
    options = TrainOptions(
        tmp_path / "out",
        start=start,
        streams=2,
        learns="forecast",
        video=(film,),
        held_back=(film,),
        shares=(("video", 0.9),),
        frames=60,
        hours=1,
    )
    assert Trainer(options).run() is None
    config, weights, history = load_model(tmp_path / "out" / "model.safetensors")
    assert config.forecast.code
    assert all(np.array_equal(weights[name], w) for name, w in before.items())
    assert any(weights[f"forecast{k}.w2"].any() for k in (1, 2, 3, 4))
    assert history["steps"] == 7
    assert history["validation"] == {"prediction_over_copy": 0.9}
    assert history["forecast"]["frames"] >= 60
    assert 0 < history["forecast"]["validation"]["held_back_over_copy"] < 1
    again = dataclasses.replace(options, start=tmp_path / "out" / "checkpoint.safetensors", frames=20)
    Trainer(again).run()
    assert load_model(tmp_path / "out" / "model.safetensors")[2]["forecast"]["frames"] >= 80
