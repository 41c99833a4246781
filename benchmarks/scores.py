"""What a score means: how often a box is right, by its score and by its size.

Whole tracker on the scenes that scores are calibrated on, without evidence from surprise: of each detection
the readout's own score, the side of its box, and whether it overlaps a target by half. It writes, by size
and score, the share that is right; and prints the likeliest doubt by size beside the model's own slope and
offset, and the likeliest calibration as a whole (vision/calibration.py).
Usage: .venv/bin/python benchmarks/scores.py [--model FILE] [--scenes N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.model_file import load_model
from pvm_perception.shipped import default_model
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.training.calibrate import fit, sights
from pvm_perception.types import TARGETS
from pvm_perception.vision.calibration import Calibration

SIDES = (0.0, 5.0, 10.0, 20.0, 32.0, np.inf)  # px of the network's input that shows the whole frame
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=default_model(), help="model file (default: the shipped one)"
    )
    parser.add_argument(
        "--scenes", type=int, default=160, help="number of scenes of 12 frames (default: %(default)s)"
    )
    parser.add_argument("--photos", type=Path, help="photographs for backgrounds (default: all are painted)")
    parser.add_argument(
        "--output", type=Path, default=Path("build/scores.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    rows = sights(args.model, args.scenes, load_photos(args.photos) if args.photos else None)
    target, score, side, right = rows.T  # (n,) each
    table = []
    for (k, name), (low, high) in ((t, s) for t in enumerate(TARGETS) for s in pairwise(SIDES)):
        there = (target == k) & (side >= low) & (side < high)
        row = {"target": name, "side": f"{low:g}", "to": f"{high:g}", "boxes": str(int(there.sum()))}
        for least, most in pairwise(SCORES):
            some = there & (score >= least) & (score < most)
            row[f"right_{least:g}_{most:g}"] = f"{right[some].mean():.2f}" if some.any() else ""
        table.append(row)
        print(" ".join(f"{key}={value or '-'}" for key, value in row.items()))
    own = Calibration.of(load_model(args.model)[2])
    print(f"the model's: {own}")
    print(f"beside its slope and offset: {fit(rows, (own.slope, own.offset)).doubt}")
    print(f"as a whole: {fit(rows)}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, table)


if __name__ == "__main__":
    main()
