"""Descriptors: gradients checked numerically, things told apart by what is learnt, the shipped one."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, tiny
from safetensors.numpy import load_file, save_file

from pvm_perception.core.config import preset
from pvm_perception.core.descriptor import GUESS, HIDDEN, VALUES, Descriptor
from pvm_perception.core.size import READ, descriptor_shapes, shown_width
from pvm_perception.errors import PvmError
from pvm_perception.training.contrast import BOX_WEIGHT, SURE_OF_BOX, TEMPERATURE, Contrast, rate_at
from pvm_perception.vision import descriptors

WIDTH = 6


def batch(rng, things=(0, 1, 2, 1), without=5):
    things = np.array(things)
    read = rng.normal(0, 1, (2 * len(things) + without, WIDTH)).astype(np.float32)
    return read, things, rng.normal(0, 1, (2 * len(things), 4)).astype(np.float32)


def loss_of(descriptor, read, things, box):
    """Return the whole loss, written down without a thought of gradients, in double precision."""
    w = {name: v.astype(float) for name, v in descriptor.items()}
    hidden = np.maximum(read @ w["w1"] + w["b1"], 0)
    values = hidden @ w["w2"] + w["b2"]
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    b, total = len(things), 0.0
    for i in range(b):
        rivals = [k for k in range(b) if k == i or things[k] != things[i]] + list(
            range(b, b + len(read) - 2 * b)
        )
        scores = np.array([values[i] @ values[b + k] for k in rivals]) / TEMPERATURE
        total -= (scores[rivals.index(i)] - np.log(np.exp(scores).sum())) / b
    away = np.abs(hidden[: 2 * b] @ w["guess"] + w["b_guess"] - box)
    errors = np.where(away < SURE_OF_BOX, away**2 / (2 * SURE_OF_BOX), away - SURE_OF_BOX / 2)
    return total + BOX_WEIGHT * errors.sum() / (2 * b)


@pytest.mark.parametrize("name", descriptor_shapes(WIDTH))
def test_gradients_are_those_of_the_loss(name):
    rng = np.random.default_rng(0)
    read, things, box = batch(rng)
    learner = Contrast(Descriptor.drawn(WIDTH))
    for w in learner.weights.values():
        w += rng.normal(0, 0.1, w.shape).astype(np.float32)
    gradient = learner.gradients(read, things, box)[2][name]
    for _ in range(4):
        way = rng.normal(0, 1, gradient.shape)
        way /= np.linalg.norm(way)
        step = 1e-4
        ends = [
            loss_of(learner.weights | {name: learner.weights[name] + sign * step * way}, read, things, box)
            for sign in (-1, 1)
        ]
        assert (gradient * way).sum() == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=2e-3, abs=1e-4)


def test_what_it_learns_tells_new_views_of_things_apart_whatever_surrounds_them():
    rng = np.random.default_rng(1)
    kinds = rng.normal(0, 1, (300, 8)).astype(np.float32)

    def see(things):  # half of what is read is the thing, the other half, twice as loud, is the place
        places = 2 * rng.normal(0, 1, (len(things), 8))
        return np.concatenate([kinds[things], places], axis=1).astype(np.float32)

    def known_again(descriptor):
        things = np.arange(250, 300)
        one, other = (descriptor.read(see(things) @ descriptor.w1)[:, VALUES] for _ in range(2))
        return float(((one @ other.T).argmax(axis=1) == np.arange(50)).mean())

    learner = Contrast(Descriptor.drawn(16))
    before = known_again(learner.averaged)
    for step in range(1, 301):
        things = rng.integers(0, 250, 64)
        read = np.concatenate([see(things), see(things)])
        loss, _ = learner.learn(read, things, np.zeros((128, 4), np.float32), rate_at(step, 300, 1e-3))
    assert loss < 2.0
    assert known_again(Descriptor.of(learner.weights)) > before + 0.3


def test_what_is_read_is_a_descriptor_of_length_one_hidden_values_and_a_guess():
    rng = np.random.default_rng(2)
    descriptor = Descriptor.drawn(WIDTH)
    read = descriptor.read(rng.normal(0, 1, (9, WIDTH)).astype(np.float32) @ descriptor.w1)
    assert read.shape == (9, READ) and read.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(read[:, VALUES], axis=1), 1, rtol=1e-5)
    assert (read[:, HIDDEN] >= 0).all() and not read[:, GUESS].any()
    again = Descriptor.of(descriptor.tensors("x."), "x.")
    assert all(a is b for a, b in zip(again.tensors().values(), descriptor.tensors().values(), strict=True))


def test_the_shipped_descriptor_fits_the_shipped_network_and_others_get_a_drawn_one():
    config = preset("robot")
    found = descriptors.descriptor_for(config)
    assert {name: w.shape for name, w in found.tensors().items()} == descriptor_shapes(shown_width(config))
    assert found.guess.any()
    drawn = descriptors.descriptor_for(tiny())
    assert len(drawn.w1) == shown_width(tiny())
    assert not drawn.guess.any()


@pytest.mark.parametrize("damage", ["missing", "rubbish", "another"])
def test_a_damaged_descriptor_is_said_in_one_line(tmp_path, monkeypatch, damage):
    path = tmp_path / "descriptor.safetensors"
    if damage == "rubbish":
        path.write_bytes(b"\xff" * 64)
    if damage == "another":
        save_file(Descriptor.drawn(WIDTH).tensors() | {"b2": np.zeros(3, np.float32)}, path)
    monkeypatch.setattr(descriptors, "shipped", lambda _: path)
    descriptors._shipped_descriptor.cache_clear()
    with pytest.raises(PvmError, match="install the package anew") as error:
        descriptors.descriptor_for(preset("robot"))
    descriptors._shipped_descriptor.cache_clear()
    assert "\n" not in str(error.value)


def test_the_script_learns_one_and_goes_on_with_what_it_gathered(tmp_path):
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(42):
        picture = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (80, 60))
        cv2.imwrite(str(photos / f"{k}.jpg"), picture)
        alpha = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 25, 255, -1)
        cv2.imwrite(str(photos / f"{k}.png"), np.dstack([picture, alpha]))

    def learn(things):
        command = [
            sys.executable,
            ROOT / "scripts" / "learn_descriptor.py",
            "--photos",
            photos,
            "--steps",
            "3",
        ]
        command += ["--things", things, "--left-out", "6", "--work", tmp_path, "--output", tmp_path / "d"]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=120, check=False
        )

    process = learn(8)
    assert process.returncode == 0, process.stderr
    assert "learnt: things left out are known again" in process.stdout
    assert load_file(tmp_path / "d")["w2"].shape == (256, 64)
    first = (tmp_path / "known_0.npz").stat().st_mtime_ns
    assert learn(8).returncode == 0
    assert (tmp_path / "known_0.npz").stat().st_mtime_ns == first
    (photos / "0.jpg").unlink()
    (photos / "1.jpg").unlink()
    assert "more than 40 each" in learn(8).stderr
