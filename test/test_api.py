"""The tracker as a Python object."""

import itertools

import cv2
import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.errors import PvmError
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import SimulatedStream


@pytest.fixture(scope="module")
def frames():
    return [f.image for f in SimulatedStream(2, (240, 320), 30.0, 12)]


def test_a_stream_of_frames(frames):
    tracker = Tracker()
    for k, image in enumerate(frames):
        for t in tracker.update(image, k / 30):
            assert t.target in tracker.targets
            assert 0 <= t.score <= 1
            assert t.w > 0 and t.h > 0
    heat, surprise = tracker.heatmap("green_ball"), tracker.surprise()
    assert heat.shape == (16, 20)
    assert surprise.shape == (32, 40)
    assert heat.min() >= 0 and heat.max() <= 1
    assert tracker.prediction().dtype == np.uint8
    forecast, copy = tracker.prediction_error()
    assert forecast > 0 and copy > 0
    assert tracker.info()["weights"] < 1_100_000


def shown(tracker, image, count=12):
    for _ in range(count):
        tracks = tracker.update(image)
    return tracks


def test_targets_may_be_changed_between_frames_and_only_they_are_reported(ball_in_view):
    tracker = Tracker(targets="green_ball")
    (first,) = shown(tracker, ball_in_view)
    assert first.target == "green_ball"
    tracker.targets = ("stop_sign",)
    assert tracker.forecast(0) == []  # its track ends at once
    for _ in range(12):
        assert all(t.target == "stop_sign" for t in tracker.update(ball_in_view))
        assert all(d.target == "stop_sign" for d in tracker.detections)
    tracker.targets = ["stop_sign", "green_ball"]
    assert "green_ball" in {t.target for t in shown(tracker, ball_in_view)}
    with pytest.raises(PvmError, match="unknown target 'moon'"):
        tracker.targets = ("moon",)
    assert tracker.targets == ("stop_sign", "green_ball")


@pytest.mark.parametrize("size", [(240, 320), (48, 64), (960, 1280)])
def test_a_track_moves_with_the_scale_of_the_images(ball_in_view, size):
    tracker = Tracker(targets="green_ball")
    (before,) = shown(tracker, ball_in_view)
    share = size[0] / 480
    small = cv2.resize(ball_in_view, size[::-1], interpolation=cv2.INTER_AREA)
    (after,) = tracker.update(small)
    assert after.id == before.id
    for side in "xywh":
        assert getattr(after, side) / share == pytest.approx(getattr(before, side), abs=12)


@pytest.mark.parametrize("size", [(640, 480), (480, 320), (100, 640)])
def test_where_the_aspect_changes_nothing_is_reported_outside_of_the_image(ball_in_view, size):
    tracker = Tracker(targets="green_ball")
    (before,) = shown(tracker, ball_in_view)
    cut = np.full((*size, 3), 150, np.uint8)
    for k in range(8):
        for t in tracker.update(cut):
            assert t.id != before.id
            assert t.x >= -1 and t.x + t.w <= size[1] + 1
            assert t.y >= -1 and t.y + t.h <= size[0] + 1
        if k == 0:
            assert tracker.forecast(0) == []  # the old track has ended
        if tracker.fovea is not None:
            x, y, w, h = tracker.fovea
            assert x + w <= size[1] and y + h <= size[0]


def test_the_same_stream_gives_the_same_tracks(frames):
    def run():
        tracker = Tracker()
        return [tracker.update(image, k / 30) for k, image in enumerate(frames)]

    assert run() == run()


def test_time_that_jumps_back_resets_state_and_tracks_and_keeps_weights(frames):
    tracker, fresh = Tracker(learn=True), None
    for k, image in enumerate(frames):
        tracker.update(image, 100 + k / 30)
    version = tracker.model_version
    assert 0 < version <= len(frames)
    tracker.learning = False
    tracker.update(frames[0], 5.0)
    assert np.isnan(tracker.prediction_error()).all()  # no frame before this one
    assert tracker.model_version == version
    fresh = Tracker()
    fresh.update(frames[0], 5.0)
    assert tracker.heatmap("green_ball") == pytest.approx(fresh.heatmap("green_ball"), abs=0.2)


@pytest.mark.parametrize("gap", [5.0, 1.7e9])  # a camera that comes back; a clock that is set
def test_a_long_gap_leaves_boxes_where_something_is(frames, gap):
    tracker = Tracker()
    assert [tracker.update(image, 100 + k / 30) for k, image in enumerate(frames)][-1]
    for k, image in enumerate(frames):
        for t in tracker.update(image, 100 + gap + k / 30):
            assert 0 < t.w <= 320 and 0 < t.h <= 240


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    """Return a model that reads the robot's motion with weights that are not zero."""
    config, weights, history = load_model(default_model())
    for layer in config.layers:
        weights[f"{layer.name}.w1"][-4:] = 0.3
    path = tmp_path_factory.mktemp("hearing") / "model.safetensors"
    history.pop("validation")  # with weights so large it forecasts badly: that is not a state to begin anew
    save_model(path, config, weights, history)
    return path


