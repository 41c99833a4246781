"""What the robot's own motion is worth as an input: clips of a turning camera, with it and without.

The readouts (no tracker, one look a frame) and the forecast are scored on generated clips in which the
camera turns as on a robot: steadily, or by stops and starts, with a few frames from one speed to the
other. Each is shown without the motion, as on a robot without odometry; with the motion up to each frame;
with the speed at the frame's stamp besides, as odometry tells it, which the robot takes to go on; and with
the motion to the next frame, which it knows where odometry is faster than pictures.
Usage: .venv/bin/python benchmarks/motion.py [--model FILE] [--clips N] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from tqdm import tqdm

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.model_file import load_model
from pvm_perception.shipped import default_model
from pvm_perception.streams.generated import make_clip
from pvm_perception.streams.scenes.scene import Scene
from pvm_perception.training.validate import SPEED_KNOWN, validate

FRAMES, BATCH = 12, 16
SEED = 515_151_000
KNOWN: dict[str, dict[str, Any]] = {
    "silenced": {},
    "up to the frame": {"motion": True, "unknown_share": None},
    "and its speed": {"motion": True, "unknown_share": SPEED_KNOWN},
    "to the next frame": {"motion": True, "unknown_share": 0.0},
}


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
    rows, size = [], (config.height, config.width)
    for turns, stops in (("steady", 0.0), ("stop and go", 1.0)):
        clips = [
            make_clip(SEED + n, FRAMES, size, turns=1.0, scene=partial(Scene, stops=stops))
            for n in tqdm(range(-(-args.clips // BATCH) * BATCH), desc=f"clips, {turns}")
        ]
        for name, knows in KNOWN.items():
            result = validate(Hierarchy(config, BATCH, np, weights), clips, **knows)
            rows.append({"turns": turns, "motion": name} | {k: f"{v:.4f}" for k, v in result.row().items()})
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
