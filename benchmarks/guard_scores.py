"""Which score `stop_sign_guard` should ask for: right and false stop signs on generated sequences, by size.

The sequences of generated_sequences.py, all boxes of the whole tracker. A sign that is near enough to stop
for is large in the picture: the default `min_score` is the highest here that keeps 0.99 of the right boxes of
100 px and more.
Usage: .venv/bin/python benchmarks/guard_scores.py [--scenes N] [--model FILE] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from generated_sequences import sequence
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.boxes import FrameBoxes

TARGET = "stop_sign"
HEIGHTS = (0, 100, 150)  # px in a frame of 480 rows
SCORES = (0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def boxes(scenes: int, model: Path | None) -> np.ndarray:
    """Return a row for each box that was reported: score, height in px, whether it was right."""
    tracker, rows = Tracker(targets=(TARGET,), model=model), []
    for number in tqdm(range(scenes), unit="scene", disable=None):
        tracker.reset()
        for frame, faint in sequence(number, None):
            tracks = tracker.update(frame.image, frame.stamp)
            if TARGET not in faint:
                found = FrameBoxes.of(frame, TARGET, tracks)
                rows += [(b[4], b[3], hit) for b, hit in zip(found.boxes, found.hits, strict=True)]
    return np.array(rows, float).reshape(-1, 3)


def table(found: np.ndarray) -> list[dict[str, float]]:
    """Return what each least score keeps of the boxes of each least height."""
    rows = []
    for height in HEIGHTS:
        score, _, right = found[found[:, 1] >= height].T
        for least in SCORES:
            kept = score >= least
            rows.append(
                {
                    "height_px": height,
                    "min_score": least,
                    "boxes": int(kept.sum()),
                    "precision": right[kept].mean() if kept.any() else float("nan"),
                    "right_kept": right[kept].sum() / max(right.sum(), 1),
                    "false_kept": (1 - right[kept]).sum() / max((1 - right).sum(), 1),
                }
            )
    return [{k: float(v) if k not in ("height_px", "boxes") else v for k, v in r.items()} for r in rows]


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=150, help="number of scenes (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/guard_scores.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    rows = table(boxes(args.scenes, args.model))
    for row in rows:
        print(" ".join(f"{k}={v:.3g}" for k, v in row.items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
