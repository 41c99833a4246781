"""The moment memory, what is learnt from it asleep, the exam, and kills at any moment."""

from __future__ import annotations

import importlib
import itertools
import math
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from pvm_perception import Tracker
from pvm_perception.api import default_model
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.errors import PvmError
from pvm_perception.living import exam, learners, replay
from pvm_perception.living.exam import Marks, forecast_verdict, readout_verdict
from pvm_perception.living.lessons import labels, lesson
from pvm_perception.living.moments import Moment, MomentMemory, read_moment, thumbnail
from pvm_perception.living.recorder import AFTER, FRAMES, LOOK_EVERY, Recorder
from pvm_perception.living.sleep import LEAST, SleepOptions, sleep
from pvm_perception.living.snapshots import Snapshots
from pvm_perception.living.timer import Timer
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.types import Track, Truth

BALL = Track("green_ball", 20.0, 30.0, 24.0, 22.0, 0.9, 7)


def moment(seed=0, frames=4, size=(120, 160), track=BALL, **known):
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)[: size[0]]
    images = [np.roll(picture, 2 * k, 1) for k in range(frames)]
    tracks = [[track] if track else [] for _ in images]
    around = {"before": {7: 9}, "after": {7: 9}} if track else {}
    return Moment(
        images, [k / 30 for k in range(frames)], [None] * frames, tracks, [0.5] * frames, **around | known
    )


def test_a_moment_comes_back_as_it_was(tmp_path):
    memory = MomentMemory(tmp_path)
    kept = replace(moment(), motion=[None, [0.1, 0.0, 0.0, 0.0], None, None])
    path = memory.add(kept)
    found = read_moment(path)
    assert (found.tracks, found.motion, found.before) == (kept.tracks, kept.motion, kept.before)
    assert found.stamps == pytest.approx(kept.stamps)
    assert np.abs(found.images[2].astype(int) - kept.images[2]).mean() < 8  # JPEG
    again = MomentMemory(tmp_path)
    assert (len(again), again.paths) == (1, [path])
    assert again.novelty(thumb_of(kept)) < 0.01


def thumb_of(some):
    return thumbnail(some.images[0])


def test_a_memory_keeps_within_its_bound_and_keeps_what_differs(tmp_path):
    memory = MomentMemory(tmp_path, 0.2)
    for k in range(40):
        memory.add(moment(seed=k % 4 if k < 36 else k))
        assert memory.megabytes <= 0.2
    on_disk = sum(p.stat().st_size for p in tmp_path.glob("*.moment"))
    assert on_disk == pytest.approx(memory.megabytes * (1 << 20)) and len(memory) > 3
    seeds = [
        min(range(40), key=lambda s: np.abs(thumb_of(moment(s)) - memory._thumbs[p]).sum())
        for p in memory.paths
    ]
    assert {36, 37, 38, 39} <= set(seeds)  # alone of their kind


