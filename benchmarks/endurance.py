"""Whether memory stays flat: the tracker on a long stream of simulated frames.

Frames repeat after a minute, as on a robot that patrols. What the process holds (resident) is read at even
distances; at the end, what Python and NumPy took in one more frame, and what of it they kept.
Usage: .venv/bin/python benchmarks/endurance.py [--frames N] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import cycle
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
from tqdm import tqdm

from pvm_perception import Tracker
from pvm_perception.commands.evaluate import write_csv
from pvm_perception.evaluation.machine import allocations
from pvm_perception.streams.generated import SimulatedStream

READINGS = 20
LOOP = 1800  # frames


def resident() -> float:
    """Return what the process holds in memory, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Print each reading and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000, help="number of frames (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/endurance.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    images = [frame.image for frame in SimulatedStream(frames=LOOP, size=(240, 320))]
    tracker, rows, begin = Tracker(), [], time.monotonic()
    stream = zip(range(args.frames), cycle(images))
    for k, image in tqdm(stream, total=args.frames, unit="frame"):
        tracker.update(image, k / 30)
        if (k + 1) % (args.frames // READINGS) == 0:
            rows.append(
                {
                    "frames": k + 1,
                    "resident_mb": f"{resident():.1f}",
                    "minutes": f"{(time.monotonic() - begin) / 60:.1f}",
                }
            )
            tqdm.write(" ".join(f"{name}={value}" for name, value in rows[-1].items()))
    found = allocations(lambda k: tracker.update(images[k], (args.frames + k) / 30), 60)
    print(" ".join(f"{name}={value:.1f}" for name, value in found.items()))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
