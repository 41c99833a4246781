"""Training: many parallel streams of fresh scenes through one network, for as long as you let it.

The rate follows a half cosine over the time given. A run that is stopped leaves a checkpoint and
goes on from it; a run that starts from a shipped model begins a new half cosine with its weights.

Several ranks (`reducer`) train copies of the network, each on streams of its own, and take the mean of
them every few steps. All counts are of all ranks; rank 0 validates and writes.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
import signal
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pvm_perception.core.backend import array_module, to_numpy
from pvm_perception.core.config import PRESETS, HierarchyConfig, preset
from pvm_perception.core.growth import fits_in, grown
from pvm_perception.core.hierarchy import Hierarchy, Losses
from pvm_perception.core.model_file import OPTIMIZER, load_model, save_model
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.simulated import Clip
from pvm_perception.streams.stills import load_stills
from pvm_perception.training.calibrate import calibrate
from pvm_perception.training.pool import ClipPool, ClipRecipe
from pvm_perception.training.reducer import Alone, Reducer
from pvm_perception.training.replay import Replay
from pvm_perception.training.validate import Validation, validate
from pvm_perception.vision.calibration import NAME

WARM_UP = 300  # steps over which the rate rises, so that new Adam moments settle first
TOLD = 0.5  # share of the clips with the camera's motion; the others are a robot without odometry
VALIDATION_SEED = 977_000_001  # scenes that no training seed reaches
EXAM_FRAMES = 8  # of a validation clip, whatever the lengths trained on: comparable between runs
EXAM_STREAMS = 16  # validation clips side by side
LONG = 0.1  # share of the validation clips that are as long as the longest trained on


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is asked for (the command line's arguments)."""

    output: Path
    hours: float = 2.0
    network: str = "robot"
    start: Path | None = None  # a model or a checkpoint to go on from
    photos: Path | None = None
    stills: tuple[Path, ...] = ()  # folders of labelled stills, for every third clip
    stills_part: tuple[float, float] | None = None  # from which to which share of each; None = all
    streams: int = 16
    workers: int = 1
    seed: int = 1
    shortest: int = 2
    longest: int = 64
    rate: float | None = None
    solid: float = 0.0  # share of the clips that are scenes in three dimensions
    replay: float = 0.15  # share of the clips that are the hardest ones so far, seen once more
    device: str = "cpu"
    validate_every: float = 600.0  # seconds
    validation_clips: int = 160
    calibration_scenes: int = 64
    frames: int | None = None  # stop after so many frames, whatever the time
    average_every: int = 50  # steps after which ranks take the mean of their networks


