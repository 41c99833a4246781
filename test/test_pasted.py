"""Scenes of real parts: targets cut out of stills and laid onto clips."""

import dataclasses

import cv2
import numpy as np
import pytest
from test_sources import disc, stills, textured  # noqa: F401

from pvm_perception.streams.scenes import real_targets
from pvm_perception.streams.scenes.light import Camera, Light, linear
from pvm_perception.streams.scenes.pasted import PastedScene
from pvm_perception.streams.scenes.real_targets import Cutting, cut_out, greenness, hue_of, recoloured
from pvm_perception.streams.stills import load_stills
from pvm_perception.types import TARGETS, Truth


def test_targets_are_cut_out_of_stills(stills):
    cuttings = cut_out(load_stills(stills))
    assert [c.target for c in cuttings] == ["green_ball", "green_ball", "other_ball"]  # the unsure one stays
    for cutting, radius in zip(cuttings, (30, 20, 30), strict=True):
        area = float(cutting.sprite[..., 3].sum())
        assert 0.85 * np.pi * radius**2 < area < 1.02 * np.pi * radius**2
        assert (cutting.sprite[..., :3] <= cutting.sprite[..., 3:] + 1e-6).all()
        assert 0.1 < cutting.level < 0.4
    assert hue_of(cuttings[0].sprite) == pytest.approx(112, abs=3)


@pytest.mark.parametrize("why", ["border", "hidden", "grey", "small", "long", "partly visible"])
def test_what_cannot_be_cut_out_cleanly_is_left(tmp_path, why):
    picture = textured(np.random.default_rng(2))
    colour = (128, 128, 128) if why == "grey" else (40, 200, 60)
    box = disc(picture, (10 if why == "border" else 100, 120), 10 if why == "small" else 30, colour)
    if why == "hidden":
        cv2.rectangle(picture, (60, 118), (140, 160), (90, 60, 50), -1)
    if why == "border":
        box = dataclasses.replace(box, x=0, w=40)
    if why == "long":
        box = dataclasses.replace(box, w=90)
    if why == "partly visible":
        box = dataclasses.replace(box, visible=0.8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (tmp_path / "labels.csv").write_text("frame,target,x,y,w,h\na.png,green_ball,1,2,3,4\n")
    still = dataclasses.replace(load_stills(tmp_path)[0], boxes=(box,))
    assert not cut_out([still])


def test_recoloured_balls_are_green_or_not(stills):
    rng, ball = np.random.default_rng(3), cut_out(load_stills(stills))[0].sprite
    green = [greenness(hue_of(recoloured(rng, ball, True))) for _ in range(60)]
    other = [greenness(hue_of(recoloured(rng, ball, False))) for _ in range(60)]
    assert green.count(1.0) > 55
    assert other.count(None) > 45
    assert other.count(1.0) < 6
    low, high = real_targets.GREENS
    assert [greenness(h) for h in (0, low - 1, low, high, high + 1, 300)] == [None, 0.0, 1.0, 1.0, 0.0, None]


def ball_sprite():
    """Return a yellow-green disc as a cutting of medium light."""
    sprite = np.zeros((96, 96, 4), np.float32)
    cv2.circle(sprite, (48, 48), 46, [0.2, 0.9, 0.5, 1.0], -1, cv2.LINE_AA)
    return Cutting("green_ball", sprite, 0.25)


@pytest.mark.parametrize("streak", [0.0, 1.0, 2.5, 4.0])
def test_a_thrown_ball_is_a_streak_with_a_box_around_all_of_it(monkeypatch, streak):
    """Nowhere opaque when it moves further than itself, in linear light, and labelled as a whole."""
    monkeypatch.setattr(Camera, "develop", lambda _self, image, _light: image)
    monkeypatch.setattr(Light, "at_frame", lambda _self, _index: np.ones((240, 320, 1), np.float32))
    place, size = np.full((200, 200, 3), 60, np.uint8), 0.12
    rng = np.random.default_rng(5)
    images = np.repeat(place[None], 3, 0)
    scene = PastedScene(rng, 3, (240, 320), None, cuttings=[ball_sprite()], images=images, known=True)
    thing = a_ball(images)
    scene.pan, scene.jitter, scene.tilt, scene.rolling = np.zeros(2), scene.jitter * 0, 0.0, 0.0
    scene.zoom_rate = scene.turn = 0.0
    scene.shutter = 0.5
    scene.things = [
        dataclasses.replace(
            thing,
            place=np.array([streak * size, 0.0]),
            size=size,
            fall=0.0,
            floor=None,
            growth=0.0,
            span=1e9,
            velocity=np.array([streak * size / 0.5, 0.0]),
        )
    ]
    scene.camera, scene.light = Camera(rng, 0.0), scene.light
    image, truth = scene.render(1)
    assert image.dtype == np.float32
    box = Truth.boxes(truth)[0]
    diameter = size * 240 * 92 / 96
    assert box.h == pytest.approx(diameter, rel=0.12)
    assert box.w == pytest.approx(max(1, streak) * diameter + 0.8 * min(1, streak) * diameter, rel=0.12)
    assert box.weight == 1
    ground = linear(place)[0, 0, 1]
    lit = (image[..., 1].max() - ground) / (linear(np.uint8([[[0, 255 * 0.9, 0]]]))[0, 0, 1] - ground)
    if streak >= 1:
        assert lit < 1.6 / streak  # its light is spread over the streak


def pasted(seed, images, **known):
    rng = np.random.default_rng(seed)
    return PastedScene(rng, len(images), (120, 160), None, cuttings=[ball_sprite()], images=images, **known)


def a_ball(images):
    """Return some green ball of a pasted scene."""
    return next(t for n in range(50) for t in pasted(n, images).things if t.target == 0 and t.weight == 1)


def test_pasted_scenes_lie_on_the_clip_and_know_what_they_do_not_know():
    images = np.stack([np.full((120, 160, 3), 40 + 50 * k, np.uint8) for k in range(3)])
    unknown = weights = 0
    for seed in range(12):
        scene = pasted(seed, images, known=seed % 2 == 0)
        frames, truth = zip(*(scene.render(k) for k in range(3)), strict=True)
        assert frames[0].mean() != frames[2].mean()  # the clip goes on
        whole = (truth[0][:, Truth.W] == 160) & (truth[0][:, Truth.H] == 120)
        unknown += int(whole.sum())
        weights += int((truth[0][~whole][:, Truth.WEIGHT] == 1).sum())
        if whole.any():
            assert seed % 2
            assert (truth[0][whole][:, Truth.WEIGHT] == 0).all()
    assert unknown == 6 * len(TARGETS)
    assert weights > 3


def test_a_ball_that_nobody_could_see_is_neither_right_nor_wrong(monkeypatch):
    monkeypatch.setattr(Camera, "develop", lambda _self, image, _light: image)
    images = np.full((2, 120, 160, 3), 128, np.uint8)
    thing, weights = a_ball(images), {}
    for grey in (128, 255):
        scene = pasted(9, images)
        sprite = np.ones((32, 32, 4), np.float32)
        sprite[..., :3] = (grey / 255) ** 2
        scene.things = [
            dataclasses.replace(
                thing, sprite=sprite, place=np.zeros(2), size=0.3, velocity=np.zeros(2), fall=0.0
            )
        ]
        weights[grey] = Truth.boxes(scene.render(1)[1])[0].weight
    assert weights == {128: 0, 255: 1}
