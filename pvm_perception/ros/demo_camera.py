"""The demo's camera: a process that publishes a stream's frames, and keeps their truth on file."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from pvm_perception.errors import PvmError, writing
from pvm_perception.signals import Stop
from pvm_perception.streams.files import open_stream
from pvm_perception.streams.generated import SimulatedStream
from pvm_perception.vision.image_codec import fill_image

PROGRESS = 3.0  # s between two lines that say how far it is
SIMULATOR = "simulator"


def main(argv: list[str] | None = None) -> int:
    """Publish until the stream ends or a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--input", required=True, help="where frames come from: simulator, or what `demo --input` takes"
    )
    parser.add_argument("--truth", type=Path, required=True, help="file to write the true boxes to")
    parser.add_argument("--frames", type=int, required=True, help="number of frames to publish")
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second")
    parser.add_argument("--seed", type=int, default=0, help="number that fixes the simulator's scenes")
    parser.add_argument(
        "--listeners", type=int, default=2, help="subscribers to wait for before the first frame"
    )
    args = parser.parse_args(argv)
    stop = Stop()
    try:
        stream = (
            SimulatedStream(args.seed, (480, 640), args.fps, args.frames)
            if args.input == SIMULATOR
            else open_stream(args.input)
        )
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    try:
        publisher = node.create_publisher(
            Image, "/camera/image_raw", QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        )
        deadline = time.monotonic() + 60
        while (
            publisher.get_subscription_count() < args.listeners
            and not stop.is_set()
            and time.monotonic() < deadline
        ):
            stop.wait(0.05)
        stop.wait(1.0)  # discovery in the other direction
        _publish(args, stream, node, publisher, stop)
        stop.wait(1.0)  # the last frames are still on their way
        return 0
    except PvmError as error:
        print(f"pvm_perception: error: {error}", file=sys.stderr)
        return 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _publish(args: argparse.Namespace, stream: Any, node: Any, publisher: Any, stop: Stop) -> None:
    period, progress = 1 / args.fps, max(1, round(PROGRESS * args.fps))
    with writing(args.truth), args.truth.open("w", newline="", encoding="utf-8") as file:
        truth = csv.writer(file)
        truth.writerow(["stamp", "frame", "known", "scene", "target", "x", "y", "w", "h", "weight"])
        due, labels = time.monotonic(), getattr(stream, "truth", None)
        # a camera's stamps are those of its exposures: what delays a process is none of them
        epoch = node.get_clock().now().nanoseconds - round(due * 1e9)
        for count, frame in enumerate(stream):
            if stop.is_set() or count >= args.frames:
                return
            if count and count % progress == 0:
                print(f"demo: {count} of at most {args.frames} frames shown", file=sys.stderr, flush=True)
            stop.wait(max(0.0, due - time.monotonic()))
            stamp = epoch + round(due * 1e9)
            due = max(due + period, time.monotonic())
            header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id="camera")
            rows = [(b.target, b.x, b.y, b.w, b.h, b.weight) for b in frame.boxes or ()] or [("",) * 6]
            scene = labels.scenes.get(frame.name, "") if labels else ""
            for row in rows:
                truth.writerow([stamp, frame.name, int(frame.boxes is not None), scene, *row])
            publisher.publish(fill_image(Image(), frame.image, "bgr8", header))


if __name__ == "__main__":
    sys.exit(main())
