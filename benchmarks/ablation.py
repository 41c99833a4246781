"""What each part of the network brings: small trainings with one thing changed, several seeds each.

All see the same generated clips, in an order that the seed fixes, for the same number of frames, and are
scored on the same other clips: single readouts, no tracker. A finer input needs clips rendered larger, which
are other scenes: the row before its own sees those clips shrunk. The table grows by a row with each training;
what is in it already, of the same scenes, is not run again, so a stopped run goes on.
Usage: .venv/bin/python benchmarks/ablation.py [--seeds N] [--frames N] [--photos DIR] [--output FILE]
       .venv/bin/python benchmarks/ablation.py --table FILE   prints means and spread
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import cv2
import numpy as np
from tqdm import tqdm
from two_ahead import TwoAhead

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import INPUT, Forecast, HierarchyConfig, Layer, ReadoutConfig, preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import Clip, make_clip
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.curve import read_curve
from pvm_perception.training.validate import validate
from pvm_perception.types import Truth

CLIPS, VALIDATION, FRAMES, STREAMS = 1600, 160, 8, 16
CONTEXT = ("lateral", "feedback", "global")
SEED, VALIDATION_SEED = 313_000_000, 717_000_000
SIZE, LARGE = (preset("robot", forecast=Forecast()).height, preset("robot").width), (192, 240)
WARM_UP = 100  # steps
SCORES = ("auc_green_ball", "auc_stop_sign", "prediction_over_copy", "reset_green_ball", "reset_stop_sign")
Change = Callable[[HierarchyConfig], HierarchyConfig]


def links(*kinds: str, **changes: float) -> Change:
    """Return a change of all links of some kinds."""

    def change(config: HierarchyConfig) -> HierarchyConfig:
        return dataclasses.replace(
            config,
            links=tuple(
                dataclasses.replace(link, **changes) if link.kind in kinds else link for link in config.links
            ),
        )

    return change


def silent(*kinds: str) -> Change:
    """Return a change that mutes all links of some kinds; shapes and first weights stay as they are."""
    return links(*kinds, gain=0.0)


def learning(**changes: float) -> Change:
    """Return a change of learning settings."""
    return lambda c: dataclasses.replace(c, learning=dataclasses.replace(c.learning, **changes))


def readout(**changes: int) -> Change:
    """Return a change of readout settings."""
    return lambda c: dataclasses.replace(c, readout=dataclasses.replace(c.readout, **changes))


def layers(change: Callable[[Layer], dict[str, Any]]) -> Change:
    """Return a change of every layer; `change` maps what a layer has now to what it gets."""
    return lambda c: dataclasses.replace(
        c, layers=tuple(dataclasses.replace(layer, **change(layer)) for layer in c.layers)
    )


def whole(**changes: Any) -> Change:
    """Return a change of what belongs to no layer and no link."""
    return lambda c: dataclasses.replace(c, **changes)


def grainy(config: HierarchyConfig) -> HierarchyConfig:
    """Take away layer 1: its parents see and predict the picture itself, in blocks of 8 px."""
    first, second, *_ = config.layers
    kept = tuple(
        dataclasses.replace(k, source=INPUT if k.source == first.name else k.source)
        for k in config.links
        if k.target != first.name and (k.source != first.name or k.kind == "feedforward")
    )
    return dataclasses.replace(
        config,
        block=config.block * second.children[0],
        links=kept,
        layers=(dataclasses.replace(second, children=(1, 1)), *config.layers[2:]),
        readout=dataclasses.replace(config.readout, radius=config.readout.radius[1:]),
    )


@dataclass(frozen=True)
class Variant:
    """What is changed: the network's configuration, or what is done with it."""

    change: Change = lambda config: config
    replay: float = 0.0  # share of the clips that are the hardest so far, as `train --replay`
    looks: int = 1  # at each frame, in training and in validation
    network: type[Hierarchy] = Hierarchy
    rendered: tuple[int, int] = SIZE  # (rows, cols) of the clips, which are shrunk to the network's input
    graded: bool = False  # the clips come from the easiest for the shipped model to the hardest


