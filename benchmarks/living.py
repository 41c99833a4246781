"""What learning on the stream itself does: passes over the same labelled frames, frozen and learning.

A sequence is shown again and again; between passes the state is forgotten and the weights are kept. Pass 0 is
of a tracker that does not learn.
Usage: .venv/bin/python benchmarks/living.py --data FOLDER [--passes N] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.evaluate import Result, evaluate_sequence, is_stills, sequences


def main() -> int:
    """Show every sequence; write a row for each pass and target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled sequences")
    parser.add_argument("--passes", type=int, default=20, help="how often the learning tracker sees each")
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/living.csv"), help="the table")
    args = parser.parse_args()
    rows: list[dict[str, float | int | str]] = []
    for folder in tqdm([f for f in sequences(args.data) if not is_stills(f)], unit="sequence"):
        learner = Tracker(model=args.model, learn=True)
        for number in range(args.passes + 1):
            tracker = learner if number else Tracker(model=args.model)
            tracker.reset()
            rows += [_row(r, number) for r in evaluate_sequence(folder, lambda t=tracker: t)]  # type: ignore[misc]
        write_csv(args.output, rows)
    frozen = {(r["sequence"], r["target"]): r for r in rows if r["pass"] == 0}
    fall = max(frozen[r["sequence"], r["target"]]["iou"] - r["iou"] for r in rows if not np.isnan(r["iou"]))
    alarms = max(
        r["false_alarms"] - frozen[r["sequence"], r["target"]]["false_alarms"]
        for r in rows
        if not np.isnan(r["false_alarms"])
    )
    ratio = [
        np.exp(np.mean([np.log(r["forecast_over_copy"]) for r in rows if r["pass"] == p]))
        for p in (0, args.passes)
    ]
    print(
        f"living: passes={args.passes} iou_fall={fall:.4f} alarms_rise={alarms:.4f} "
        f"forecast_over_copy={ratio[0]:.3f} to {ratio[1]:.3f}"
    )
    return 0


def _row(result: Result, number: int) -> dict[str, float | int | str]:
    present = [s.iou for s in result.shots if s.present]
    return {
        "sequence": result.sequence,
        "target": result.target,
        "pass": number,
        "iou": float(np.mean(present)) if present else float("nan"),
        "false_alarms": result.row()["false_alarms"],
        "forecast_over_copy": result.prediction_error / result.copy_error,
    }


if __name__ == "__main__":
    raise SystemExit(main())
