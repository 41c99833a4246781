"""What training by several ranks costs: steps, meetings, frames; and a prediction for more of them.

Ranks learn from clips in memory, so that no renderer is in the way, and meet every few steps. One rank; two
on this machine; two on two hosts with a cable of 1 Gbit/s between them, where network namespaces are
allowed. Medians, by the wall clock and (`_cpu`) by processor time, which other work on the machine disturbs
less. The prediction takes processor times for a core of one's own; the formula is in docs/training.md.
Usage: .venv/bin/python benchmarks/scale_out.py [--seconds N] [--runs N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from training import LONGEST, SHORTEST, STREAMS, Memory

from pvm_perception.commands.evaluate import write_csv
from pvm_perception.core.config import preset
from pvm_perception.core.hierarchy import Hierarchy
from pvm_perception.core.optimizer import Optimizer
from pvm_perception.training.clip_streams import Streams
from pvm_perception.training.pool import ClipRecipe, render
from pvm_perception.training.reducer import Reducer, join

ROOT = Path(__file__).resolve().parent.parent
EVERY = 10  # steps between two meetings here: more of them to measure
KEPT = 48  # clips in memory
DEFAULT_EVERY = 50  # of `train --average-every`, for the prediction
LINKS = {"1 Gbit/s": (1e9 / 8, 100e-6), "10 Gbit/s": (1e10 / 8, 30e-6)}  # bytes a second; seconds a message


class Clock:
    """Wall and processor seconds of each round of one kind of work."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.own: list[float] = []

    def __enter__(self) -> None:
        self._begin = time.monotonic(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall.append(time.monotonic() - self._begin[0])
        self.own.append(time.process_time() - self._begin[1])

    def row(self, name: str) -> dict[str, float]:
        return {
            f"{name}_ms": round(1e3 * float(np.median(self.wall)), 2),
            f"{name}_ms_cpu": round(1e3 * float(np.median(self.own)), 2),
        }


def measure(team: Reducer, seconds: float) -> dict:
    """Train a new network of preset robot on this rank; return what its parts took."""
    config = preset("robot")
    recipe = ClipRecipe((config.height, config.width), SHORTEST, LONGEST)
    clips = Memory([render(recipe, n * team.size + team.rank) for n in range(KEPT)])
    network = Hierarchy(config, STREAMS)
    network.optimizer = Optimizer(network.weights, config.learning, np, STREAMS)
    streams = Streams(clips, STREAMS, np.random.default_rng(team.rank))
    shared = [*network.weights.values(), *network.optimizer.moments()]
    steps, waits, means = Clock(), Clock(), Clock()
    team.gather((0,), lambda: None)
    begin, goes_on = time.monotonic(), True
    while goes_on:
        for _ in range(EVERY):
            with steps:
                images, boxes, motion, ahead, new = streams.next()
                if new.any():
                    network.reset(new)
                network.step(images, motion, ahead=ahead)
                network.learn(boxes, 1e-4)
        with waits:
            wishes = team.gather((time.monotonic() - begin < seconds,), lambda: None)
        with means:
            team.mean(shared, lambda: None)
        goes_on = wishes.all()
    wall = time.monotonic() - begin
    frames = len(steps.wall) * STREAMS * team.size
    return {
        "steps": len(steps.wall),
        "seconds": round(wall, 1),
        "megabytes": round(sum(a.nbytes for a in shared) / 1e6, 2),
        "frames_per_second": round(frames / wall, 1),
        **steps.row("step"),
        **waits.row("waiting"),
        **means.row("mean"),
    }


def launched(command: list[str], seconds: float) -> dict:
    """Run ranks as processes; return what rank 0 measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.json"
        done = subprocess.run(
            [
                *command,
                sys.executable,
                str(Path(__file__).resolve()),
                "--seconds",
                str(seconds),
                "--output",
                str(path),
            ],
            check=False,
            cwd=ROOT,
            env=os.environ | {"OMPI_MCA_rmaps_base_oversubscribe": "1"},
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        return json.loads(path.read_text())


def predicted(ranks: int, link: str, step: float, copy: float, size: float) -> dict:
    """Return what ranks on machines of their own should reach; seconds and bytes."""
    speed, message = LINKS[link]
    mean = copy + 2 * (ranks - 1) / ranks * size / speed + 2 * (ranks - 1) * message
    share = DEFAULT_EVERY * step / (DEFAULT_EVERY * step + mean)
    return {
        "ranks": ranks,
        "link": link,
        "predicted": "yes",
        "megabytes": size / 1e6,
        "step_ms": round(1e3 * step, 2),
        "mean_ms": round(1e3 * mean, 2),
        "frames_per_second": round(ranks * STREAMS / step * share, 1),
        "efficiency": round(share, 3),
    }


def main() -> None:
    """Measure as a rank where mpirun started this; else start the ranks and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=80.0, help="seconds of each run (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=int, default=2, help="runs of each number of ranks (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/scale_out.csv"),
        help="table to write (default: %(default)s)",
    )
    args = parser.parse_args()
    team = join("cpu", 1)
    if team.size > 1:
        found = measure(team, args.seconds)
        if team.rank == 0:
            args.output.write_text(json.dumps(found))
        team.close()
        return
    two_hosts = ["sh", str(ROOT / "scripts/two_hosts.sh"), "--rate", "1gbit"]
    rows = []
    for run in range(args.runs):
        for ranks, link, command in (
            (1, "none", None),
            (2, "memory", ["mpirun", "-n", "2"]),
            (2, "1 Gbit/s", two_hosts),
        ):
            if command is two_hosts and os.geteuid() != 0:
                continue  # network namespaces are root's
            found = measure(team, args.seconds) if command is None else launched(command, args.seconds)
            rows.append(
                {"run": run, "ranks": ranks, "link": link, "load": round(os.getloadavg()[0], 1)} | found
            )
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), file=sys.stderr, flush=True)
    step = min(r["step_ms_cpu"] for r in rows if r["ranks"] == 1) / 1e3
    copy = min(r["mean_ms_cpu"] for r in rows if r["link"] == "memory") / 1e3
    for link in LINKS:
        for ranks in (2, 8, 64):
            rows.append(predicted(ranks, link, step, copy, rows[0]["megabytes"] * 1e6))
            print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), file=sys.stderr)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(args.output, rows)


if __name__ == "__main__":
    main()
