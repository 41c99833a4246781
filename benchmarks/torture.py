"""What the product promises, under attack: damaged files, odd messages, kills, lifecycle, an hour of frames.

Each part prints its row as it ends; all rows land in one table. Exit code 1 where anything failed.
Usage: .venv/bin/python benchmarks/torture.py [--parts images models ...] [--share S] [--output FILE]
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "test")]  # the attacks live beside what they attack

Row = dict[str, Any]

SETTLING = 5.0  # s for what is let go of to be freed
MOST_GROWTH = 0.02  # MB of memory that a loop through the lifecycle may leave behind
MOST_SLOPE = 1.0  # MB an hour that a running node may grow by, judged where it ran for half an hour
MOST_SLOWING = 1.5  # the last third's 99th percentile of latency over the first third's


def images(share: float) -> Row:
    """Decode damaged compressed images; a picture or a ValueError comes."""
    from fuzz_images import fuzz

    count = int(1_000_000 * share)
    outcome = fuzz(count)
    return {"count": count, "failures": 0, "slowest_s": round(outcome.slowest, 3)}


def models(share: float) -> Row:
    """Load and run damaged model files, with the kernels under address and undefined-behaviour sanitizers."""
    from torture_models import attack

    count = int(20_000 * share)
    found = attack(count)
    return {
        "count": count,
        "failures": len(found["faults"]),
        "slowest_s": found["slowest_s"],
        "peak_mb": found["peak_mb"],
        "what": " | ".join(list(found["faults"].values())[:3]),
    }


def kills(share: float) -> Row:
    """End writers of a model with SIGKILL; the file on disk loads each time."""
    from torture_models import kill_while_saving

    found = kill_while_saving(max(1, int(300 * share)))
    return {"count": found["kills"], "failures": found["half"] + found["left"]}


def living(share: float) -> Row:
    """End processes with SIGKILL while they remember, sleep and swap; memory and model open each time."""
    from torture_living import kill_while_living

    with tempfile.TemporaryDirectory() as folder:
        found = kill_while_living(max(1, int(200 * share)), Path(folder))
    return {
        "count": found["kills"],
        "failures": len(found["failures"]),
        "what": " | ".join(sorted(set(found["failures"]))[:3]),
    }


def messages(share: float) -> Row:
    """Throw odd, well-formed messages and parameters at the nodes' callbacks."""
    from odd_sender import throw_at_everything

    count = int(200_000 * share)
    failed = {door: what for door, what in throw_at_everything(count).items() if what}
    return {
        "count": 3 * count,
        "failures": sum(sum(v.values()) for v in failed.values()),
        "what": " | ".join(f"{door}: {next(iter(what))}" for door, what in failed.items()),
    }


