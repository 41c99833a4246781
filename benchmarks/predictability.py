"""How far a target's next place can be predicted from its past: a limit for every forecast of boxes.

Takes the labelled boxes themselves, so no tracker's errors are in it, and scores a guess of each frame's box
from the frames before: the box as it was, its last motion once more, and a linear prediction from its
last one, two or four motions, fitted in hindsight to the very sequence that it is scored on.
Usage: .venv/bin/python benchmarks/predictability.py --data DIR [--output FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.evaluate import sequences
from pvm_perception.evaluation.metrics import overlap, success_auc
from pvm_perception.streams.groundtruth import read_groundtruth

RUN = 6  # frames in a row that are needed: four motions, and the one to guess
LEAST = 8  # such runs that a sequence must have
ORDERS = (1, 2, 4)


def runs(folder: Path, target: str) -> np.ndarray:
    """Return the target's boxes in every run of frames that all have just one, (n, RUN, 4).

    Rows are centre x, centre y, width, height; source px.
    """
    frames = sorted(read_groundtruth(folder / "groundtruth.csv").boxes.items())
    boxes = [
        [(b.x + b.w / 2, b.y + b.h / 2, b.w, b.h) for b in found if b.target == target] for _, found in frames
    ]
    found = [
        [here[0] for here in boxes[k : k + RUN]]
        for k in range(len(boxes) - RUN + 1)
        if all(len(here) == 1 for here in boxes[k : k + RUN])
    ]
    return np.array(found).reshape(-1, RUN, 4)


def score(found: np.ndarray, move: np.ndarray) -> float:
    """Return the success AUC of the last box but one, moved by (n, 2), against the last."""
    now, then = found[:, -2], found[:, -1]
    guess = np.concatenate([now[:, :2] + move - now[:, 2:] / 2, now[:, 2:]], axis=1)
    truth = np.concatenate([then[:, :2] - then[:, 2:] / 2, then[:, 2:]], axis=1)
    return success_auc(overlap(guess, truth))


def fitted(moves: np.ndarray, order: int) -> np.ndarray:
    """Return each run's last motion predicted from the `order` before it; least squares, by axis."""
    guess = np.empty_like(moves[:, -1])
    for axis in (0, 1):
        past, last = moves[:, -1 - order : -1, axis], moves[:, -1, axis]
        guess[:, axis] = past @ np.linalg.lstsq(past, last, rcond=None)[0]
    return guess


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sequences")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/predictability.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    rows = []
    for folder in sequences(args.data):
        for target in read_groundtruth(folder / "groundtruth.csv").targets:
            found = runs(folder, target)
            if len(found) < LEAST or folder.name.endswith("_stills"):
                continue
            moves = np.diff(found[:, :, :2], axis=1)
            size = np.sqrt(found[:, -2, 2] * found[:, -2, 3])
            guesses = {"as_it_was": 0 * moves[:, -1], "last_motion": moves[:, -2]}
            guesses |= {f"fitted_{order}": fitted(moves, order) for order in ORDERS}
            rows.append(
                {
                    "sequence": folder.name,
                    "target": target,
                    "runs": len(found),
                    "motion_in_sides": f"{(np.hypot(*moves[:, -1].T) / size).mean():.2f}",
                }
                | {name: f"{score(found, move):.3f}" for name, move in guesses.items()}
            )
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
