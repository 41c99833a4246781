"""The exam after a sleep: all models see the same frames, and a new one has to be no worse anywhere.

Painted scenes with far, small targets at a camera's resolution, through the whole tracker, show what was
forgotten, and so do single looks at painted clips: a tracker finds a target earlier or later by chance, a
look does not. Moments that nothing was learnt from show what was gained. What differs by less than chance is
no difference.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.core.cells import MIN_VISIBLE
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.errors import PvmError
from pvm_perception.evaluation.metrics import overlap
from pvm_perception.living.lessons import labels, lesson
from pvm_perception.living.moments import Moment, read_moment
from pvm_perception.streams.generated import make_clip
from pvm_perception.streams.scenes.scene import EVERY_CAST, Scene
from pvm_perception.types import TARGETS, Box, Track, Truth

SEED = 60_607
SIZE, FRAMES, RUN_UP = (480, 640), 12, 3
SIZES = (0.025, 0.2)  # of the targets, as shares of the picture: far ones are forgotten first
CLIPS, GLANCES, STREAMS = 6, 6, 8  # painted clips for each scene; their frames; side by side
SAME = 0.5  # overlap from which a candidate is what is remembered
FORGOTTEN = 0.01  # that a mark on painted scenes may fall
WORSE = 0.005  # that a mark on held-back moments may fall
BETTER = 0.005  # that scores on held-back moments must rise, and by more than chance
CHANCE = 2.0  # standard errors of a mean difference: what is less is chance
FEW = 3  # labelled held-back moments below which nothing can be said
OWN = 0.3  # overlap with its own boxes that a model must reach, or they are not what it sees
ALARMS = 6  # moments with something to be wrong about, below which fewer false alarms are no merit
FORECAST = 0.995  # share of the old forecast error that the new one must not exceed


@dataclass
class Marks:
    """What one model made of the exam: overlaps, false alarms and forecast errors.

    Attributes
    ----------
    painted, looks, moments : by target, the mean overlap in each painted scene, clip, moment that shows it
    sure : by target, the mean score of single looks at what each moment shows
    painted_alarms, moments_alarms : share of the frames with a box, by scene and moment, of targets not in it
    errors : (forecast's, copying's) mean squared error by frame of the moments
    """

    painted: dict[str, list[float]] = field(default_factory=dict)
    looks: dict[str, list[float]] = field(default_factory=dict)
    moments: dict[str, list[float]] = field(default_factory=dict)
    sure: dict[str, list[float]] = field(default_factory=dict)
    painted_alarms: list[float] = field(default_factory=list)
    moments_alarms: list[float] = field(default_factory=list)
    errors: list[tuple[float, float]] = field(default_factory=list)

    @property
    def forecast(self) -> float:
        """The forecast's error over copying's on the moments."""
        errors = np.array(self.errors, float).reshape(-1, 2)
        errors = errors[np.isfinite(errors).all(1)]
        return float(errors[:, 0].sum() / errors[:, 1].sum()) if errors[:, 1].sum() > 0 else math.nan

    def row(self, forecast: bool | None = None) -> dict[str, float]:
        """Return the marks under flat names: all, or those of the forecast, or those of the readout."""
        found = {"forecast_over_copy": round(self.forecast, 4)} if forecast is not False else {}
        if forecast:
            return found
        for kind in ("looks", "painted", "moments", "sure"):
            found |= {f"{kind}_{t}": round(_mean(v), 4) for t, v in sorted(getattr(self, kind).items())}
        return found | {
            "painted_false_alarms": round(_mean(self.painted_alarms), 4),
            "moments_false_alarms": round(_mean(self.moments_alarms), 4),
        }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def examine(
    models: Sequence[Path],
    moments: Sequence[Path],
    scenes: int,
    progress: Callable[[float], None] = lambda _share: None,
) -> list[Marks]:
    """Show the same frames to several models; return the marks of each.

    Parameters
    ----------
    models
        Model files.
    moments
        Files of moments that nothing was learnt from; one that is gone is left out.
    scenes
        Number of painted scenes.
    progress
        Called with the share of the exam that is over.
    """
    marks = [Marks() for _ in models]
    files = [load_model(path) for path in models]
    networks = [Hierarchy(config, STREAMS, np, weights, learns=False) for config, weights, _ in files]
    trackers = [Tracker(n.config.targets, path) for n, path in zip(networks, models, strict=True)]
    groups = -(-CLIPS * scenes // STREAMS)
    total = scenes + groups + len(moments)
    for n in range(scenes):
        _scene(n, trackers, marks)
        progress((n + 1) / total)
    for n in range(groups):
        _glance(n, networks, marks)
        progress((scenes + n + 1) / total)
    for n, path in enumerate(moments):
        with contextlib.suppress(PvmError):  # the robot remembers something else now
            moment = read_moment(path)
            _moment(moment, trackers, marks)
            _remember(moment, networks, marks)
        progress((scenes + groups + n + 1) / total)
    return marks


def _scene(number: int, trackers: Sequence[Tracker], marks: Sequence[Marks]) -> None:
    """Let the trackers see a painted scene."""
    cast = EVERY_CAST[number % len(EVERY_CAST)]
    rng = np.random.default_rng((SEED, number))
    scene = Scene(rng, FRAMES, SIZE, None, supersample=1, cast=cast, calm=0.5, sizes=SIZES, hardest=0.8)
    papers = [_Paper() for _ in trackers]
    for tracker in trackers:
        tracker.reset()
    for k in range(FRAMES):
        image, truth = scene.render(k)
        for tracker, paper in zip(trackers, papers, strict=True):
            tracks = tracker.update(image)
            for index, target in enumerate(TARGETS if k >= RUN_UP else ()):
                rows = truth[truth[:, Truth.TARGET] == index]
                if not (rows[:, Truth.VISIBLE] < MIN_VISIBLE).any():
                    paper.add(target, _boxes(tracks, target), rows[:, Truth.BOX])
    for paper, mark in zip(papers, marks, strict=True):
        paper.hand_in(mark.painted, mark.painted_alarms)


def _glance(number: int, networks: Sequence[Hierarchy], marks: Sequence[Marks]) -> None:
    """Let the networks see painted clips side by side, as a fovea brings them."""
    first, config = SEED + number * STREAMS, networks[0].config
    clips = [make_clip(first + k, GLANCES, (config.height, config.width)) for k in range(STREAMS)]
    painted = [(config.targets.index(name), t) for t, name in enumerate(TARGETS) if name in config.targets]
    for network, mark in zip(networks, marks, strict=True):
        network.reset()
        papers = [_Paper() for _ in clips]
        for k in range(GLANCES):
            network.step(np.stack([clip.images[k] for clip in clips]), foresee=False)
            for paper, clip, answers in zip(papers, clips, network.candidates(0.01, most=1), strict=True):
                for here, index in painted if k >= RUN_UP else ():
                    rows = clip.truth[k][clip.truth[k][:, Truth.TARGET] == index]
                    if len(rows) and (rows[:, Truth.VISIBLE] >= MIN_VISIBLE).all():
                        paper.add(TARGETS[index], answers[here][:, :4], rows[:, Truth.BOX])
        for paper in papers:
            paper.hand_in(mark.looks, [])


def _moment(moment: Moment, trackers: Sequence[Tracker], marks: Sequence[Marks]) -> None:
    """Let the trackers see a moment."""
    known = labels(moment)
    nothing = not any(moment.tracks) and not moment.before and not moment.after
    ahead = [*moment.motion[1:], None]
    for tracker, mark in zip(trackers, marks, strict=True):
        tracker.reset()
        paper = _Paper()
        for k, image in enumerate(moment.images):
            tracks = tracker.update(image, motion=moment.motion[k], ahead=ahead[k])
            mark.errors.append(tracker.prediction_error())
            for target in known.targets:
                boxes = _boxes(known.boxes[k], target)
                if len(boxes):  # where its track was lost it may be there or not
                    paper.add(target, _boxes(tracks, target), boxes)
            if nothing or any(known.alarms):
                paper.alarms.append(bool(tracks))
        paper.hand_in(mark.moments, mark.moments_alarms)


def _remember(moment: Moment, networks: Sequence[Hierarchy], marks: Sequence[Marks]) -> None:
    """Let the networks look at what is believed to be known of a moment, as the fovea and mirrors show it."""
    known, config = labels(moment), networks[0].config
    if not any(known.boxes):
        return
    size, rng = (config.height, config.width), np.random.default_rng(SEED)
    clips = [lesson(moment, known, size, config.targets, rng) for _ in range(STREAMS)]
    for network, mark in zip(networks, marks, strict=True):
        network.reset()
        scores: dict[str, list[float]] = {}
        for k in range(len(moment.images)):
            network.step(np.stack([clip.images[k] for clip in clips]), foresee=False)
            for clip, answers in zip(clips, network.candidates(0.01), strict=True):
                for row in clip.truth[k][clip.truth[k][:, Truth.WEIGHT] > 0]:
                    found = answers[int(row[Truth.TARGET])]  # (n, 5), best first
                    same = overlap(found[:, :4], row[None, Truth.BOX]) >= SAME
                    score = float(found[same, 4].max()) if same.any() else 0.0
                    scores.setdefault(config.targets[int(row[Truth.TARGET])], []).append(score)
        for target, values in scores.items():
            mark.sure.setdefault(target, []).append(_mean(values))


def _boxes(some: Sequence[Track] | Sequence[Box], target: str) -> np.ndarray:
    """Return the boxes of one target, (n, 4)."""
    return np.array([(b.x, b.y, b.w, b.h) for b in some if b.target == target], float).reshape(-1, 4)


class _Paper:
    """What a model made of one scene, clip or moment."""

    def __init__(self) -> None:
        self.overlaps: dict[str, list[float]] = {}
        self.alarms: list[bool] = []

    def add(self, target: str, found: np.ndarray, boxes: np.ndarray) -> None:
        """Compare a frame's boxes (m, 4) with a target's true ones (n, 4); without these, any is an alarm."""
        if not len(boxes):
            self.alarms.append(len(found) > 0)
            return
        best = float(overlap(found[:, None], boxes).max()) if len(found) else 0.0
        self.overlaps.setdefault(target, []).append(best)

    def hand_in(self, overlaps: dict[str, list[float]], alarms: list[float]) -> None:
        """Add the means to a model's marks."""
        for target, values in self.overlaps.items():
            overlaps.setdefault(target, []).append(_mean(values))
        if self.alarms:
            alarms.append(_mean(self.alarms))


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
    for kind, least, words in (
        ("moments", WORSE, "on held-back moments"),
        ("looks", FORGOTTEN, "in painted clips"),
        ("painted", FORGOTTEN, "on painted scenes"),
    ):
        for target, values in getattr(old, kind).items():
            before, after = _mean(values), _mean(getattr(new, kind)[target])
            if kind == "moments" and before < OWN:
                return f"the boxes of {target} are not where this model sees it (overlap {before:.3f})"
            if _rose(getattr(new, kind)[target], values, least):
                return f"{target} {words} fell from {before:.3f} to {after:.3f}"
    for kind, words in (("painted", "on painted scenes"), ("moments", "on held-back moments")):
        before, after = (getattr(marks, f"{kind}_alarms") for marks in (old, new))
        if _rose(before, after, FORGOTTEN):
            return f"false alarms {words} rose from {_mean(before):.3f} to {_mean(after):.3f}"
    return ""


def _rose(before: Sequence[float], after: Sequence[float], least: float) -> bool:
    """Whether marks of the same scenes rose by more than so much, and by more than chance."""
    rises = np.array(after) - np.array(before)
    if not len(rises):
        return False
    error = rises.std(ddof=1) / len(rises) ** 0.5 if len(rises) > 1 else 0.0
    return bool(rises.mean() > max(least, CHANCE * error))


def _gained_nothing(old: Marks, new: Marks) -> str:
    """Return why the new model is no better than the old one; empty where it is."""
    if len(old.moments_alarms) >= ALARMS and _rose(new.moments_alarms, old.moments_alarms, FORGOTTEN):
        return ""
    gains = np.concatenate([np.array(new.sure[t]) - np.array(v) for t, v in old.sure.items()] or [[]])
    if len(gains) < FEW:
        return f"only {len(gains)} held-back moments have boxes to compare with"
    if gains.mean() < max(BETTER, CHANCE * gains.std(ddof=1) / len(gains) ** 0.5):
        return f"scores on held-back moments rose by {gains.mean():.3f}, no more than chance"
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
