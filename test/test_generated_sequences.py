"""The benchmark on generated sequences: what it shows and how it scores."""

from importlib.util import find_spec

import generated_sequences as benchmark
import numpy as np
import pytest

from pvm_perception.evaluation.evaluate import Shot


@pytest.mark.parametrize(
    "solid",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                find_spec("panda3d") is None, reason="no panda3d here; pip install -r requirements/solid.txt"
            ),
        ),
    ],
)
def test_a_sequence_is_fixed_by_its_number_and_tells_what_is_too_faint(solid):
    first, again = (list(benchmark.sequence(4, None, solid)) for _ in range(2))
    assert len(first) == benchmark.FRAMES
    for (frame, faint), (same, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(frame.image, same.image)
        assert frame.image.shape == (480, 640, 3)
        assert {b.target for b in frame.boxes} <= {"stop_sign"}  # the cast of number 4
        assert faint <= {b.target for b in frame.boxes}
    assert not np.array_equal(first[0][0].image, next(benchmark.sequence(1, None, solid))[0].image)


def shots(present, *answers):
    return [Shot("0", iou, score, present, 0.0, 0.0) for iou, score in answers]


def test_scores_at_the_shipped_threshold_and_with_alarms_as_rare_as_named():
    true = shots(True, (0.8, 0.9), (0.8, 0.5), (0.0, -1.0), (0.0, 0.4))
    alarms = shots(False, *[(0.0, 0.7)] * 4, *[(0.0, -1.0)] * 96)
    row = benchmark.scores(true + alarms)
    assert (row["frames"], row["with_target"]) == (104, 4)
    assert row["found"] == 0.5
    assert row["false_alarms"] == 0.04
    assert row["auc"] == row["auc_at_0.1"] == row["auc_at_0.05"] == pytest.approx(0.4, abs=0.01)
    # one of a hundred may stay: boxes up to 0.7 are dropped, a true one of 0.5 with them
    assert row["auc_at_0.01"] == pytest.approx(0.2, abs=0.01)