VARIANTS = {
    "as shipped": Variant(),
    "no context at all": Variant(silent(*CONTEXT)),
    "readout's error stays in its layer": Variant(learning(credit_depth=0)),
    "sees only what it predicts": Variant(links("feedforward", radius=0)),
    "prediction weighs nothing": Variant(learning(prediction_weight=0.0)),
    "no lateral links": Variant(silent("lateral")),
    "no feedback": Variant(silent("feedback")),
    "no global link": Variant(silent("global")),
    "readout's error descends one layer": Variant(learning(credit_depth=1)),
    "no error input": Variant(layers(lambda layer: {"terms": ("signal",)})),
    "readout without memory": Variant(readout(memory=0)),
    "codes half as wide": Variant(layers(lambda layer: {"code": layer.code // 2})),
    "prediction weighs 1, not 20": Variant(learning(prediction_weight=1.0)),
    "layers a frame apart, as in the paper": Variant(whole(schedule="parallel")),
    "predicts two frames ahead, not one": Variant(network=TwoAhead),
    "steps twice on each frame": Variant(looks=2),
    "context opens after half of the clips": Variant(links(*CONTEXT, start=CLIPS * FRAMES // STREAMS // 2)),
    "gains learn": Variant(learning(gain_speed=1.0)),
    "gains learn ten times as fast": Variant(learning(gain_speed=10.0)),
    "the hardest clips come again": Variant(replay=0.15),
    "easiest clips first": Variant(graded=True),
    "lateral links twice as far": Variant(links("lateral", radius=2)),
    "80 x 64 px, the same units": Variant(whole(height=64, width=80, block=2)),
    "units of 8 x 8 px, one layer less": Variant(grainy),
    "integral input": Variant(layers(lambda layer: {"terms": (*layer.terms, "integral")})),
    "derivative input": Variant(layers(lambda layer: {"terms": (*layer.terms, "derivative")})),
    "the paper's heat maps": Variant(whole(readout=ReadoutConfig("heatmap", hidden=98))),
    "clips rendered at 240 x 192 px, shrunk": Variant(rendered=LARGE),
    "240 x 192 px, the same units": Variant(whole(height=192, width=240, block=6), rendered=LARGE),
}


def mark(size: tuple[int, int], photos: list[np.ndarray] | None) -> str:
    """Return an identifier of the scenes as they are rendered now, by this program and these photographs."""
    clips = (make_clip(VALIDATION_SEED + n, FRAMES, size, photos) for n in range(8))
    return f"{zlib.crc32(b''.join(clip.images.tobytes() for clip in clips)):08x}"


class Shuffled:
    """Gives out the same clips again and again, in an order of its own each time, or first as they come."""

    def __init__(self, clips: list[Clip], rng: np.random.Generator, graded: bool) -> None:
        self.clips, self.rng = clips, rng
        self.left = list(range(len(clips)))[::-1] if graded else []

    def clip(self) -> Clip:
        """Return the next one."""
        self.left = self.left or list(self.rng.permutation(len(self.clips)))
        return self.clips[self.left.pop()]


def graded(clips: list[Clip]) -> list[Clip]:
    """Return clips of one length from the easiest to the hardest, by the shipped model's errors."""
    config, weights, _ = load_model(default_model())
    network, errors = Hierarchy(config, STREAMS, np, weights), []
    for begin in range(0, len(clips), STREAMS):
        some = clips[begin : begin + STREAMS]
        network.reset()
        error = np.zeros(STREAMS)
        for k in range(len(some[0].images)):
            network.step(np.stack([clip.images[k] for clip in some]))
            error += network.learn(np.stack([clip.truth[k] for clip in some]), 0.0).by_stream
        errors += list(error)
    return [clips[k] for k in np.argsort(errors, kind="stable")]


def fitted(clip: Clip, size: tuple[int, int]) -> Clip:
    """Return a clip as a network of `size` (rows, cols) sees it, with its boxes in that network's pixels."""
    rows, cols = size
    share = cols / clip.images.shape[2]
    if share == 1:
        return clip
    images = np.stack(
        [cv2.resize(image, (cols, rows), interpolation=cv2.INTER_AREA) for image in clip.images]
    )
    truth = clip.truth.copy()  # (T, M, Truth.COLUMNS)
    truth[truth[..., Truth.TARGET] >= 0, Truth.BOX] *= share
    return Clip(images, truth, clip.motion)


def trained(variant: Variant, clips: list[Clip], seed: int, frames: int) -> Hierarchy:
    """Return a network that saw `frames` frames, with the averaged weights."""
    config = variant.change(preset("robot", forecast=Forecast()))
    rng = np.random.default_rng(seed)
    network = variant.network(config, STREAMS, seed=seed)
    pool = Shuffled(graded(clips) if variant.graded else clips, rng, variant.graded)
    streams, steps = Streams(pool, STREAMS, rng, variant.replay), frames // STREAMS
    for step in range(steps):
        now = streams.next()
        if now.new.any():
            network.reset(now.new)
        rate = config.learning.rate * min(1.0, (step + 1) / WARM_UP)
        rate = max(rate * 0.5 * (1 + math.cos(math.pi * step / steps)), config.learning.final_rate)
        for _ in range(variant.looks):
            network.step(now.images)
            losses = network.learn(now.boxes, rate)
        streams.learnt(losses.by_stream)
    averaged, gains = network.optimizer.averaged(network.weights), network.gains.learnt_config()
    return variant.network(gains, STREAMS, np, averaged, step=network.step_count)


def scored(network: Hierarchy, clips: list[Clip], looks: int = 1) -> dict[str, str]:
    """Return `SCORES`: running on, and reset before each frame that is then looked at twice."""
    run = validate(network, clips, looks).row()
    reset = validate(network, clips, 2, reset_each_frame=True)
    run |= {f"reset_{target}": value for target, value in reset.auc.items()}
    return {name: f"{run[name]:.4f}" for name in SCORES}


def table(path: Path) -> None:
    """Print each variant's mean and standard deviation over seeds, apart for each kind of scenes."""
    rows = read_curve(path)
    print(f"| scenes | variant | seeds | {' | '.join(n.replace('_', ' ') for n in SCORES)} |")
    print("|---" * (3 + len(SCORES)) + "|")
    for scenes, name in dict.fromkeys((row["scenes"], row["variant"]) for row in rows):
        mine = np.array(
            [[float(r[s]) for s in SCORES] for r in rows if (r["scenes"], r["variant"]) == (scenes, name)]
        )
        spread = mine.std(axis=0, ddof=1) if len(mine) > 1 else np.full(len(SCORES), np.nan)
        cells = (f"{m:.3f} ± {s:.3f}" for m, s in zip(mine.mean(axis=0), spread, strict=True))
        print(f"| {scenes} | {name} | {len(mine)} | {' | '.join(cells)} |")


def main() -> None:
    """Train what is not in the table yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="trainings of each variant, with seeds of their own (default: %(default)s)",
    )
    parser.add_argument(
        "--frames", type=int, default=12_800, help="frames of each training (default: %(default)s)"
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=VARIANTS,
        metavar="NAME",
        help="what is trained, by the names in the table (default: all)",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        help="folder of photographs for backgrounds, as `make train-data` collects them (default: none)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/ablation.csv"),
        help="table to write (default: %(default)s)",
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this table and end")
    args = parser.parse_args()
    if args.table:
        table(args.table)
        return
    photos = load_photos(args.photos) if args.photos else None

    @cache
    def clips(first: int, count: int, size: tuple[int, int]) -> list[Clip]:
        return [make_clip(first + n, FRAMES, size, photos) for n in tqdm(range(count), desc="clips")]

    marks = {size: mark(size, photos) for size in (SIZE, LARGE)}
    rows = read_curve(args.output) if args.output.exists() else []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for name in args.variants:
        variant = VARIANTS[name]
        config, scenes = variant.change(preset("robot", forecast=Forecast())), marks[variant.rendered]
        for seed in range(1, args.seeds + 1):
            key = {"variant": name, "scenes": scenes, "seed": str(seed), "frames": str(args.frames)}
            if any(key.items() <= row.items() for row in rows):
                continue
            training, validation = (
                [
                    fitted(clip, (config.height, config.width))
                    for clip in clips(first, count, variant.rendered)
                ]
                for first, count in ((SEED, CLIPS), (VALIDATION_SEED, VALIDATION))
            )
            network = trained(variant, training, seed, args.frames)
            rows.append(key | scored(network, validation, variant.looks))
            write_csv(args.output, rows)
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
