"""Scenes in three dimensions: what is labelled is what is seen, and where it must be seen."""

import re
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.errors import PvmError
from pvm_perception.streams.generated import make_clip
from pvm_perception.streams.scenes.solid import meshes, renderer
from pvm_perception.training import pool
from pvm_perception.training.pool import ClipPool, ClipRecipe, render
from pvm_perception.types import TARGETS

solid = pytest.mark.skipif(
    find_spec("panda3d") is None, reason="no panda3d here; pip install -r requirements/solid.txt"
)
SIZE = (96, 128)


def make_scene(seed, cast=None, frames=6, bare=True):
    """Return a scene; a `bare` one has no clutter, and nothing moves while the shutter is open."""
    from pvm_perception.streams.scenes.solid.scene import SolidScene

    class Bare(SolidScene):
        def _furnish(self):
            if not bare:
                super()._furnish()

    scene = Bare(np.random.default_rng(seed), frames, SIZE, None, cast=cast)
    if bare:
        scene.shutter = 0.0
    return scene


@solid
def test_solid_clips_are_fixed_by_their_seed():
    a, b, c = (make_clip(seed, 3, SIZE, solid=True) for seed in (5, 5, 6))
    for name in ("images", "truth", "motion"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.images != c.images).any()


@solid
def test_what_was_drawn_before_changes_nothing():
    """Where two surfaces are equally far, the one that is drawn first must always be the same."""
    first, again = ([make_clip(seed, 2, SIZE, solid=True).images for seed in range(12)] for _ in range(2))
    np.testing.assert_array_equal(first, again)


@solid
def test_solid_clips_hold_all_there_is_to_learn():
    present, heights = {0: 0, 1: 0, None: 0}, []
    for seed in range(40):
        clip = make_clip(seed, 2, SIZE, solid=True)
        assert clip.images.shape == (2, *SIZE, 3)
        assert np.isfinite(clip.motion).all()
        rows = clip.truth[1][clip.truth[1][:, 0] >= 0]
        for target, x, y, w, h, visible, _ in rows:
            assert w > 0 and h > 0 and 0 <= visible <= 1
            assert x >= 0 and y >= 0 and x + w <= SIZE[1] and y + h <= SIZE[0]
            present[int(target)] += 1
            heights.append(h / SIZE[0])
        present[None] += not len(rows)
    assert min(present.values()) >= 4
    assert min(heights) < 0.08 and max(heights) > 0.4


@solid
def test_a_ball_is_labelled_where_it_must_be_seen():
    """Its box holds the outline of the sphere, projected point by point, wherever it moves."""
    checked = 0
    for seed in range(20):
        scene = make_scene(seed, ("green_ball",))
        for index in (1, 4):
            _, truth = scene.render(index)
            target, *box, visible, _ = truth[0]
            x, y, w, h = box
            if target < 0 or visible < 0.97 or min(x, y, SIZE[1] - x - w, SIZE[0] - y - h) < 1:
                continue
            k = index - scene.frames / 2
            thing, eye = scene.targets[0][1], scene.drive.pose(k)
            u, v = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 30))
            surface = meshes.on_sphere(u, v).reshape(-1, 3) * thing.extent[0] / 2 + thing.pose(k)[3, :3]
            across, ahead, up = eye[:3, :3] @ (surface - eye[3, :3]).T
            middle = np.array([[SIZE[1]], [SIZE[0]]]) / 2
            at = SIZE[0] * scene.focal * np.stack([across, -up]) / ahead + middle
            np.testing.assert_allclose([x, y, x + w, y + h], [*at.min(axis=1), *at.max(axis=1)], atol=1.2)
            assert visible == pytest.approx(1.0, abs=0.03)
            checked += 1
    assert checked >= 8


@solid
def test_a_green_ball_is_green_and_a_stop_sign_red_where_they_are_labelled(monkeypatch):
    monkeypatch.setattr(
        "pvm_perception.streams.scenes.light.Camera.develop",
        lambda _self, image, _light: np.uint8(image.clip(0, 1) ** 0.5 * 255),
    )
    for name, channel in (("green_ball", 1), ("stop_sign", 2)):
        right = total = 0
        for seed in range(20):
            picture, truth = make_scene(seed, (name,)).render(3)
            target, x, y, w, h, visible, _ = truth[0]
            if target < 0 or visible < 0.9:
                continue
            assert TARGETS[int(target)] == name
            part = picture[int(y + h / 4) : int(y + 3 * h / 4) + 1, int(x + w / 4) : int(x + 3 * w / 4) + 1]
            total += 1
            right += np.argmax(part.mean(axis=(0, 1))) == channel
        assert total >= 8
        assert right > 0.8 * total


