"""Fit the meaning of a model's scores: how often a box of this score is right.

Scenes at a camera's resolution, looked at as on a robot (both looks), of a seed that neither
training nor validation uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.bar import Bar
from pvm_perception.core.cells import MIN_VISIBLE
from pvm_perception.core.model_file import load_model
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import TARGETS, Truth
from pvm_perception.vision.calibration import Calibration, largeness
from pvm_perception.vision.frame import View

SEED = 31_337
SIZE, FRAMES = (480, 640), 12
HIT = 0.5  # overlap from which a box counts as right, as `evaluate` counts
ENOUGH = 50  # right boxes of a target from which its doubt is fitted
STEPS, TOWARDS = 50, 1e-3  # of a fit: iterations; weight of where it starts, in boxes


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
    """Return the score of everything that was seen, its size, and whether it was right.

    Parameters
    ----------
    model
        Model file.
    count, photos
        As for `scenes`.

    Returns
    -------
    ndarray
        (n, 4) the target's index in `TARGETS`; raw score, 0..1; the box's side, px of the network's input
        that shows the whole frame; 1 where the box was right.
    """
    rows: list[tuple[int, float, float, bool]] = []
    tracker = Tracker(model=model, calibration=Calibration(hears_evidence=False))
    config, _, _ = load_model(model)
    scale = View.fit(SIZE, (config.height, config.width)).scale
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
                rows.append((index, d.score, scale * math.sqrt(d.w * d.h), bool(hit)))
    return np.array(rows, float).reshape(-1, 4)


def fit(rows: np.ndarray, sigmoid: tuple[float, float] | None = None) -> Calibration:
    """Return the calibration of the greatest likelihood: slope and offset of all, then each target's doubt.

    Parameters
    ----------
    rows
        (n, 4) as `sights` returns them. A target with fewer than `ENOUGH` right boxes gets no doubt.
    sigmoid
        Slope and offset that are known already; None: they are fitted, too.
    """
    target, score, side, hit = rows.T  # (n,) each
    score = np.clip(score, 1e-6, 1 - 1e-6)
    log_odds, one = np.log(score / (1 - score)), np.ones(len(rows))
    large = np.array([largeness(s) for s in side])
    if sigmoid is None:
        slope, offset = map(float, likeliest(np.stack([log_odds, one], 1), hit, np.array([1.0, 0.0])))
        sigmoid = max(slope, 1e-3), offset
    doubt = {}
    for k, name in enumerate(TARGETS):
        of = target == k
        if hit[of].sum() >= ENOUGH:  # its own offset is fitted, too, or size would stand in for it
            x, known = np.stack([one, -large], 1)[of], sigmoid[0] * log_odds[of]
            doubt[name] = max(float(likeliest(x, hit[of], np.zeros(2), known)[1]), 0.0)
    return Calibration(*sigmoid, doubt)


def likeliest(
    x: np.ndarray, hit: np.ndarray, start: np.ndarray, known: float | np.ndarray = 0.0
) -> np.ndarray:
    """Return the weights of a logistic regression, by Newton's method, drawn a little towards the start.

    Parameters
    ----------
    x
        (n, D) what is known of each box.
    hit
        (n,) 1 where it was right.
    start
        (D,) weights to begin with.
    known
        (n,) log odds that are added.

    Returns
    -------
    ndarray
        (D,)
    """
    w = start
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(x @ w + known)))
        slope = x.T @ (p - hit) + TOWARDS * (w - start)
        curve = (x * (p * (1 - p))[:, None]).T @ x + TOWARDS * np.eye(len(w))
        w = w - np.linalg.solve(curve, slope)
    return w


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
