"""What a closer eye refuted does not count again at the next frame, when it looks elsewhere."""

import pytest

from pvm_perception.types import Candidate, Track
from pvm_perception.vision.frame import View
from pvm_perception.vision.verdicts import HOLDS, Verdicts

WHOLE = View.fit((480, 640), (128, 160))
WINDOW = View.window((480, 640), (128, 160), (100, 100), 1.4)
ELSEWHERE = View.window((480, 640), (128, 160), (500, 300), 1.4)


def sign(x, y, score, side=38):
    return Candidate("stop_sign", x - side / 2, y - side / 2, side, side, score)


def held(verdicts, far, found, window, tracks=()):
    """Show one candidate; return its score afterwards."""
    (candidate,) = verdicts.hold([far], [found], [window], WHOLE, tracks)
    return candidate.score


def refuted(score=0.1):
    verdicts = Verdicts()
    assert held(verdicts, sign(100, 100, 0.5), sign(100, 100, score), WINDOW) == score
    return verdicts


def test_it_holds_while_the_closer_eye_looks_elsewhere_and_moves_along():
    verdicts = refuted()
    for k in range(1, HOLDS + 1):
        place = sign(100 + 12 * k, 100 - 3 * k, 0.5)
        assert held(verdicts, place, place, ELSEWHERE) == pytest.approx(0.1)
    assert held(verdicts, place, place, ELSEWHERE) == 0.5  # a verdict does not hold for ever


def test_a_closer_look_that_confirms_ends_it():
    verdicts = refuted()
    assert held(verdicts, sign(100, 100, 0.5), sign(100, 100, 0.8), WINDOW) == 0.8
    assert held(verdicts, sign(100, 100, 0.5), sign(100, 100, 0.5), ELSEWHERE) == 0.5


def test_a_closer_look_that_is_in_doubt_refutes_nothing():
    verdicts = refuted(score=0.3)
    assert held(verdicts, sign(100, 100, 0.5), sign(100, 100, 0.5), ELSEWHERE) == 0.5


@pytest.mark.parametrize(
    "other",
    [sign(300, 100, 0.5), sign(100, 100, 0.5, side=100), Candidate("green_ball", 81, 81, 38, 38, 0.5)],
)
def test_it_is_of_one_thing(other):
    assert held(refuted(), other, other, ELSEWHERE) == other.score


@pytest.mark.parametrize(("state", "score"), [("confirmed", 0.5), ("coasting", 0.5), ("tentative", 0.1)])
def test_it_is_not_held_against_what_is_believed(state, score):
    track = Track("stop_sign", 81, 81, 38, 38, 0.9, 1, state)
    place = sign(100, 100, 0.5)
    assert held(refuted(), place, place, ELSEWHERE, [track]) == pytest.approx(score)


def test_reset_forgets():
    verdicts = refuted()
    verdicts.reset()
    assert held(verdicts, sign(100, 100, 0.5), sign(100, 100, 0.5), ELSEWHERE) == 0.5


def test_what_only_a_closer_eye_sees_and_scores_of_zero_are_taken():
    verdicts = Verdicts()
    zero = sign(100, 100, 0.0)
    assert verdicts.hold([], [sign(200, 200, 0.4)], [WINDOW], WHOLE, ())[0].score == 0.4
    assert held(verdicts, zero, zero, WINDOW) == 0
