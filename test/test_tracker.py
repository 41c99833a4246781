"""The track manager: the whole life of a track, and what must not be one."""

import dataclasses

import pytest

from pvm_perception.errors import PvmError
from pvm_perception.types import Detection
from pvm_perception.vision.track_state import CameraTurn
from pvm_perception.vision.tracker import TrackManager
from pvm_perception.vision.tracker_settings import TrackerSettings


def ball(x, y, score=0.9, side=40.0, target="green_ball"):
    return Detection(target, x - side / 2, y - side / 2, side, side, score)


SETTINGS = TrackerSettings(
    birth_score=0.4, keep_score=0.25, smoothing=0.5, box_smoothing=0.75, max_gap=8, coast=2
)


def test_the_whole_life_of_a_track():
    manager = TrackManager(SETTINGS)
    assert manager.update([ball(100, 100, 0.3)]) == []  # a first faint sight is not yet a track
    for k in range(1, 6):
        tracks = manager.update([ball(100 + 5 * k, 100, 0.8)])
    (track,) = tracks  # born, and following
    first = track.id
    assert track.state == "confirmed"
    assert abs(track.x + track.w / 2 - 125) < 5
    (track,) = manager.update([])  # hidden: carried on along its way
    assert track.state == "coasting"
    assert track.x + track.w / 2 > 125
    for _ in range(3):
        tracks = manager.update(None)
    assert tracks == []  # no longer reported, but remembered
    tracks = manager.update([ball(160, 100, 0.9)])
    tracks = manager.update([ball(165, 100, 0.9)])
    assert [t.id for t in tracks] == [first]  # back with the same id
    for _ in range(12):
        tracks = manager.update([])
    assert tracks == []
    for _ in range(4):
        tracks = manager.update([ball(165, 100, 0.9)])
    assert [t.id for t in tracks] != [first]  # forgotten: a new individual
    assert len(tracks) == 1


def test_hysteresis_keeps_a_track_through_weak_frames_that_would_not_bear_one():
    manager = TrackManager(SETTINGS)
    for _ in range(10):
        assert manager.update([ball(50, 50, 0.3)]) == []
    for _ in range(4):
        manager.update([ball(50, 50, 0.8)])
    for _ in range(10):
        tracks = manager.update([ball(50, 50, 0.3)])
    assert len(tracks) == 1
    for _ in range(10):
        tracks = manager.update([ball(50, 50, 0.1)])
    assert tracks == []


def test_what_was_never_nearly_sure_ends_where_it_would_not_begin():
    manager = TrackManager(SETTINGS)
    (track,) = seen(manager, 10, ball(50, 50, 0.5))
    assert seen(manager, 10, ball(50, 50, 0.3)) == []
    assert manager.report(tentative=True)[0].state == "tentative"  # followed on, for the closer eyes
    (again,) = seen(manager, 10, ball(50, 50, 0.5))
    assert again.id == track.id


def test_what_flies_keeps_its_id_from_the_first_frame_on_and_what_rests_takes_nothing_from_afar():
    thrown = TrackManager(SETTINGS)
    ids = [t.id for k in range(6) for t in thrown.update([ball(50 + 52 * k, 50)])]  # 1.3 sides a frame
    assert ids == [1] * 6
    resting = TrackManager(SETTINGS)
    (before,) = seen(resting, 6, ball(50, 50))
    (after,) = seen(resting, 4, ball(102, 50))
    assert after.id != before.id


def test_what_is_thrown_keeps_its_id_though_it_moves_three_sides_a_frame():
    manager = TrackManager()
    ids = [[t.id for t in manager.update([ball(100 + 120 * k, 100)])] for k in range(6)]
    assert ids == [[1]] * 6
    manager.reset()
    manager.update([ball(100, 100), ball(300, 100)])
    found = manager.update([ball(100, 100), ball(420, 100)])  # one rests: the other one moved
    assert sorted((t.id, round(t.x)) for t in found) == [(2, 80), (3, 400)]


