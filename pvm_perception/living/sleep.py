"""Learning asleep: moments are lived through again beside painted scenes; an exam decides what is kept.

The forecast learns to foresee the place, and the readout learns from the tracker's own sure boxes. The codes
stay: all that is known rests on them. Forecast and readout do not depend on each other, so each passes or
fails alone.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.api import Tracker
from pvm_perception.core.config import HierarchyConfig, Learning
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.size import FORECAST
from pvm_perception.errors import PvmError
from pvm_perception.living import exam
from pvm_perception.living.lessons import Labels, labels, lesson
from pvm_perception.living.moments import Moment, MomentMemory
from pvm_perception.living.snapshots import Snapshots
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import Clip, make_clip
from pvm_perception.training.checkpoint import averaged_weights
from pvm_perception.training.forecast_only import ForecastOnly

RATE = 1e-4  # of Adam, with a half cosine over the sleep
PULL = 1.0  # share of the way back to the old weights, per step and unit of rate
STREAMS = 8  # clips side by side
PAINTED = 0.5  # share of the clips that are painted scenes
LEAST = 8  # moments that a sleep needs
BLOCK, HELD_BACK = 4, 4  # moments in a row that are held back together; every how many blocks one is
FORECAST_SHARE = 0.5  # of the time
READOUT = "readout"
OUTCOME = "sleep: outcome: "  # begins the line by which the command tells a node what came of it


@dataclass(frozen=True)
class SleepOptions:
    """What a sleep is asked for (the command line's arguments)."""

    memory: Path
    minutes: float = 10.0
    model: Path | None = None  # to begin with; None = the newest of the memory, else the base
    base: Path | None = None  # the model file that the first sleep began with; None = the one that ships
    output: Path | None = None  # None = a new model in the memory's folder
    scenes: int = 24  # painted scenes of the exam
    steps: int | None = None  # frames of each part at the most, whatever the time
    seed: int = 0


@dataclass
class Outcome:
    """What came of a sleep: the file of the new model, None where nothing passed; and why, part by part."""

    path: Path | None = None
    verdicts: dict[str, str] = field(default_factory=dict)  # by part: why it was dropped; empty = kept
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def words(self) -> str:
        """Return it in one line."""
        parts = [f"{part} {f'dropped: {why}' if why else 'kept'}" for part, why in self.verdicts.items()]
        return "; ".join(parts)


Progress = Callable[[str, float], None]  # what it does, and the share of that which is over


def sleep(
    options: SleepOptions,
    progress: Progress = lambda _what, _share: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Learn from a memory, take the exam, and write a new model if some of it passed.

    Parameters
    ----------
    options
        What is asked for.
    progress
        Called now and then.
    stop
        Asked now and then whether to wake: then the exam comes at once.

    Raises
    ------
    PvmError
        Too few moments; a model or a memory that cannot be read or written.
    """
    memory = MomentMemory(options.memory, math.inf)
    snapshots = Snapshots(options.memory, options.base or default_model())
    start = options.model or snapshots.current()
    config, weights, history = load_model(start)
    moments = [m for _, m in memory.moments()]
    if len(moments) < LEAST:
        raise PvmError(
            f"the memory {options.memory} has {len(moments)} moments; a sleep needs {LEAST} at least: "
            "let the robot see more, or show it films with `track --memory`"
        )
    held_back = [m for n, m in enumerate(moments) if n // BLOCK % HELD_BACK == 1]
    learnt = [m for n, m in enumerate(moments) if n // BLOCK % HELD_BACK != 1]
    lessons = _Lessons(learnt, config, np.random.default_rng(options.seed))
    new = dict(weights)
    seconds = 60 * options.minutes
    if config.forecast.code:
        timer = _Timer(seconds * FORECAST_SHARE, options.steps, "the forecast learns", progress, stop)
        new |= _forecast_learns(config, weights, lessons, timer)
    if config.readout.kind == "box" and lessons.known:
        left = 1 - FORECAST_SHARE if config.forecast.code else 1.0
        timer = _Timer(seconds * left, options.steps, "the readout learns", progress, stop)
        new |= _readout_learns(config, weights, lessons, timer)
    outcome, kept = _examined(options, config, history, (weights, new), held_back, progress)
    if kept:
        entry = {"moments": len(moments), "kept": sorted(kept), "before": outcome.before}
        history = history | {"slept": [*history.get("slept", ()), entry | {"after": outcome.after}][-20:]}
        whole = {n: new[n] if n.startswith(tuple(kept)) else w for n, w in weights.items()}
        if options.output is not None:
            save_model(options.output, config, whole, history)
            outcome.path = options.output
        else:
            outcome.path = snapshots.add(config, whole, history)
    return outcome


def _examined(
    options: SleepOptions,
    config: HierarchyConfig,
    history: dict[str, Any],
    models: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    held_back: Sequence[Moment],
    progress: Progress,
) -> tuple[Outcome, set[str]]:
    """Return the outcome of the exam of the old and the new weights, and the parts that passed."""
    with tempfile.TemporaryDirectory() as folder:
        trackers = []
        for name, weights in zip(("old", "new"), models, strict=True):
            path = Path(folder) / f"{name}.safetensors"
            save_model(path, config, weights, history)
            trackers.append(Tracker(config.targets, path))
    old, new = exam.examine(trackers, held_back, options.scenes, lambda share: progress("the exam", share))
    outcome = Outcome(before=old.row(), after=new.row())
    if config.forecast.code:
        outcome.verdicts[FORECAST] = exam.forecast_verdict(old, new)
    changed = any((models[0][n] != models[1][n]).any() for n in models[0] if n.startswith(READOUT))
    outcome.verdicts[READOUT] = (
        exam.readout_verdict(old, new) if changed else "no moment holds a track that was sure and lasted"
    )
    return outcome, {part for part, why in outcome.verdicts.items() if not why}


class _Timer:
    """Ends a part of the sleep by its time, its steps, or a wish to wake; tells how far it is."""

    def __init__(
        self, seconds: float, steps: int | None, what: str, progress: Progress, stop: Callable[[], bool]
    ) -> None:
        self._begun, self._seconds, self._most = time.monotonic(), seconds, steps or math.inf
        self._what, self._progress, self._stop = what, progress, stop
        self.steps = 0

    @property
    def share(self) -> float:
        return min(max((time.monotonic() - self._begun) / self._seconds, self.steps / self._most), 1.0)

    def goes_on(self) -> bool:
        """Count a step; return whether there is time for it."""
        self._progress(self._what, self.share)
        if self.share >= 1 or self._stop():
            return False
        self.steps += 1
        return True

    @property
    def rate(self) -> float:
        """The learning rate now."""
        return RATE * 0.5 * (1 + math.cos(math.pi * self.share))


class _Lessons:
    """Draws clips: of moments, and painted ones."""

    def __init__(self, moments: Sequence[Moment], config: HierarchyConfig, rng: np.random.Generator) -> None:
        self.moments, self.config, self.rng = moments, config, rng
        self.known: list[tuple[Moment, Labels]] = []
        for moment in moments:
            found = labels(moment)
            if not found.empty:
                self.known.append((moment, found))
        self._frames = min(len(m.images) for m in moments)

    def draw(self, labelled: bool) -> Clip:
        """Return a clip (T, ...): painted, or of a moment."""
        size, rng = (self.config.height, self.config.width), self.rng
        if rng.random() < PAINTED:
            return make_clip(int(rng.integers(2**62)), self._frames, size)
        if not labelled:
            moment = self.moments[int(rng.integers(len(self.moments)))]
            return lesson(moment, labels(moment), size, self.config.targets, rng)
        # targets in balance, however often each is seen at this place
        wanted = self.config.targets[int(rng.integers(len(self.config.targets)))]
        some = [k for k in self.known if wanted in k[1].targets] or self.known
        moment, found = some[int(rng.integers(len(some)))]
        return lesson(moment, found, size, self.config.targets, rng)

    def batch(self, labelled: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return clips side by side: images (T, B, H, W, 3), truth (T, B, M, COLUMNS), motion (T, B, 4)."""
        clips, frames = [self.draw(labelled) for _ in range(STREAMS)], self._frames
        rows = max(c.truth.shape[1] for c in clips)
        truth = np.full((frames, STREAMS, rows, clips[0].truth.shape[2]), -1, np.float32)
        for b, clip in enumerate(clips):
            truth[:, b, : clip.truth.shape[1]] = clip.truth[:frames]
        images, motion = (
            np.stack([getattr(c, name)[:frames] for c in clips], 1) for name in ("images", "motion")
        )
        return np.ascontiguousarray(images), truth, motion

    def frames(
        self, labelled: bool, timer: _Timer
    ) -> Iterator[tuple[bool, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, while the timer goes on, frames of clips: whether they begin, images, truth and motion."""
        while True:
            batch = self.batch(labelled)
            for at, frame in enumerate(zip(*batch, strict=True)):
                if not timer.goes_on():
                    return
                yield at == 0, *frame


def _optimizer(weights: dict[str, np.ndarray], network: Hierarchy) -> Optimizer:
    network.optimizer = Optimizer(weights, Learning("adam", clip=1.0, average=0.99), np, STREAMS)
    return network.optimizer


def _pull(
    weights: dict[str, np.ndarray], old: dict[str, np.ndarray], names: Sequence[str], rate: float
) -> None:
    """Draw weights back to the old ones."""
    for name in names:
        weights[name] -= np.float32(rate * PULL) * (weights[name] - old[name])


def _forecast_learns(
    config: HierarchyConfig, old: dict[str, np.ndarray], lessons: _Lessons, timer: _Timer
) -> dict[str, np.ndarray]:
    """Return the forecast's weights after the sleep."""
    network = ForecastOnly(config, STREAMS, np, old)
    names = [n for n in network.weights if n.startswith(FORECAST)]
    _optimizer(network.weights, network)
    for begins, images, _, motion in lessons.frames(labelled=False, timer=timer):
        if begins:
            network.reset()
        network.step(images, motion)
        if not begins:
            network.learn(rate=timer.rate)
            _pull(network.weights, old, names, timer.rate)
    average = averaged_weights(network)
    return {n: average[n] for n in names}


def _readout_learns(
    config: HierarchyConfig, old: dict[str, np.ndarray], lessons: _Lessons, timer: _Timer
) -> dict[str, np.ndarray]:
    """Return the readout's weights after the sleep; the codes that it reads stay as they are."""
    network = Hierarchy(config, STREAMS, np, old, step=10**9, learns=False)
    names = [n for n in network.weights if n.startswith(READOUT)]
    optimizer = _optimizer(network.weights, network)
    for begins, images, truth, motion in lessons.frames(labelled=True, timer=timer):
        if begins:
            network.reset()
            network.step(images, motion, foresee=False)
        network.step(images, motion, foresee=False)
        found, _, _ = network.readout.backward(network.part(READOUT), network.answers(), truth)
        optimizer.update(network.weights, {f"{READOUT}.{n}": g for n, g in found.items()}, timer.rate)
        _pull(network.weights, old, names, timer.rate)
    average = averaged_weights(network)
    return {n: average[n] for n in names}