def test_the_robots_own_motion_reaches_both_looks(frames, hearing, monkeypatch):
    tracker, still, given = Tracker(model=hearing), Tracker(model=hearing), {}
    kind = type(tracker._network)
    plain = kind.step
    monkeypatch.setattr(
        kind,
        "step",
        lambda self, images, motion=None, *rest, **more: (
            given.update({id(self): np.zeros(4) if motion is None else motion[0]}),
            plain(self, images, motion),
        )[1],
    )
    motion = (0.02, -0.01, 0.004, 0.01)
    taken = []
    for k, image in enumerate(frames):
        tracker.update(image, k / 30, motion)
        still.update(image, k / 30)
        near = tracker._perception.near.network
        taken.append((given[id(tracker._network)], given.get(id(near)), tracker.fovea))
        if k:
            assert np.abs(tracker.codes()["L1"] - still.codes()["L1"]).max() > 0
    assert not taken[0][0].any()  # nothing came before
    expected = np.array(motion) * [1, 120 / 128, 1, 1]  # 4:3 lies in 5:4 with bars
    np.testing.assert_allclose(taken[-1][0], expected, atol=1e-6)
    stays = [near for (_, _, last), (_, near, now) in itertools.pairwise(taken) if last == now is not None]
    moves = [near for (_, _, last), (_, near, now) in itertools.pairwise(taken) if last != now is not None]
    assert stays or moves
    assert all(near[0] > taken[-1][0][0] for near in stays)  # the frame's shift, enlarged
    assert not any(near.any() for near in moves)  # a window that jumped has no past


def test_a_look_without_a_past_looks_twice(frames, monkeypatch):
    tracker, looks, eyes = Tracker(), [], ("whole", "near", "beside")
    kind = type(tracker._network)
    plain = kind.step
    monkeypatch.setattr(
        kind,
        "step",
        lambda self, *rest, **more: (
            looks.append(next(e for e in eyes if self is getattr(tracker._perception, e).network)),
            plain(self, *rest),
        )[1],
    )
    window, seen = "none before", 0
    for k, image in enumerate(frames):
        looks.clear()
        tracker.update(image, k / 30)
        assert looks.count("whole") == (1 if k else 2)
        if tracker.fovea is not None:
            assert looks.count("near") == (1 if tracker.fovea == window else 2)
        assert looks.count("beside") <= 2
        seen += len(looks)
        assert tracker.network_steps == seen
        window = tracker.fovea
        # having seen the same picture a moment ago is not to have forecast it
        assert np.isnan(tracker.prediction_error()[0]) == (k == 0)


def test_motion_that_is_none_is_refused_before_anything_changes(frames):
    tracker, other = Tracker(), Tracker()
    for bad in ((0.1, 0.2), [np.nan] * 4, "left", [[0.0] * 4]):
        with pytest.raises(PvmError, match="4 finite") as error:
            tracker.update(frames[0], 0.0, bad)
        assert "\n" not in str(error.value)
    assert tracker.update(frames[0], 1.0) == other.update(frames[0], 1.0)


def test_learning_changes_the_prediction_and_can_be_saved(frames, tmp_path):
    tracker = Tracker(learn=True)
    for _ in range(3):
        for image in frames:
            tracker.update(image)
    tracker.save(tmp_path / "learnt.safetensors")
    again = Tracker(model=tmp_path / "learnt.safetensors")
    tracker.reset()
    tracker.learning = False
    for image in frames[:3]:
        tracker.update(image), again.update(image)
    np.testing.assert_array_equal(tracker.prediction(), again.prediction())
    shipped = Tracker()
    for image in frames[:3]:
        shipped.update(image)
    assert (shipped.surprise() != again.surprise()).any()


def test_learning_from_the_stream_lowers_its_surprise(frames):
    tracker, still = Tracker(learn=True), Tracker()
    learnt = fixed = 0.0
    for round_ in range(12):
        for image in frames:
            tracker.update(image), still.update(image)
            if round_ == 11:
                learnt += tracker.prediction_error()[0]
                fixed += still.prediction_error()[0]
    assert learnt < fixed


@pytest.mark.parametrize("size", [(480, 640), (200, 900), (33, 47), (1080, 1920)])
def test_any_resolution_and_a_change_of_it(size, frames):
    tracker = Tracker()
    tracker.update(frames[0], 0.0)
    for k in range(3):
        tracks = tracker.update(np.full((*size, 3), 90 + k, np.uint8), 0.1 + k / 30)
    for t in tracks:
        assert t.x >= -1 and t.x + t.w <= size[1] * 1.3


def test_a_missing_frame_ages_tracks():
    tracker = Tracker()
    assert tracker.update(None, 0.0) == []


def test_grey_and_pictures_with_alpha_are_taken(frames):
    """As the same picture in BGR; a view with gaps, too."""

    def run(change):
        tracker = Tracker()
        return [tracker.update(change(image), k / 30) for k, image in enumerate(frames[:5])]

    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in frames[:5]]
    number = {id(image): k for k, image in enumerate(frames)}
    expected = run(lambda image: cv2.cvtColor(grey[number[id(image)]], cv2.COLOR_GRAY2BGR))
    assert run(lambda image: grey[number[id(image)]]) == expected
    assert run(lambda image: grey[number[id(image)]][..., None]) == expected
    assert run(lambda image: np.repeat(grey[number[id(image)]], 2, 1)[:, ::2]) == expected
    assert run(lambda image: np.dstack([image, image[..., :1]])) == run(lambda image: image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(10, np.uint8),
        np.zeros((10, 10, 3), float),
        np.zeros((0, 10, 3), np.uint8),
        "image.jpg",
        np.zeros((10, 10, 2), np.uint8),
        np.zeros((0, 10), np.uint8),
        np.zeros((1, 9, 9, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(PvmError, match="image must be"):
        Tracker().update(image)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"targets": ("cat",)}, "unknown target 'cat'"),
        ({"targets": ()}, "no target"),
        ({"device": "tpu"}, "device"),
        ({"model": "/nowhere/x.safetensors"}, "cannot be opened"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(PvmError, match=words):
        Tracker(**arguments)


def test_cuda_without_a_gpu_says_what_to_do():
    try:
        import cupy

        cupy.zeros(1)
    except Exception:
        with pytest.raises(PvmError, match="use device 'cpu'"):
            Tracker(device="cuda")
    else:
        assert Tracker(device="cuda").device == "cuda"
