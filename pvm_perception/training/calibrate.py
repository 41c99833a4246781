"""Fit the meaning of a model's scores: how often a box of this score is right.

Scenes at a camera's resolution, looked at as on a robot (both looks), of a seed that neither
training nor validation uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.bar import Bar
from pvm_perception.core.cells import MIN_VISIBLE
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import TARGETS, Truth
from pvm_perception.vision.calibration import Calibration

SEED = 31_337
SIZE, FRAMES = (480, 640), 12
HIT = 0.5  # overlap from which a box counts as right, as `evaluate` counts


def scenes(count: int, photos: Sequence[np.ndarray] | None) -> Iterator[Scene]:
    """Yield scenes of every cast in turn, up to as hard as training's.

    Parameters
    ----------
    count
        How many.
    photos
        (H, W, 3) uint8 each, for backgrounds; None for painted ones alone.
    """
    for n in range(count):
        yield Scene(
            np.random.default_rng((SEED, n)),
            FRAMES,
            SIZE,
            photos,
            supersample=1,
            cast=EVERY_CAST[n % len(EVERY_CAST)],
            calm=0.5,
            sizes=(0.04, 0.4),
            hardest=0.8,
        )


def sights(model: Path, count: int, photos: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Return the score of everything that was seen, and whether it was right.

    Parameters
    ----------
    model
        Model file.
    count, photos
        As for `scenes`.

    Returns
    -------
    ndarray
        (n, 2) raw score, 0..1, and 1 where the box was right.
    """
    rows: list[tuple[float, bool]] = []
    tracker = Tracker(model=model, calibration=Calibration(hears_evidence=False))
    for scene in Bar(scenes(count, photos), total=count, desc="calibration", leave=False):
        tracker.reset()
        for k in range(FRAMES):
            image, truth = scene.render(k)
            tracker.update(image)
            known = truth[truth[:, Truth.TARGET] >= 0]
            doubtful = set(known[known[:, Truth.VISIBLE] < MIN_VISIBLE, Truth.TARGET].astype(int).tolist())
            for d in tracker.detections:
                index = TARGETS.index(d.target)
                if index in doubtful:
                    continue
                boxes = truth[truth[:, Truth.TARGET] == index, Truth.BOX]
                hit = len(boxes) and overlap(np.array([d.x, d.y, d.w, d.h]), boxes).max() >= HIT
                rows.append((d.score, bool(hit)))
    return np.array(rows, float).reshape(-1, 2)


def fit(rows: np.ndarray, steps: int = 50) -> Calibration:
    """Return the calibration of the greatest likelihood (Newton's method).

    Parameters
    ----------
    rows
        (n, 2) as `sights` returns them.
    steps
        Iterations.
    """
    score = np.clip(rows[:, 0], 1e-6, 1 - 1e-6)
    x = np.stack([np.log(score / (1 - score)), np.ones(len(rows))], 1)
    w = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ w))
        slope = x.T @ (p - rows[:, 1]) + 1e-3 * (w - [1.0, 0.0])  # a little towards p = s
        curve = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        w = w - np.linalg.solve(curve, slope)
    return Calibration(float(max(w[0], 1e-3)), float(w[1]))


def calibrate(model: Path, count: int = 48, photos: Sequence[np.ndarray] | None = None) -> Calibration:
    """Return the calibration of a model file.

    Parameters
    ----------
    model
        Model file.
    count, photos
        As for `scenes`.
    """
    return fit(sights(model, count, photos))
