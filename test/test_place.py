"""Targets that are shown are told from what is seen at the robot's place: from remembered pictures."""

import cv2
import numpy as np
import pytest
from test_living import moment
from test_shown import box_at, scene

from pvm_perception import Tracker
from pvm_perception.core.descriptor import VALUES
from pvm_perception.core.few_boxes import Backgrounds, Example, fit
from pvm_perception.core.size import READ
from pvm_perception.living.moments import PICTURES, MomentMemory
from pvm_perception.vision.teacher import Teacher

WIDTH = VALUES.stop - VALUES.start
CELLS = 40


def noise(rng, *shape):
    return rng.normal(0, 1, (*shape, WIDTH)).astype(np.float16)


def example_of(rng, thing):
    """Return what cells read of a thing, which is a direction of descriptors."""
    inside = np.zeros((60, READ), np.float32)
    inside[:, VALUES] = noise(rng, 60) + thing
    return Example(
        np.repeat(np.arange(6), 10),
        inside.astype(np.float16),
        np.ones(60, np.float32),
        np.zeros((60, 4), np.float32),
        noise(rng, 60),
    )


def test_what_is_at_the_place_is_told_from_a_target_and_the_target_itself_is_no_background():
    rng = np.random.default_rng(0)
    thing, alike = np.zeros((2, WIDTH), np.float32)
    thing[:2], alike[[0, 2]] = (6, 4), (6, 4)
    far, examples = Backgrounds(noise(rng, 20, CELLS)), [example_of(rng, thing)]
    place = list(noise(rng, 12, CELLS))
    for p in place[::2]:
        p[0] += alike.astype(np.float16)

    def presence(where, what):
        weights, bias = fit(examples, far, where)
        return float(what @ weights[VALUES, 0] + bias[0])

    assert presence(place, alike) < presence((), alike) - 0.3
    for p in place:
        p[1] += thing.astype(np.float16)
    assert presence(place, thing) == presence((), thing)  # it may be in all of these: none is taken


def test_some_pictures_of_a_memory_are_given_and_damaged_moments_left_out(tmp_path):
    memory = MomentMemory(tmp_path)
    paths = [memory.add(moment(k, frames=1, size=(24, 32))) for k in range(PICTURES + 12)]
    assert len(memory.pictures()) == PICTURES
    (first, last) = memory.pictures(2)
    for picture, seed in ((first, 0), (last, len(paths) - 1)):
        assert np.abs(picture.astype(int) - moment(seed, 1, (24, 32)).images[0]).mean() < 12  # JPEG
    paths[0].write_bytes(b"no zip")
    paths[-1].unlink()
    assert memory.pictures(2) == []
    assert len(memory.pictures(3)) == 1


def test_a_tracker_asks_for_pictures_of_the_place_whenever_it_is_shown_a_target():
    tracker, asked = Tracker(), []

    def pictures():
        asked.append(len(asked))
        return [scene(40 + k) for k in range(6)]

    tracker.place = pictures
    for seed, at in enumerate(((80, 90), (230, 150), (150, 60))):
        tracker.teach(scene(seed, at), "badge", box_at(*at))
    assert asked == [0, 1, 2]
    (track, *_) = tracker.track_still(scene(7, (200, 170)), 4)
    assert track.target == "badge"
    assert abs(track.x + track.w / 2 - 200) < 12 and abs(track.y + track.h / 2 - 170) < 12
    assert not tracker.track_still(scene(41), 4)


def test_a_picture_of_the_place_is_looked_at_once_for_all_boxes(monkeypatch):
    tracker, looked_at = Tracker(), []
    tracker.place = lambda: [scene(40 + k) for k in range(3)]
    at_place = Teacher._seen_at_place

    def counted(teacher, picture, closer):
        looked_at.append(int(picture.sum()))
        return at_place(teacher, picture, closer)

    monkeypatch.setattr(Teacher, "_seen_at_place", counted)
    for name in ("badge", "badge", "other"):
        tracker.teach(scene(0, (80, 90)), name, box_at(80, 90))
    assert looked_at == [int(scene(40 + k).sum()) for k in range(3)]
    tracker.place = lambda: [scene(41), scene(50)]
    tracker.teach(scene(0, (80, 90)), "badge", box_at(80, 90))
    assert looked_at[3:] == [int(scene(50).sum())]


@pytest.mark.parametrize("memory", ["missing", "empty"])
def test_the_command_line_wants_a_memory_that_holds_moments(command_line, tmp_path, memory):
    (tmp_path / "empty").mkdir()
    data = tmp_path / "data"
    data.mkdir()
    cv2.imwrite(str(data / "0.png"), scene(0, (80, 90)))
    line = ",".join(map(str, box_at(80, 90)))
    (data / "groundtruth.csv").write_text(f"frame,target,x,y,w,h\n0.png,badge,{line}\n")
    model = tmp_path / "m.safetensors"
    arguments = ("teach", "--data", data, "--output", model, "--minutes", 0, "--memory")
    process = command_line(*arguments, tmp_path / memory)
    assert process.returncode == 2 and len(process.stderr.splitlines()) == 1
    assert "no moments in" in process.stderr and not model.exists()
    assert not (tmp_path / "missing").exists()
    MomentMemory(tmp_path / "full").add(moment())
    process = command_line(*arguments, tmp_path / "full")
    assert process.returncode == 0, process.stderr
    assert "badge: shown in 1 box" in process.stdout
