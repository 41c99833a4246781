"""From a camera's stamp to detections received: where the time goes, with one core for the node.

Usage: .venv/bin/python benchmarks/latency.py [--seconds S] [--input PATH] [--reliability R]
       .venv/bin/python benchmarks/latency.py --cameras front rear --fps 15

A camera replays frames that were made ready before at an exact rate, the tracker node has one core
to itself, and camera and receiver, processes of their own, share the others. Several cameras each
have a namespace, with a node and a receiver of their own; nodes have one core each as far as there are
some. Each row of the table is one stage of one camera's node, in milliseconds over all frames that
were answered. FASTDDS_BUILTIN_TRANSPORTS or a profile in the environment is measured instead of the
profile that ships.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from pvm_perception.errors import PvmError
from pvm_perception.processes import run_together
from pvm_perception.ros.diagnostics import STAGES, FrameTimes, Health
from pvm_perception.ros.node_settings import NODES
from pvm_perception.ros.parameters import default_of
from pvm_perception.ros.process import run_node
from pvm_perception.ros.tracker_node import TrackerNode
from pvm_perception.signals import Stop
from pvm_perception.streams.files import open_stream
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.vision.image_codec import fill_image

SIZE = (480, 640)  # rows, columns
PREPARED = 120  # frames, shown forwards and backwards, so that nothing jumps
WARM_UP = 30  # frames that are not counted: the first ones load code and find memory
MEMORY_PERIOD = 10.0  # s
TOPIC = "camera/image_raw"  # in the camera's namespace
PAGE = resource.getpagesize()
MAX_AGE = next(f for f in NODES["tracker"].fields() if f.name == "max_age")


def cores(args: argparse.Namespace) -> tuple[set[int], set[int]]:
    """Return this camera's node's core and those of cameras and receivers; all where there are few."""
    allowed = sorted(os.sched_getaffinity(0))
    own = allowed[args.cameras.index(args.of) % len(allowed)]
    return {own}, set(allowed[len(args.cameras) :] or allowed)


def prepared(args: argparse.Namespace) -> list[Any]:
    """Return messages that lack nothing but their stamp; of a scene of its own for each camera."""
    seed = args.cameras.index(args.of)
    stream = (
        SimulatedStream(seed, SIZE, args.fps, PREPARED)
        if args.input == "simulator"
        else islice(open_stream(args.input), PREPARED)
    )
    pictures = [cv2.resize(f.image, SIZE[::-1], interpolation=cv2.INTER_AREA) for f in stream]
    if args.transport == "raw":
        return [fill_image(Image(), p, "bgr8", Header()) for p in pictures]
    return [
        CompressedImage(
            format="jpeg", data=cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        )
        for p in pictures
    ]


def camera(folder: Path, args: argparse.Namespace) -> int:
    """Publish; write when each frame was stamped, and how long publishing took."""
    os.sched_setaffinity(0, cores(args)[1])
    stop = Stop()
    frames = prepared(args)
    there_and_back = frames + frames[-2:0:-1]
    kind, topic = (Image, TOPIC) if args.transport == "raw" else (CompressedImage, f"{TOPIC}/compressed")
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera", namespace=args.of)
    publisher = node.create_publisher(
        kind, topic, QoSProfile(depth=2, reliability=ReliabilityPolicy[args.reliability.upper()])
    )
    deadline = time.monotonic() + 60
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        stop.wait(0.05)
    stop.wait(1.0)  # discovery in the other direction
    begin = time.monotonic()
    with (folder / "camera.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["stamp", "send"])
        for k in range(WARM_UP + round(args.seconds * args.fps)):
            stop.wait(max(0.0, begin + k / args.fps - time.monotonic()))
            if stop.is_set():
                break
            message = there_and_back[k % len(there_and_back)]
            now = time.time_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
            publisher.publish(message)
            table.writerow([now, time.time_ns() - now])
    # the last answers are still on their way; a process that leads no group ends with the others
    stop.wait(1.0 if args.of == args.cameras[-1] else None)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def receiver(folder: Path, args: argparse.Namespace) -> int:
    """Write when each answer arrived."""
    os.sched_setaffinity(0, cores(args)[1])
    stop = Stop()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node, executor = rclpy.create_node("receiver", namespace=args.of), SingleThreadedExecutor()
    executor.add_node(node)
    with (folder / "receiver.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["stamp", "arrival"])

        def receive(message: Detection2DArray) -> None:
            stamp = message.header.stamp
            table.writerow([stamp.sec * 10**9 + stamp.nanosec, time.time_ns()])

        node.create_subscription(Detection2DArray, "detections", receive, 50)
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
    node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()
    return 0


class Record(Health):
    """The node's counters, which also write each frame's stages, and memory and CPU now and then."""

    def __init__(self, frames: Any, memory: Any) -> None:
        super().__init__()
        self.frames, self.memory, self.due = csv.writer(frames), csv.writer(memory), 0.0
        self.frames.writerow(["stamp", *STAGES])
        self.memory.writerow(["time", "cpu", "rss_mb", "dropped", "too_old"])

    def processed(self, times: FrameTimes, surprise: float) -> None:
        """Count a frame that became detections, and write it down."""
        super().processed(times, surprise)
        self.frames.writerow([round(times.stamp * 1e9), *times.stages().values()])
        if times.begun >= self.due:
            self.due = times.begun + MEMORY_PERIOD
            self.sample()

    def sample(self) -> None:
        """Write down what the node has used and left out so far."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.writerow(
            [time.monotonic(), time.process_time(), pages * PAGE / 1e6, self.dropped, self.too_old]
        )


