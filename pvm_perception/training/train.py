"""Training: many parallel streams of fresh scenes through one network, for as long as you let it.

The rate follows a half cosine over the time given. A run that is stopped leaves a checkpoint and
goes on from it; a run that starts from a shipped model begins a new half cosine with its weights.

Several ranks (`reducer`) train copies of the network, each on streams of its own, and take the mean of
them every few steps. All counts are of all ranks; rank 0 validates and writes.
"""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pvm_perception import signals
from pvm_perception.core.backend import array_module
from pvm_perception.core.config import preset
from pvm_perception.core.gains import graded
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.interfaces import Losses
from pvm_perception.core.model_file import load_model, save_model
from pvm_perception.core.size import FORECAST
from pvm_perception.streams.hold_out import Part
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.training.calibrate import calibrate
from pvm_perception.training.checkpoint import (
    COUNTS,
    averaged_weights,
    load_start,
    optimizer_of,
    resume_optimizer,
    save_checkpoint,
)
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.curve import add_to_curve, draw_curve
from pvm_perception.training.forecast_only import ForecastOnly, HeldBack
from pvm_perception.training.pool import ClipPool, ClipRecipe
from pvm_perception.training.progress import Progress
from pvm_perception.training.reducer import Alone, Reducer
from pvm_perception.training.soft_labels import SoftLabels
from pvm_perception.training.source_paths import SourcePaths
from pvm_perception.training.sources import Sources
from pvm_perception.training.target_part import READOUT_ALONE, optimizer_for
from pvm_perception.training.validate import Validation
from pvm_perception.training.validation_set import ValidationSet