@solid
def test_what_is_behind_a_wall_is_not_labelled():
    hidden = 0
    for seed in range(8):
        scene = make_scene(seed, ("green_ball",))
        _, truth = scene.render(3)
        if truth[0, 5] < 0.9:
            continue
        at = scene.targets[0][1].pose(0)[3, :3]
        wall = scene.world.add(meshes.box(), renderer.texture(np.zeros((8, 8, 3), np.uint8)))
        wall.set_pos_hpr_scale(*(at[:2] / 2), -20, 0, 0, 0, 50, 0.01, 40)
        _, truth = scene.render(3)
        assert truth[0, 0] == -1
        wall.set_pos_hpr_scale(*(at[:2] * 2 + [0, 3]), -20, 0, 0, 0, 50, 0.01, 40)
        _, truth = scene.render(3)
        assert truth[0, 0] == 0
        hidden += 1
    assert hidden >= 4


@solid
def test_motion_is_what_the_camera_does_to_the_picture():
    scene = make_scene(1, ())
    scene.drive.shaken[:] = 0
    for name, rate, what, sign in (("curve", 0.02, 0, -1), ("nod", 0.02, 1, 1), ("rate", 0.02, 3, 1)):
        for each in ("curve", "nod", "rate"):
            setattr(scene.drive, each, 0.0)
        setattr(scene.drive, name, rate)
        motion = scene.motion(4)
        assert np.sign(motion[what]) == sign, name  # to the right, up, forward
        others = np.delete(np.abs(motion), what)
        assert others.max() < 0.3 * abs(motion[what]), name
    assert not scene.motion(0).any()


@solid
def test_the_motion_given_moves_what_is_far_away(monkeypatch):
    """The frame before, moved so, comes closer to the frame than left where it was."""
    monkeypatch.setattr(
        "pvm_perception.streams.scenes.light.Camera.develop",
        lambda _self, image, _light: np.uint8(image.clip(0, 1) ** 0.5 * 255),
    )
    better = total = 0
    for seed in range(12):
        scene = make_scene(seed, ())
        scene.drive.rate, scene.drive.curve, scene.drive.pitch = 0.0, 0.03, 0.1
        scene.drive.shaken[:] = 0
        scene.drive.shaken[2, 4:] = 0.08  # it tips to one side
        for thing in scene.things:
            thing.node.hide()
        before, now = (cv2.GaussianBlur(scene.render(k)[0], (0, 0), 1.5) for k in (3, 4))
        right, down, roll, _ = map(float, scene.motion(4))
        assert abs(roll) > 0.05
        errors = []
        for turned in (roll, -roll):
            c, s, middle = np.cos(turned), np.sin(turned), np.array([SIZE[1], SIZE[0]]) / 2
            matrix = np.array([[c, -s, 0], [s, c, 0]])
            matrix[:, 2] = middle + [right * SIZE[1], down * SIZE[0]] - matrix[:, :2] @ middle
            guess = cv2.warpAffine(before, matrix, SIZE[::-1], borderMode=cv2.BORDER_REFLECT_101)
            errors.append(np.abs(guess.astype(int) - now)[24:-24, 32:-32].mean())
        still = np.abs(before.astype(int) - now)[24:-24, 32:-32].mean()
        total += still > 2
        better += still > 2 and errors[0] < 0.8 * min(still, errors[1])
    assert total >= 6
    assert better > 0.8 * total


def test_nothing_of_it_is_imported_unless_it_is_asked_for():
    code = (
        "import sys; from pvm_perception.streams.generated import make_clip; from "
        "pvm_perception.training import train; make_clip(1, 2, (24, 32)); "
        "print(*[m for m in sys.modules if 'solid' in m or 'panda3d' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()


def test_without_solid_clips_stay_as_they_are():
    recipe, clip = ClipRecipe((24, 32), 3, 6, seed=9), []
    for number in range(3):
        rng = np.random.default_rng((9, number))
        length = pool.draw_length(rng, 3, 6)
        clip = make_clip(int(rng.integers(2**62)), length, (24, 32))
        np.testing.assert_array_equal(render(recipe, number).images, clip.images)


@solid
def test_a_share_of_the_clips_is_solid():
    flat, some = (ClipRecipe((24, 32), 2, 3, seed=9, solid=share) for share in (0.0, 0.5))
    same = [np.array_equal(render(flat, n).images, render(some, n).images) for n in range(14)]
    assert 2 <= sum(same) <= 12


def test_without_panda3d_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "panda3d", None)
    monkeypatch.setitem(sys.modules, "panda3d.core", None)
    renderer.panda.cache_clear()
    try:
        with pytest.raises(PvmError, match=rf"need panda3d .*'{re.escape(renderer.NEEDS)}'"):
            ClipPool(ClipRecipe((24, 32), 2, 3, solid=0.5))
    finally:
        renderer.panda.cache_clear()


def test_one_version_of_panda3d_is_asked_for():
    pins = (ROOT / "requirements" / "solid.txt").read_text()
    pinned = re.search(r"^panda3d==(\S+)$", pins, re.MULTILINE)[1]
    assert pinned.startswith(renderer.NEEDS.removeprefix("panda3d~="))
    assert f'"{renderer.NEEDS}"' in (ROOT / "setup.py").read_text()


def test_a_share_above_one_is_refused(command_line):
    done = command_line("train", "--solid", 1.5)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "--solid" in done.stderr
