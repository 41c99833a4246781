"""How well the network foresees real and rendered sequences, against copying the last frame and optical flow.

For each sequence and horizon: the mean squared error of the forecast at the network's input over that of
repeating the last frame, of all frames and of those that move (copying's error above a bound), and the same
for optical flow (DIS) extrapolated from the last two frames and for the better of flow and copying in each
frame. Further than one frame ahead a copy of the network is shown its own forecasts. `pop_out_N`: share of
the labelled targets on which one of the N most surprising places lies.
Usage: .venv/bin/python benchmarks/forecast.py --data DIR [DIR ...] [--model FILE] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import cv2
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import print_forecasts, write_csv
from pvm_perception.evaluation.evaluate import is_stills
from pvm_perception.evaluation.forecast import Forecasts, means
from pvm_perception.streams.files import FolderStream


def folders(data: Path) -> list[Path]:
    """Return `data` and the folders below it that hold images, or `frames/` with them."""
    found = {
        p.parent.parent if p.parent.name == "frames" else p.parent
        for p in data.rglob("*")
        if p.suffix.lower() in (".jpg", ".jpeg", ".png")
    }
    return sorted(f for f in found if not is_stills(f))


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="sequences, or folders of them; labels are not needed",
    )
    parser.add_argument("--model", type=Path, help="model file (default: the shipped one)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/forecast.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for folder in tqdm([f for data in args.data for f in folders(data)], unit="sequence", disable=None):
        tracker, forecasts = Tracker(model=args.model), Forecasts()
        for frame in FolderStream(folder):
            tracker.update(frame.image, frame.stamp)
            forecasts.see(tracker, frame.image, frame.boxes)
        rows += forecasts.rows(folder.name)
    rows += means(rows)
    print_forecasts(rows)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