class Streams:
    """B streams of clips that start at different moments; the hardest clips come again."""

    def __init__(self, pool: ClipPool, batch: int, rng: np.random.Generator,
                 replay: float = 0.0) -> None:
        self.pool, self.replay = pool, Replay(replay, rng.spawn(1)[0])
        self.clips = [pool.clip() for _ in range(batch)]
        self.places = [int(rng.integers(len(clip.images))) for clip in self.clips]
        self.rng, self.told = rng, rng.random(batch) < TOLD
        self.seen = [0] * batch  # how often each clip was seen to its end before
        self.errors: list[list[float]] = [[] for _ in range(batch)]  # of its frames so far

    def next(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return images (B, H, W, 3), boxes (B, M, 6), motion (B, 4), streams that begin (B,)."""
        new = np.zeros(len(self.clips), bool)
        for b, clip in enumerate(self.clips):
            if self.places[b] >= len(clip.images):
                self._change(b)
                self.places[b], new[b] = 0, True
                self.told[b] = self.rng.random() < TOLD
        now = list(zip(self.clips, self.places, strict=True))
        self.places = [k + 1 for k in self.places]
        motion = np.stack([clip.motion[k] for clip, k in now]) * self.told[:, None]
        return (np.stack([clip.images[k] for clip, k in now]),
                np.stack([clip.truth[k] for clip, k in now]), motion, new)

    def _change(self, b: int) -> None:
        """Give stream `b` its next clip, an old one or a new one."""
        if self.errors[b]:
            self.replay.judge(self.clips[b], float(np.mean(self.errors[b])), self.seen[b] + 1)
        self.errors[b] = []
        self.clips[b], self.seen[b] = self.replay.draw() or (self.pool.clip(), 0)

    def learnt(self, errors: np.ndarray) -> None:
        """Take how wrong the network was on each stream's frame of the last `next`, (B,)."""
        for mine, error in zip(self.errors, errors, strict=True):
            mine.append(float(error))


class Trainer:
    """One training run; `run` returns when the time or the frames are used up, or on a signal."""

    def __init__(self, options: TrainOptions, ranks: Reducer | None = None) -> None:
        self.options, self.ranks = options, ranks or Alone()
        self.history: dict[str, Any] = {"steps": 0, "frames": 0, "seconds": 0.0, "clips": 0}
        weights, self.config = None, preset(options.network)
        if options.start is not None:
            self.config, weights, history = load_model(options.start, optimizer=True)
            wider = self._grown_preset()
            if wider != self.config:
                tqdm.write(f"{options.start} is older than its preset {wider.name!r} is now: the network "
                           "grows", file=sys.stderr)
            weights, self.config = grown(self.config, weights, wider), wider
            self.history |= {k: history[k] for k in self.history if k in history}
        self.network = Hierarchy(self.config, options.streams, array_module(options.device),
                                 weights, options.seed, self.history["steps"])
        self.network.optimizer = Optimizer(self.network.weights, self.config.learning,
                                           self.network.xp, options.streams)
        self._resume_optimizer(weights or {})
        self.recipe = ClipRecipe((self.config.height, self.config.width), options.shortest,
                                 options.longest, str(options.photos) if options.photos else None,
                                 options.seed, tuple(map(str, options.stills)), options.stills_part,
                                 options.solid)
        self.curve = options.output / "curve.csv"
        self.checkpoint = options.output / "checkpoint.safetensors"
        self.stopped = self.rescued = False

    def _grown_preset(self) -> HierarchyConfig:
        """Return the preset of the model's name, if it has grown since; else the model's own."""
        config = self.config
        if config.name not in PRESETS:
            return config
        wider = dataclasses.replace(preset(config.name), learning=config.learning)
        return wider if fits_in(config, wider) else config

    def _resume_optimizer(self, weights: dict[str, np.ndarray]) -> None:
        optimizer = self.network.optimizer
        for name, value in weights.items():
            key = name[len(OPTIMIZER):]
            # with other streams, the moments of own weights may be kept otherwise: begin new ones
            if (name.startswith(OPTIMIZER) and key in optimizer.state
                    and optimizer.state[key].shape == value.shape):
                optimizer.state[key][...] = self.network.xp.asarray(value)
                optimizer.steps = self.history["steps"]

    def run(self) -> Validation | None:
        """Train; return the last validation, on rank 0."""
        o = self.options
        o.output.mkdir(parents=True, exist_ok=True)
        for folder in o.stills:
            load_stills(folder, o.stills_part)  # bad ones are told here, not by a worker
        pool = ClipPool(self.recipe, o.workers, self.history["clips"],
                        part=(self.ranks.rank, self.ranks.size))
        previous = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            validation = self._loop(pool)
        finally:
            pool.close()
            for s, handler in previous.items():
                signal.signal(s, handler)
        if self.ranks.rank == 0:
            self._calibrate()
        self.ranks.gather((0,), self._rescue)  # who leaves early would spin until the last one comes
        self.ranks.close()
        return validation

    def _calibrate(self) -> None:
        """Find out what the model's scores mean and write that into it."""
        o, path = self.options, self.options.output / "model.safetensors"
        if self.config.readout.kind != "box" or not o.calibration_scenes:
            return
        photos = load_photos(o.photos) if o.photos else None
        found = calibrate(path, o.calibration_scenes, photos)
        config, weights, history = load_model(path)
        save_model(path, config, weights, history | {NAME: [found.slope, found.offset]})

    def _stop(self, *_: Any) -> None:
        self.stopped = True

    def _rescue(self) -> None:
        """Write a checkpoint at once when ranks are told to stop: mpirun kills them a second later."""
        if self.stopped and not self.rescued and self.ranks.rank == 0:
            self.rescued = True
            self._save_checkpoint(self.history)
            tqdm.write(f"told to stop, or a rank ended: {self.checkpoint} is written; --from goes on "
                       "with it", file=sys.stderr)

    def _meet(self, due: bool, done: bool, check: bool) -> tuple[bool, bool]:
        """Average with the other ranks if it is time; return what all agree to do now.

        The averaged weights follow the weights linearly: their mean is the same whether taken at
        each meeting or, as here, before they are used. The moments are averaged, too: those that
        belong to another place would turn the next steps away from the common one.
        """
        if self.ranks.size == 1:
            return done, check
        self._rescue()
        if not due:
            return False, False
        told = self.ranks.gather((done, check, self.history["clips"]), self._rescue)
        done, check = map(bool, told[:, :2].any(axis=0))
        self.history["clips"] = int(told[:, 2].max())
        optimizer = self.network.optimizer
        self.ranks.mean([*self.network.weights.values(), *optimizer.moments(),
                         *(optimizer.averages() if check else ())], self._rescue)
        return done, check

    @cached_property
    def exam(self) -> list[Clip]:
        """The fixed validation clips, rendered once: other seeds, the same kinds of scenes."""
        return self._exam(min(EXAM_FRAMES, self.options.longest), self.options.validation_clips)

    @cached_property
    def long_exam(self) -> list[Clip]:
        """A few validation clips as long as the longest trained on; none where the others are."""
        if self.options.longest <= EXAM_FRAMES:
            return []
        return self._exam(self.options.longest, math.ceil(LONG * self.options.validation_clips))

    def _exam(self, frames: int, clips: int) -> list[Clip]:
        size, photos = self.recipe.size, self.recipe.photos
        pool = ClipPool(ClipRecipe(size, frames, frames, photos, VALIDATION_SEED),
                        self.options.workers)
        try:
            return [pool.clip() for _ in range(clips)]
        finally:
            pool.close()

    def validate(self) -> Validation:
        """Score the averaged weights on the validation clips."""
        return validate(self._examined(self.exam), self.exam)

    def _examined(self, exam: list[Clip]) -> Hierarchy:
        """Return a network with the averaged weights, as far along as the one that learns."""
        return Hierarchy(self.config, min(EXAM_STREAMS, len(exam)), self.network.xp, self._averaged(),
                         step=self.network.step_count, learns=False)

    def _other_scores(self) -> dict[str, float]:
        """Score them told the camera's motion, where they hear it, and late in long clips."""
        scores = {}
        if self.config.uses_motion:
            told = validate(self._examined(self.exam), self.exam, motion=True).row()
            scores |= {f"{k}_with_motion": v for k, v in told.items()}
        if self.long_exam:
            late = validate(self._examined(self.long_exam), self.long_exam,
                            run_up=self.options.longest // 2).row()
            scores |= {f"{k}_late": v for k, v in late.items()}
        return scores

    def _averaged(self) -> dict[str, np.ndarray]:
        average = self.network.optimizer.averaged(self.network.weights)
        return {k: to_numpy(v) for k, v in average.items()}

    def _loop(self, pool: ClipPool) -> Validation | None:
        o, network = self.options, self.network
        if self.ranks.rank == 0:
            _ = self.exam, self.long_exam  # rendered before the clock starts
        streams = Streams(pool, o.streams, np.random.default_rng((o.seed, self.ranks.rank)), o.replay)
        self.ranks.gather((0,), self._rescue)
        begin = last = time.monotonic()
        spent, step, losses = self.history["seconds"], 0, []
        frames_before = self.history["frames"]
        bar = tqdm(total=round(o.hours * 3600), unit="s", disable=not sys.stderr.isatty(),
                   bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}")
        peak = self.config.learning.rate if o.rate is None else o.rate
        final = min(self.config.learning.final_rate, peak)
        done, validation = False, None
        while not done:
            now = time.monotonic()
            share = min((now - begin) / (o.hours * 3600), 1.0)
            if o.frames is not None:
                share = max(share, (self.history["frames"] - frames_before) / o.frames)
            rate = final + (peak - final) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
            rate *= min(1.0, (step + 1) / WARM_UP)
            images, boxes, motion, new = streams.next()
            if new.any():
                network.reset(new)
            network.step(images, motion)
            losses.append(network.learn(boxes, rate))
            streams.learnt(to_numpy(network.readout.stream_loss))
            step += 1
            self.history["frames"] += o.streams * self.ranks.size
            self.history["steps"] = network.step_count
            self.history["seconds"] = spent + now - begin
            self.history["clips"] = pool.clips
            enough = o.frames is not None and self.history["frames"] - frames_before >= o.frames
            done = self.stopped or share >= 1.0 or enough
            check = done or now - last > o.validate_every or (step >= 500 and last == begin)
            done, check = self._meet(enough or step % o.average_every == 0, done, check)
            if check:
                bar.update(round(now - begin) - bar.n)
                if self.ranks.rank == 0:
                    validation = self.check(losses, rate,
                                            (self.history["frames"] - frames_before) / (now - begin),
                                            o.hours * 3600 - (now - begin))
                losses, last = [], time.monotonic()
            elif step % 20 == 0:
                bar.update(round(now - begin) - bar.n)
                recent = losses[-20:]
                bar.set_postfix_str(
                    f"{step * o.streams * self.ranks.size / (now - begin):.0f} frames/s "
                    f"presence {np.mean([x.presence for x in recent]):.2f} "
                    f"box {np.mean([x.box for x in recent]):.3f}")
        bar.close()
        return validation

    def check(self, losses: list[Losses], rate: float, speed: float, left: float) -> Validation:
        """Validate the averaged weights, write model, checkpoint and learning curve."""
        o = self.options
        self._save_checkpoint(self.history)  # validating takes long enough to be killed in
        validation = self.validate()
        scores = validation.row() | self._other_scores()
        mean = {k: float(np.mean([asdict(x)[k] for x in losses])) for k in asdict(losses[0])}
        row = {"frames": self.history["frames"], "seconds": round(self.history["seconds"]),
               "steps": self.history["steps"], "clips": self.history["clips"],
               "rate": f"{rate:.3g}", "frames_per_second": f"{speed:.1f}",
               **{f"loss_{k}": f"{v:.5f}" for k, v in mean.items()},
               **{k: f"{v:.4f}" for k, v in scores.items()}}
        rows = [*read_curve(self.curve), row] if self.curve.exists() else [row]
        with self.curve.open("w", newline="") as file:  # a network that grew has more columns
            writer = csv.DictWriter(file, list(row), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        history = self.history | {"validation": scores}
        self._save_checkpoint(history)
        save_model(o.output / "model.safetensors", self.config, self._averaged(), history)
        with contextlib.suppress(ImportError):  # a robot may have no matplotlib; the table says it all
            draw_curve(self.curve, self.curve.with_suffix(".png"))
        told = " ".join(f"{k} {v:.3f}" for k, v in scores.items())
        tqdm.write(f"{row['frames']} frames, {speed:.0f} a second, rate {rate:.2g}, "
                   f"{max(left, 0) / 60:.0f} min left: presence {mean['presence']:.3f} "
                   f"box {mean['box']:.4f} prediction {mean['prediction']:.4f} "
                   f"(copy {mean['copy']:.4f}) | {told}", file=sys.stderr)
        return validation

    def _save_checkpoint(self, history: dict[str, Any]) -> None:
        network = self.network
        state = {k: to_numpy(v) for k, v in network.optimizer.state.items()}
        raw = {k: to_numpy(v) for k, v in network.weights.items()}
        save_model(self.checkpoint, self.config, raw, history, state)


def read_curve(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table, such as a learning curve."""
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def draw_curve(table: Path, picture: Path) -> None:
    """Draw the learning curve, accuracy against frames seen on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = read_curve(table)
    frames = [int(r["frames"]) for r in rows]

    def column(key: str) -> list[float]:
        return [float(r[key] or "nan") for r in rows]  # empty before the network had it

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for key in rows[0]:
        if key.startswith(("auc_", "presence_f1_")):
            axes[0].plot(frames, column(key), ".-", label=key.replace("_", " "))
    for key in ("loss_presence", "loss_box", "loss_prediction", "loss_copy"):
        axes[1].plot(frames, column(key), ".-", label=key.replace("_", " "))
    axes[0].set(xscale="log", xlabel="frames seen", ylabel="generated validation scenes",
                ylim=(0, 1))
    axes[1].set(xscale="log", yscale="log", xlabel="frames seen", ylabel="training loss")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
