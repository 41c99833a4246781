"""The benchmark of what surprise says of a ball."""

import cv2
import evidence as benchmark
import numpy as np
import pytest

from pvm_perception.vision.surprise import LEAST_FACTOR, MOST_FACTOR


@pytest.mark.parametrize("share", [0.0, 0.5, 1.5])
def test_the_likeliest_evidence_is_what_was_true(share):
    rng = np.random.default_rng(0)
    score, factor = rng.uniform(0.05, 0.9, 40_000), rng.uniform(-1, 5, 40_000)
    above = np.clip(factor, LEAST_FACTOR, MOST_FACTOR) - LEAST_FACTOR
    right = rng.random(40_000) < 1 / (1 + np.exp(-np.log(score / (1 - score)) - share * above))
    assert abs(benchmark.likeliest(score, factor, right) - share) < 0.11


def test_clips_of_all_sources_come_in_turn(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((24, 32, 3), np.uint8))
    sources = [source for source, _ in benchmark.clips(2, None, (), [tmp_path])]
    assert sources == ["throws", "generated", "throws", "generated", "video"]
