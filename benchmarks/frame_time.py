"""Time of one frame, image array to boxes, on one core; with the share of this core's GEMM peak.

Usage: .venv/bin/python benchmarks/frame_time.py [--frames N] [--learn]
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import cv2
import numpy as np

from pvm_perception import Tracker
from pvm_perception.streams.simulated import SimulatedStream
from pvm_perception.vision.frame import network_input


def gemm_peak(n: int = 1024, rounds: int = 5) -> float:
    """Return the float32 matrix product's best throughput on this core, FLOP/s."""
    a, b = (np.random.default_rng(k).standard_normal((n, n), np.float32) for k in (0, 1))
    best = np.inf
    for _ in range(rounds):
        begin = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begin)
    return 2 * n**3 / best


def frame_flop(tracker: Tracker) -> float:
    """Return the multiply-adds of one look's matrix products, as FLOP."""
    network = tracker._network
    return 2.0 * (network.readout.multiply_adds + sum(e.multiply_adds for e in network.encoders))


def main() -> None:
    """Time it and append a row to the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--no-fovea", action="store_true", help="one look a frame")
    parser.add_argument("--output", type=Path, default=Path("build/frame_time.csv"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    images = [f.image for f in SimulatedStream(0, (480, 640), 30.0, 60)]
    tracker = Tracker(learn=args.learn, fovea=not args.no_fovea)
    for image in images[:10]:
        tracker.update(image)
    whole, shrink = [], []
    peak = gemm_peak()
    for k in range(args.frames):
        image = images[k % len(images)]
        begin = time.perf_counter()
        network_input(image, tracker._view)
        middle = time.perf_counter()
        tracker.update(image)
        shrink.append(middle - begin)
        whole.append(time.perf_counter() - middle)
    peak = max(peak, gemm_peak())
    looks = 1 if args.no_fovea else 2
    flop, median = looks * frame_flop(tracker), float(np.median(whole))
    row = {"learn": args.learn, "looks": looks, "frames": args.frames, "ms_median": round(1e3 * median, 2),
           "ms_p99": round(1e3 * float(np.percentile(whole, 99)), 2),
           "ms_resize": round(1e3 * float(np.median(shrink)), 2),
           "mflop_per_frame": round(flop / 1e6, 1),
           "gflops_achieved": round(flop / median / 1e9, 1),
           "gflops_gemm_peak": round(peak / 1e9, 1),
           "achieved_over_peak": round(flop / median / peak, 3)}
    print(" ".join(f"{k}={v}" for k, v in row.items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
