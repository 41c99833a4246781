"""Targets that were shown in a few boxes: found, kept in the model file, taken back; nothing else changes."""

import cv2
import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.core.config import preset
from pvm_perception.core.descriptor import GUESS, HIDDEN, VALUES, Descriptor
from pvm_perception.core.few_boxes import Backgrounds, Example, fit
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.shown import MOST_BOXES, MOST_SHOWN, CellReader
from pvm_perception.core.size import READ
from pvm_perception.errors import PvmError
from pvm_perception.vision.frame import View
from pvm_perception.vision.teacher import checked_box, views

SIZE = (240, 320)


def scene(seed, at=None):
    """Return a noisy room, with a blue and yellow disc around `at` where given."""
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), (120, 130, 125), np.uint8)
    for _ in range(6):
        x, y = rng.integers(0, 260), rng.integers(0, 180)
        colour = tuple(int(c) for c in rng.integers(60, 190, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x) + 60, int(y) + 50), colour, -1)
    if at is not None:
        cv2.circle(image, at, 25, (220, 60, 20), -1, cv2.LINE_AA)
        cv2.circle(image, at, 11, (30, 220, 240), -1, cv2.LINE_AA)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def box_at(x, y):
    return (x - 25, y - 25, 51, 51)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Return a tracker that was shown a badge in three boxes, and its model file."""
    tracker = Tracker()
    for seed, at in enumerate(((80, 90), (230, 150), (150, 60))):
        tracker.teach(scene(seed, at), "badge", box_at(*at))
    path = tmp_path_factory.mktemp("shown") / "badge.safetensors"
    tracker.save(path)
    return tracker, path


def test_a_target_shown_in_three_boxes_is_found_elsewhere_and_not_where_it_is_not(taught):
    tracker = Tracker(("badge",), taught[1])
    (track, *_) = tracker.track_still(scene(7, (200, 170)), 4)
    assert track.target == "badge"
    assert abs(track.x + track.w / 2 - 200) < 12 and abs(track.y + track.h / 2 - 170) < 12
    assert 30 < track.w < 80 and 30 < track.h < 80
    heat = tracker.heatmap("badge")
    assert heat.shape == (16, 20)
    assert np.unravel_index(heat.argmax(), heat.shape) == pytest.approx((170 / 15, 200 / 16), abs=1.5)
    assert not tracker.track_still(scene(8), 4)


def test_answers_for_trained_targets_stay_to_the_last_bit(taught, images):
    before, after = Tracker(), taught[0]
    after.targets = ("green_ball", "stop_sign")
    after.reset()
    loaded = Tracker(model=taught[1])
    for image in images[:8]:
        tracks = before.update(image)
        assert after.update(image)[: len(tracks)] != [] or not tracks
        assert [(d.target, d.x, d.y, d.w, d.h, d.score) for d in after.detections] == [
            (d.target, d.x, d.y, d.w, d.h, d.score) for d in before.detections
        ]
        loaded.update(image)
        assert loaded.detections == before.detections
        np.testing.assert_array_equal(after.heatmap("green_ball"), before.heatmap("green_ball"))


def test_what_was_shown_comes_back_from_the_file_and_is_forgotten(taught, tmp_path):
    tracker = Tracker(("badge", "green_ball"), taught[1])
    np.testing.assert_array_equal(tracker.shown.weights, taught[0].shown.weights)
    assert tracker.shown.entries() == [{"target": "badge", "boxes": 3}]
    tracker.teach(scene(9, (60, 60)), "second", box_at(60, 60))
    assert tracker.targets == ("badge", "green_ball", "second")
    assert tracker.known_targets == ("green_ball", "stop_sign", "badge", "second")
    version = tracker.model_version
    tracker.forget("badge")
    assert tracker.targets == ("green_ball", "second")
    assert tracker.model_version > version
    with pytest.raises(PvmError, match="never shown"):
        tracker.forget("badge")
    with pytest.raises(PvmError, match="'badge'"):
        tracker.targets = ("badge",)
    tracker.save(tmp_path / "m.safetensors")
    assert [e["target"] for e in load_model(tmp_path / "m.safetensors")[2]["shown"]] == ["second"]
    tracker.forget("second")
    tracker.save(tmp_path / "m.safetensors")
    assert "shown" not in load_model(tmp_path / "m.safetensors")[2]


def test_targets_that_an_earlier_version_was_shown_are_refused_in_one_line(taught, tmp_path):
    config, weights, history = load_model(taught[1])
    old = {name: w for name, w in weights.items() if not name.startswith("shown")}
    old |= {"shown.w": np.zeros((1, 896, 5), np.float32), "shown.b": np.zeros((1, 5), np.float32)}
    with pytest.raises(PvmError, match="show them again") as error:
        save_model(tmp_path / "old", config, old, history)
    assert "\n" not in str(error.value)


def test_training_goes_on_without_what_was_shown(taught):
    weights, history = load_model(taught[1], optimizer=True)[1:]
    assert "shown" not in history
    assert not [name for name in weights if name.startswith("shown")]


@pytest.mark.parametrize(
    ("target", "box", "reason"),
    [
        ("", (10, 10, 40, 40), "name"),
        ("x" * 65, (10, 10, 40, 40), "name"),
        ("a\nb", (10, 10, 40, 40), "name"),
        (7, (10, 10, 40, 40), "name"),
        ("cup", (10, 10, 40, float("nan")), "finite"),
        ("cup", (10, 10), "finite"),
        ("cup", (10, 10, -5, 40), "px each way"),
        ("cup", (400, 10, 40, 40), "px each way"),
        ("cup", (10, 10, 40, 1e300), None),
    ],
)
def test_odd_names_and_boxes_change_nothing(target, box, reason):
    tracker = Tracker()
    if reason is None:
        assert checked_box(box, SIZE) == (10, 10, 40, 230)
        return
    with pytest.raises(PvmError, match=reason):
        tracker.teach(scene(0), target, box)
    assert tracker.known_targets == ("green_ball", "stop_sign")


def test_a_network_with_a_heat_map_readout_says_that_it_cannot(tmp_path):
    config = preset("paper")
    with pytest.raises(PvmError, match="heatmap"):
        CellReader(config, Descriptor.drawn(6))


def entry(name, boxes=1):
    return {"target": name, "boxes": boxes}


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry("badge"), entry("more")],
        [entry("b", 0)],
        [entry("b", MOST_BOXES + 1)],
        [entry("b", True)],
        [entry("b\x1b[2J")],
        [entry("")],
        [entry(3)],
        [{"target": "b"}],
        [entry("b") | {"more": 1}],
        ["b"],
        {"b": 1},
        "b",
        None,
        [entry(f"b{k}") for k in range(MOST_SHOWN + 1)],
    ],
)
def test_a_history_that_does_not_fit_is_refused(taught, tmp_path, entries):
    config, weights, history = load_model(taught[1])
    with pytest.raises(PvmError):
        save_model(tmp_path / "odd", config, weights, history | {"shown": entries})


def test_weights_that_do_not_fit_are_refused(taught, tmp_path):
    config, weights, history = load_model(taught[1])
    for odd in (weights["shown.w"][:, :-1], weights["shown.w"] * np.nan, np.repeat(weights["shown.w"], 2, 0)):
        with pytest.raises(PvmError):
            save_model(tmp_path / "odd", config, weights | {"shown.w": odd}, history)
    before = weights | {"shown.w1": weights["shown.w1"][:896]}  # codes alone were read
    with pytest.raises(PvmError, match="another version"):
        save_model(tmp_path / "odd", config, before, history)
    two = history | {"shown": [entry("a"), entry("a")]}
    twice = {name: np.repeat(w, 2, 0) for name, w in weights.items() if name.startswith("shown")}
    with pytest.raises(PvmError, match="one name"):
        save_model(tmp_path / "odd", config, weights | twice, two)


def test_answers_are_what_is_read_times_the_weights(taught):
    shown = taught[0].shown
    config, weights, _ = load_model(taught[1])
    network, reader = Hierarchy(config, 1, np, weights), CellReader(config, shown.descriptor)
    pictures = np.random.default_rng(0).integers(0, 255, (1, config.height, config.width, 3), np.uint8)
    network.step(pictures)
    expected = reader.read(network, pictures[0]) @ shown.weights[0] + shown.bias[0]
    answers = reader.answers(network, pictures[0], shown)
    assert answers.shape == (1, 16, 20, 1, 5)
    np.testing.assert_allclose(answers.reshape(-1, 5), expected, rtol=1e-3, atol=1e-3)


def test_the_closed_form_tells_a_direction_from_noise_and_corrects_the_guess_of_the_box():
    rng = np.random.default_rng(0)
    width = VALUES.stop - VALUES.start
    far = Backgrounds(rng.normal(0, 1, (20, 40, width)).astype(np.float16))
    inside = np.zeros((60, READ), np.float32)
    inside[:, VALUES] = rng.normal(0, 1, (60, width))
    inside[:, 0] += 6
    inside[:, HIDDEN.start : HIDDEN.start + 4] = rng.normal(
        0, 4, (60, 4)
    )  # what tells how wrong the guess is
    inside[:, GUESS] = rng.normal(0, 0.5, (60, 4))
    box = inside[:, GUESS] + inside[:, HIDDEN.start : HIDDEN.start + 4] / 8 + 1
    example = Example(
        np.repeat(np.arange(6), 10),
        inside.astype(np.float16),
        np.ones(60, np.float32),
        box,
        rng.normal(0, 1, (60, width)).astype(np.float16),
    )
    weights, bias = fit([example], far)
    assert weights.shape == (READ, 5)
    assert np.abs(weights[:, 0]).argmax() == 0
    there = inside @ weights[:, 0] + bias[0]
    elsewhere = rng.normal(0, 1, (200, width)) @ weights[VALUES, 0] + bias[0]
    assert there.min() > elsewhere.max()
    assert np.abs(inside @ weights[:, 1:] + bias[1:] - box).mean() < 0.1


def test_views_show_the_box_where_they_say():
    image = np.full((*SIZE, 3), 90, np.uint8)
    cv2.rectangle(image, (100, 60), (139, 99), (0, 0, 255), -1)
    seen = list(views(np.random.default_rng(0), image, (100, 60, 40, 40), (128, 160), 12))
    sides = [box[2] for _, box, _ in seen]
    assert min(sides) < 20 and max(sides) > 55
    for picture, box, view in seen:
        x, y, w, h = view.to_source(box)
        part = picture[round(y + h * 0.2) : round(y + h * 0.8), round(x + w * 0.2) : round(x + w * 0.8)]
        assert part[..., 2].mean() > 4 * part[..., 0].mean()  # red


def test_the_command_line_shows_tracks_and_forgets(command_line, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    lines = ["frame,target,x,y,w,h"]
    for k, at in enumerate(((80, 90), (230, 150), (150, 60))):
        cv2.imwrite(str(data / f"{k}.png"), scene(k, at))
        lines.append(f"{k}.png,badge," + ",".join(map(str, box_at(*at))))
    (data / "groundtruth.csv").write_text("\n".join(lines) + "\n")
    model = tmp_path / "m.safetensors"
    process = command_line("teach", "--data", data, "--output", model, "--minutes", 0)
    assert process.returncode == 0, process.stderr
    assert "badge: shown in 3 boxes" in process.stdout
    assert "shown badge in 3 boxes" in command_line("info", model).stdout
    boxes = tmp_path / "boxes.csv"
    process = command_line(
        "track", "--input", data, "--model", model, "--targets", "badge", "--output", boxes, "--stills"
    )
    assert process.returncode == 0, process.stderr
    rows = [line.split(",") for line in boxes.read_text().splitlines()[1:]]
    assert {row[0] for row in rows} == {"0.png", "1.png", "2.png"}
    assert {row[1] for row in rows} == {"badge"}
    process = command_line("teach", "--from", model, "--forget", "badge", "--output", tmp_path / "without")
    assert process.returncode == 0, process.stderr
    assert load_model(tmp_path / "without")[2].get("shown") is None


def test_a_shown_target_at_the_edge_and_in_a_tiny_image():
    tracker = Tracker()
    small = cv2.resize(scene(0, (80, 90)), (40, 30))
    tracker.teach(small, "badge", (30, 20, 30, 30))
    assert tracker.known_targets[-1] == "badge"
    assert View.fit(small.shape[:2], (128, 160)).scale > 1
    tracker.update(small)
