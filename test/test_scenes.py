"""Generated scenes: their clips, their cameras, and the motion that comes with them."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.streams.generated import SimulatedStream, make_clip
from pvm_perception.streams.scenes.distractors import cutout
from pvm_perception.streams.scenes.light import Camera, linear
from pvm_perception.streams.scenes.one_thing import one_thing
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.scenes.pieces import piece
from pvm_perception.streams.scenes.scene import Scene, stop_and_go
from pvm_perception.streams.stills import (
    Still,
    VirtualCamera,
)
from pvm_perception.training import pool
from pvm_perception.training.pool import ClipPool, ClipRecipe, draw_length, render
from pvm_perception.types import Truth


def test_clips_are_fixed_by_their_seed():
    a, b, c = make_clip(5, 4), make_clip(5, 4), make_clip(6, 4)
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.truth, b.truth)
    assert (a.images != c.images).any()


def test_clips_hold_all_there_is_to_learn():
    present = {0: 0, 1: 0, None: 0}
    heights = []
    for seed in range(120):
        clip = make_clip(seed, 2)
        assert clip.images.shape == (2, 144, 192, 3)
        rows = clip.truth[1]
        rows = rows[rows[:, 0] >= 0]
        for target, x, y, w, h, visible, _ in rows:
            assert w > 0 and h > 0 and 0 <= visible <= 1
            assert x >= -0.5 and y >= -0.5 and x + w <= 192.5 and y + h <= 144.5
            present[int(target)] += 1
            heights.append(h)
        present[None] += not len(rows)
    assert min(present.values()) >= 8
    assert min(heights) < 12
    assert max(heights) > 70


@pytest.mark.parametrize("size", [(60, 80), (9, 300), (400, 12)])
def test_pieces_of_photographs_are_sprites_whatever_the_photograph(size):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (*size, 3), np.uint8)
    for _ in range(40):
        sprite = piece(rng, photo, 48)
        assert sprite.ndim == 3 and sprite.shape[2] == 4 and max(sprite.shape) <= 48
        assert sprite.min() >= 0 and sprite[..., 3].max() <= 1
        assert sprite[..., 3].max() > 0.5
        assert (sprite[..., :3] <= sprite[..., 3:] + 1e-5).all()  # premultiplied


def test_one_thing_is_the_same_in_all_its_scenes_and_nothing_else_is_a_target():
    def red(_, size):
        sprite = np.zeros((size, size, 4), np.float32)
        sprite[..., 2:] = 1
        return sprite

    kind = one_thing(red, 3, varies=True, mirrors=True)
    places = []
    for seed in range(6):
        scene = kind(np.random.default_rng(seed), 2, (96, 128), None, cast=("thing",), hardest=0.0)
        rows = scene.render(1)[1]
        assert (rows[:, Truth.TARGET] >= 0).sum() <= 1
        places += [r[Truth.BOX] for r in rows if r[Truth.TARGET] >= 0]
        assert not (
            kind(np.random.default_rng(seed), 2, (96, 128), None, cast=()).render(1)[1][:, 0] >= 0
        ).any()
    assert len({tuple(p.round()) for p in places}) >= 4


def test_things_cut_out_of_pictures_join_the_scenes(tmp_path):
    rng = np.random.default_rng(2)
    cv2.imwrite(str(tmp_path / "place.jpg"), rng.integers(0, 255, (90, 120, 3), np.uint8))
    thing = np.zeros((60, 40, 4), np.uint8)
    thing[5:55, 10:30] = [250, 0, 250, 255]  # a magenta that no painter mixes
    cv2.imwrite(str(tmp_path / "thing.png"), thing)
    photos = load_photos(tmp_path)
    assert sorted(p.shape[2] for p in photos) == [3, 4]

    def magenta(seed, pictures):
        image = make_clip(seed, 1, photos=pictures).images[0].astype(int)
        return ((np.minimum(image[..., 0], image[..., 2]) - image[..., 1]) > 90).mean()

    seeds = range(160)
    assert np.mean([magenta(k, photos) > 0.004 for k in seeds]) > 3 * np.mean(
        [magenta(k, photos[:1]) > 0.004 for k in seeds]
    )
    sprite = cutout(rng, photos[1], 30)
    assert max(sprite.shape[:2]) <= 30
    assert sprite.shape[2] == 4
    assert (sprite[..., :3] <= 1.5 * sprite[..., 3:] + 1e-6).all()
    faint = photos[1] // 4  # nothing of it is more than half there
    for _ in range(30):
        assert np.isfinite(cutout(rng, faint, 30)).all()


def test_a_simulated_box_lies_on_its_target():
    """A stop sign's box is mostly redder than the frame around it; a wrong box were half the time."""
    hits = total = 0
    for frame in SimulatedStream(2, (240, 320), 30.0, 960, seconds=0.2):
        for b in frame.boxes:
            if b.target != "stop_sign" or b.visible < 0.9 or b.h < 24:
                continue
            total += 1
            part = frame.image[int(b.y) : int(b.y + b.h), int(b.x) : int(b.x + b.w)].astype(int)
            around = frame.image.astype(int)
            red = (part[..., 2] - part[..., 1]).mean()
            hits += red > (around[..., 2] - around[..., 1]).mean()
    assert total > 10
    assert hits > 0.8 * total


