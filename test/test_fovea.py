"""The second look: where it goes, how long it stays, and what it has to say."""

import numpy as np
import pytest

from pvm_perception import Tracker
from pvm_perception.types import Candidate, Track
from pvm_perception.vision.fovea import Fovea
from pvm_perception.vision.frame import View
from pvm_perception.vision.joining import merge

SOURCE, NETWORK = (480, 640), (128, 160)
WHOLE = View.fit(SOURCE, NETWORK)


def track(x, y, side, number=1, state="confirmed"):
    return Track("stop_sign", x, y, side, side, 0.9, number, state)


def inside(view, t):
    return (
        view.x <= t.x
        and view.y <= t.y
        and t.x + t.w <= view.x + view.width
        and t.y + t.h <= view.y + view.height
    )


def test_a_small_track_is_enlarged_and_the_window_stays_while_it_is_well_inside():
    fovea = Fovea()
    first = fovea.choose(WHOLE, [track(300, 200, 30)], [])
    assert fovea.moved
    assert inside(first, track(300, 200, 30))
    assert first.scale * 30 > 1.5 * WHOLE.scale * 30
    assert fovea.choose(WHOLE, [track(306, 203, 31)], []) == first
    assert not fovea.moved
    away = track(420, 90, 30)
    assert inside(fovea.choose(WHOLE, [away], []), away)
    assert fovea.moved


def test_a_large_track_leaves_the_window_free_to_search_every_second_frame():
    fovea = Fovea()
    views = [fovea.choose(WHOLE, [track(100, 100, 200)], []) for _ in range(40)]
    assert all((v is None) == k % 2 for k, v in enumerate(views))
    assert len(set(views[::2])) > 3
    covered = np.zeros(SOURCE, bool)
    for v in views[::2]:
        covered[v.y : v.y + v.height, v.x : v.x + v.width] = True
    assert covered.all()


def test_a_hint_is_looked_at_but_not_for_ever():
    fovea = Fovea()
    hint = Candidate("stop_sign", 500, 300, 20, 20, 0.1)
    views = [fovea.choose(WHOLE, [], [hint]) for _ in range(8)]
    near = [v for v in views if v.x <= 500 and v.x + v.width >= 520 and v.scale > 0.9]
    assert len(near) == 1


def test_two_small_tracks_take_turns():
    fovea = Fovea()
    tracks = [track(100, 100, 25, 1), track(500, 300, 25, 2)]
    seen = [[inside(fovea.choose(WHOLE, tracks, []), t) for t in tracks] for _ in range(24)]
    assert np.mean([row[0] for row in seen]) > 0.25
    assert np.mean([row[1] for row in seen]) > 0.25


def test_while_the_second_eye_follows_the_third_searches():
    fovea, followed, glances = Fovea(), [track(300, 200, 30)], []
    for _ in range(40):
        fovea.choose(WHOLE, followed, [])
        glances.append(fovea.choose_beside(WHOLE, followed, []))
    for first, second in zip(glances[::2], glances[1::2], strict=True):  # two frames at each tile
        assert first.view == second.view
        assert (first.new, first.counts) == (True, False)
        assert (second.new, second.counts) == (False, True)
    covered = np.zeros(SOURCE, bool)
    for v in {glance.view for glance in glances}:
        covered[v.y : v.y + v.height, v.x : v.x + v.width] = True
    assert covered.all()


def test_where_nothing_is_followed_both_closer_eyes_search():
    fovea, seen, beside = Fovea(), [], []
    for _ in range(24):
        seen.append(fovea.choose(WHOLE, [], []))
        beside.append(fovea.choose_beside(WHOLE, [], []).view)
    assert len(set(seen)) == len(set(beside)) > 6  # all tiles, by either
    assert np.mean([a == b for a, b in zip(seen, beside, strict=True)]) < 0.25
    large = track(300, 200, 200)
    fovea.choose(WHOLE, [large], [])
    assert fovea.view is None  # both rest every second frame
    assert fovea.choose_beside(WHOLE, [large], []) is None


def test_the_third_eye_sees_a_hint_at_once_and_shares_its_time_with_what_is_doubtful():
    fovea, followed = Fovea(), [track(300, 200, 30)]
    hint = Candidate("stop_sign", 500, 300, 20, 20, 0.1)
    fovea.choose(WHOLE, followed, [hint])
    glance = fovea.choose_beside(WHOLE, followed, [hint])
    assert inside(glance.view, hint) and glance.new and glance.counts
    doubtful = track(502, 301, 20, 2, "tentative")
    views = []
    for _ in range(30):
        fovea.choose(WHOLE, [*followed, doubtful], [])
        assert inside(fovea.view, followed[0])  # what is sure has the second eye
        views.append(fovea.choose_beside(WHOLE, [*followed, doubtful], []).view)
    assert inside(views[0], doubtful)
    assert 0.25 < np.mean([inside(view, doubtful) for view in views]) < 0.75
    assert len(set(views)) > 6  # it searches in between


def test_a_source_without_more_pixels_gets_no_second_look():
    whole = View.fit((80, 100), NETWORK)
    assert Fovea().choose(whole, [track(20, 20, 10)], []) is None


def test_the_closer_look_decides():
    view = View.window(SOURCE, NETWORK, (300, 200), 1.0)
    far = [Candidate("stop_sign", 290, 190, 24, 24, 0.4)]
    sharp = [Candidate("stop_sign", 291, 191, 20, 20, 0.8)]
    (both,) = merge(far, sharp, view, WHOLE)
    assert (both.x, both.w) == (291, 20)
    assert both.score == pytest.approx(0.4**0.3 * 0.8**0.7)
    (alone,) = merge(far, [], view, WHOLE)
    assert alone.score < 0.2
    outside = [Candidate("stop_sign", 20, 400, 24, 24, 0.4)]
    assert merge(outside, [], view, WHOLE) == outside
    cut = [Candidate("stop_sign", view.x, 200, 30, 30, 0.9)]
    assert merge([], cut, view, WHOLE) == []


def test_in_a_fresh_window_the_box_lies_between_what_both_eyes_say():
    view = View.window(SOURCE, NETWORK, (320, 240), 1.0)
    far = Candidate("green_ball", 300, 220, 50, 40, 0.5)
    near = Candidate("green_ball", 310, 225, 40, 30, 0.8)
    (settled,) = merge([far], [near], view, WHOLE)
    (fresh,) = merge([far], [near], view, WHOLE, fresh=True)
    assert (settled.x, settled.y, settled.w, settled.h) == (310, 225, 40, 30)
    assert (fresh.x, fresh.y, fresh.w, fresh.h) == pytest.approx((307, 223.5, 43, 33))
    assert fresh.score == settled.score


def test_the_tracker_with_and_without_a_second_look():
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    with_it, without = Tracker(), Tracker(fovea=False)
    with_it.update(image), without.update(image)
    x, y, w, h = with_it.fovea
    assert 0 <= x <= 320 - w
    assert 0 <= y <= 240 - h
    assert without.fovea is None
    np.testing.assert_allclose(with_it.heatmap("stop_sign"), without.heatmap("stop_sign"))