def test_damaged_files_are_left_out(tmp_path):
    memory = MomentMemory(tmp_path)
    paths = [memory.add(moment(k)) for k in range(3)]
    paths[0].write_bytes(paths[0].read_bytes()[:-300])
    paths[1].write_bytes(b"no zip")
    data = bytearray(paths[2].read_bytes())
    data[len(data) // 2] ^= 0xFF
    paths[2].write_bytes(data)
    again = MomentMemory(tmp_path)
    assert list(again.moments()) == []
    assert len(again.damaged) == 3
    assert again.add(moment(9)).name == "00000004.moment"


def test_the_stream_is_recorded_where_it_is_new(tmp_path):
    memory, released = MomentMemory(tmp_path), threading.Event()
    add = memory.add

    def slow(some):
        released.wait(20)
        return add(some)

    memory.add = slow
    recorder = Recorder(memory)
    still, other = moment(1, frames=1).images[0], moment(2, frames=1).images[0]
    for _ in range(4 * LOOK_EVERY):
        recorder.see(still, 1.0, None, [BALL], 0.4)  # returns, whatever the disk does
    released.set()
    recorder.close()
    assert 1 <= len(memory) <= 3
    recorder, before = Recorder(memory), len(memory)
    for _ in range(4 * LOOK_EVERY):
        recorder.see(still, 1.0, None, [BALL], 0.4)
    for _ in range(LOOK_EVERY + FRAMES + AFTER):
        recorder.see(other, 1.0, (0.1, 0.0, 0.0, 0.0), [BALL], 0.4)
    recorder.close()
    assert len(memory) == before + 2  # the track, of which this recorder knew nothing, and the other place
    last = read_moment(memory.paths[-1])
    assert len(last.images) == FRAMES and last.motion[0] == pytest.approx([0.1, 0, 0, 0])
    assert last.before[7] > 4 * LOOK_EVERY - 2 and last.after[7] == AFTER
    assert [t.id for t in last.tracks[0]] == [7]


def test_a_full_disk_drops_moments_and_says_so_once(tmp_path):
    memory, lines = MomentMemory(tmp_path), []

    def fails(_moment):
        raise PvmError("No space left on device")

    memory.add = fails
    recorder = Recorder(memory, lines.append, patient=True)
    for k in range(60):
        recorder.see(moment(k // 20, frames=1).images[0], None, None, [], 0.0)
    recorder.close()
    assert len(lines) == 1 and "No space left" in lines[0] and recorder.dropped >= 2


def test_a_track_that_lasted_and_was_sure_once_is_a_label_where_it_is_faint_too():
    assert [len(b) for b in labels(moment()).boxes] == [1] * 4
    faint = replace(BALL, score=0.3)
    assert [len(b) for b in labels(moment(track=faint, best={7: 0.9})).boxes] == [1] * 4
    assert labels(moment(track=faint, best={7: 0.9})).worth > labels(moment()).worth
    for known in (
        {"before": {7: 2}, "after": {7: 2}},  # too short
        {"track": faint},  # never sure
        {"track": faint, "best": {7: 0.7}},
    ):
        assert labels(moment(**known)).empty
    flare = replace(moment(before={}, after={}), tracks=[[], [BALL], [], []])
    found = labels(flare)
    assert [len(a) for a in found.alarms] == [0, 1, 0, 0] and not any(found.boxes)
    assert labels(moment(track=None)).empty  # nothing there teaches nothing


def test_a_sure_track_is_remembered_wherever_it_goes_the_seldomer_the_fuller_the_memory(tmp_path):
    still = moment(1, frames=1).images[0]

    def moments_of(folder, size, step, score=0.9):
        memory = MomentMemory(folder, size)
        recorder = Recorder(memory, patient=True)
        for k in range(40 * LOOK_EVERY):
            recorder.see(still, 1.0, None, [replace(BALL, x=20.0 + step * k, score=score)], 0.4)
        recorder.close()
        return len(memory)

    often = moments_of(tmp_path / "a", 200.0, 1.0)
    assert often >= 15
    # the disk is a thread behind: the same picture may look new more than once
    assert moments_of(tmp_path / "b", 200.0, 0.0) <= 5  # it lies still
    assert moments_of(tmp_path / "c", 200.0, 1.0, score=0.6) <= 5  # never sure
    assert 2 <= moments_of(tmp_path / "d", 0.25, 1.0) < often / 2


def test_lessons_say_nothing_of_other_places():
    config = preset("robot")
    some = moment()
    for seed in range(6):
        clip = lesson(some, labels(some), (128, 160), config.targets, np.random.default_rng(seed))
        real = clip.truth[0][clip.truth[0][:, Truth.TARGET] >= 0]
        sure = real[real[:, Truth.WEIGHT] == 1]
        assert len(sure) == 1 and sure[0, Truth.TARGET] == 0
        x, y, w, h = sure[0, Truth.BOX]
        assert -w < x < 160 and -h < y < 128 and w >= 20
        unknown = real[real[:, Truth.WEIGHT] == 0]
        assert {0, 1} == set(unknown[:, Truth.TARGET].astype(int))


def test_verdicts():
    def marks(painted=0.8, looks=0.6, alarms=0.1, held=(0.6, 0.5, 0.7), sure=(0.4, 0.5, 0.3), forecast=0.5):
        some = ({"green_ball": list(values)} for values in ([painted] * 3, [looks] * 3, held, sure))
        return Marks(*some, [alarms] * 3, [0.0], [(forecast, 1.0)])

    old, good = marks(), (0.5, 0.62, 0.38)
    assert readout_verdict(old, marks(sure=good)) == ""
    assert "no more than chance" in readout_verdict(old, marks())
    assert "no more than chance" in readout_verdict(old, marks(sure=(1.0, 0.2, 0.3)))
    assert "moments fell from 0.600 to 0.500" in readout_verdict(old, marks(held=(0.5, 0.4, 0.6)))
    assert readout_verdict(old, marks(held=(0.9, 0.2, 0.69), sure=good)) == ""  # no worse than by chance
    assert "green_ball on painted scenes fell" in readout_verdict(old, marks(painted=0.7, sure=good))
    assert "green_ball in painted clips fell" in readout_verdict(old, marks(looks=0.58, sure=good))
    assert "false alarms on painted" in readout_verdict(old, marks(alarms=0.2, sure=good))
    assert "not where this model sees it" in readout_verdict(marks(held=(0.1, 0.0, 0.2)), marks(sure=good))
    assert "only 2" in readout_verdict(marks(sure=(0.6, 0.5)), marks(sure=(0.8, 0.7)))
    assert forecast_verdict(old, marks(forecast=0.4)) == ""
    assert "0.500 to 0.499" in forecast_verdict(old, marks(forecast=0.499))
    assert forecast_verdict(old, marks(forecast=math.nan))


def true_tracks(frame, _rng):
    return [Track(b.target, b.x, b.y, b.w, b.h, 0.9, k) for k, b in enumerate(frame.boxes)]


def fill(folder, count, believed=true_tracks):
    """Fill a memory with moments of six frames of a simulated place, and with what is believed of each."""
    memory, rng, recorded = MomentMemory(folder), np.random.default_rng(0), None
    for frame in itertools.islice(SimulatedStream(4, (240, 320), 30.0, seconds=4.0), 6 * count):
        tracks = believed(frame, rng)
        if recorded is None:
            recorded = Moment([], [], [], [], [], {t.id: 9 for t in tracks}, {})
        recorded.images.append(frame.image)
        recorded.stamps.append(frame.stamp)
        recorded.motion.append(None)
        recorded.tracks.append(tracks)
        recorded.surprise.append(0.0)
        if len(recorded.images) == 6:
            memory.add(replace(recorded, after={t.id: 9 for t in tracks}))
            recorded = None
    assert len(memory) == count
    return memory


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder of moments of a simulated place, to be copied."""
    folder = tmp_path_factory.mktemp("place")
    fill(folder, 8)
    return folder


@pytest.fixture
def remembered(place, tmp_path, monkeypatch):
    """Return a memory of a simulated place from which a sleep learns fast: no scenes are painted."""
    monkeypatch.setattr(replay, "PAINTED", 0.0)
    return shutil.copytree(place, tmp_path / "memory")


def test_a_sleep_needs_moments(tmp_path):
    MomentMemory(tmp_path).add(moment())
    with pytest.raises(PvmError, match=f"1 moments; a sleep needs {LEAST}"):
        sleep(SleepOptions(tmp_path))


def test_rubbish_is_dropped_and_the_codes_stay(tmp_path, monkeypatch):
    for name in ("FORECAST_RATE", "READOUT_RATE"):
        monkeypatch.setattr(learners, name, 2e-2)  # much, so that it shows in seconds
    monkeypatch.setattr(replay, "PAINTED", 0.0)
    for module in (replay, learners):
        monkeypatch.setattr(module, "STREAMS", 4)

    def rubbish(_frame, rng):
        x, y = rng.uniform(0, 250), rng.uniform(0, 180)
        return [Track("green_ball", x, y, 60.0, 50.0, 0.9, 5)]

    memory = fill(tmp_path, 8, rubbish)
    for path in memory.paths:
        some = read_moment(path)
        assert labels(replace(some, before={5: 9}, after={5: 9})).targets == {"green_ball"}
    for module in (replay, exam):
        monkeypatch.setattr(module, "labels", lambda m: labels(replace(m, before={5: 9}, after={5: 9})))
    steps = []
    outcome = sleep(
        SleepOptions(tmp_path, 5.0, scenes=1, steps=18), lambda what, share: steps.append((what, share))
    )
    assert "not where this model sees it" in outcome.verdicts["readout"]
    assert {what for what, _ in steps} == {"the forecast learns", "the readout learns", "the exam"}
    assert Snapshots(tmp_path, default_model()).paths() == ([outcome.path] if outcome.path else [])
    if outcome.path:  # the forecast alone may have passed
        old, new = load_model(default_model())[1], load_model(outcome.path)[1]
        assert {n.split(".")[0].rstrip("1234") for n in old if (old[n] != new[n]).any()} == {"forecast"}


def passing(before, after):
    """Return an exam in which the forecast's error goes from one to the other."""
    return lambda models, *_: [Marks(errors=[(e, 1.0)]) for e in (before, *[after] * (len(models) - 1))]


def test_what_passes_is_in_use_and_can_be_taken_back(remembered, monkeypatch):
    monkeypatch.setattr(exam, "examine", passing(0.5, 0.4))
    snapshots = Snapshots(remembered, default_model())
    assert snapshots.current() == default_model()
    first = sleep(SleepOptions(remembered, 1.0, steps=6)).path
    assert snapshots.current() == first
    second = sleep(SleepOptions(remembered, 1.0, steps=6)).path
    assert snapshots.current() == second != first
    _, weights, history = load_model(second)
    assert [s["kept"] for s in history["slept"]] == [["forecast"]] * 2
    tracker = Tracker()
    version = tracker.model_version
    tracker.swap(second)
    assert tracker.model_version > version
    np.testing.assert_array_equal(tracker._network.weights["forecast1.w1"], weights["forecast1.w1"])
    assert tracker.update(np.zeros((120, 160, 3), np.uint8)) == []
    assert snapshots.roll_back() == first
    assert snapshots.roll_back() == default_model()
    with pytest.raises(PvmError, match="nothing to go back"):
        snapshots.roll_back()
    monkeypatch.setattr(exam, "examine", passing(0.5, 0.5))
    assert sleep(SleepOptions(remembered, 1.0, steps=6)).path is None


def test_a_model_of_other_targets_sleeps_too(remembered, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "PAINTED", 0.5)
    config = replace(preset("robot"), targets=("stop_sign",))
    untaught = tmp_path / "untaught.safetensors"
    save_model(untaught, config, Hierarchy(config).weights, {})
    outcome = sleep(SleepOptions(remembered, 1.0, untaught, scenes=1, steps=4))
    assert set(outcome.verdicts) == {"forecast", "readout"} and outcome.verdicts["readout"]
    assert outcome.before["looks_stop_sign"] < 0.1


def test_waking_ends_the_learning_and_takes_the_exam(remembered, monkeypatch):
    monkeypatch.setattr(exam, "examine", passing(0.5, 0.6))
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 3

    begun = time.monotonic()
    outcome = sleep(SleepOptions(remembered, 60.0), stop=stop)
    assert outcome.path is None and "0.500 to 0.600" in outcome.verdicts["forecast"]
    assert time.monotonic() - begun < 60


def test_moments_that_the_robot_forgets_meanwhile_are_left_out(remembered):
    memory, config = MomentMemory(remembered), preset("robot")
    lived = replay.Replay(replay.recall(memory), config, np.random.default_rng(0))
    assert lived.known
    for path in memory.paths:
        path.unlink()
    timer = Timer(60.0, 3, "it learns", lambda _what, _share: None, lambda: False)
    steps = list(lived.steps(labelled=True, timer=timer))
    assert [step.begins for step in steps] == [True, False, False]
    assert steps[0].images.shape == (replay.STREAMS, config.height, config.width, 3)
    assert not lived.known


def test_kills_leave_a_memory_that_opens_and_a_model_that_loads(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    kill_while_living = importlib.import_module("torture_living").kill_while_living
    found = kill_while_living(10, tmp_path)
    assert found == {"kills": 10, "failures": []}
