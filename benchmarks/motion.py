"""What the robot's own motion is worth as an input: clips of a turning camera, with it and without.

The readouts (no tracker, one look a frame) and the forecast are scored on the same generated clips,
in all of which the camera turns as on a turning robot: without its motion, as on a robot that has no
odometry; with it as context; and with the motion of the frame to come, which no robot knows, but
which bounds what any odometry could bring.
Usage: .venv/bin/python benchmarks/motion.py [--model FILE] [--clips N] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import make_clip
from pvm_perception.training.validate import validate

FRAMES, BATCH = 12, 16
SEED = 515_151_000


def main() -> None:
    """Score both; print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=default_model(), help="model file (default: the shipped one)"
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=160,
        help="number of clips, rounded up to a multiple of 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/motion.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    config, weights, _ = load_model(args.model)
    if not config.uses_motion:
        sys.exit(f"{args.model} does not take the robot's motion: both rows would be the same")
    clips = [
        make_clip(SEED + n, FRAMES, (config.height, config.width), turns=1.0)
        for n in tqdm(range(-(-args.clips // BATCH) * BATCH), desc="clips")
    ]
    rows = []
    ahead = [replace(c, motion=np.concatenate([c.motion[1:], c.motion[-1:]])) for c in clips]
    for name, some, motion in (("silenced", clips, False), ("given", clips, True), ("ahead", ahead, True)):
        result = validate(Hierarchy(config, BATCH, np, weights), some, motion=motion)
        rows.append({"motion": name} | {k: f"{v:.4f}" for k, v in result.row().items()})
        print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
