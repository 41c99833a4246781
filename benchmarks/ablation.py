"""What each part of the network brings: small trainings with one thing changed, several seeds each.

All see the same generated clips, in an order that the seed fixes, for the same number of frames, and are
scored on the same other clips: single readouts, no tracker. The table grows by a row with each training;
what is in it already is not run again, so a stopped run goes on.
Usage: .venv/bin/python benchmarks/ablation.py [--seeds N] [--frames N] [--photos DIR] [--output FILE]
       .venv/bin/python benchmarks/ablation.py --table FILE   prints means and spread
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
from pvm_perception.core.config import HierarchyConfig, Link, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.learning.train import Streams, read_curve
from pvm_perception.learning.validate import validate
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.streams.simulated import Clip, make_clip

CLIPS, EXAM, FRAMES, STREAMS = 1600, 160, 8, 16
SEED, EXAM_SEED = 313_000_000, 717_000_000
WARM_UP = 100  # steps
SCORES = ("auc_green_ball", "auc_stop_sign", "prediction_over_copy", "reset_green_ball",
          "reset_stop_sign")


def silent(*kinds: str) -> Callable[[HierarchyConfig], HierarchyConfig]:
    """Return a change that mutes all links of some kinds; shapes and first weights stay as they are."""
    def change(config: HierarchyConfig) -> HierarchyConfig:
        def muted(link: Link) -> Link:
            return dataclasses.replace(link, gain=0.0) if link.kind in kinds else link
        return dataclasses.replace(config, links=tuple(map(muted, config.links)))
    return change


def learning(**changes: float) -> Callable[[HierarchyConfig], HierarchyConfig]:
    """Return a change of learning settings."""
    return lambda c: dataclasses.replace(c, learning=dataclasses.replace(c.learning, **changes))


def readout(**changes: int) -> Callable[[HierarchyConfig], HierarchyConfig]:
    """Return a change of readout settings."""
    return lambda c: dataclasses.replace(c, readout=dataclasses.replace(c.readout, **changes))


def layers(**changes: object) -> Callable[[HierarchyConfig], HierarchyConfig]:
    """Return a change of every layer."""
    return lambda c: dataclasses.replace(
        c, layers=tuple(dataclasses.replace(layer, **changes) for layer in c.layers))


def narrow(config: HierarchyConfig) -> HierarchyConfig:
    """Let each unit see no more than it predicts: its own block, without the blocks around."""
    return dataclasses.replace(config, links=tuple(
        dataclasses.replace(link, radius=0) if link.kind == "feedforward" else link
        for link in config.links))


def half(config: HierarchyConfig) -> HierarchyConfig:
    """Halve every code."""
    return dataclasses.replace(config, layers=tuple(
        dataclasses.replace(layer, code=layer.code // 2) for layer in config.layers))


VARIANTS: dict[str, Callable[[HierarchyConfig], HierarchyConfig]] = {
    "as shipped": lambda c: c,
    "no context at all": silent("lateral", "feedback", "global"),
    "readout's error stays in its layer": learning(credit_depth=0),
    "sees only what it predicts": narrow,
    "prediction weighs nothing": learning(prediction_weight=0.0),
    "no lateral links": silent("lateral"),
    "no feedback": silent("feedback"),
    "no global link": silent("global"),
    "readout's error descends one layer": learning(credit_depth=1),
    "no error input": layers(terms=("signal",)),
    "readout without memory": readout(memory=0),
    "codes half as wide": half,
    "prediction weighs 1, not 20": learning(prediction_weight=1.0),
    "layers a frame apart, as in the paper": lambda c: dataclasses.replace(c, schedule="parallel"),
    "the hardest clips come again": lambda c: c,
}
REPLAY = {"the hardest clips come again": 0.15}  # share of the clips, as `train --replay`


class Shuffled:
    """Gives out the same clips again and again, in an order of its own each time."""

    def __init__(self, clips: list[Clip], rng: np.random.Generator) -> None:
        self.clips, self.rng, self.left = clips, rng, []

    def clip(self) -> Clip:
        """Return the next one."""
        self.left = self.left or list(self.rng.permutation(len(self.clips)))
        return self.clips[self.left.pop()]


def trained(config: HierarchyConfig, clips: list[Clip], seed: int, frames: int,
            replay: float = 0.0) -> dict[str, np.ndarray]:
    """Return the averaged weights after `frames` frames."""
    rng = np.random.default_rng(seed)
    network = Hierarchy(config, STREAMS, seed=seed)
    streams, steps = Streams(Shuffled(clips, rng), STREAMS, rng, replay), frames // STREAMS
    for step in range(steps):
        images, boxes, _, new = streams.next()
        if new.any():
            network.reset(new)
        network.step(images)
        rate = config.learning.rate * min(1.0, (step + 1) / WARM_UP)
        network.learn(boxes, max(rate * 0.5 * (1 + math.cos(math.pi * step / steps)),
                                 config.learning.final_rate))
        streams.learnt(network.readout.trouble)
    return network.optimizer.averaged(network.weights)


def scored(config: HierarchyConfig, weights: dict[str, np.ndarray], exam: list[Clip]
           ) -> dict[str, str]:
    """Return `SCORES`: running on, and reset before each frame that is then looked at twice."""
    run = validate(config, weights, exam, np, STREAMS).row()
    reset = validate(config, weights, exam, np, STREAMS, reset_each_frame=True)
    run |= {f"reset_{target}": value for target, value in reset.auc.items()}
    return {name: f"{run[name]:.4f}" for name in SCORES}


def table(path: Path) -> None:
    """Print each variant's mean and standard deviation over seeds."""
    rows = read_curve(path)
    print(f"| variant | seeds | {' | '.join(n.replace('_', ' ') for n in SCORES)} |")
    print("|---" * (2 + len(SCORES)) + "|")
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = np.array([[float(r[s]) for s in SCORES] for r in rows if r["variant"] == name])
        spread = mine.std(axis=0, ddof=1) if len(mine) > 1 else np.full(len(SCORES), np.nan)
        cells = (f"{m:.3f} ± {s:.3f}" for m, s in zip(mine.mean(axis=0), spread, strict=True))
        print(f"| {name} | {len(mine)} | {' | '.join(cells)} |")


def main() -> None:
    """Train what is not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=12_800)
    parser.add_argument("--photos", type=Path, help="folder of photographs (make train-data)")
    parser.add_argument("--output", type=Path, default=Path("build/ablation.csv"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this table and end")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    photos = load_photos(args.photos) if args.photos else None
    size = (preset("robot").height, preset("robot").width)
    clips, exam = ([make_clip(first + n, FRAMES, size, photos) for n in tqdm(range(count), desc="clips")]
                   for first, count in ((SEED, CLIPS), (EXAM_SEED, EXAM)))
    rows = read_curve(args.output) if args.output.exists() else []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for name, change in VARIANTS.items():
        for seed in range(1, args.seeds + 1):
            key = {"variant": name, "seed": str(seed), "frames": str(args.frames)}
            if any(key.items() <= row.items() for row in rows):
                continue
            config = change(preset("robot"))
            weights = trained(config, clips, seed, args.frames, REPLAY.get(name, 0.0))
            rows.append(key | scored(config, weights, exam))
            write_csv(args.output, rows)
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
