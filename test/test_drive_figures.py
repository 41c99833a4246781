"""The report of a drive: following, full stops, the committed table."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from pvm_perception.closed_loop import score
from pvm_perception.closed_loop.score import Moment


def moments(speeds, x=0.0, sign=5.0, **changes):
    """Return a drive along x at these speeds, ten moments a second."""
    at = x + np.concatenate([[0], np.cumsum(speeds)])[:-1] * 0.1
    base = Moment(0.0, 0.0, 0.0, 0.0, 0.0, sign, 0.0, 1.0, 1, 0.9, 1, 0, 1.0)
    return [
        replace(base, time=k / 10, x=float(at[k]), speed=float(v), **changes) for k, v in enumerate(speeds)
    ]


def test_figures_of_following():
    run = moments([0.1] * 10)
    run = (
        [replace(m, distance=1.2) for m in run[:5]]
        + [replace(m, distance=0.9, in_view=0, overlap=0.0) for m in run[5:8]]
        + [replace(m, distance=1.0, overlap=0.3, answered=0, collisions=2) for m in run[8:]]
    )
    figures = score.ball_figures(run, 1.0)
    assert figures["in_view"] == pytest.approx(0.7)
    assert figures["distance_error"] == pytest.approx((5 * 0.2 + 3 * 0.1) / 10)
    assert figures["found"] == pytest.approx(5 / 7)  # of the frames with the ball in view
    assert (figures["collisions"], figures["unanswered"], figures["frames"]) == (2, 2, 10)


@pytest.mark.parametrize(
    ("speeds", "stopped", "early", "passed"),
    [
        ([0.5] * 70 + [0.0] * 20 + [0.5] * 60, True, 0, True),
        ([0.5] * 70 + [0.0] * 20, True, 0, False),
        ([0.5] * 70 + [0.0] * 5 + [0.5] * 60, False, 0, True),  # it hardly stood
        ([0.5] * 70 + [0.02] * 20 + [0.5] * 60, False, 0, True),  # it crept
        ([0.5] * 110 + [0.0] * 20, False, 0, True),  # behind the sign
        ([0.5] * 20 + [0.0] * 20 + [0.5] * 110, False, 1, True),  # far before it
        ([0.0] * 20 + [0.5] * 110, False, 0, True),
    ],
)  # before it set out
def test_what_a_full_stop_is(speeds, stopped, early, passed):
    figures = score.sign_figures(moments(speeds))
    assert (figures["stopped"], figures["early_stops"], figures["passed"]) == (stopped, early, passed)
    if stopped:
        assert figures["stop_distance"] == pytest.approx(5.0 - 3.5)
    else:
        assert math.isnan(figures["stop_distance"])


def test_the_worst_of_several_runs_counts():
    runs = [
        score.ball_figures(moments([0.1] * 10, distance=d, in_view=v), 1.0)
        for d, v in ((1.2, 1), (0.7, 1), (1.0, 0))
    ]
    worst, mean = score.worst(runs[:2]), score.mean(runs[:2])
    assert (worst["distance_error"], mean["distance_error"]) == pytest.approx((0.3, 0.25))
    assert (score.worst(runs)["in_view"], score.mean(runs)["in_view"]) == pytest.approx((0, 2 / 3))
    assert all(math.isnan(v) for v in (*score.worst([]).values(), *score.mean([]).values()))


def test_the_committed_table_has_the_figures_of_several_places():
    with (ROOT / "benchmarks" / "sim.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["run"] for r in rows] == ["ball_0", "ball_1", "ball_2"]
    assert set(rows[0]) == {"run", *score.ball_figures(moments([0.1] * 10), 1.0)}


def test_a_run_on_file_is_the_run(tmp_path):
    run = moments([0.1, 0.25, 1 / 3], collisions=1)
    score.write_moments(tmp_path / "run.csv", run)
    assert score.read_moments(tmp_path / "run.csv") == run
