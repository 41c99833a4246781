"""The benchmark of cameras that turn by stops and starts: what it shows and tells."""

import csv
import itertools
import sys

import numpy as np
import turns as benchmark


def test_the_same_scene_comes_again_and_its_motion_is_known_but_for_the_first_frame():
    first, again = (list(benchmark.sequence(3, None)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    assert first[0].motion is None and first[0].ahead is None
    moved = np.array([f.motion[0] for f in first[1:]])
    assert np.abs(moved).max() > 0.01 and np.abs(np.diff(moved)).max() > 0.002
    for now, then in itertools.pairwise(first[1:]):
        np.testing.assert_allclose(now.ahead, (now.motion + then.motion) / 2, atol=1e-6)
    assert benchmark.odometry_of(first[1], 0.0) == benchmark.odometry_of(first[0], 1.0) == (None, None)
    np.testing.assert_allclose(benchmark.odometry_of(first[1], 0.7)[0], 0.7 * first[1].motion)


def test_it_writes_a_row_for_each_way_to_know_the_motion(tmp_path, monkeypatch):
    output = tmp_path / "turns.csv"
    monkeypatch.setattr(sys, "argv", ["turns.py", "--scenes", "1", "--output", str(output)])
    benchmark.main()
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["motion"] for r in rows] == list(benchmark.KNOWN)
    assert len({r["targets"] for r in rows}) == 1 and float(rows[0]["targets"]) > 10
    assert all(0 <= float(r["auc_later"]) <= float(r["auc"]) + 0.1 for r in rows)