def tracker(folder: Path, args: argparse.Namespace) -> int:
    """Run the node as a robot does, on one core."""
    os.sched_setaffinity(0, cores(args)[0])
    with (
        (folder / "node.csv").open("w", newline="") as frames,
        (folder / "memory.csv").open("w", newline="") as memory,
    ):
        record = Record(frames, memory)

        class Recorded(TrackerNode):
            def on_activate(self, state: Any) -> Any:
                answer = super().on_activate(state)
                self.health = record
                return answer

        code = run_node(
            Recorded,
            [
                "--ros-args",
                "-r",
                f"__ns:=/{args.of}",
                "-r",
                f"image:={TOPIC}",
                "-r",
                f"image/compressed:={TOPIC}/compressed",
                "-p",
                f"image_transport:={args.transport}",
                "-p",
                f"max_age:={args.max_age}",
                "-p",
                f"learning:={str(args.learning).lower()}",
            ],
        )
        record.sample()
        return code


def rows_of(path: Path) -> np.ndarray:
    """Return a table as a structured array, (rows,), one field for each column."""
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    kinds = [(n, np.int64 if n in ("stamp", "arrival", "send") else np.float64) for n in table[0]]
    return np.array(
        [tuple(np.array(v, k) for v, (_, k) in zip(row, kinds, strict=True)) for row in table[1:]], kinds
    )


