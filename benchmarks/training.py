"""What training costs: the generator alone, the learner alone, and both with the ring between them.

Each part runs for some seconds in processes of its own making. `frames_per_cpu_second` is what one core
gives, whatever else the machine does; `frames_per_second` is what was reached. `of_slower`
compares both together with the slower part alone, by the wall clock; `cpu_over_alone` the learner's
processor time with what it needs alone: what the ring and a neighbour cost it. `ring_cpu` is the share of it
that goes into taking clips out, `waiting` that of the wall clock.
Usage: .venv/bin/python benchmarks/training.py [--seconds N] [--runs N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.streams.generated import Clip
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.pool import ClipPool, ClipRecipe, render
from pvm_perception.training.sources import Sources

LENGTHS = (2, 4, 8, 16, 32, 64)
SHORTEST, LONGEST = 2, 64  # frames of the clips trained on, as `train` draws them
STREAMS = 16
KEPT = 200  # clips in memory for the learner alone


class Memory:
    """Clips that are rendered already, again and again."""

    def __init__(self, clips: list[Clip]) -> None:
        self._clips = itertools.cycle(clips)

    def clip(self) -> Clip:
        return next(self._clips)


class Timed:
    """A pool whose `clip` is timed."""

    def __init__(self, pool: ClipPool) -> None:
        self.pool, self.waited, self.worked = pool, 0.0, 0.0

    def clip(self) -> Clip:
        wall, own = time.monotonic(), time.process_time()
        clip = self.pool.clip()
        self.waited += time.monotonic() - wall
        self.worked += time.process_time() - own
        return clip


def generate(recipe: ClipRecipe, seconds: float, sources: Sources) -> dict:
    """Render clips one after the other."""
    frames, wall, own, numbers = 0, time.monotonic(), time.process_time(), itertools.count()
    while time.monotonic() - wall < seconds:
        frames += len(render(recipe, next(numbers), sources).images)
    return row(frames, time.monotonic() - wall, time.process_time() - own)


def learn(pool: Memory | Timed, seconds: float) -> dict:
    """Train a new network of preset robot on a pool's clips."""
    config = preset("robot")
    network = Hierarchy(config, STREAMS)
    network.optimizer = Optimizer(network.weights, config.learning, np, STREAMS)
    streams = Streams(pool, STREAMS, np.random.default_rng(1))
    frames, wall, own = 0, time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        images, boxes, motion, ahead, new = streams.next()
        if new.any():
            network.reset(new)
        network.step(images, motion, ahead=ahead)
        streams.learnt(network.learn(boxes, 1e-4).by_stream)
        frames += STREAMS
    return row(frames, time.monotonic() - wall, time.process_time() - own)


def row(frames: int, wall: float, own: float) -> dict:
    """Return counts and rates."""
    return {
        "frames": frames,
        "seconds": round(wall, 1),
        "cpu_seconds": round(own, 1),
        "frames_per_second": round(frames / wall, 1),
        "frames_per_cpu_second": round(frames / own, 1),
    }


def measure(seconds: float, photos: Path | None) -> list[dict]:
    """Return a row for each part of one run."""
    size = (preset("robot").height, preset("robot").width)
    common = {"photos": str(photos) if photos else None, "seed": 1}
    drawn = ClipRecipe(size, SHORTEST, LONGEST, **common)
    sources = Sources(drawn.paths, drawn.photos)
    rows = []
    for length in tqdm(LENGTHS, desc="generator", disable=None):
        recipe = ClipRecipe(size, length, length, **common)
        rows.append(
            {"part": "generator", "clip_frames": length} | generate(recipe, seconds / len(LENGTHS), sources)
        )
    alone = generate(drawn, seconds, sources)
    rows.append({"part": "generator", "clip_frames": f"{SHORTEST}..{LONGEST}"} | alone)
    clips = [render(drawn, n, sources) for n in tqdm(range(KEPT), desc="clips", disable=None)]
    learner = learn(Memory(clips), seconds)
    rows.append({"part": "learner", "clip_frames": f"{SHORTEST}..{LONGEST}"} | learner)
    pool = ClipPool(drawn, 1)
    for _ in range(20):  # the worker has started and is ahead
        pool.clip()
    timed = Timed(pool)
    both = learn(timed, seconds)
    pool.close()
    slower = min(alone["frames_per_second"], learner["frames_per_second"])
    rows.append(
        {"part": "both", "clip_frames": f"{SHORTEST}..{LONGEST}"}
        | both
        | {
            "of_slower": round(both["frames_per_second"] / slower, 3),
            "cpu_over_alone": round(learner["frames_per_cpu_second"] / both["frames_per_cpu_second"], 3),
            "waiting": round(timed.waited / both["seconds"], 3),
            "ring_cpu": round(timed.worked / both["cpu_seconds"], 4),
        }
    )
    return rows


def main() -> None:
    """Measure the parts, some times over; print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds of each part (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=2, help="how often each part is measured (default: %(default)s)"
    )
    parser.add_argument("--photos", type=Path, help="folder of photographs for backgrounds (default: none)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/training.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    rows = []
    for run in range(args.runs):
        for one in measure(args.seconds, args.photos):
            rows.append({"run": run} | one | {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)})
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), file=sys.stderr)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
