"""The benchmark of small fast balls: what it shows and how it counts."""

import numpy as np
import pytest
import throws as benchmark

from pvm_perception.types import Box, Frame, Track

BLANK = np.zeros((360, 640, 3), np.uint8)


@pytest.mark.parametrize("number", [3, 2])
def test_a_ball_crosses_the_picture_and_is_a_target_where_it_is_green(number):
    first, again = (list(benchmark.sequence(number, None, ())) for _ in range(2))
    for (frame, _), (same, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(frame.image, same.image)
    places = [clear[0].x + clear[0].w / 2 for _, clear in first if clear]
    if number % 3 == 2:
        assert not any(frame.boxes for frame, _ in first)
    else:
        assert len(places) > 5
        moves = np.diff(places)
        assert (np.sign(moves) == np.sign(moves[0])).all() and np.abs(moves).min() > 10


def test_a_real_ball_is_thrown_where_one_is_given():
    red = np.zeros((32, 32, 4), np.float32)
    red[8:24, 8:24] = (0, 0, 1, 1)
    with_red = [frame.image for frame, clear in benchmark.sequence(1, None, [red]) if clear]
    painted = [frame.image for frame, clear in benchmark.sequence(1, None, ()) if clear]
    assert any((a != b).any() for a, b in zip(with_red, painted, strict=False))


def test_the_tally_counts_overlap_size_waiting_and_false_alarms():
    ball = Box("green_ball", 100.0, 100.0, 40.0, 20.0)
    frame, empty = Frame(BLANK, "0", 0.0, (ball,)), Frame(BLANK, "1", 0.0, ())
    half = Track("green_ball", 100, 100, 20, 20, 0.9, 1)
    tally = benchmark.Tally()
    tally.begin()
    tally.add([], frame, [ball])
    tally.add([half], frame, [ball])
    tally.add([half], empty, [])
    tally.add([], empty, [])
    tally.end()
    tally.begin()
    tally.add([], frame, [ball])
    tally.end()
    row = tally.row()
    assert (row["frames"], row["found"], row["side"]) == ("3", "0.333", "0.50")
    assert row["false_alarms"] == "0.500"
    assert tally.waits == [1, benchmark.FRAMES]