def test_a_crowd_of_tracks_that_nobody_sees_keeps_no_new_one_out():
    manager = TrackManager()
    for k in range(10):
        manager.update([ball(100 + 400 * (k % 2), 100 + 300 * (k // 2), 0.5)])
    assert any(t.x == 2980 for t in manager.update([ball(3000, 100, 0.95)]))


def test_what_rolls_out_of_the_image_does_not_coast_on_outside_of_it():
    manager = TrackManager(SETTINGS)
    manager.follow_size((480, 640))
    for k in range(8):
        (track,) = manager.update([ball(530 + 15 * k, 100)])
    assert track.state == "confirmed"
    assert manager.update([]) == []  # its centre would be beyond 640
    manager.update([])
    (again,) = seen(manager, 4, ball(625, 100))
    assert again.id == track.id


def test_a_track_that_is_not_seen_takes_no_faint_detection_from_afar():
    manager = TrackManager(SETTINGS)
    (track,) = seen(manager, 8, ball(100, 100))
    (coasting,) = manager.update([ball(130, 100, 0.07)])
    assert coasting.state == "coasting"
    assert coasting.x == pytest.approx(track.x)
    (near,) = manager.update([ball(104, 100, 0.07)])
    assert (near.state, near.id) == ("confirmed", track.id)


def test_the_nearest_track_leaves_a_detection_to_the_one_that_has_no_other():
    manager = TrackManager(SETTINGS)
    before = seen(manager, 8, ball(100, 100), ball(160, 100))
    after = manager.update([ball(125, 100), ball(70, 100)])
    right = max(before, key=lambda t: t.x)
    assert {t.id for t in after} == {t.id for t in before}
    assert max(after, key=lambda t: t.x).id == right.id


def test_two_instances_keep_their_ids_when_they_pass():
    manager = TrackManager(SETTINGS)
    for k in range(12):
        tracks = manager.update([ball(50 + 10 * k, 50), ball(200 - 10 * k, 150)])
    assert len({t.id for t in tracks}) == 2
    upper = min(tracks, key=lambda t: t.y)
    assert upper.x > 100
    assert upper.id == 1 or upper.id == 2
    assert abs(upper.x + upper.w / 2 - 160) < 6


def test_targets_do_not_take_each_others_readouts():
    manager = TrackManager(SETTINGS)
    for _ in range(4):
        tracks = manager.update([ball(50, 50), ball(52, 50, target="stop_sign")])
    assert {t.target for t in tracks} == {"green_ball", "stop_sign"}


def test_at_most_so_many_instances():
    manager = TrackManager(dataclasses.replace(SETTINGS, max_instances=2))
    for _ in range(4):
        tracks = manager.update([ball(60 * k, 50, 0.9 - 0.05 * k) for k in range(5)])
    assert len(tracks) == 2


def test_reset_forgets_and_never_gives_an_id_twice():
    manager = TrackManager(SETTINGS)
    for _ in range(3):
        before = manager.update([ball(50, 50)])
    manager.reset()
    assert manager.report() == []
    for _ in range(3):
        after = manager.update([ball(50, 50)])
    assert after[0].id > before[0].id


def test_forecast_moves_boxes_on_without_changing_the_track():
    manager = TrackManager(SETTINGS)
    for k in range(20):
        now = manager.update([ball(100 + 4 * k, 100)])
    ahead = manager.report(5)
    assert ahead[0].x - now[0].x == pytest.approx(20, abs=6)
    assert manager.report()[0].x == now[0].x


@pytest.mark.parametrize(
    "change", [{"birth_score": 1.5}, {"smoothing": 0.0}, {"keep_score": float("nan")}, {"max_instances": 0}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(PvmError, match="must"):
        TrackerSettings(**change)


def changed_to(**settings):
    return dataclasses.replace(SETTINGS, **settings)


def seen(manager, count, *balls):
    """Show the same balls for some frames; return the last tracks."""
    for _ in range(count):
        tracks = manager.update(list(balls))
    return tracks


def birth_score_acts():
    manager = TrackManager(changed_to(birth_score=0.9))
    assert seen(manager, 10, ball(50, 50, 0.6)) == []
    manager.settings = changed_to(birth_score=0.4)
    assert manager.report(1.0) == []  # a forecast gives birth to nothing
    assert len(seen(manager, 1, ball(50, 50, 0.6))) == 1


def keep_score_acts():
    manager = TrackManager(SETTINGS)
    assert len(seen(manager, 6, ball(50, 50, 0.6))) == 1
    manager.settings = changed_to(keep_score=0.7)
    assert seen(manager, 1, ball(50, 50, 0.6)) == []


def smoothing_acts():
    scores = []
    for share in (0.05, 1.0):
        manager = TrackManager(SETTINGS)
        seen(manager, 10, ball(50, 50, 0.9))
        manager.settings = changed_to(smoothing=share)
        scores.append(seen(manager, 1, ball(50, 50, 0.5))[0].score)
    assert scores == [pytest.approx(0.88, abs=0.01), pytest.approx(0.5)]


def box_smoothing_acts():
    found = []
    for share in (0.05, 0.5, 1.0):
        manager = TrackManager(SETTINGS)
        seen(manager, 10, ball(50, 50))
        manager.settings = changed_to(box_smoothing=share)
        (track,) = seen(manager, 1, ball(60, 50, side=42))
        found.append((track.x + track.w / 2, track.w))
    places, sizes = zip(*found, strict=True)
    assert places == (pytest.approx(53.4, abs=0.1), pytest.approx(59.9, abs=0.1), pytest.approx(60))
    assert 40 < sizes[0] < sizes[1] < sizes[2] == pytest.approx(42)
    assert sizes[1] == pytest.approx(41, abs=0.5)  # a size follows more slowly than a place


def test_a_size_that_changes_much_is_followed_at_once():
    manager = TrackManager(SETTINGS)
    seen(manager, 10, ball(50, 50, side=40))
    assert seen(manager, 1, ball(50, 50, side=60))[0].w == pytest.approx(60)


def max_gap_acts():
    same = []
    for frames in (8, 2):
        manager = TrackManager(SETTINGS)
        first = seen(manager, 6, ball(50, 50))[0].id
        manager.settings = changed_to(max_gap=frames)
        seen(manager, 4)
        same.append(seen(manager, 4, ball(50, 50))[0].id == first)
    assert same == [True, False]


def coast_acts():
    manager = TrackManager(SETTINGS)
    seen(manager, 6, ball(50, 50))
    assert seen(manager, 1)[0].state == "coasting"
    manager.settings = changed_to(coast=0)
    assert manager.report() == []


def max_instances_acts():
    manager = TrackManager(SETTINGS)
    three = [ball(x, 50) for x in (50, 150, 250)]
    assert len(seen(manager, 6, *three)) == 3
    manager.settings = changed_to(max_instances=1)
    assert len(seen(manager, 1, *three)) == 1


ACTS = {name.removesuffix("_acts"): check for name, check in globals().items() if name.endswith("_acts")}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(TrackerSettings)])
def test_every_setting_acts_when_it_is_replaced_between_frames(name):
    ACTS[name]()


def test_tracks_move_with_the_scale_and_end_with_their_target():
    manager = TrackManager(SETTINGS)
    for k in range(8):
        tracks = manager.update([ball(100 + 4 * k, 80), ball(300, 80, target="stop_sign")])
    ahead = manager.report(10.0)
    manager.rescale(0.5, 0.25)
    for before, after in zip(tracks, manager.report(), strict=True):
        assert (after.id, after.target) == (before.id, before.target)
        assert (after.x, after.y) == (pytest.approx(before.x / 2), pytest.approx(before.y / 4))
        assert (after.w, after.h) == (pytest.approx(before.w / 2), pytest.approx(before.h / 4))
    assert max(a.x - t.x for a, t in zip(ahead, tracks, strict=True)) > 20  # the ball moves
    assert [t.x for t in manager.report(10.0)] == pytest.approx([t.x / 2 for t in ahead])
    manager.keep_targets(["stop_sign"])
    assert [t.target for t in manager.report()] == ["stop_sign"]


def ball_at(x, y=200.0, side=20.0):
    return [Detection("green_ball", x - side / 2, y - side / 2, side, side, 0.9)]


def test_a_turn_that_begins_takes_the_track_along():
    """The robot begins to turn by 40 px a frame, twice the ball's width: told so, the track goes on."""
    for told in (True, False):
        tracks, ids = TrackManager(), []
        tracks.follow_size((480, 640))
        x = 300.0
        for k in range(12):
            move = 40.0 if 6 <= k < 10 else 0.0
            x += move
            if told:
                tracks.turn([move / 640, 0, 0, 0])
            expected = (tracks.report(1.0) or [None])[0]
            if told and k > 2:
                assert expected.x + expected.w / 2 == pytest.approx(x, abs=1)
            ids += [t.id for t in tracks.update(ball_at(x))]
        assert (len(set(ids)) == 1) == told


def test_a_turn_moves_things_by_where_they_are_and_how_long_it_takes():
    turn = CameraTurn([0.1, -0.05, 0.02, 0.3], 2.0)
    assert turn.known
    assert turn.at(320, 240, (480, 640)) == pytest.approx((32, -12))
    assert turn.at(420, 290, (480, 640)) == pytest.approx((32 - 0.01 * 50, -12 + 0.01 * 100))
    assert turn.at(320, 240, None) == (0, 0)
    for nothing in (CameraTurn(None), CameraTurn([0.1] * 4, 0.0)):
        assert not nothing.known
        assert nothing.at(100, 100, (480, 640)) == (0, 0)


def test_what_is_known_of_the_turn_may_come_and_go():
    """A ball that stands in a room that turns steadily: its place is expected with odometry and without."""
    tracks = TrackManager()
    tracks.follow_size((480, 640))
    x, move = 100.0, 8.0
    for k in range(40):
        x += move
        tracks.turn([move / 640, 0, 0, 0] if k % 10 < 5 else None)
        if k > 12:
            (expected,) = tracks.report(1.0)
            assert expected.x + expected.w / 2 == pytest.approx(x, abs=2)
        tracks.update(ball_at(x))
