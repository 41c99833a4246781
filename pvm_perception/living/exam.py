"""The exam after a sleep: two models see the same frames, and the new one has to be no worse anywhere.

Painted scenes with far, small targets at a camera's resolution show what was forgotten; moments that nothing
was learnt from show what was gained. All goes through the whole tracker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.core.cells import MIN_VISIBLE
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.living.lessons import labels
from pvm_perception.living.moments import Moment
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import TARGETS, Track, Truth

SEED = 60_607
SIZE, FRAMES, RUN_UP = (480, 640), 12, 3
SIZES = (0.025, 0.2)  # of the targets, as shares of the picture: far ones are forgotten first
FORGOTTEN = 0.01  # that a mark on painted scenes may fall
WORSE = 0.005  # that a mark on held-back moments may fall
BETTER = 0.005  # that the overlap on held-back moments must rise, and by more than chance
CHANCE = 2.0  # standard errors of its mean over the moments
FEW = 3  # labelled held-back moments below which nothing can be said
OWN = 0.3  # overlap with its own boxes that a model must reach, or they are not what it sees
ALARMS = 50  # frames below which fewer false alarms are no merit
FORECAST = 0.995  # share of the old forecast error that the new one must not exceed


@dataclass
class Marks:
    """What one model made of the exam: overlaps, false alarms and forecast errors.

    Attributes
    ----------
    painted, moments : by target, the overlap of each frame with that target
    by_moment : the mean overlap of each moment with boxes
    painted_alarms, moments_alarms : whether there was a box, by frame without a target
    errors : (forecast's, copying's) mean squared error by frame of the moments
    """

    painted: dict[str, list[float]] = field(default_factory=dict)
    painted_alarms: list[bool] = field(default_factory=list)
    moments: dict[str, list[float]] = field(default_factory=dict)
    by_moment: list[float] = field(default_factory=list)
    moments_alarms: list[bool] = field(default_factory=list)
    errors: list[tuple[float, float]] = field(default_factory=list)

    @property
    def forecast(self) -> float:
        """The forecast's error over copying's on the moments."""
        errors = np.array(self.errors, float).reshape(-1, 2)
        errors = errors[np.isfinite(errors).all(1)]
        return float(errors[:, 0].sum() / errors[:, 1].sum()) if errors[:, 1].sum() > 0 else math.nan

    def row(self) -> dict[str, float]:
        """Return the marks under flat names."""
        return (
            {f"painted_{t}": round(_mean(v), 4) for t, v in sorted(self.painted.items())}
            | {"painted_false_alarms": round(_mean(self.painted_alarms), 4)}
            | {f"moments_{t}": round(_mean(v), 4) for t, v in sorted(self.moments.items())}
            | {"moments_false_alarms": round(_mean(self.moments_alarms), 4)}
            | {"forecast_over_copy": round(self.forecast, 4)}
        )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def examine(
    trackers: Sequence[Tracker],
    moments: Sequence[Moment],
    scenes: int,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[Marks]:
    """Show the same frames to several trackers; return the marks of each.

    Parameters
    ----------
    trackers
        Their state is forgotten between scenes and moments.
    moments
        Nothing was learnt from them.
    scenes
        Number of painted scenes.
    progress
        Called with the share of the exam that is over.
    """
    marks = [Marks() for _ in trackers]
    for n in range(scenes):
        _scene(n, trackers, marks)
        progress((n + 1) / (scenes + len(moments)))
    for n, moment in enumerate(moments):
        _moment(moment, trackers, marks)
        progress((scenes + n + 1) / (scenes + len(moments)))
    return marks


def _scene(number: int, trackers: Sequence[Tracker], marks: Sequence[Marks]) -> None:
    cast = EVERY_CAST[number % len(EVERY_CAST)]
    rng = np.random.default_rng((SEED, number))
    scene = Scene(rng, FRAMES, SIZE, None, supersample=1, cast=cast, calm=0.5, sizes=SIZES, hardest=0.8)
    for tracker in trackers:
        tracker.reset()
    for k in range(FRAMES):
        image, truth = scene.render(k)
        for tracker, mark in zip(trackers, marks, strict=True):
            tracks = tracker.update(image)
            for index, target in enumerate(TARGETS if k >= RUN_UP else ()):
                rows = truth[truth[:, Truth.TARGET] == index]
                if len(rows) and (rows[:, Truth.VISIBLE] < MIN_VISIBLE).any():
                    continue
                _mark(tracks, target, rows[:, Truth.BOX], mark.painted, mark.painted_alarms)


def _moment(moment: Moment, trackers: Sequence[Tracker], marks: Sequence[Marks]) -> None:
    known = labels(moment)
    nothing = not any(moment.tracks) and not moment.before and not moment.after
    for tracker, mark in zip(trackers, marks, strict=True):
        tracker.reset()
        before = {t: len(v) for t, v in mark.moments.items()}
        for k, image in enumerate(moment.images):
            tracks = tracker.update(image, motion=moment.motion[k])
            mark.errors.append(tracker.prediction_error())
            for target in known.targets:
                boxes = np.array([[b.x, b.y, b.w, b.h] for b in known.boxes[k] if b.target == target])
                _mark(tracks, target, boxes, mark.moments, mark.moments_alarms)
            if nothing or any(known.alarms):
                mark.moments_alarms.append(bool(tracks))
        here = [v for t, some in mark.moments.items() for v in some[before.get(t, 0) :]]
        if here:
            mark.by_moment.append(_mean(here))


def _mark(
    tracks: Sequence[Track],
    target: str,
    boxes: np.ndarray,
    overlaps: dict[str, list[float]],
    alarms: list[bool],
) -> None:
    """Compare a frame's tracks of one target with its true boxes (n, 4)."""
    found = [(t.x, t.y, t.w, t.h) for t in tracks if t.target == target]
    if not len(boxes):
        alarms.append(bool(found))
        return
    best = max((float(overlap(np.array(f), boxes).max()) for f in found), default=0.0)
    overlaps.setdefault(target, []).append(best)