@pytest.mark.parametrize(("workers", "part"), [(1, (0, 1)), (2, (0, 1)), (2, (1, 3))])
def test_workers_render_the_same_clips_in_order_of_their_numbers(monkeypatch, workers, part):
    """Round a ring so small that it is full after two or three clips."""
    monkeypatch.setattr(pool, "FRAMES", 12)
    recipe, (rank, ranks) = ClipRecipe((24, 32), 3, 6, seed=9), part
    clips = ClipPool(recipe, workers, first=5, part=part)
    try:
        for number in range(5 + rank, 5 + rank + 14 * ranks, ranks):
            clip, right = clips.clip(), render(recipe, number)
            np.testing.assert_array_equal(clip.images, right.images)
            np.testing.assert_array_equal(clip.truth[:, : right.truth.shape[1]], right.truth)
            np.testing.assert_array_equal(clip.motion, right.motion)
        assert clips.clips == 5 + 14 * ranks  # where a resumed training goes on, whatever its ranks
    finally:
        clips.close()


def test_a_worker_ends_with_a_learner_that_was_killed():
    """Nobody is left to tell it to."""
    code = """
import os
from pvm_perception.training.pool import ClipPool, ClipRecipe
if __name__ == "__main__":
    pool = ClipPool(ClipRecipe((24, 32), 3, 6))
    pool.clip()
    print(pool._workers[0][0].pid, flush=True)
    os.kill(os.getpid(), 9)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )  # returns when the worker, too, has closed its output
    assert process.returncode == -9
    worker = int(process.stdout)
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the worker goes on")


def test_each_octave_of_lengths_gives_as_many_frames():
    rng = np.random.default_rng(3)
    lengths = np.array([draw_length(rng, 2, 63) for _ in range(20_000)])
    assert lengths.min() == 2 and lengths.max() == 63
    share = [lengths[(lengths >= n) & (lengths < 2 * n)].sum() / lengths.sum() for n in (2, 4, 8, 16, 32)]
    np.testing.assert_allclose(share, 0.2, atol=0.05)


def test_a_long_clip_keeps_its_light_and_its_target():
    """What moves turns back: late in a clip there is as much to see as early."""
    seen, dark = [], []
    for seed in range(24):
        clip = make_clip(seed, 64, (48, 64))
        seen.append((clip.truth[:, :, 0] >= 0).any(axis=1))
        dark.append(clip.images.mean(axis=(1, 2, 3)) < 5)
    early, late = (np.mean([s[part] for s in seen]) for part in (slice(32), slice(32, 64)))
    assert late > 0.6 * early > 0.2
    assert np.mean(dark) < 0.1


def plain_camera():
    camera = Camera(np.random.default_rng(0), 0.0, coarse=0.0)
    camera.noise = camera.black = camera.adapts = camera.sharpen = 0.0
    camera.gamma = camera.contrast = camera.saturation = 1.0
    camera.table = np.linspace(0, 1.5, 1024, dtype=np.float32).clip(0, 1)
    camera.mosaic, camera.quality = False, 0
    return camera


def test_a_camera_blurs_light_and_not_values():
    """Half black, half white give more than the middle grey, as on a real sensor."""
    camera, light = plain_camera(), np.ones((48, 64, 3), np.float32)
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = 255
    np.testing.assert_allclose(camera.develop(linear(picture), light), picture, atol=1)
    camera.defocus = 9.0
    edge = camera.develop(linear(picture), light)[24, 31:33].mean()
    assert edge == pytest.approx(255 * 0.5**0.5, abs=12)


def test_automatic_exposure_follows_the_light():
    camera, scene = plain_camera(), np.full((48, 64, 3), 0.2, np.float32)
    camera.adapts = 0.3
    bright, dim = (np.full((48, 64, 3), gain, np.float32) for gain in (1.0, 0.25))
    before = [camera.develop(scene, bright).mean() for _ in range(3)][-1]
    after = [camera.develop(scene, dim).mean() for _ in range(30)]
    assert after[0] < 0.7 * before  # at first the picture is dark
    assert after[-1] == pytest.approx(before, rel=0.05)


def test_noise_is_new_at_each_frame_or_stays():
    scene, light = np.full((48, 64, 3), 0.2, np.float32), np.ones((48, 64, 3), np.float32)
    for pattern, stays in ((None, False), (0.3, True)):
        camera = plain_camera()
        camera.noise, camera.pattern = 0.05, pattern
        first, second = (camera.develop(scene, light).astype(int) for _ in range(2))
        assert 5 < first.std() < 20
        assert (first == second).all() == stays


def test_a_colour_mosaic_keeps_flat_colours_and_frays_fine_ones():
    camera, light = plain_camera(), np.ones((48, 64, 3), np.float32)
    camera.mosaic = True
    flat = np.full((48, 64, 3), (10, 100, 200), np.uint8)
    np.testing.assert_allclose(camera.develop(linear(flat), light), flat, atol=1)
    fine = flat.copy()
    fine[:, ::2] = 0
    assert np.abs(camera.develop(linear(fine), light).astype(int) - fine).max() > 40


def moved_on(image, motion):
    """Return what a frame becomes when the picture moves so about its middle."""
    rows, cols = image.shape[:2]
    right, down, roll, growth = map(float, motion)
    c, s = np.cos(roll) * np.exp(growth), np.sin(roll) * np.exp(growth)
    matrix = np.array([[c, -s, 0], [s, c, 0]])
    middle = np.array([cols, rows]) / 2
    matrix[:, 2] = middle + [right * cols, down * rows] - matrix[:, :2] @ middle
    return cv2.warpAffine(image, matrix, (cols, rows), borderMode=cv2.BORDER_REFLECT_101)


def error_of(guess, image):
    """Return the mean difference in the middle of the picture, which both frames show."""
    rows, cols = (slice(n // 4, -n // 4) for n in image.shape[:2])
    return np.abs(guess[rows, cols].astype(int) - image[rows, cols]).mean()


def test_a_robot_that_stops_and_goes_takes_a_few_frames_from_speed_to_speed():
    steps = []
    for seed in range(20):
        way = stop_and_go(np.random.default_rng(seed), 60)
        assert way.shape == (60, 2)
        speed = np.abs(np.diff(way[:, 0]))
        assert speed.max() < 0.091
        steps += list(np.abs(np.diff(way[:, 0], 2)))
        assert (speed < 1e-9).any() and (speed > 0.014).any()
    assert np.mean(np.array(steps) > 1e-9) > 0.2  # it changes in a quarter of the frames or so


def camera_over(source, seed, folder):
    """Return something with `render` and `motion` over a place that stands still."""
    rng = np.random.default_rng(seed)
    if source == "scene":
        scene = Scene(rng, 8, (120, 200), None, cast=(), turns=1.0, stops=0.0, hardest=0.0)
        scene.things, scene.camera.noise, scene.shutter = [], 0.0, 0.0
        scene.turn, scene.depth = 0.02, 1.0
        return scene
    picture = cv2.GaussianBlur(rng.integers(0, 256, (300, 500, 3)).astype(np.uint8), (0, 0), 4)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(folder / "still.png"), picture)
    camera = VirtualCamera(rng, Still(folder / "still.png", ()), 8, (120, 200))
    camera.drift, camera.turn, camera.zoom_rate = np.array([9.0, -5.0]) * camera.zoom, 0.04, 0.04
    camera.camera.noise, camera.depth = 0.0, 1.0
    return camera


@pytest.mark.parametrize("source", ["scene", "still"])
def test_the_motion_given_is_how_the_picture_really_moves(source, tmp_path):
    """The frame before, moved so, comes closer to the frame than moved in any wrong direction."""
    better = 0
    for seed in range(6):
        camera = camera_over(source, seed, tmp_path)
        before, now = camera.render(3)[0], camera.render(4)[0]
        motion = camera.motion(4)
        assert np.abs(motion[:2]).max() > 0.005
        right = error_of(moved_on(before, motion), now)
        wrong = [error_of(before, now)]
        for k in range(4):
            other = motion.copy()
            other[k] *= -1
            wrong += [error_of(moved_on(before, other), now)] if abs(motion[k]) > 0.01 else []
        better += right < 0.9 * min(wrong)
        assert not camera.motion(0).any()  # nothing came before
    assert better >= 5


def test_turning_cameras_leave_the_rest_of_the_scenes_as_they_are():
    slow, usual = [], []
    for seed in range(40):
        a, b = make_clip(seed, 3, (48, 64), turns=0.0), make_clip(seed, 3, (48, 64))
        assert a.motion.shape == (3, 4)
        slow.append((a.images == b.images).all())
        usual.append(np.abs(b.motion[1:, 0]).max())
        if slow[-1]:
            np.testing.assert_array_equal(a.motion, b.motion)
            np.testing.assert_array_equal(a.truth, b.truth)
    assert 24 <= sum(slow) <= 38
    assert max(usual) > 0.03


def test_a_thrown_ball_is_a_streak_and_its_box_holds_all_of_it():
    longest = 0.0
    for seed in range(12):
        rng, cast = np.random.default_rng(seed), ("green_ball",)
        scene = Scene(rng, 3, (120, 160), None, 2, cast, calm=0.0, sizes=(0.1, 0.12), throws=1.0)
        balls = [thing for thing in scene.things if thing.target == 0]
        assert scene.has_throw and scene.shutter == scene.opened
        for thing in balls:
            streak = np.hypot(*thing.velocity) * scene.opened
            assert 0.15 * thing.size < streak < 4.1 * thing.size
        scene.things, scene.rolling = balls[:1], 0.0
        _, truth = scene.render(1)
        row = truth[0]
        if row[Truth.VISIBLE] < 0.95 or not row[-1]:
            continue
        expected = (np.abs(balls[0].velocity) * scene.opened + balls[0].size) * 120
        sides = row[Truth.BOX][2:]
        np.testing.assert_allclose(sides, expected, rtol=0.25, atol=3)
        longest = max(longest, sides.max() / (balls[0].size * 120))
    assert longest > 1.5


def test_what_nobody_could_see_is_neither_rewarded_nor_punished():
    weights = []
    for seed in range(8):
        scene = Scene(np.random.default_rng(seed), 3, (120, 160), None, 1, ("green_ball",), throws=1.0)
        for thing in scene.things:
            thing.sprite = thing.sprite * np.float32(1e-3)  # hardly there, and as dark
        _, truth = scene.render(1)
        weights += truth[truth[:, Truth.TARGET] >= 0][:, -1].tolist()
    assert weights and not any(weights)
