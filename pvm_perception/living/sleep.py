"""Learning asleep: moments are lived through again beside painted scenes; an exam decides what is kept.

The forecast learns to foresee the place, and the readout learns from the tracker's own sure boxes. The codes
stay: all that is known rests on them. Forecast and readout do not depend on each other, so each passes or
fails alone.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pvm_perception.core.config import HierarchyConfig
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.size import FORECAST
from pvm_perception.errors import PvmError
from pvm_perception.living import exam
from pvm_perception.living.learners import READOUT, Weights, forecast_learns, readout_learns
from pvm_perception.living.moments import MomentMemory
from pvm_perception.living.replay import Remembered, Replay, recall
from pvm_perception.living.snapshots import Snapshots
from pvm_perception.living.timer import Progress, Timer
from pvm_perception.shipped import default_model

LEAST = 8  # moments that a sleep needs
EXAMINED = 64  # held-back moments at the most that are looked at in the exam
BLOCK, HELD_BACK = 4, 4  # moments in a row that are held back together; every how many blocks one is
FORECAST_SHARE = 0.3  # of the time
WAYS = (1.0, 0.5)  # shares of the way to what was learnt that take the exam, the first that passes is kept
PARTS = {FORECAST: exam.forecast_verdict, READOUT: exam.readout_verdict}
UNTAUGHT = "no moment holds a track that was sure and lasted"
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

    @property
    def kept(self) -> set[str]:
        """The parts that passed."""
        return {part for part, why in self.verdicts.items() if not why}

    def words(self) -> str:
        """Return it in one line."""
        parts = [f"{part} {f'dropped: {why}' if why else 'kept'}" for part, why in self.verdicts.items()]
        return "; ".join(parts)


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
    moments = recall(memory)
    if len(moments) < LEAST:
        raise PvmError(
            f"the memory {options.memory} has {len(moments)} moments; a sleep needs {LEAST} at least: "
            "let the robot see more, or show it films with `track --memory`"
        )
    held_back = [m for n, m in enumerate(moments) if n // BLOCK % HELD_BACK == 1]
    learnt = [m for n, m in enumerate(moments) if n // BLOCK % HELD_BACK != 1]
    replay = Replay(learnt, config, np.random.default_rng(options.seed))
    new = dict(weights)
    seconds = 60 * options.minutes
    if config.forecast.code:
        timer = Timer(seconds * FORECAST_SHARE, options.steps, "the forecast learns", progress, stop)
        new |= forecast_learns(config, weights, replay, timer)
    if config.readout.kind == "box" and replay.known:
        left = 1 - FORECAST_SHARE if config.forecast.code else 1.0
        timer = Timer(seconds * left, options.steps, "the readout learns", progress, stop)
        new |= readout_learns(config, weights, replay, timer)
    held_back = held_back[:: -(-len(held_back) // EXAMINED)]
    outcome, kept = _examined(options, config, history, (weights, new), held_back, progress)
    if kept:
        entry = {"moments": len(moments), "kept": sorted(outcome.kept), "before": outcome.before}
        history = history | {"slept": [*history.get("slept", ()), entry | {"after": outcome.after}][-20:]}
        if options.output is not None:
            save_model(options.output, config, weights | kept, history)
            outcome.path = options.output
        else:
            outcome.path = snapshots.add(config, weights | kept, history)
    return outcome


def _examined(
    options: SleepOptions,
    config: HierarchyConfig,
    history: dict[str, Any],
    models: tuple[Weights, Weights],
    held_back: Sequence[Remembered],
    progress: Progress,
) -> tuple[Outcome, Weights]:
    """Return the outcome of the exam of the old and the new weights, and the weights of what passed.

    What is half of the way to the new weights takes the exam, too, and is kept where the whole way fails.
    """
    old, new = models
    changed = {part: any((old[n] != new[n]).any() for n in _names(part, old)) for part in PARTS}
    tried = [{n: w + np.float32(way) * (new[n] - w) for n, w in old.items()} for way in WAYS]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.safetensors" for k in range(1 + len(WAYS))]
        for path, weights in zip(paths, (old, *tried), strict=True):
            save_model(path, config, weights, history)
        moments = [m.path for m in held_back]
        before, *after = exam.examine(
            paths, moments, options.scenes, lambda share: progress("the exam", share)
        )
    kept: Weights = {}
    outcome = Outcome(before=before.row(), after=after[0].row())
    for part, verdict in PARTS.items():
        if part == FORECAST and not config.forecast.code:
            continue
        whys = [verdict(before, marks) if changed[part] else UNTAUGHT for marks in after]
        good = whys.index("") if "" in whys else None
        outcome.verdicts[part] = whys[0] if good is None else ""
        if good is not None:
            kept |= {n: tried[good][n] for n in _names(part, old)}
            outcome.after |= after[good].row(part == FORECAST)
    return outcome, kept


def _names(part: str, weights: Weights) -> list[str]:
    """Return the names of a part's weights."""
    return [n for n in weights if n.startswith(part)]
