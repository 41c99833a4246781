"""The closer eyes look first where the frame surprises, unless a track explains it."""

import dataclasses

import numpy as np
import pytest

from pvm_perception.types import Candidate, Track
from pvm_perception.vision.fovea import Fovea
from pvm_perception.vision.frame import View
from pvm_perception.vision.surprise import Surprise

WHOLE = View.fit((480, 640), (128, 160))  # bars of 4 rows above and below
SHAPE = (32, 40)


def heights(*places, much=40):
    """Return calm surprise, and much of it at places (x, y) in source px."""
    found = np.full(SHAPE, 0.5, np.float32)
    for x, y in places:
        found[int((y * WHOLE.scale + WHOLE.top) / 4), int((x * WHOLE.scale + WHOLE.left) / 4)] = much
    return found


def candidate(x, y, score, side=30):
    return Candidate("green_ball", x - side / 2, y - side / 2, side, side, score)


@pytest.mark.parametrize("place", [(60, 60), (600, 40), (320, 240), (30, 450), (620, 460)])
def test_it_lies_where_the_picture_surprised(place):
    surprise = Surprise(heights(place), WHOLE, [])
    assert surprise.at(candidate(*place, 0.1)) > 0.6
    assert surprise.at(candidate(640 - place[0], (place[1] + 200) % 480, 0.1)) < 0.3


def test_a_calm_frame_has_no_surprising_place():
    surprise = Surprise(heights(), WHOLE, [])
    assert surprise.at(candidate(100, 100, 0.1)) < 0.3
    assert Surprise(np.zeros(SHAPE, np.float32), WHOLE, []).at(candidate(100, 100, 0.1)) == 0


def test_what_is_tracked_surprises_nobody():
    track = Track("green_ball", 185, 185, 30, 30, 0.9, 1)
    surprise = Surprise(heights((200, 200), (500, 100)), WHOLE, [track])
    assert surprise.at(candidate(200, 200, 0.1)) < 0.1
    assert surprise.at(candidate(500, 100, 0.1)) > 0.6


def test_candidates_beyond_the_border_are_taken():
    assert Surprise(heights((5, 5)), WHOLE, []).at(candidate(-200, -200, 0.1)) == 0


@pytest.mark.parametrize("moved", [True, False])
def test_of_two_faint_hints_the_one_that_moved_is_looked_at_first(moved):
    still, rolling = candidate(100, 100, 0.12), candidate(500, 300, 0.08)
    surprise = Surprise(heights((500, 300)), WHOLE, []) if moved else None
    first = Fovea().choose(WHOLE, [], [still, rolling], surprise)
    hint = rolling if moved else still
    x, y = hint.x + hint.w / 2, hint.y + hint.h / 2
    assert first.x < x < first.x + first.width
    assert first.y < y < first.y + first.height


def test_a_hint_that_is_nearly_sure_comes_before_all_surprise():
    sure, rolling = candidate(100, 100, 0.6), candidate(500, 300, 0.08)
    first = Fovea().choose(WHOLE, [], [sure, rolling], Surprise(heights((500, 300)), WHOLE, []))
    assert first.x < 100 < first.x + first.width


def test_what_moves_against_calm_surroundings_is_likelier_a_ball():
    x, y = 500, 300
    ball = candidate(x, y, 0.1)
    assert Surprise(heights((x, y), much=400), WHOLE, []).evidence(ball) > 1
    assert Surprise(heights((x, y), much=400), WHOLE, []).evidence(candidate(100, 100, 0.1)) == 0
    assert Surprise(heights(), WHOLE, []).evidence(ball) == 0
    assert Surprise(heights((x, y), much=400), WHOLE, []).evidence(candidate(-200, -200, 0.1)) == 0


def test_a_tracked_ball_still_moves_and_no_sign_does():
    track = Track("green_ball", 485, 285, 30, 30, 0.9, 1)
    surprise = Surprise(heights((500, 300), much=400), WHOLE, [track])
    ball = candidate(500, 300, 0.1)
    assert surprise.evidence(ball) > 1
    assert surprise.evidence(dataclasses.replace(ball, target="stop_sign")) == 0


@pytest.mark.parametrize("reach", [150, 640])
def test_a_part_of_what_moves_as_a_whole_is_no_likelier_a_ball(reach):
    around = [(500 + i, 300 + j) for i in range(-reach, reach, 10) for j in range(-reach, reach, 10)]
    inside = [(x, y) for x, y in around if 0 <= x < 640 and 0 <= y < 480]
    assert Surprise(heights(*inside, much=400), WHOLE, []).evidence(candidate(500, 300, 0.1)) == 0


def test_what_pops_out_of_a_calm_frame_is_a_spot_and_what_a_moving_camera_shows_is_none():
    x, y = Surprise(heights((500, 300), much=400), WHOLE, []).spot()
    assert abs(x - 500) < 30 and abs(y - 300) < 30
    assert Surprise(heights(), WHOLE, []).spot() is None
    restless = heights((500, 300), much=400)
    restless += np.random.default_rng(0).uniform(0, 20, SHAPE).astype(np.float32)
    assert Surprise(restless, WHOLE, []).spot() is None
    track = Track("green_ball", 485, 285, 30, 30, 0.9, 1)
    assert Surprise(heights((500, 300), much=400), WHOLE, [track]).spot() is None


def test_the_third_eye_looks_at_what_pops_out_at_once_and_not_at_a_lamp_for_ever():
    def looks(*places):
        fovea, seen = Fovea(), []
        for x, y in places:
            surprise = Surprise(heights((x, y), much=400), WHOLE, [])
            fovea.choose(WHOLE, [], [], surprise)
            glance = fovea.choose_beside(WHOLE, [], [], surprise)
            view, enlarged = glance.view, glance.view.scale > 3 * WHOLE.scale
            here = view.x < x < view.x + view.width and view.y < y < view.y + view.height
            seen.append(enlarged and here and glance.new and glance.counts)
        return seen

    assert all(looks(*[(60 + 50 * k, 200) for k in range(10)]))
    assert 4 <= sum(looks(*[(300, 200)] * 12)) <= 7


def test_of_a_single_unit_nothing_pops_out():
    assert Surprise(np.full((1, 1), 400, np.float32), WHOLE, []).spot() is None