def nearest(stamps: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """Return each stamp's row in `sent`; seconds as a float are good to less than a microsecond."""
    right = np.clip(np.searchsorted(sent, stamps), 1, len(sent) - 1)
    return right - (stamps - sent[right - 1] < sent[right] - stamps)


def report(folder: Path, name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Join the tables of one camera's processes; return one row for each stage, and print the rest."""
    sent, begun = rows_of(folder / "camera.csv"), rows_of(folder / "node.csv")
    received, memory = rows_of(folder / "receiver.csv"), rows_of(folder / "memory.csv")
    if not len(received) or not len(begun):
        raise PvmError("no detections came; does `make demo` work?")
    arrived = dict(zip(received["stamp"].tolist(), received["arrival"].tolist(), strict=True))
    which = nearest(begun["stamp"], sent["stamp"])
    kept = [(i, k) for i, k in enumerate(which) if k >= WARM_UP and int(sent["stamp"][k]) in arrived]
    node, cam = begun[[i for i, _ in kept]], sent[[k for _, k in kept]]
    total = np.array([arrived[s] - s for s in cam["stamp"].tolist()]) / 1e6
    stages = {
        "send": cam["send"] / 1e6,
        "age when begun": 1e3 * node["age when begun"],
        "decode": 1e3 * node["decode"],
        "look": 1e3 * node["look"],
        "publish": 1e3 * node["publish"],
        "receive": total - 1e3 * node["age"],
        "stamp to received": total,
    }
    counted = len(sent) - WARM_UP
    stale = int((node["age when begun"] > 1 / args.fps).sum())
    foreign = len(set(arrived) - set(sent["stamp"].tolist()))  # answers to what it never sent
    cpu = np.ptp(memory["cpu"]) / np.ptp(memory["time"]) if len(memory) > 1 else float("nan")
    facts = {
        "camera": name,
        "fps": f"{args.fps:g}",
        "seconds": f"{args.seconds:g}",
        "transport": args.transport,
        "reliability": args.reliability,
        "max_age": f"{args.max_age:g}",
        "fastdds": os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "profile"),
        "sent": counted,
        "answered": len(total),
        "too_old": int(memory["too_old"][-1]),
        "older_than_a_period": stale,
        "of_other_cameras": foreign,
        "cpu_share": round(float(cpu), 3),
        "rss_mb_first": round(float(memory["rss_mb"][min(1, len(memory) - 1)]), 1),
        "rss_mb_last": round(float(memory["rss_mb"][-1]), 1),
        "rss_mb_most": round(float(memory["rss_mb"].max()), 1),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    print(" ".join(f"{k}={v}" for k, v in facts.items()))
    print("memory, MB, every 10 s: " + " ".join(f"{m:.1f}" for m in memory["rss_mb"]))
    rows = []
    print(f"{'ms':18}{'p50':>8}{'p99':>8}{'most':>8}")
    for stage, values in stages.items():
        p50, p99, most = np.percentile(values, [50, 99, 100]).round(2).tolist()
        print(f"{stage:18}{p50:8.2f}{p99:8.2f}{most:8.2f}")
        rows.append({"stage": stage, "ms_p50": p50, "ms_p99": p99, "ms_most": most} | facts)
    return rows


ROLES = {"camera": camera, "receiver": receiver, "node": tracker}


def main() -> int:
    """Run the three processes; print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds to run (default: %(default)s)")
    parser.add_argument(
        "--input",
        default="simulator",
        help="simulator, or a video, folder of images or bag whose frames are shown (default: %(default)s)",
    )
    parser.add_argument(
        "--reliability",
        choices=("best_effort", "reliable"),
        default="best_effort",
        help="QoS reliability that the camera offers (default: %(default)s)",
    )
    parser.add_argument(
        "--transport", choices=("raw", "compressed"), default="raw", help="of images (default: %(default)s)"
    )
    parser.add_argument(
        "--max-age",
        type=float,
        default=default_of(MAX_AGE),
        metavar="SECONDS",
        help="parameter `max_age` of the node: older frames are left out, 0 = none is (default: %(default)s)",
    )
    parser.add_argument("--learning", action="store_true", help="let the node learn while it tracks")
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second (default: %(default)s)")
    parser.add_argument(
        "--cameras",
        nargs="+",
        default=[""],
        metavar="NAMESPACE",
        help="namespaces of several cameras, each with a node of its own (default: one)",
    )
    parser.add_argument("--output", type=Path, default=Path("build/latency.csv"), help="table to write")
    parser.add_argument("--role", choices=tuple(ROLES), help=argparse.SUPPRESS)
    parser.add_argument("--of", help=argparse.SUPPRESS)  # the camera that the role belongs to
    args = parser.parse_args()
    folders = {name: args.output.with_suffix("") / name for name in args.cameras}  # of the processes' tables
    try:
        if args.role:
            return ROLES[args.role](folders[args.of], args)
        if args.input != "simulator":  # bad input fails before anything starts
            open_stream(args.input)
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        this = [sys.executable, *sys.argv]
        run_together(
            {
                f"{name} {role}".lstrip(): [*this, "--role", role, "--of", name]
                for role in ("receiver", "node", "camera")
                for name in args.cameras
            },
            leader=f"{args.cameras[-1]} camera".lstrip(),
            seconds=args.seconds + 180,
        )
        rows = [row for name, folder in folders.items() for row in report(folder, name, args)]
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
