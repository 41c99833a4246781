"""What each part of the forecast brings: short trainings with one thing changed, several seeds each.

All see clips of the same real video, in an order that the seed fixes, for the same number of frames, and are
measured on other video: the error over that of copying the last frame, geometric mean over its clips. The
table grows by a row with each training; what is in it already is not run again, so a stopped run goes on.
Usage: .venv/bin/python benchmarks/forecast_ablation.py --video DIR [...] --held-back DIR [...] [--seeds N]
       .venv/bin/python benchmarks/forecast_ablation.py --table FILE   prints means and spread
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import FORECAST_CONTEXT, Forecast, HierarchyConfig, preset
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.core.size import FORECAST_TERMS
from pvm_perception.streams.footage import Footage, footage_clip
from pvm_perception.streams.generated import Clip
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.curve import read_curve
from pvm_perception.training.forecast_only import ForecastOnly, HeldBack

STREAMS, SHORTEST, LONGEST = 8, 6, 24
RATE, FINAL_RATE, WARM_UP = 1e-3, 5e-5, 50  # WARM_UP: steps
EXPECTATIONS = FORECAST_TERMS[3:]


def without(names: tuple[str, ...], *gone: str) -> tuple[str, ...]:
    """Return the names that are left."""
    return tuple(name for name in names if name not in gone)


VARIANTS: dict[str, Callable[[Forecast], Forecast]] = {
    "as shipped": lambda f: f,
    "one scale": lambda f: dataclasses.replace(f, scales=1),
    "two scales": lambda f: dataclasses.replace(f, scales=2),
    "no moves around the parent's": lambda f: dataclasses.replace(f, inherit=0),
    "no half steps": lambda f: dataclasses.replace(f, half=0),
    "no moves around the last one": lambda f: dataclasses.replace(f, keep=0),
    "no feedback: codes do not hear the parent's": lambda f: dataclasses.replace(
        f, context=without(FORECAST_CONTEXT, "feedback")
    ),
    "no lateral: codes do not hear the neighbours'": lambda f: dataclasses.replace(
        f, context=without(FORECAST_CONTEXT, "lateral")
    ),
    "neither feedback nor lateral": lambda f: dataclasses.replace(
        f, context=without(FORECAST_CONTEXT, "feedback", "lateral")
    ),
    "evidence of the block alone": lambda f: dataclasses.replace(
        f, terms=without(FORECAST_TERMS, "window", "siblings")
    ),
    "no evidence of siblings": lambda f: dataclasses.replace(f, terms=without(FORECAST_TERMS, "siblings")),
    "evidence alone, no expectations": lambda f: dataclasses.replace(
        f, terms=without(FORECAST_TERMS, *EXPECTATIONS)
    ),
    "no habit": lambda f: dataclasses.replace(f, terms=without(FORECAST_TERMS, "habit")),
    "codes of 16": lambda f: dataclasses.replace(f, code=16),
    "always the whole change": lambda f: dataclasses.replace(f, trust=0.0),
}


class Clips:
    """Clips of video without end, as `training.sources` makes them."""

    def __init__(self, footage: Footage, config: HierarchyConfig, seed: int) -> None:
        self.footage, self.size, self.seed, self.number = footage, (config.height, config.width), seed, 0

    def clip(self) -> Clip:
        """Return the next one."""
        rng = np.random.default_rng((self.seed, self.number))
        frames = int(rng.integers(SHORTEST, LONGEST + 1))
        self.number += 1
        return footage_clip(rng, self.footage.shot(rng, self.number, frames), self.size, known=False)


def trained(config: HierarchyConfig, footage: Footage, seed: int, frames: int) -> dict[str, np.ndarray]:
    """Return the averaged weights of a forecast that saw so many frames; of 0, the first ones."""
    network = ForecastOnly(config, STREAMS, np, None, seed)
    if not frames:
        return network.weights
    network.optimizer = Optimizer(network.weights, config.learning, np, STREAMS)
    streams = Streams(Clips(footage, config, seed), STREAMS, np.random.default_rng(seed))  # type: ignore[arg-type]
    steps = frames // STREAMS
    for step in tqdm(range(steps), desc="frames", unit_scale=STREAMS):
        now = streams.next()
        if now.new.any():
            network.reset(now.new)
        network.step(now.images, now.motion, ahead=now.ahead)
        rate = FINAL_RATE + (RATE - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))
        network.learn(rate=rate * min(1.0, (step + 1) / WARM_UP))
    return network.optimizer.averaged(network.weights)


def table(path: Path) -> None:
    """Print each variant's mean and standard deviation over seeds."""
    rows = read_curve(path)
    print("| variant | frames | seeds | error over copying's |\n|---|---|---|---|")
    for name, frames in dict.fromkeys((row["variant"], row["frames"]) for row in rows):
        mine = [
            float(row["held_back_over_copy"])
            for row in rows
            if (row["variant"], row["frames"]) == (name, frames)
        ]
        spread = np.std(mine, ddof=1) if len(mine) > 1 else math.nan
        print(f"| {name} | {frames} | {len(mine)} | {np.mean(mine):.4f} ± {spread:.4f} |")


def main() -> None:
    """Train what is not in the table yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--video", nargs="+", type=Path, help="folders of frames, video files, bags to learn from"
    )
    parser.add_argument(
        "--held-back", nargs="+", type=Path, help="folders of frames, video files, bags to measure on"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="trainings of each variant, with seeds of their own (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=int, default=4_800, help="frames of each training (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/forecast_ablation.csv"),
        help="table to write (default: %(default)s)",
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this table and end")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    if not (args.video and args.held_back):
        parser.error("--video and --held-back are needed, or --table")
    footage, held_back = Footage(args.video), HeldBack(args.held_back, preset("robot"))
    rows = read_curve(args.output) if args.output.exists() else []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    jobs = [(name, change, args.frames) for name, change in VARIANTS.items()]
    for seed in range(1, args.seeds + 1):
        for name, change, frames in [("untaught", VARIANTS["as shipped"], 0), *jobs]:
            key = {"variant": name, "seed": str(seed), "frames": str(frames)}
            if any(key.items() <= row.items() for row in rows):
                continue
            shipped = preset("robot")
            config = dataclasses.replace(shipped, forecast=change(shipped.forecast))
            held_back.config = config
            ratio = held_back.ratio(trained(config, footage, seed, frames))
            rows.append(key | {"held_back_over_copy": f"{ratio:.4f}"})
            write_csv(args.output, rows)
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