def readout_verdict(old: Marks, new: Marks) -> str:
    """Return why a new readout is not worth keeping; empty where it is.

    Parameters
    ----------
    old
        Of the model in use.
    new
        Of the model after the sleep, on the same frames.
    """
    return _forgot(old, new) or _gained_nothing(old, new)


def _forgot(old: Marks, new: Marks) -> str:
    """Return what the new model does worse than the old one; empty where nothing."""
    for target, values in old.painted.items():
        before, after = _mean(values), _mean(new.painted[target])
        if after < before - FORGOTTEN:
            return f"{target} on painted scenes fell from {before:.3f} to {after:.3f}"
    before, after = _mean(old.painted_alarms), _mean(new.painted_alarms)
    if after > before + FORGOTTEN:
        return f"false alarms on painted scenes rose from {before:.3f} to {after:.3f}"
    if _mean(new.moments_alarms) > _mean(old.moments_alarms) + WORSE:
        return "false alarms on held-back moments became more"
    for target, values in old.moments.items():
        before, after = _mean(values), _mean(new.moments[target])
        if before < OWN:
            return f"the boxes of {target} are not where this model sees it (overlap {before:.3f})"
        if after < before - WORSE:
            return f"{target} on held-back moments fell from {before:.3f} to {after:.3f}"
    return ""


def _gained_nothing(old: Marks, new: Marks) -> str:
    """Return why the new model is no better than the old one; empty where it is."""
    fewer = _mean(old.moments_alarms) - _mean(new.moments_alarms)
    if fewer >= FORGOTTEN and len(old.moments_alarms) >= ALARMS:
        return ""
    gains = np.array(new.by_moment) - np.array(old.by_moment)
    if len(gains) < FEW:
        return f"only {len(gains)} held-back moments have boxes to compare with"
    if gains.mean() < max(BETTER, CHANCE * gains.std(ddof=1) / len(gains) ** 0.5):
        return f"the overlap on held-back moments rose by {gains.mean():.3f}, no more than chance"
    return ""


def forecast_verdict(old: Marks, new: Marks) -> str:
    """Return why a new forecast is not worth keeping; empty where it is.

    Parameters
    ----------
    old
        Of the model in use.
    new
        Of the model after the sleep, on the same frames.
    """
    if not new.forecast <= FORECAST * old.forecast:
        change = f"{old.forecast:.3f} to {new.forecast:.3f}"
        return f"its error over copying's on held-back moments went from {change}"
    return ""