WARM_UP = 300  # steps over which the rate rises, so that new Adam moments settle first


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is asked for (the command line's arguments)."""

    output: Path
    hours: float = 2.0
    network: str = "robot"
    start: Path | None = None  # a model or a checkpoint to go on from
    photos: Path | None = None
    learns: str = "all"  # or "codes", "readout", a target, "forecast": see `train --help`
    held_back: tuple[Path, ...] = ()  # real video on which the forecast is measured, and not learnt
    stills: tuple[Path, ...] = ()  # folders of labelled stills
    stills_part: Part | None = None  # of each, as `streams.hold_out` has it; None = all
    video: tuple[Path, ...] = ()  # folders of frames, video files and bags, of which nothing is known
    negatives: tuple[Path, ...] = ()  # the same, known to hold no target
    shares: tuple[tuple[str, float], ...] = ()  # (kind, share) of the clips, see `sources.SHARES`
    teachers: tuple[tuple[str, Path], ...] = ()  # (target, model whose answers are learnt for it)
    streams: int = 16
    workers: int = 1
    seed: int = 1
    shortest: int = 2
    longest: int = 64
    rate: float | None = None
    gains: tuple[tuple[str, float], ...] = ()  # (kind, gain) of context links
    gain_speed: float | None = None  # of gains that learn, over the weights' rate
    solid: float = 0.0  # share of the clips that are scenes in three dimensions
    replay: float = 0.15  # share of the clips that are the hardest ones so far, seen once more
    device: str = "cpu"
    validate_every: float = 600.0  # seconds
    validation_clips: int = 160
    calibration_scenes: int = 64
    frames: int | None = None  # stop after so many frames, whatever the time
    average_every: int = 50  # steps after which ranks take the mean of their networks


class Trainer:
    """One training run; `run` returns when the time or the frames are used up, or on a signal.

    Parameters
    ----------
    options
        What is asked for.
    ranks
        The other copies of the network; None trains one alone.

    Attributes
    ----------
    network : the network that learns, with its optimizer
    history : steps, frames, seconds and clips of all training behind it
    validation_set : the clips that it is validated on
    curve, checkpoint : files that it writes, besides the model
    """

    def __init__(self, options: TrainOptions, ranks: Reducer | None = None) -> None:
        self.options, self.ranks = options, ranks or Alone()
        self.history: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {"seconds": 0.0}
        weights, self.config = None, preset(options.network)
        self._before: dict[str, Any] = {}  # the history of the model that it goes on from
        if options.start is not None:
            self.config, weights, self._before = load_start(options.start)
            behind = self._before.get(FORECAST, {}) if options.learns == FORECAST else self._before
            self.history |= {k: behind[k] for k in COUNTS if k in behind}
        self.config = graded(self.config, dict(options.gains), options.gain_speed)
        network = ForecastOnly if options.learns == FORECAST else Hierarchy
        self.network = network(
            self.config,
            options.streams,
            array_module(options.device),
            weights,
            options.seed,
            self.history["steps"],
        )
        self.network.optimizer = optimizer_for(self.network, options.learns, options.streams)
        resume_optimizer(self.network.optimizer, weights or {}, self.history["steps"])
        self.soft_labels = SoftLabels(options.teachers, self.config, options.streams, self.network.xp)
        self.recipe = ClipRecipe(
            (self.config.height, self.config.width),
            options.shortest,
            options.longest,
            str(options.photos) if options.photos else None,
            options.seed,
            options.solid,
            self._paths(),
        )
        self.validation_set = ValidationSet(self.recipe, options.validation_clips, options.workers)
        self.held_back = HeldBack(options.held_back, self.config) if options.held_back else None
        self.curve = options.output / "curve.csv"
        self.checkpoint = options.output / "checkpoint.safetensors"
        self.stopped = self.rescued = False

    def _paths(self) -> SourcePaths:
        o, part = self.options, self.options.stills_part
        stills, video, negatives = (tuple(map(str, paths)) for paths in (o.stills, o.video, o.negatives))
        if part is not None and not isinstance(part, str):  # the command line gives a list
            part = (part[0], part[1])
        return SourcePaths(stills, part, video, negatives, tuple(o.shares))

    def run(self) -> Validation | None:
        """Train; return the last validation, on rank 0."""
        o = self.options
        o.output.mkdir(parents=True, exist_ok=True)
        Sources(self.recipe.paths)  # what is wrong with a path fails here, not in a worker
        pool = ClipPool(
            self.recipe, o.workers, self.history["clips"], part=(self.ranks.rank, self.ranks.size)
        )
        before = signals.handle(self._stop)
        try:
            validation = self._loop(pool)
        finally:
            pool.close()
            signals.put_back(before)
        if self.ranks.rank == 0 and o.learns in ("all", *READOUT_ALONE):
            self._calibrate()
        self.ranks.gather((0,), self._rescue)  # a rank that left early would make the others wait in a loop
        self.ranks.close()
        return validation

    def _loop(self, pool: ClipPool) -> Validation | None:
        """Step until the time is used up; validate and write now and then, and at the end."""
        o, network = self.options, self.network
        if self.ranks.rank == 0 and o.learns != FORECAST:
            self.validation_set.render()
        streams = Streams(pool, o.streams, np.random.default_rng((o.seed, self.ranks.rank)), o.replay)
        self.ranks.gather((0,), self._rescue)  # all have rendered: now the clock starts
        progress = Progress(o, self.history, self.ranks)
        losses: list[Losses] = []
        done, validation = False, None
        while not done:
            share = progress.share()
            rate = self._rate(share, progress.steps)
            losses.append(self._step(streams, rate))
            progress.count(network.step_count, pool.clips)
            done = self.stopped or share >= 1.0 or progress.enough
            meet = progress.enough or progress.steps % o.average_every == 0
            done, check = self._meet(meet, done, done or progress.check_due())
            if check:
                progress.advance()
                if self.ranks.rank == 0:
                    validation = self.check(losses, rate, progress.speed, progress.left)
                losses = []
                progress.checked()
            else:
                progress.show(losses)
        progress.close()
        return validation

    def _rate(self, share: float, steps: int) -> float:
        """Return the learning rate when a share 0..1 of the run and so many of its steps are over."""
        peak = self.config.learning.rate if self.options.rate is None else self.options.rate
        final = min(self.config.learning.final_rate, peak)
        rate = final + (peak - final) * 0.5 * (1 + math.cos(math.pi * share))
        return rate * min(1.0, (steps + 1) / WARM_UP)

    def _step(self, streams: Streams, rate: float) -> Losses:
        """Run one frame of every stream and learn from it."""
        now = streams.next()
        if now.new.any():
            self.network.reset(now.new)
        learns, soft = self.options.learns, self.soft_labels(now.images, now.motion, now.new)
        codes = learns not in READOUT_ALONE
        self.network.step(now.images, now.motion, foresee=codes, ahead=now.ahead)
        losses = self.network.learn(None if learns == "codes" else now.boxes, rate, codes, soft)
        streams.learnt(losses.by_stream)
        return losses

    def _meet(self, due: bool, done: bool, check: bool) -> tuple[bool, bool]:
        """Average with the other ranks if it is time; return what all agree to do now.

        The averaged weights follow the weights linearly: their mean is the same whether taken at
        each meeting or, as here, before they are used. The moments are averaged, too: those that
        belong to another point would turn the next steps away from the common one.

        Parameters
        ----------
        due
            Whether this step is one after which ranks meet.
        done
            Whether this rank would end.
        check
            Whether this rank would validate.
        """
        if self.ranks.size == 1:
            return done, check
        self._rescue()
        if not due:
            return False, False
        wishes = self.ranks.gather((done, check, self.history["clips"]), self._rescue)  # (ranks, 3)
        done, check = (bool(wishes[:, k].any()) for k in range(2))
        self.history["clips"] = int(wishes[:, 2].max())
        optimizer = optimizer_of(self.network)
        self.ranks.mean(
            [*self.network.weights.values(), *optimizer.moments(), *(optimizer.averages() if check else ())],
            self._rescue,
        )
        return done, check

    def validate(self) -> Validation:
        """Score the averaged weights on the validation clips."""
        return self.validation_set.validate(self._averaged)

    def _averaged(self, streams: int) -> Hierarchy:
        """Return a network with the averaged weights, as many steps old as the one that learns."""
        return Hierarchy(
            self.network.gains.learnt_config(),
            streams,
            self.network.xp,
            averaged_weights(self.network),
            step=self.network.step_count,
            learns=False,
        )

    def check(self, losses: list[Losses], rate: float, speed: float, left: float) -> Validation | None:
        """Validate the averaged weights; write model, checkpoint and learning curve.

        Parameters
        ----------
        losses
            Of the steps since the last validation.
        rate
            The learning rate now.
        speed
            Frames a second.
        left
            Seconds left.
        """
        validation, scores = None, {}
        if self.options.learns != FORECAST:
            save_checkpoint(self.checkpoint, self.network, self.history)  # validating may take minutes
            validation = self.validate()
            scores = validation.row() | self.validation_set.other_scores(self._averaged)
        if self.held_back:
            scores["held_back_over_copy"] = self.held_back.ratio(averaged_weights(self.network))
        mean = {k: float(np.mean([x.means()[k] for x in losses])) for k in losses[0].means()}
        add_to_curve(
            self.curve,
            {
                "frames": self.history["frames"],
                "seconds": round(self.history["seconds"]),
                "steps": self.history["steps"],
                "clips": self.history["clips"],
                "rate": f"{rate:.3g}",
                "frames_per_second": f"{speed:.1f}",
                **{f"loss_{k}": f"{v:.5f}" for k, v in mean.items()},
                **{k: f"{v:.4f}" for k, v in scores.items()},
            },
        )
        history = self.history | {"validation": scores}
        if self.options.learns == FORECAST:  # what is known of the rest stays true
            history = self._before | {FORECAST: history}
        elif FORECAST in self._before:
            history[FORECAST] = self._before[FORECAST]
        save_checkpoint(self.checkpoint, self.network, history)
        save_model(
            self.options.output / "model.safetensors",
            self.network.gains.learnt_config(),
            averaged_weights(self.network),
            history,
        )
        with contextlib.suppress(ImportError):  # without matplotlib the table remains
            draw_curve(self.curve, self.curve.with_suffix(".png"))
        summary = " ".join(f"{k} {v:.3f}" for k, v in scores.items())
        tqdm.write(
            f"{self.history['frames']} frames, {speed:.0f} a second, rate {rate:.2g}, "
            f"{max(left, 0) / 60:.0f} min left: presence {mean['presence']:.3f} "
            f"box {mean['box']:.4f} prediction {mean['prediction']:.4f} "
            f"(copy {mean['copy']:.4f}) | {summary}",
            file=sys.stderr,
        )
        return validation

    def _calibrate(self) -> None:
        """Measure what the model's scores mean and write that into it."""
        o, path = self.options, self.options.output / "model.safetensors"
        if self.config.readout.kind != "box" or not o.calibration_scenes:
            return
        photos = load_photos(o.photos) if o.photos else None
        found = calibrate(path, o.calibration_scenes, photos)
        config, weights, history = load_model(path)
        save_model(path, config, weights, history | found.entries())

    def _stop(self, *_: Any) -> None:
        self.stopped = True

    def _rescue(self) -> None:
        """Write a checkpoint at once when ranks must stop: mpirun kills them a second later."""
        if self.stopped and not self.rescued and self.ranks.rank == 0:
            self.rescued = True
            save_checkpoint(self.checkpoint, self.network, self.history)
            tqdm.write(
                f"asked to stop, or a rank ended: {self.checkpoint} is written; --from goes on with it",
                file=sys.stderr,
            )