def bags(share: float) -> Row:
    """Read damaged bags; frames or a PvmError come."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    from pvm_perception.errors import PvmError
    from pvm_perception.streams.files import open_stream

    types, kind = get_typestore(Stores.ROS2_JAZZY), "sensor_msgs/msg/Image"
    rng, count, failures, slowest = np.random.default_rng(0), max(1, int(4_000 * share)), [], 0.0
    header = types.types["std_msgs/msg/Header"](types.types["builtin_interfaces/msg/Time"](1, 0), "camera")
    message = types.types[kind](header, 12, 16, "bgr8", 0, 48, rng.integers(0, 256, 576, dtype=np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        with Writer(good, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            camera = writer.add_connection("/camera", kind, typestore=types)
            for k in range(6):
                writer.write(camera, 10**9 * (k + 1), types.serialize_cdr(message, kind))
        whole, bad = next(good.glob("*.mcap")).read_bytes(), Path(folder) / "bad.mcap"
        for _ in range(count):
            data = bytearray(whole)
            for _ in range(int(rng.integers(1, 9))):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            bad.write_bytes(data[: int(rng.integers(len(data)))] if rng.random() < 0.2 else data)
            begun = time.process_time()
            try:
                for _frame in open_stream(bad):
                    pass
            except PvmError:
                pass
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            slowest = max(slowest, time.process_time() - begun)
    return {
        "count": count,
        "failures": len(failures),
        "slowest_s": round(slowest, 3),
        "what": " | ".join(sorted(set(failures))[:3]),
    }


def resident_mb() -> float:
    """Return this process's memory, MB, without what is garbage."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def lifecycle(share: float) -> Row:
    """Configure, activate, deactivate and clean up a tracker's node again and again."""
    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn
    from ros_side import domain

    from pvm_perception.ros.tracker_node import TrackerNode

    os.environ.update(domain())
    rclpy.init()
    node, count, failures = TrackerNode(), max(2, int(1_000 * share)), 0
    first = middle = 0.0
    begin = min(20, count // 2)  # the first loops fill what is kept for good
    for k in range(count):
        for name in ("configure", "activate", "deactivate", "cleanup"):
            failures += getattr(node, f"trigger_{name}")() != TransitionCallbackReturn.SUCCESS
        if k == begin:
            first = resident_mb()
        elif k == (begin + count) // 2:
            middle = resident_mb()
    most, until = max(1.0, MOST_GROWTH * count), time.monotonic() + SETTLING
    # what leaks grows in both halves; a block that a thread takes once, whenever that is, does not
    while (grown := 2 * min(middle - first, resident_mb() - middle)) > most and time.monotonic() < until:
        time.sleep(0.1)  # a thread may still hold what it is about to let go
    node.destroy_node()
    rclpy.try_shutdown()
    failures += grown > most
    return {"count": count, "failures": failures, "grown_mb": round(grown, 1)}


def soak(share: float) -> Row:
    """Let camera, node and receiver run at 30 Hz for an hour; memory's slope after ten minutes, latency."""
    return _soaked(3600 * share)


def soak_learning(share: float) -> Row:
    """Let it run for ten minutes with learning on."""
    return _soaked(600 * share, "--learning")


def _soaked(seconds: float, *options: str) -> Row:
    name = "soak_learning" if "--learning" in options else "soak"
    table = ROOT / "build" / name / "soak.csv"  # its frames and memory lie beside it
    table.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        str(ROOT / "benchmarks/latency.py"),
        "--seconds",
        f"{seconds:g}",
        "--output",
        str(table),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"count": 0, "failures": 1, "what": (done.stderr or done.stdout).strip()[-200:]}
    rows = {row["stage"]: row for row in csv.DictReader(table.open())}
    memory = np.loadtxt(table.with_suffix("") / "memory.csv", delimiter=",", skiprows=1)
    frames = np.loadtxt(table.with_suffix("") / "receiver.csv", delimiter=",", skiprows=1, dtype=np.int64)
    minutes, resident = (memory[:, 0] - memory[0, 0]) / 60, memory[:, 2]
    late = minutes >= min(10, minutes[-1] / 3)
    slope = np.polyfit(minutes[late] / 60, resident[late], 1)[0] if late.sum() > 2 else float("nan")
    latency = (frames[:, 1] - frames[:, 0]) / 1e6  # ms from the stamp to the answer
    first, last = np.array_split(latency, 3)[0], np.array_split(latency, 3)[-1]
    total = rows["stamp to received"]
    answered, sent = int(total["answered"]), int(total["sent"])
    p99_first, p99_last = (float(np.percentile(part, 99)) for part in (first, last))
    failed = {
        "frames were not answered": answered < 0.9 * sent,
        "memory grew": seconds >= 1800 and slope >= MOST_SLOPE,
        "it became slower": p99_last > MOST_SLOWING * p99_first,
    }
    return {
        "count": answered,
        "failures": int(sum(failed.values())),
        "what": " | ".join(what for what, it_did in failed.items() if it_did),
        "minutes": round(seconds / 60, 1),
        "mb_per_hour": round(float(slope), 2),
        "rss_mb": round(float(resident[-1]), 1),
        "p50_ms": total["ms_p50"],
        "p99_ms": total["ms_p99"],
        "p99_first_third_ms": round(p99_first, 1),
        "p99_last_third_ms": round(p99_last, 1),
    }


PARTS: dict[str, Callable[[float], Row]] = {
    "images": images,
    "models": models,
    "kills": kills,
    "living": living,
    "messages": messages,
    "bags": bags,
    "lifecycle": lifecycle,
    "soak": soak,
    "soak_learning": soak_learning,
}


def main() -> int:
    """Run the parts, each in a process of its own; print and write their rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=[p for p in PARTS if "soak" not in p],
        help="which attacks to run (default: all but the soaks)",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="share of each attack's full length, above 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/torture.csv"), help="table to write (default: %(default)s)"
    )
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        row = PARTS[args.one](args.share)
        row.setdefault("peak_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        print("row", json.dumps(row, default=float))
        return 0
    rows: list[Row] = []
    args.output.parent.mkdir(parents=True, exist_ok=True)
    log = args.output.with_suffix(".log").open("w")  # decoders write a line for each damaged picture
    for part in args.parts:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--one", part, "--share", str(args.share)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("row ")]
        row = (
            json.loads(lines[-1][4:])
            if lines
            else {"count": 0, "failures": 1, "what": f"it ended with exit code {done.returncode}"}
        )
        rows.append({"part": part} | row | {"minutes_taken": round((time.monotonic() - begun) / 60, 1)})
        print(" ".join(f"{k}={v}" for k, v in rows[-1].items()), flush=True)
    columns = list(dict.fromkeys(k for row in rows for k in row))
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return int(any(row["failures"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
