"""What a score means: how often a box is right, by its score and by its size.

Whole tracker on the scenes that scores are calibrated on, without evidence from surprise: of each detection
the readout's own score, the side of its box, and whether it overlaps a target by half. It writes, by size
and score, the share that is right; and prints the model's calibration, the doubt by size that fits best with
the model's slope and offset, and the calibration that fits best of all (vision/calibration.py).
Usage: .venv/bin/python benchmarks/scores.py [--model FILE] [--scenes N] [--photos DIR] [--output FILE]
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from generated_sequences import scene_arguments

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.model_file import load_model
from pvm_perception.streams.scenes.photos import load_photos
from pvm_perception.training.calibrate import fit, sights
from pvm_perception.types import TARGETS
from pvm_perception.vision.calibration import Calibration

SIDES = (0.0, 5.0, 10.0, 20.0, 32.0, np.inf)  # px of the network's input that shows the whole frame
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def shares_right(bounds: Sequence[float], score: np.ndarray, right: np.ndarray) -> dict[str, str]:
    """Return the share of the boxes that is right between every two bounds of the score, by column."""
    shares = {}
    for least, most in pairwise(bounds):
        some = (score >= least) & (score < most)
        shares[f"right_{least}_{most}"] = f"{right[some].mean():.2f}" if some.any() else ""
    return shares


def main() -> None:
    """Count, print and write."""
    parser = scene_arguments(__doc__, 160)
    parser.add_argument(
        "--output", type=Path, default=Path("build/scores.csv"), help="table to write (default: %(default)s)"
    )
    args = parser.parse_args()
    model = args.model[0]
    rows = sights(model, args.scenes, load_photos(args.photos) if args.photos else None)
    target, score, side, right = rows.T  # (n,) each
    table = []
    for (k, name), (low, high) in ((t, s) for t in enumerate(TARGETS) for s in pairwise(SIDES)):
        there = (target == k) & (side >= low) & (side < high)
        row = {"target": name, "side": f"{low:g}", "to": f"{high:g}", "boxes": str(int(there.sum()))}
        row |= shares_right(SCORES, score[there], right[there])
        table.append(row)
        print(" ".join(f"{key}={value or '-'}" for key, value in row.items()))
    own = Calibration.of(load_model(model)[2])
    print(f"the model's: {own}")
    print(f"the doubt that fits best with its slope and offset: {fit(rows, (own.slope, own.offset)).doubt}")
    print(f"the calibration that fits best of all: {fit(rows)}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, table)


if __name__ == "__main__":
    main()
